//! House rules that `clippy.toml` cannot express, read from the sources.

use std::{collections::BTreeSet, fs, path::Path};

use jeton::proto::v1 as pb;

mod circles;
mod migrations;

/// THE list: a module of the server uses only modules that stand before it.
const LAYERS: [&str; 20] = [
    "process",   // what this process may
    "mint",      // pure: what only the issuer does with tokens
    "observe",   // logs and metrics
    "tls",       // certificates of listeners and of who connects
    "listen",    // threads, connections, HTTP
    "state",     // the memory of a server
    "store",     // the only SQL
    "trust",     // the keys of trusted issuers
    "replica",   // the tasks that keep state true
    "authority", // what jeton does
    "proto",     // generated code
    "edge",      // what rpc and http share
    "rpc",       // the only tonic server code
    "http",      // the only axum code
    "prober",    // a caller of its own, to prove the promise
    "serve",     // a server: listeners and a shutdown
    "args",      // flags, environment, file
    "dev",       // `jeton dev`
    "operate",   // the verbs on the database
    "main",      // argv to one of them
];

/// The libraries of this workspace, each with the others that it may use. The server may use them all, and the
/// command line is none of its users: it can do nothing that a user's own client cannot.
const CRATES: [(&str, &[&str]); 10] = [
    ("crates/jeton-token", &[]),
    ("crates/jeton-assertion", &["jeton-token"]),
    ("crates/jeton-state", &["jeton-token"]),
    ("crates/jeton-io", &["jeton-token"]),
    ("crates/jeton-proto", &[]),
    ("crates/jeton-postgres", &[]),
    ("crates/jeton-testkit", &[]),
    ("clients/rust", &["jeton-proto"]),
    ("crates/jeton-bench", &["jeton-token"]),
    ("crates/jeton-cli", &["jeton-client", "jeton-io", "jeton-proto", "jeton-token"]),
];
/// What a verifier in another process needs, and what judges the tokens of others; and what must not come with them. Of
/// tokio, at most `sync`.
const VERIFIER: [&str; 3] = ["crates/jeton-token", "crates/jeton-assertion", "crates/jeton-state"];
const NOT_IN_A_VERIFIER: [&str; 6] = ["tonic", "hyper", "axum", "sqlx", "prost", "tokio"];

/// A library, and the modules that may name it.
const LIBRARIES: [(&str, &[&str]); 9] = [
    ("sqlx", &["store"]),
    ("jiff_sqlx", &["store"]),
    ("tonic", &["rpc", "proto", "crates/jeton-proto", "clients/rust"]),
    ("axum", &["http"]),
    ("hyper", &["listen", "trust", "rpc", "clients/rust"]),
    ("rustls", &["tls", "trust", "main", "crates/jeton-cli", "clients/rust"]),
    ("x509_cert", &["tls", "crates/jeton-io"]),
    ("jsonwebtoken", &["crates/jeton-token", "crates/jeton-assertion"]),
    ("clap", &["args", "main", "crates/jeton-cli", "crates/jeton-bench"]),
];

const LINES_MAX: usize = 450;

struct Source {
    /// Below `src/`; of another crate, below the top.
    path: String,
    /// The module of the server, or the directory of another crate.
    module: String,
    text: String,
    /// Without comments, and without the tests behind it.
    code: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, extension: &str, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
}

fn rust_files(directory: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    files(&root().join(directory), "rs", &mut found);
    found.sort();
    found
}

fn sources() -> Vec<Source> {
    let server = rust_files("src").into_iter().map(|path| {
        let path = path.strip_prefix(root().join("src")).unwrap().display().to_string();
        let module = path.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        (path, module, "src/")
    });
    let libraries = CRATES.iter().flat_map(|(directory, _)| {
        let files = rust_files(&format!("{directory}/src")).into_iter();
        files.map(|path| {
            let path = path.strip_prefix(root()).unwrap().display().to_string();
            (path, (*directory).to_owned(), "")
        })
    });
    let read = |(path, module, below): (String, String, &str)| {
        let text = fs::read_to_string(root().join(below).join(&path)).unwrap();
        let own = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let code = own.lines().map(without_comment).collect::<Vec<_>>().join("\n");
        Source { path, module, text, code }
    };
    let all: Vec<_> = server.chain(libraries).map(read).collect();
    assert!(all.len() > 150, "the sources are here: {}", all.len());
    all
}

/// The names in one section of a Cargo.toml, each with the rest of its line.
fn dependencies(directory: &str, section: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(directory).join("Cargo.toml")).unwrap();
    let body = text.split(&format!("\n[{section}]\n")).nth(1).unwrap_or_default();
    let lines = body.lines().take_while(|line| !line.starts_with('['));
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let end = line.find(|c: char| !(is_word(c) || c == '-'))?;
            Some((line[..end].to_owned(), line[end..].to_owned()))
        })
        .collect()
}

