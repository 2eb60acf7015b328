//! The times when a thread woke, and since when data that it reads may have been there. An idle thread wakes as soon as
//! something arrives, and each second in any case, until it is told to end. If it did not wake for longer, the process
//! was stopped, or got no time: what the thread reads next may have arrived at any moment since, and nobody can tell
//! when. To count it as older than it is does no harm.

use std::sync::atomic::{AtomicI64, Ordering};

/// A thread that wakes later than this after it last woke has stood still: half a second more than its ticks take.
const STOOD_STILL_US: i64 = 1_500_000;
/// A connection that is accepted so soon after that may have been opened, and used, meanwhile: accepting waits for its
/// turn, too.
const TAKEN_WITHIN_US: i64 = 5_000_000;

/// The times when a thread woke. Only that thread changes it. Boot clock, microseconds.
pub(super) struct Wakes {
    woke: AtomicI64,
    /// Since when data that it reads now may have been there.
    since: AtomicI64,
    /// The latest standstill: the time when the thread had woken before it, and when it woke after it.
    still_from: AtomicI64,
    still_until: AtomicI64,
}

impl Wakes {
    /// A thread that begins now.
    pub(super) fn begin(now_us: i64) -> Self {
        Self {
            woke: now_us.into(),
            since: now_us.into(),
            still_from: i64::MIN.into(),
            still_until: i64::MIN.into(),
        }
    }

    /// Records that the thread wakes now.
    pub(super) fn wake(&self, now_us: i64) {
        let before_us = self.woke.load(Ordering::Relaxed);
        self.woke.store(now_us, Ordering::Relaxed);
        let since_us = if now_us.saturating_sub(before_us) > STOOD_STILL_US {
            self.still_from.store(before_us, Ordering::Relaxed);
            self.still_until.store(now_us, Ordering::Relaxed);
            before_us
        } else if before_us == self.still_until.load(Ordering::Relaxed) {
            // It may have woken since it was stopped and continued, with nothing to read (EINTR of `epoll_wait`): it
            // reads the data from before now.
            self.still_from.load(Ordering::Relaxed)
        } else {
            now_us
        };
        self.since.store(since_us, Ordering::Relaxed);
    }

    /// Since when data that the thread reads now may have been there.
    pub(super) fn since_us(&self) -> i64 {
        self.since.load(Ordering::Relaxed)
    }

    /// Since when the first request on a connection that is accepted now may have been there.
    pub(super) fn taken_since_us(&self) -> i64 {
        let woke_us = self.woke.load(Ordering::Relaxed);
        let ago_us = woke_us.saturating_sub(self.still_until.load(Ordering::Relaxed));
        if ago_us < TAKEN_WITHIN_US { self.still_from.load(Ordering::Relaxed) } else { woke_us }
    }
}

/// The time when data arrived that was read at `read_us`, by a thread that may have been reading since `since_us`: the
/// same, unless the thread has stood still.
pub(super) fn arrived_us(since_us: i64, read_us: i64) -> i64 {
    if read_us.saturating_sub(since_us) > STOOD_STILL_US { since_us } else { read_us }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: i64 = 1_000_000;

    #[test]
    fn r10_what_is_read_after_a_standstill_may_have_come_since_it_began() {
        let wakes = Wakes::begin(100 * S);
        let read = |at_us| arrived_us(wakes.since_us(), at_us);
        assert_eq!(read(100 * S + 7), 100 * S + 7, "it is read as it comes");
        wakes.wake(101 * S);
        assert_eq!(read(101 * S + 7), 101 * S + 7);
        wakes.wake(104 * S);
        assert_eq!(read(104 * S + 7), 101 * S, "it stood still for three seconds");
        assert_eq!(read(105 * S), 101 * S, "as long as it has not read all");
        wakes.wake(104 * S + 9);
        assert_eq!(read(104 * S + 10), 101 * S, "nor when it is said only now what there is to read");
        wakes.wake(104 * S + 20);
        assert_eq!(read(104 * S + 21), 104 * S + 21);
    }

    #[test]
    fn r10_what_is_read_by_a_thread_that_found_no_rest_may_have_come_since_its_last() {
        let wakes = Wakes::begin(100 * S);
        assert_eq!(arrived_us(wakes.since_us(), 102 * S), 100 * S);
    }

    #[test]
    fn r10_a_connection_that_is_taken_soon_after_a_standstill_may_have_been_used_meanwhile() {
        let wakes = Wakes::begin(100 * S);
        assert_eq!(wakes.taken_since_us(), 100 * S);
        wakes.wake(104 * S);
        assert_eq!(wakes.taken_since_us(), 100 * S);
        wakes.wake(104 * S + 9);
        assert_eq!(wakes.taken_since_us(), 100 * S, "it was accepted a moment later");
        for at_us in [105 * S, 106 * S, 107 * S, 108 * S] {
            wakes.wake(at_us);
            assert_eq!(wakes.taken_since_us(), 100 * S);
        }
        wakes.wake(109 * S);
        assert_eq!(wakes.taken_since_us(), 109 * S);
    }
}
