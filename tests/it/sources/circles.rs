//! No file imports, over whatever way, one that imports it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use super::{CRATES, root, rust_files};

/// `a::{b, c::{d, self}}` as whole paths.
fn paths(tree: &str) -> Vec<String> {
    let Some((prefix, rest)) = tree.split_once('{') else { return vec![tree.trim().to_owned()] };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for character in inner.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if character == ',' && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(character);
        }
    }
    let parts = parts.iter().map(|part| part.trim()).filter(|part| !part.is_empty());
    parts.flat_map(|part| paths(part).into_iter().map(|path| format!("{}{path}", prefix.trim()))).collect()
}

/// The modules of a crate by their paths, and what each imports of the crate.
fn imports(directory: &str) -> BTreeMap<String, BTreeSet<String>> {
    let source = root().join(directory);
    let files: BTreeMap<String, String> = rust_files(directory)
        .into_iter()
        .filter(|file| {
            !file.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "bin")
        })
        .map(|file| {
            let path = file.strip_prefix(&source).unwrap().with_extension("").display().to_string();
            let name = path.trim_end_matches("/mod").replace('/', "::");
            let text = fs::read_to_string(&file).unwrap();
            (name, text.split("#[cfg(test)]\nmod tests").next().unwrap().to_owned())
        })
        .collect();
    let of = |text: &str| {
        let uses = text.split("use crate::").skip(1).map(|rest| rest.split(';').next().unwrap());
        let named = uses.flat_map(|tree| paths(&tree.split_whitespace().collect::<Vec<_>>().join(" ")));
        // The file that has the name: the longest part of its path that is one.
        let places = named.filter_map(|path| {
            let parts: Vec<_> = path.split("::").collect();
            (1..=parts.len()).rev().map(|length| parts[..length].join("::")).find(|it| files.contains_key(it))
        });
        places.collect::<BTreeSet<_>>()
    };
    files.iter().map(|(name, text)| (name.clone(), of(text))).collect()
}

/// The files from which one can come back to themselves. A file and those beneath it are one room: those may name its
/// types.
fn circles(imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let room =
        |a: &str, b: &str| a == b || a.starts_with(&format!("{b}::")) || b.starts_with(&format!("{a}::"));
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(file) = next.pop() {
            for other in imports.get(&file).into_iter().flatten() {
                if !room(&file, other) && seen.insert(other.clone()) {
                    next.push(other.clone());
                }
            }
        }
        seen
    };
    imports.keys().filter(|file| reached(file).contains(*file)).cloned().collect()
}

#[test]
fn no_file_imports_one_that_imports_it() {
    let found = paths("crate::{a::{b, c::{self, D}}, e}");
    assert_eq!(found, ["crate::a::b", "crate::a::c::self", "crate::a::c::D", "crate::e"]);
    let of = |pairs: &[(&str, &str)]| {
        let mut imports = BTreeMap::<String, BTreeSet<String>>::new();
        for (from, to) in pairs {
            imports.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        imports
    };
    assert_eq!(circles(&of(&[("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")])), ["a", "b", "c"]);
    assert_eq!(circles(&of(&[("a", "a::b"), ("a::b", "a")])), [""; 0]);
    let crates = CRATES.iter().map(|(directory, _)| format!("{directory}/src"));
    let mut read = 0;
    for directory in crates.chain(["src".to_owned()]) {
        let imports = imports(&directory);
        read += imports.values().map(BTreeSet::len).sum::<usize>();
        assert_eq!(circles(&imports), [""; 0], "in {directory}");
    }
    assert!(read > 500, "they were read: {read}");
}
