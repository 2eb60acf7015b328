//! `capacity`, end to end: plans for a load.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::float_cmp,
    reason = "a test fails by panicking"
)]

use std::{fs, process::Command};

use serde_json::Value;

const QUESTION: [&str; 6] = ["--validations", "1e6", "--revocations", "100", "--ttl", "15m"];
/// The command in `docs/capacity.md`, without its flags.
const COMMAND: &str = "cargo run -q -p jeton-bench --bin capacity -- ";

#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn ask(arguments: &[&str]) -> Said {
    let done = Command::new(env!("CARGO_BIN_EXE_capacity")).args(arguments).output().unwrap();
    let [out, err] = [done.stdout, done.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Said { code: done.status.code(), out, err }
}

impl Said {
    fn data(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:?}");
        &self.out
    }

    fn json(&self) -> Value {
        serde_json::from_str(self.data()).unwrap()
    }
}

fn line<'a>(json: &'a Value, name: &str) -> &'a Value {
    let lines = json["perCell"].as_array().unwrap();
    lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name} is in {json}"))
}

#[test]
fn capacity_says_what_a_load_takes_and_from_which_figures() {
    let said = ask(&QUESTION);
    let text = said.data();
    assert!(text.contains(" replicas with 4 cores "), "{said:?}");
    assert!(text.contains("1 000 000/s × ("), "the arithmetic: {said:?}");
    for name in
        ["validate_seen_*_us", "issue_us", "revocation_bytes", "commits_per_second", "revoke_p99_ms_*"]
    {
        assert!(text.contains(name), "{name}: {said:?}");
    }
    assert!(text.contains("Binds first: "), "{said:?}");
    assert!(text.contains("Measured on "), "{said:?}");
    assert_eq!(said.err, "", "nothing of it is beyond what was measured");
}

#[test]
fn capacity_as_json_has_the_same_lines_by_name() {
    let json = ask(&[&QUESTION[..], &["--output", "json"]].concat()).json();
    assert_eq!((&json["cells"], &json["coresPerReplica"]), (&1.into(), &4.0.into()));
    assert_eq!(json["demand"]["tokens"], 100_000.0, "each validated ten times a second");
    assert_eq!(json["warning"], Value::Null);
    let replicas = json["replicasPerCell"].as_f64().unwrap();
    let total: f64 = ["validate_cores", "issue_cores", "refresh_cores", "revoke_cores"]
        .iter()
        .map(|name| line(&json, name)["value"].as_f64().unwrap())
        .sum();
    assert!(total * 2.0 <= replicas * 4.0, "at half of what it could: {json}");
    assert!(line(&json, "revoke_p50_ms")["how"].as_str().unwrap().contains("commit_p50_ms"));
    let figures = json["figures"].as_array().unwrap();
    let has_source =
        |it: &Value| it["name"].is_string() && it["from"].as_str().is_some_and(|it| !it.is_empty());
    assert!(!figures.is_empty() && figures.iter().all(has_source), "{json}");
    assert!(json["limits"].as_array().unwrap().iter().any(|it| it["what"] == json["bindsFirst"]), "{json}");

    // The same load in other words, and another ceiling.
    let same = ["--validations", "1000k", "--revocations", "100", "--issues", "111.11111111111111"];
    let other = ask(&[&same[..], &["--output", "json"]].concat()).json();
    assert_eq!(other["replicasPerCell"], json["replicasPerCell"]);
    let careful = ask(&[&QUESTION[..], &["--headroom", "4", "--output", "json"]].concat()).json();
    assert!(careful["replicasPerCell"].as_f64().unwrap() > replicas, "{careful}");
}

#[test]
fn capacity_warns_in_one_line_of_what_was_never_measured() {
    let beyond = ["--validations", "1M", "--tokens", "5M", "--revocations", "1k", "--by-id", "100%"];
    let said = ask(&beyond);
    assert_eq!(said.code, Some(0), "{said:?}");
    let warning = said.err.trim_end();
    assert_eq!(warning.lines().count(), 1, "{said:?}");
    assert!(warning.starts_with("warning: extrapolated: "), "{said:?}");
    assert!(warning.contains("live tokens (measured to 1 000 000)"), "{said:?}");
    assert!(warning.contains("live revocations (measured to 10 000 000)"), "{said:?}");
}

#[test]
fn capacity_refuses_nonsense_as_usage() {
    for (wrong, why) in [
        (&[][..], "--validations"),
        (&["--validations", "many"], "Write 250k, 1M or 1e6"),
        (&["--validations", "-1"], ""),
        (&["--validations", "1e15"], "is not between 0 and 1e12"),
        (&["--validations", "1k", "--ttl", "15"], "has no unit"),
        (&["--validations", "1k", "--ttl", "2d"], "no token lives longer than a day"),
        (&["--validations", "1k", "--ttl", "0s"], "no token lives"),
        (&["--validations", "1k", "--unseen", "2"], "is not between 0 and 1"),
        (&["--validations", "1k", "--cores", "0"], "--cores"),
        (&["--validations", "1k", "--headroom", "0.5"], "to plan at half"),
        (&["--validations", "1e12"], "not even a thousand cells"),
        (&["--validations", "1k", "--output", "token"], "invalid value 'token'"),
    ] {
        let said = ask(wrong);
        assert!(said.code == Some(2) && said.err.contains(why), "{wrong:?}: {said:?}");
        assert_eq!(said.out, "", "no data");
    }
}

/// `scripts/write-capacity-docs` pastes them.
#[test]
fn the_answers_in_the_document_are_those_that_the_program_gives() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/capacity.md");
    let text = fs::read_to_string(document).unwrap();
    let begin = format!("```console\n$ {COMMAND}");
    let blocks: Vec<_> = text.split(&begin).skip(1).collect();
    assert!(blocks.len() >= 3, "they were read: {}", blocks.len());
    for block in blocks {
        let (flags, rest) = block.split_once('\n').unwrap();
        let shown = rest.split("```").next().unwrap();
        let said = ask(&flags.split(' ').collect::<Vec<_>>());
        assert_eq!(format!("{}{}", said.data(), said.err), shown, "run scripts/write-capacity-docs");
    }
}
