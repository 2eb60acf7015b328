//! How calls wait for their thread, and whether more of them are waiting than it has time for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

/// A wait that is none to speak of.
const WAIT_FINE: Duration = Duration::from_millis(50);
/// For how long the thread has had no rest before it counts as crowded. What comes at once, however much, is answered, if
/// late.
const STANDING: Duration = Duration::from_millis(500);
/// Calls in flight on a connection that asks for little: it is served whatever others ask for.
const FEW: u64 = 8;
/// Between two lines in the log about the same.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// The calls that wait for one thread.
pub(super) struct Queue {
    began: Instant,
    listener: &'static str,
    /// Until when the thread had nothing to do, milliseconds from the beginning.
    rest: AtomicU64,
    /// When it was said that it is crowded; 0: never.
    said: AtomicU64,
}

impl Queue {
    pub(super) fn of(listener: &'static str) -> Self {
        let [rest, said] = Default::default();
        Self { began: Instant::now(), listener, rest, said }
    }

    /// The thread had nothing to do until now.
    pub(super) fn rested(&self) {
        self.rest.store(self.millis(Instant::now()), Ordering::Relaxed);
    }

    /// Whether a call that has waited for so long is one of more than there is time for.
    fn is_crowded(&self, waited: Duration, now: Instant) -> bool {
        if waited < WAIT_FINE {
            return false;
        }
        let now = self.millis(now);
        if now.saturating_sub(self.rest.load(Ordering::Relaxed)) < millis(STANDING) {
            return false;
        }
        let said = self.said.load(Ordering::Relaxed);
        if said == 0 || now.saturating_sub(said) >= millis(SAY_AGAIN) {
            self.said.store(now, Ordering::Relaxed);
            tracing::warn!(
                jeton.listener = self.listener,
                "more calls are waiting than there is time for: what would need a signature is refused"
            );
        }
        true
    }

    fn millis(&self, at: Instant) -> u64 {
        millis(at.saturating_duration_since(self.began))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The calls of one connection.
pub(super) struct Calls {
    queue: Arc<Queue>,
    begun: AtomicU64,
    ended: AtomicU64,
}

impl Calls {
    pub(super) fn on(queue: Arc<Queue>) -> Arc<Self> {
        let [begun, ended] = Default::default();
        Arc::new(Self { queue, begun, ended })
    }

    /// How many there were.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// One more.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Call { arrived: Instant::now(), of: Arc::clone(self) }
    }

    fn in_flight(&self) -> u64 {
        self.begun().saturating_sub(self.ended.load(Ordering::Relaxed))
    }
}

/// A call, from when the head of its request had been read.
pub struct Call {
    arrived: Instant,
    of: Arc<Calls>,
}

/// What a call finds when it has its first turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Turn {
    /// How long it has waited for that.
    pub waited: Duration,
    /// Whether its thread has long had no rest, the call had to wait, and its connection has more than a few in flight: what
    /// costs much had better be refused, so that the rest is answered in time.
    pub crowded: bool,
}

impl Call {
    /// When it arrived.
    #[must_use]
    pub const fn arrived(&self) -> Instant {
        self.arrived
    }

    /// Its first turn is now.
    #[must_use]
    pub fn turn(&self) -> Turn {
        let now = Instant::now();
        let waited = now.saturating_duration_since(self.arrived);
        let crowded = self.of.queue.is_crowded(waited, now) && self.of.in_flight() > FEW;
        Turn { waited, crowded }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.of.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const LONG: Duration = Duration::from_millis(60);

    fn long_ago(duration: Duration) -> Instant {
        Instant::now().checked_sub(duration).unwrap()
    }

    /// Whether it is crowded after so many milliseconds, for a call that has waited so long.
    fn crowded(queue: &Queue, at_ms: u64, waited: Duration) -> bool {
        queue.is_crowded(waited, queue.began.checked_add(Duration::from_millis(at_ms)).unwrap_or(queue.began))
    }

    #[test]
    fn e5_a_thread_without_rest_is_crowded_for_whom_it_has_kept_waiting() {
        let queue = Queue::of("test");
        assert!(!crowded(&queue, 499, LONG), "what came at once is answered");
        assert!(crowded(&queue, 500, LONG));
        assert!(!crowded(&queue, 501, Duration::from_millis(49)), "who has waited less is answered");
        assert!(crowded(&queue, 60_000, LONG));
        queue.rest.store(60_001, Ordering::Relaxed);
        assert!(!crowded(&queue, 60_500, LONG), "it has rested: then it begins anew");
        assert!(crowded(&queue, 60_501, LONG));
    }

    #[test]
    fn e5_a_thread_with_nothing_to_do_rests() {
        let queue = Queue::of("test");
        queue.rest.store(u64::MAX, Ordering::Relaxed);
        queue.rested();
        assert!(queue.rest.load(Ordering::Relaxed) < 60_000);
    }

    #[test]
    fn e5_a_connection_that_asks_for_little_is_served_in_any_crowd() {
        let busy = Queue { began: long_ago(Duration::from_mins(1)), ..Queue::of("test") };
        let calls = Calls::on(Arc::new(busy));
        // The thread began long ago, and has had no rest since.
        let one = || {
            let mut call = calls.begin();
            call.arrived = long_ago(LONG);
            call
        };
        let mut few: Vec<Call> = (0..FEW).map(|_| one()).collect();
        assert!(few.iter().all(|call| !call.turn().crowded));
        few.push(one());
        assert!(few.iter().all(|call| call.turn().crowded), "those who ask for more are");
        assert_eq!(calls.in_flight(), FEW + 1);
        few.truncate(1);
        assert_eq!((calls.in_flight(), calls.begun()), (1, FEW + 1));
    }
}
