//! Logs once when the database goes out of reach, and once when it is back, however many connections notice.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::store::StoreError;

/// If another statement was answered within this time, a late statement was late for reasons of its own. A server reads
/// the log several times within it.
const LATE_ALONE: Duration = Duration::from_secs(1);

/// The connections whose latest attempt failed.
pub(in crate::store) struct Outage {
    /// Host and database, for people.
    at: Arc<str>,
    failing: Mutex<Vec<u32>>,
    /// There is one; every success checks this.
    any: AtomicBool,
    ids: AtomicU32,
    begun: Instant,
    /// The time when a statement was last answered, milliseconds since `begun`; negative: never.
    answered_ms: AtomicI64,
}

impl Outage {
    pub(in crate::store) fn new(at: Arc<str>) -> Self {
        Self {
            at,
            failing: Mutex::default(),
            any: AtomicBool::default(),
            ids: AtomicU32::default(),
            begun: Instant::now(),
            answered_ms: AtomicI64::new(-1),
        }
    }

    /// An id for a connection that reports here.
    pub(in crate::store) fn id(&self) -> u32 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// Records the result of an attempt of the connection `id`, which is called `name`.
    pub(in crate::store) fn note<T>(&self, id: u32, name: &str, done: &Result<T, StoreError>) {
        match done {
            Err(error @ StoreError::Late) if self.answers() => {
                tracing::debug!(error = %error, jeton.connection = name, "a statement was given up");
            }
            Err(error @ (StoreError::Unreachable(_) | StoreError::Unfit(_) | StoreError::Late)) => {
                self.failed(id, name, error);
            }
            // It answers, whatever the answer.
            Ok(_) | Err(_) => {
                self.answered_ms.store(self.now_ms(), Ordering::Relaxed);
                self.forget(id);
            }
        }
    }

    fn now_ms(&self) -> i64 {
        i64::try_from(self.begun.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    /// Returns whether a statement was answered recently.
    fn answers(&self) -> bool {
        let answered_ms = self.answered_ms.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.now_ms().saturating_sub(answered_ms).unsigned_abs());
        answered_ms >= 0 && since < LATE_ALONE
    }

    fn failed(&self, id: u32, name: &str, error: &StoreError) {
        if self.answered_ms.load(Ordering::Relaxed) < 0 {
            // The database was never there: the starting server reports that itself.
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

    /// The connection `id` works again, or is closed.
    pub(in crate::store) fn forget(&self, id: u32) {
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