fn without_comment(line: &str) -> &str {
    // `://` stands in addresses.
    line.find("// ").or_else(|| line.find("///")).or_else(|| line.find("//!")).map_or(line, |at| &line[..at])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Returns whether a path of this crate is named: `name::` or `use name`.
fn names(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = &code[at + name.len()..];
        let is_start = before.is_none_or(|c| !is_word(c) && c != '"' && c != '.' && c != '-');
        // `crate::axum::`, `self::clap::` are ours.
        let is_ours = code[..at].ends_with("::") && !code[..at].ends_with(" ::");
        is_start
            && !is_ours
            && (after.starts_with("::") || code[..at].ends_with("use ") && after.starts_with(';'))
    })
}

/// The modules that stand directly behind each `crate::` of a text, groups included.
fn uses(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, path) in code.match_indices("crate::") {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let rest = &code[at + path.len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1_u32;
            let mut word = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if is_word(c) && depth == 1 {
                    word.push(c);
                } else if depth <= 1 && (c == ',' || c == '}' || c == ':') {
                    if !word.is_empty() && word.chars().next().is_some_and(char::is_lowercase) {
                        found.insert(std::mem::take(&mut word));
                    }
                    word.clear();
                    if c == ':' {
                        word.push('\0'); // what follows is inside of that module
                    }
                }
                if depth == 0 {
                    break;
                }
            }
        } else {
            found.insert(rest.chars().take_while(|c| is_word(*c)).collect());
        }
    }
    found
}

fn rank(module: &str) -> usize {
    LAYERS.iter().position(|it| *it == module).unwrap_or_else(|| panic!("{module} is not in THE list"))
}

#[test]
fn a_module_uses_only_what_stands_before_it() {
    let found = uses(
        "use crate::{clock::Clock, state::{Root, Roots}, token};\nuse crate::store::Store; mycrate::rpc",
    );
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["clock", "state", "store", "token"]);
    let mut wrong = Vec::new();
    let mut edges = 0;
    let is_server = |source: &&Source| source.module != "lib" && !source.module.contains('/');
    for source in sources().iter().filter(is_server) {
        let own = rank(&source.module);
        // The program uses its library by name.
        let code = if source.module == "main" {
            source.code.replace("jeton::", "crate::")
        } else {
            source.code.clone()
        };
        for used in uses(&code).into_iter().filter(|used| *used != source.module) {
            edges += 1;
            if rank(&used) >= own {
                wrong.push(format!("{} uses {used}", source.path));
            }
        }
    }
    assert!(edges > 100, "the uses were read: {edges}");
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn a_crate_uses_only_what_stands_below_it() {
    for (directory, may) in CRATES {
        let used = dependencies(directory, "dependencies");
        assert!(!used.is_empty(), "{directory} was read");
        let ours = used.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("jeton"));
        assert_eq!(ours.collect::<Vec<_>>(), may, "{directory}");
    }
    let members: BTreeSet<_> = fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| format!("crates/{}", entry.unwrap().file_name().into_string().unwrap()))
        .collect();
    let known = CRATES.map(|(directory, _)| directory.to_owned());
    let unknown: Vec<_> = members.difference(&known.into_iter().collect()).cloned().collect();
    assert_eq!(unknown, [""; 0], "each is in the table");
}

