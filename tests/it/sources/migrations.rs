//! The rules of `migrations/`, which its README states.

use std::{collections::BTreeMap, fs};

use super::{LINES_MAX, files, is_word, root};

/// The files that a release holds. They never change; a later file may replace their functions.
const RELEASED: [&str; 0] = [];

struct Migration {
    name: String,
    text: String,
}

/// In the order in which they are applied.
fn migrations() -> Vec<Migration> {
    let mut paths = Vec::new();
    files(&root().join("migrations"), "sql", &mut paths);
    paths.sort();
    assert!(!paths.is_empty());
    let read = |path: std::path::PathBuf| Migration {
        name: path.file_name().unwrap().to_str().unwrap().to_owned(),
        text: fs::read_to_string(&path).unwrap(),
    };
    paths.into_iter().map(read).collect()
}

/// The functions that a text defines, in its order, and whether each replaces one.
fn functions(text: &str) -> Vec<(String, bool)> {
    let defined = text.lines().filter_map(|line| {
        let line = line.trim_start().to_lowercase();
        let replaced = line.strip_prefix("create or replace function ");
        let rest = replaced.or_else(|| line.strip_prefix("create function "))?;
        Some((rest.chars().take_while(|c| is_word(*c)).collect(), replaced.is_some()))
    });
    defined.collect()
}

#[test]
fn migrations_are_numbered_without_gaps() {
    let mut names: Vec<_> = fs::read_dir(root().join("migrations"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "README.md")
        .collect();
    names.sort();
    for (index, name) in names.iter().enumerate() {
        assert_eq!(name.split('_').next(), Some(format!("{:04}", index + 1).as_str()), "{name}");
        assert_eq!(name.rsplit('.').next(), Some("sql"), "{name}");
    }
    assert!(
        names.iter().map(String::as_str).take(RELEASED.len()).eq(RELEASED),
        "the released ones are the first"
    );
}

#[test]
fn migrations_are_of_moderate_length_and_begin_with_a_comment() {
    for Migration { name, text } in migrations() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{name} has {lines} lines");
        assert!(text.starts_with("-- "), "{name} does not say what it is");
    }
}

#[test]
fn each_function_of_the_schema_has_one_text_below_its_comment() {
    assert_eq!(
        functions("create function a() x\n  create or replace function b_c(\n-- create function d()"),
        [("a".to_owned(), false), ("b_c".to_owned(), true)]
    );
    let mut released = BTreeMap::new();
    let mut open = BTreeMap::new();
    for Migration { name, text } in migrations() {
        let is_released = RELEASED.contains(&name.as_str());
        for (function, replaces) in functions(&text) {
            assert_eq!(
                replaces,
                released.contains_key(&function),
                "{function} in {name}: only a function of a released file is replaced"
            );
            let texts = if is_released { &mut released } else { &mut open };
            let former = texts.insert(function.clone(), name.clone());
            assert!(former.is_none() || is_released, "{function} is in {former:?} and in {name}");
        }
        let mut before = "";
        for line in text.lines() {
            assert!(
                functions(line).is_empty() || before.starts_with("-- "),
                "{name}: no comment above {line:?}"
            );
            before = line;
        }
    }
    assert!(released.len() + open.len() > 40, "they were read: {open:?}");
}

#[test]
fn the_map_of_migrations_names_every_file_and_function() {
    let readme = fs::read_to_string(root().join("migrations/README.md")).unwrap();
    let rows = readme.lines().filter(|line| line.starts_with("| `0"));
    let mapped: Vec<(String, Vec<String>)> = rows
        .map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let functions = cells[2].split(", ").filter(|name| !name.is_empty());
            (
                cells[0].trim_matches('`').to_owned(),
                functions.map(|name| name.trim_matches('`').to_owned()).collect(),
            )
        })
        .collect();
    let migrations = migrations();
    // A function that a later file replaces is named there.
    let latest: BTreeMap<_, _> = migrations
        .iter()
        .flat_map(|migration| functions(&migration.text).into_iter().map(|(name, _)| (name, &migration.name)))
        .collect();
    let held: Vec<(String, Vec<String>)> = migrations
        .iter()
        .map(|Migration { name, text }| {
            let here = functions(text).into_iter().map(|(function, _)| function);
            (name.clone(), here.filter(|function| latest[function] == name).collect())
        })
        .collect();
    assert_eq!(mapped, held);
}
