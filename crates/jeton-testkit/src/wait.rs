//! Waiting for what must come about, on a machine that may be slow.

use std::time::Duration;

use tokio::time::sleep;

/// For how long something is waited for that must come about: a machine may be slow, a promise may not be late for ever.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(10);
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
