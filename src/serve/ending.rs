//! The end of a server: its steps, their order and their times.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    replica::tell_heads,
    serve::{
        Leave,
        opening::{Ends, Open},
    },
    store::Store,
};

/// The time for everything after the calls in flight; half of the total if that is less than twice this.
const END: Duration = Duration::from_secs(3);
/// The default time for calls in flight after the listeners accept no more connections.
const CALLS: Duration = Duration::from_secs(10);
/// The default time from then to the end.
pub(super) const DRAIN_TIMEOUT: Duration = CALLS.saturating_add(END);

/// The deadline of the end, and the time that it may take from the signal.
#[derive(Clone, Copy)]
pub(super) struct TimeToEnd {
    by: Instant,
    of: Duration,
}

impl TimeToEnd {
    /// A deadline so long from now.
    pub(super) fn from_now(time: Duration) -> Self {
        let now = Instant::now();
        Self { by: now.checked_add(time).unwrap_or(now), of: time }
    }

    /// An instant so long before the deadline.
    fn before(self, rest: Duration) -> Instant {
        self.by.checked_sub(rest).unwrap_or(self.by)
    }
}

/// Ends the listeners, the background work, the tasks and the ops listener, in this order and in time.
pub(super) async fn end(
    mut serving: Open,
    ends: &Ends,
    (leave, time): (Option<&Leave>, TimeToEnd),
    store: &Store,
    (tasks, mut behind): (&CancellationToken, JoinSet<()>),
) {
    if let Some(leave) = leave {
        // Balancers see that this server is not ready, and send no more; calls until then are served.
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
        // A database that hangs must not delay us: it notices that we are gone.
        tracing::warn!("the database did not let go in time");
    }
    // Each task has written its last audit row.
    tell_heads(store);
    // Probes are answered until nothing is left to end.
    ends.probes.cancel();
    if timeout_at(time.by, serving.ended()).await.is_err() {
        tracing::warn!("the ops listener did not end in time");
    }
}
