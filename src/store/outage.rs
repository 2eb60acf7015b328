//! Says once when the database goes out of reach, and once when it is back, however many connections find out.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::StoreError;

/// Where another statement was answered so shortly before, one that was late was late by itself. A server reads the log
/// several times in it.
const LATE_ALONE: Duration = Duration::from_secs(1);

/// The connections whose latest attempt failed.
pub(super) struct Outage {
    /// Host and database, for people.
    at: Arc<str>,
    failing: Mutex<Vec<u32>>,
    /// Whether there is one: what every success looks at.
    any: AtomicBool,
    ids: AtomicU32,
    begun: Instant,
    /// When a statement was answered last, milliseconds since `begun`; below 0: none was.
    answered_ms: AtomicI64,
}

impl Outage {
    pub(super) fn new(at: Arc<str>) -> Self {
        Self {
            at,
            failing: Mutex::default(),
            any: AtomicBool::default(),
            ids: AtomicU32::default(),
            begun: Instant::now(),
            answered_ms: AtomicI64::new(-1),
        }
    }

    /// An id for one who reports here.
    pub(super) fn id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes note of what came of an attempt of the connection `id`, which is called `name`.
    pub(super) fn note<T>(&self, id: u32, name: &str, done: &Result<T, StoreError>) {
        match done {
            Err(error @ StoreError::Late) if self.answers() => {
                tracing::debug!(error = %error, jeton.connection = name, "a statement was given up");
            }
            Err(error @ (StoreError::Unreachable(_) | StoreError::Unfit(_) | StoreError::Late)) => {
                self.failed(id, name, error);
            }
            // Whatever else it says, it answers.
            Ok(_) | Err(_) => {
                self.answered_ms.store(self.now_ms(), Ordering::Relaxed);
                self.forget(id);
            }
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Whether a statement was answered a moment ago.
    fn answers(&self) -> bool {
        let answered_ms = self.answered_ms.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.now_ms().saturating_sub(answered_ms).unsigned_abs());
        answered_ms >= 0 && since < LATE_ALONE
    }

    fn failed(&self, id: u32, name: &str, error: &StoreError) {
        if self.answered_ms.load(Ordering::Relaxed) < 0 {
            // It was never there: whoever starts says why it does not.
            return;
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if failing.is_empty() {
            tracing::error!(
                error = %error,
                jeton.database = %self.at,
                jeton.connection = name,
                "the database has gone: answers end with the lease"
            );
        } else {
            tracing::debug!(error = %error, jeton.connection = name, "the database is still away");
        }
        if !failing.contains(&id) {
            failing.push(id);
        }
        self.any.store(true, Ordering::Relaxed);
    }

    /// The connection `id` works again, or is no more.
    pub(super) fn forget(&self, id: u32) {
        if !self.any.load(Ordering::Relaxed) {
            return;
        }
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = failing.len();
        failing.retain(|each| *each != id);
        if failing.is_empty() && before > 0 {
            self.any.store(false, Ordering::Relaxed);
            tracing::info!(jeton.database = %self.at, "the database is back");
        }
    }
}
