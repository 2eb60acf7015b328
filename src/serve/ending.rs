//! How a server ends: what ends when, and within which time.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Leave,
    opening::{Ends, Open},
};
use crate::{replica::tell_heads, store::Store};

/// What ends after the calls in flight have, or were cut off; less, where less than twice as much is left for all.
const END: Duration = Duration::from_secs(3);
/// What calls in flight have when the listeners take no more connections, unless something else is said.
const CALLS: Duration = Duration::from_secs(10);
/// From then to the end, unless something else is said.
pub(super) const DRAIN_TIMEOUT: Duration = CALLS.saturating_add(END);

/// When the end is over at last, and how long it may take from the signal.
#[derive(Clone, Copy)]
pub(super) struct TimeToEnd {
    by: Instant,
    of: Duration,
}

impl TimeToEnd {
    /// So long from now on.
    pub(super) fn from_now(time: Duration) -> Self {
        let now = Instant::now();
        Self { by: now.checked_add(time).unwrap_or(now), of: time }
    }

    /// So long before the end.
    fn before(self, rest: Duration) -> Instant {
        self.by.checked_sub(rest).unwrap_or(self.by)
    }
}

/// Ends the listeners, what goes on behind them, the tasks, and the ops listener, in this order and within the time.
pub(super) async fn end(
    mut serving: Open,
    ends: &Ends,
    (leave, time): (Option<&Leave>, TimeToEnd),
    store: &Store,
    (tasks, mut behind): (&CancellationToken, JoinSet<()>),
) {
    if let Some(leave) = leave {
        // Whoever balances sees that this server is not ready, and sends no more; what is sent until then is served.
        let rest = DRAIN_TIMEOUT.min(time.of.checked_div(2).unwrap_or_default());
        let delay = leave.delay.min(time.of.saturating_sub(rest));
        tokio::select! {
            () = sleep(delay) => {}
            () = leave.hurry.cancelled() => {}
        }
    }
    ends.listeners.cancel();
    let after = END.min(time.of.checked_div(2).unwrap_or_default());
    let calls = async {
        serving.drained().await;
        serving.background.done().await;
    };
    if timeout_at(time.before(after), calls).await.is_err() {
        tracing::warn!("calls were still in flight when the time to end was over: they are cut off");
        ends.calls.cancel();
    }
    tasks.cancel();
    let ended = async {
        // Ended by the token; a panic was logged where it happened.
        while behind.join_next().await.is_some() {}
        store.close().await;
    };
    if timeout_at(time.before(after.checked_div(4).unwrap_or_default()), ended).await.is_err() {
        // A database that hangs must not keep us: it notices that we are gone.
        tracing::warn!("the database did not let go in time");
    }
    // Each task has written its last audit row.
    tell_heads(store);
    // Probes are answered until there is nothing left to end.
    ends.probes.cancel();
    if timeout_at(time.by, serving.ended()).await.is_err() {
        tracing::warn!("the ops listener did not end in time");
    }
}
