//! Calls that are repeated while a server has no time.

use std::time::{Duration, Instant};

use jeton_testkit::PATIENCE;
use tokio::time::sleep;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// Between two tries of a call.
const AGAIN: Duration = Duration::from_millis(20);

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
