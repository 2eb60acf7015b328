//! Waiting for what must come about, on a machine that may be slow.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// For how long something is waited for that must come about: a machine may be slow, a promise may not be late for ever.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// Between two tries of a call.
const AGAIN: Duration = Duration::from_millis(20);

/// Waits until something holds, looking often. Fails, naming it, when it does not within reason.
pub async fn until(what: &str, holds: impl AsyncFnMut() -> bool) {
    until_within(PATIENCE, what, holds).await;
}

/// The same with a patience of its own: for what takes a good part of the usual one on a quick machine.
pub async fn until_within(patience: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let looked = tokio::time::timeout(patience, async {
        while !holds().await {
            sleep(LOOK).await;
        }
    });
    assert!(looked.await.is_ok(), "not within {patience:?}: {what}");
}

/// Returns whether a refusal is one of a server without time: it cannot prove its state to be fresh, the database does
/// not answer in time, or it is overloaded. Such a refusal says when to retry.
pub fn is_for_now(status: &Status) -> bool {
    let Some(info) = status.get_details_error_info() else { return false };
    let asks_again = status.get_details_retry_info().is_some();
    asks_again
        && matches!(
            (status.code(), info.reason.as_str()),
            (Code::Unavailable, "REVOCATION_STATE_STALE" | "STORE_UNAVAILABLE")
                | (Code::ResourceExhausted, "OVERLOADED")
        )
}

/// Repeats calls that were refused for now.
pub struct Patience(Instant);

impl Patience {
    pub fn begin() -> Self {
        Self(Instant::now())
    }

    /// Returns whether to retry after this refusal. Waits a moment before.
    pub async fn bears(&self, refusal: &Status) -> bool {
        self.bears_if(is_for_now(refusal)).await
    }

    /// The same, where the caller knows whether the refusal was for now.
    pub async fn bears_if(&self, for_now: bool) -> bool {
        let bears = for_now && self.0.elapsed() < PATIENCE;
        if bears {
            sleep(AGAIN).await;
        }
        bears
    }
}
