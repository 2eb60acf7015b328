//! What this process takes of its machine: limits, set once at the start, and turns.

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit},
    thread::disable_transparent_huge_pages,
};

/// Keeps keys out of core dumps, and memory to the pages that are used: a touched page must not take two megabytes. If
/// the system refuses, nothing depends on it.
pub fn settle() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _refused = setrlimit(Resource::Core, none);
    let _refused = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _refused = disable_transparent_huge_pages(true);
}

/// Raises the limit of open descriptors to what this process may have, and returns it.
#[must_use]
pub fn raise_descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
    let current = getrlimit(Resource::Nofile).current;
    current.and_then(|current| usize::try_from(current).ok()).unwrap_or(usize::MAX)
}

/// Lets others have their turn between two parts of long work: the other threads of this core, which would wait for
/// the milliseconds that the system gives each, and the other tasks of this thread.
pub async fn others_first() {
    std::thread::yield_now();
    tokio::task::yield_now().await;
}
