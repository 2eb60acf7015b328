//! How far a change has travelled, in words.

use std::time::Duration;

use crate::term::escape::escape;
use jeton_proto::v1::Propagation;

/// `4 ms`, `3.3 s`.
pub fn took(elapsed: Duration) -> String {
    if elapsed < Duration::from_secs(1) {
        format!("{} ms", elapsed.as_millis())
    } else {
        format!("{:.1} s", elapsed.as_secs_f64())
    }
}

/// `3/3 replicas`.
pub fn reach(propagation: &Propagation) -> String {
    let Propagation { applied_replicas, replicas, applied_watchers, watchers, .. } = propagation;
    let watched =
        if *watchers > 0 { format!(", {applied_watchers}/{watchers} watchers") } else { String::new() };
    format!("{applied_replicas}/{replicas} replicas{watched}")
}

/// The replicas that have not applied it, and the consequence.
pub fn missing(propagation: &Propagation, local: bool) -> String {
    let Propagation { complete, applied_replicas, replicas, laggards, .. } = propagation;
    let laggards: Vec<_> = laggards.iter().map(String::as_str).collect();
    let who = match laggards.as_slice() {
        [] if applied_replicas >= replicas => return String::new(),
        [] => "the rest".to_owned(),
        laggards => names(laggards),
    };
    match (complete, local) {
        (true, true) => format!(" ({who}: not waited for)"),
        (true, false) => format!(" ({who} did not answer and can hold no lease any more)"),
        (false, _) => format!(" (not yet: {who})"),
    }
}

/// The most names: more would scroll the sentence away.
const NAMES_MAX: usize = 3;

/// `dev-1, dev-2, dev-3 and 4 more`.
pub fn names(all: &[&str]) -> String {
    first_names(all, NAMES_MAX)
}

/// The first `most` names, and the number of the others.
pub fn first_names(all: &[&str], most: usize) -> String {
    let named = all.iter().take(most).map(|name| escape(name)).collect::<Vec<_>>().join(", ");
    match all.len().saturating_sub(most) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
