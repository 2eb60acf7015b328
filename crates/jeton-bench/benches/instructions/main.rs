//! Counts the instructions of the steps of every Validate, under callgrind, and compares them with `expected.json`: a
//! check that noise cannot disturb. `make instructions`; `scripts/count-instructions --write` renews the expectations.
//!
//! Each operation runs in a process of its own, once not at all and once many times; the difference counts.

#![allow(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::panic,
    reason = "a bench fails by panicking and speaks to a terminal"
)]

mod operations;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, ExitCode},
};

use operations::{ALL, Bench};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// More than is expected by this part fails.
const TOLERATED: f64 = 0.05;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    if let [run, index, times] = arguments.as_slice()
        && run == "run"
    {
        let (_, operation, _) = ALL[index.parse::<usize>().unwrap()];
        let bench = Bench::new();
        for turn in 0..times.parse::<usize>().unwrap() {
            operation(&bench, turn);
        }
        return ExitCode::SUCCESS;
    }
    let found: BTreeMap<&str, u64> =
        ALL.iter().enumerate().map(|(index, (name, _, times))| (*name, per_call(index, *times))).collect();
    if arguments.iter().any(|it| it == "--write") {
        std::fs::write(file(), serde_json::to_string_pretty(&found).unwrap() + "\n").unwrap();
    }
    compare(&found)
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/expected.json")
}

fn compare(found: &BTreeMap<&str, u64>) -> ExitCode {
    let text = std::fs::read(file()).unwrap_or_else(|_| b"{}".to_vec());
    let expected: BTreeMap<String, u64> = serde_json::from_slice(&text).unwrap();
    let mut grown = false;
    println!("| operation | instructions | expected | |\n|---|---|---|---|");
    for (name, count) in found {
        let before = expected.get(*name).copied().unwrap_or_default();
        let change = *count as f64 / before as f64 - 1.0;
        let verdict = match change {
            _ if before == 0 => "**nothing is expected**",
            change if change > TOLERATED => "**more**",
            change if change < -TOLERATED => "fewer: write it down",
            _ => "",
        };
        grown |= verdict.starts_with("**");
        println!("| {name} | {count} | {before} | {verdict} |");
    }
    if grown {
        println!("\nWhere that is meant: scripts/count-instructions --write");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn per_call(index: usize, times: u64) -> u64 {
    let [none, many] = [0, times].map(|times| count(index, times));
    many.saturating_sub(none) / times
}

/// Instructions of a process.
fn count(index: usize, times: u64) -> u64 {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap());
    let output = command.args(["run", &index.to_string(), &times.to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "callgrind failed: {said}");
    let line = said.lines().find_map(|line| line.split_once("Collected : "));
    line.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count in: {said}"))
}