#[test]
fn a_verifier_needs_no_server() {
    for directory in VERIFIER {
        for (name, rest) in dependencies(directory, "dependencies") {
            let only_sync = name == "tokio" && rest.contains(r#"features = ["sync"]"#);
            assert!(
                !NOT_IN_A_VERIFIER.contains(&name.as_str()) || only_sync,
                "{directory} uses {name}{rest}"
            );
        }
    }
}

#[test]
fn a_library_is_named_only_where_it_belongs() {
    assert!(names("use sqlx::query;", "sqlx") && names("let x = sqlx::query(1)", "sqlx"));
    assert!(!names("jiff_sqlx::ToSqlx", "sqlx") && !names("\"info,sqlx=warn\"", "sqlx"));
    let mut wrong = Vec::new();
    for source in sources() {
        for (library, modules) in LIBRARIES {
            if names(&source.code, library) && !modules.contains(&source.module.as_str()) {
                wrong.push(format!("{} names {library}", source.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
    for (library, modules) in LIBRARIES {
        let used =
            sources().iter().any(|it| modules.contains(&it.module.as_str()) && names(&it.code, library));
        assert!(used, "{library} is used at all: the rule can fail");
    }
}

#[test]
fn the_system_clock_and_the_environment_are_read_in_one_place_each() {
    const CLOCKS: [&str; 7] = [
        "SystemTime",
        "std::time::Instant",
        "Timestamp::now",
        "Zoned::now",
        "clock_gettime",
        "UNIX_EPOCH.elapsed",
        "new_uuid_v7()",
    ];
    // PATH is the system's: it says where Postgres is, and configures nothing of jeton's.
    const ENVIRONMENT: [&str; 3] = [
        "main.rs",
        "crates/jeton-postgres/src/binaries.rs",
        "crates/jeton-postgres/src/bin/with-postgres.rs",
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        for clock in CLOCKS {
            if !source.path.ends_with("/clock.rs") && source.code.contains(clock) {
                wrong.push(format!("{} calls {clock}", source.path));
            }
        }
        let reads = ["env::var", "env::vars", "env::args", "env::set_var"];
        if !ENVIRONMENT.contains(&source.path.as_str()) && reads.iter().any(|read| source.code.contains(read))
        {
            wrong.push(format!("{} reads the environment", source.path));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn files_stay_short_and_say_what_they_are() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{} has {lines} lines", source.path));
        }
        if !source.text.starts_with("//! ") {
            wrong.push(format!("{} does not say what it is", source.path));
        }
        for left in ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("] {
            if source.text.contains(left) {
                wrong.push(format!("{} has a {left}", source.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn e1_every_reason_that_is_answered_is_in_the_catalogue() {
    let is_mapping = |source: &Source| source.path.starts_with("edge/refusal");
    let text: String = sources().into_iter().filter(is_mapping).map(|source| source.code).collect();
    let is_reason = |word: &&str| {
        word.len() > 3
            && word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let reasons: BTreeSet<_> = text.split('"').skip(1).step_by(2).filter(is_reason).collect();
    assert!(reasons.len() > 20, "they were read: {reasons:?}");
    for reason in reasons {
        let name = format!("ERROR_REASON_{reason}");
        assert!(pb::ErrorReason::from_str_name(&name).is_some(), "{name}");
    }
}

/// The numbers of `docs/internals/behaviour.md`, without those that are not served yet.
fn owed() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/internals/behaviour.md")).unwrap();
    let duties = text.lines().filter_map(|line| line.strip_prefix("- "));
    let served = duties.filter(|duty| !duty.contains("*not served yet*"));
    served.map(|duty| duty.split(' ').next().unwrap().to_lowercase()).collect()
}

/// `fn v3_…`: the number that a test's name begins with, in every file of tests and beside the code.
fn named(text: &str) -> BTreeSet<String> {
    let functions = text.match_indices("fn ").map(|(at, prefix)| &text[at + prefix.len()..]);
    let numbers = functions.filter_map(|rest| {
        let number: String = rest.chars().take_while(|c| is_word(*c) && *c != '_').collect();
        let mut characters = number.chars();
        let is_number = characters.next().is_some_and(|c| "ivrkceo".contains(c))
            && number.len() > 1
            && characters.all(|c| c.is_ascii_digit())
            && rest[number.len()..].starts_with('_');
        is_number.then_some(number)
    });
    numbers.collect()
}

#[test]
fn every_number_of_behaviour_md_that_is_owed_is_named_by_a_test() {
    assert_eq!(
        named("async fn i5_x() fn e10_y() fn i_z() fn x1_y() fn v2()"),
        ["e10", "i5"].map(str::to_owned).into()
    );
    let mut found = BTreeSet::new();
    for path in ["src", "crates", "clients/rust", "tests"].into_iter().flat_map(rust_files) {
        found.extend(named(&fs::read_to_string(path).unwrap()));
    }
    let owed = owed();
    assert!(owed.len() > 50 && owed.contains("k9") && owed.contains("k18"), "they were read: {owed:?}");
    let missing: Vec<_> = owed.difference(&found).cloned().collect();
    assert_eq!(missing, [""; 0], "no test names these");
}

/// Only the lease check gives out a snapshot to look anything up in: so no code looks first and checks the lease
/// after. The replica's own condition and public facts need no lease check.
#[test]
fn v7_every_answer_from_memory_checks_the_lease_first() {
    const WITHOUT: [&str; 3] =
        ["authority/access/lease_check.rs", "authority/readiness.rs", "authority/discovery.rs"];
    let rooms = ["authority", "edge", "rpc", "http"];
    let mut checks = 0;
    for source in sources().iter().filter(|source| rooms.contains(&source.module.as_str())) {
        let looks = ["roots.current()", "roots.snapshot("].iter().any(|look| source.code.contains(look));
        assert!(
            !looks || WITHOUT.contains(&source.path.as_str()),
            "{} takes a root without the lease check",
            source.path
        );
        checks += usize::from(source.code.contains("roots.snapshot("));
    }
    assert_eq!(checks, 1, "one place takes snapshots");
    let judge =
        sources().into_iter().find(|source| source.path == "crates/jeton-state/src/evaluator.rs").unwrap();
    assert!(!judge.code.contains("lease"), "the lease is asked for before anything is judged");
}
