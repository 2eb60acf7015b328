//! Checks the table of `README.md`: each rule has a row, and the functions and tests that it names exist.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use jeton_model::{configurations::all, rule::Rule};

struct Row {
    rule: String,
    configurations: String,
    kept_by: String,
    noticed_by: String,
}

fn directory() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rows() -> Vec<Row> {
    let text = fs::read_to_string(directory().join("README.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| ")).skip(1).map(|line| {
        let mut cells = line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned());
        let mut next = || cells.next().unwrap_or_default();
        Row { rule: next(), configurations: next(), kept_by: next(), noticed_by: next() }
    });
    rows.collect()
}

/// The pairs of a cell: `name` in `path`.
fn places(cell: &str) -> Vec<(&str, &str)> {
    let words: Vec<_> = cell.split('`').collect();
    let pair = |window: &[&'_ str]| window.get(1) == Some(&" in ");
    words
        .windows(3)
        .filter(|window| pair(window))
        .filter_map(|window| Some((*window.first()?, *window.get(2)?)))
        .collect()
}

/// Returns whether a source defines a function, a type, a constant, or a function or table of SQL.
fn defines(text: &str, name: &str) -> bool {
    ["fn", "struct", "const", "function", "table"].iter().any(|keyword| {
        let definition = format!("{keyword} {name}");
        let is_whole = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        text.match_indices(&definition)
            .any(|(at, _)| text.get(at.saturating_add(definition.len())..).is_some_and(is_whole))
    })
}

#[test]
fn the_table_names_every_rule_in_order() {
    let rules: Vec<_> = Rule::ALL.iter().map(|rule| format!("{rule:?}")).collect();
    assert_eq!(rows().into_iter().map(|row| row.rule).collect::<Vec<_>>(), rules);
}

#[test]
fn the_table_names_the_configurations_that_do_without_the_rule() {
    for (row, rule) in rows().iter().zip(Rule::ALL) {
        let all = all();
        let without = all.iter().filter(|configuration| configuration.shows_the_need_of(*rule));
        let mut names: Vec<_> = without.map(|configuration| configuration.name).collect();
        names.sort_unstable();
        assert_eq!(row.configurations, names.join(", "), "{rule:?}");
    }
}

#[test]
fn what_the_table_names_is_there() {
    assert_eq!(places("`a` in `b`, `c` in `d`"), [("a", "b"), ("c", "d")]);
    assert!(defines("pub fn enter(", "enter") && !defines("fn enter_at(", "enter"));
    let mut absent = Vec::new();
    for row in rows() {
        let kept = places(&row.kept_by);
        assert!(!kept.is_empty(), "{}: {}", row.rule, row.kept_by);
        let noticed = places(&row.noticed_by);
        assert!(!noticed.is_empty() || row.noticed_by == "—", "{}: {}", row.rule, row.noticed_by);
        for (name, path) in kept.into_iter().chain(noticed) {
            let text = fs::read_to_string(directory().join("../..").join(path)).unwrap_or_default();
            if !defines(&text, name) {
                absent.push(format!("{name} in {path}"));
            }
        }
    }
    assert!(absent.is_empty(), "{absent:?}");
}
