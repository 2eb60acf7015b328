//! The one bench suite: jeton's promises of speed, each as a ratio to a floor from the same run.
//!
//! This program is several: the orchestrator, and, by its first argument, the processes that it starts: the server that
//! is measured (`subject`), tonic's own server (`plain`), and the load (`load`). Server and load never share a process.
//! `make bench` runs all; `cargo bench -p jeton-bench --bench suite -- P1 P13` some, once `jeton` was built for release; with `--quick`, rounds are short, and their
//! figures mean little. Linux only: CPU is counted by `/proc`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a bench fails by panicking and speaks to a terminal"
)]

mod bare;
mod bench;
mod calls;
mod child;
mod command;
mod cpu;
mod document;
mod empty;
mod fleet;
mod growth;
mod issuer;
mod load;
mod loader;
mod machine;
mod measures;
mod plain;
mod plot;
mod report;
mod statistics;
mod subject;
mod target;

use bench::Bench;
use measures::{answer, bulk, busy, disturbed, large, overload, refresh, revoke};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Names, and the function that measures them.
type Group = (&'static [&'static str], fn(&mut Bench));

/// The measures by name, in the order in which they run.
const MEASURES: [Group; 12] = [
    (&["P13"], answer::p13),
    (&["P1"], answer::p1),
    (&["P2"], answer::p2),
    (&["P3"], answer::p3),
    (&["P5"], answer::p5),
    (&["P4"], busy::p4),
    (&["curves"], busy::curves),
    (&["P6"], refresh::p6),
    (&["P8"], revoke::p8),
    (&["P7", "P12"], revoke::p7_p12),
    (&["P9"], bulk::p9),
    (&["P10", "P11", "P1.1M"], large::p10_p11_p1),
];
/// Measures that run only on request.
const EXTRAS: [Group; 4] = [
    (&["losses"], revoke::losses),
    (&["overload"], overload::overload),
    (&["disturbed"], disturbed::disturbed),
    (&["growth"], growth::growth),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("role:subject") => subject::main(),
        Some("role:plain") => plain::main(),
        Some("role:load") => load::main(),
        _ => orchestrate(&arguments),
    }
}

fn orchestrate(arguments: &[String]) {
    let (flags, names): (Vec<_>, Vec<_>) = arguments.iter().partition(|it| it.starts_with("--"));
    if flags.iter().any(|flag| *flag == "--document") {
        return document::write();
    }
    let quick = flags.iter().any(|flag| *flag == "--quick");
    allow_many_descriptors();
    let mut bench = Bench::start(quick);
    let asked = |group: &[&str]| group.iter().any(|it| names.iter().any(|name| name == it));
    for (group, measure) in MEASURES {
        if names.is_empty() || asked(group) {
            measure(&mut bench);
        }
    }
    for (group, measure) in EXTRAS {
        if asked(group) {
            measure(&mut bench);
        }
    }
    let stem = bench.report.stem;
    bench.report.write();
    plot::draw(stem);
}

/// Ten thousand connections need as many, here and in what we start.
fn allow_many_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
}
