//! The command line, end to end: plans for a load. No server is involved.

use std::fs;

use serde_json::Value;

use crate::world::Shell;

const QUESTION: [&str; 7] = ["capacity", "--validations", "1e6", "--revocations", "100", "--ttl", "15m"];

fn line<'a>(json: &'a Value, name: &str) -> &'a Value {
    let lines = json["perCell"].as_array().unwrap();
    lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name} is in {json}"))
}

#[tokio::test]
async fn capacity_says_what_a_load_takes_and_from_which_figures() {
    let said = Shell::new().run(&QUESTION).await;
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

#[tokio::test]
async fn capacity_as_json_has_the_same_lines_by_name() {
    let shell = Shell::new();
    let json = shell.run(&[&QUESTION[..], &["--output", "json"]].concat()).await.json();
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
    let same =
        ["capacity", "--validations", "1000k", "--revocations", "100", "--issues", "111.11111111111111"];
    let other = shell.run(&[&same[..], &["--output", "json"]].concat()).await.json();
    assert_eq!(other["replicasPerCell"], json["replicasPerCell"]);
    let careful = shell.run(&[&QUESTION[..], &["--headroom", "4", "--output", "json"]].concat()).await.json();
    assert!(careful["replicasPerCell"].as_f64().unwrap() > replicas, "{careful}");
}

#[tokio::test]
async fn capacity_warns_in_one_line_of_what_was_never_measured() {
    let shell = Shell::new();
    let beyond =
        ["capacity", "--validations", "1M", "--tokens", "5M", "--revocations", "1k", "--by-id", "100%"];
    let said = shell.run(&beyond).await;
    assert_eq!(said.code, 0, "{said:?}");
    let warning = said.err.trim_end();
    assert_eq!(warning.lines().count(), 1, "{said:?}");
    assert!(warning.starts_with("warning: extrapolated: "), "{said:?}");
    assert!(warning.contains("live tokens (measured to 1 000 000)"), "{said:?}");
    assert!(warning.contains("live revocations (measured to 10 000 000)"), "{said:?}");
}

#[tokio::test]
async fn capacity_refuses_nonsense_as_usage() {
    let shell = Shell::new();
    for (wrong, why) in [
        (&["capacity"][..], "--validations"),
        (&["capacity", "--validations", "many"], "Write 250k, 1M or 1e6"),
        (&["capacity", "--validations", "-1"], ""),
        (&["capacity", "--validations", "1e15"], "is not between 0 and 1e12"),
        (&["capacity", "--validations", "1k", "--ttl", "15"], "has no unit"),
        (&["capacity", "--validations", "1k", "--ttl", "2d"], "no token lives longer than a day"),
        (&["capacity", "--validations", "1k", "--ttl", "0s"], "no token lives"),
        (&["capacity", "--validations", "1k", "--unseen", "2"], "is not between 0 and 1"),
        (&["capacity", "--validations", "1k", "--cores", "0"], "--cores"),
        (&["capacity", "--validations", "1k", "--headroom", "0.5"], "to plan at half"),
        (&["capacity", "--validations", "1e12"], "not even a thousand cells"),
        (&["capacity", "--validations", "1k", "--output", "token"], "hands out no token"),
    ] {
        let said = shell.run(wrong).await;
        assert!(said.with_code(2).contains(why), "{wrong:?}: {said:?}");
        assert_eq!(said.out, "", "no data");
    }
}

/// `scripts/write-capacity-docs` pastes them.
#[tokio::test]
async fn the_answers_in_the_document_are_those_that_the_program_gives() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/capacity.md");
    let text = fs::read_to_string(document).unwrap();
    let blocks: Vec<_> = text.split("```console\n$ jeton ").skip(1).collect();
    assert!(blocks.len() >= 3, "they were read: {}", blocks.len());
    for block in blocks {
        let (command, rest) = block.split_once('\n').unwrap();
        let shown = rest.split("```").next().unwrap();
        let said = Shell::new().run(&command.split(' ').collect::<Vec<_>>()).await;
        assert_eq!(format!("{}\n{}", said.data(), said.err), shown, "run scripts/write-capacity-docs");
    }
}
