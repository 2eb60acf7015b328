//! Measures how long calls wait for their thread, and tells when a thread is overloaded.
//!
//! Overloaded means: the thread has *worked* for half a second without a rest, and calls still have to wait. Work is
//! counted in CPU time of the thread. Wall time would not distinguish a thread that has too much to do from one that
//! the machine does not run: on a machine that is busy with something else, calls wait although there is little to do,
//! and refusing them would help nobody.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use crate::listen::wakes::{Wakes, arrived_us};
use jeton_state::clock;

/// Calls that waited less than this are never shed.
const WAIT_FINE: Duration = Duration::from_millis(50);
/// CPU time that a thread spends on a backlog before it counts as overloaded. A burst that takes less is answered, if
/// late.
const BACKLOG_CPU_MS: i64 = 500;
/// Calls, and signatures of batches, that a client with few calls has in flight on one thread: it is served whatever
/// others send. Until a caller has authenticated on it, a connection counts by itself.
const FEW: u64 = 8;
/// More clients than call one thread at once: above this, those without a connection are forgotten.
const CLIENTS_MAX: usize = 1_024;
/// The interval of repeated log lines.
const SAY_AGAIN: Duration = Duration::from_secs(10);
/// No rest has this number.
const NONE: u64 = u64::MAX;

/// The calls that wait for one thread. Only that thread changes it.
pub(super) struct Queue {
    began: Instant,
    listener: &'static str,
    /// The number of times that the thread had nothing to do.
    rests: AtomicU64,
    /// The times when it had something to do again.
    wakes: Wakes,
    /// The number of the rest after which the present backlog was first seen; [`NONE`] before the first.
    backlog_after: AtomicU64,
    /// CPU time of the thread when that backlog was first seen, milliseconds.
    backlog_cpu_ms: AtomicI64,
    /// The number of the rest after which a call was last found to wait for an overloaded thread; [`NONE`] before the
    /// first.
    overloaded_after: AtomicU64,
    /// The time when the log last said that the thread is overloaded, milliseconds from `began`; 0: never.
    said: AtomicU64,
    /// The calls in flight of each client, on all its connections together.
    clients: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

impl Queue {
    pub(super) fn of(listener: &'static str) -> Self {
        Self {
            began: Instant::now(),
            listener,
            rests: AtomicU64::new(0),
            wakes: Wakes::begin(clock::boot_us()),
            backlog_after: AtomicU64::new(NONE),
            backlog_cpu_ms: AtomicI64::new(0),
            overloaded_after: AtomicU64::new(NONE),
            said: AtomicU64::new(0),
            clients: Mutex::default(),
        }
    }

    /// The calls in flight of this client.
    fn of_client(&self, client_id: &str) -> Arc<AtomicU64> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, count| Arc::strong_count(count) > 1);
        }
        Arc::clone(clients.entry(client_id.to_owned()).or_default())
    }

    /// Records that the thread had nothing to do until now.
    pub(super) fn rested(&self) {
        self.wakes.wake(clock::boot_us());
        // A load and a store: no other thread writes it.
        self.rests.store(self.rests.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// The number of times that the thread had nothing to do.
    pub(super) fn rests(&self) -> u64 {
        self.rests.load(Ordering::Relaxed)
    }

    /// Returns whether the thread is overloaded, for a call that has waited for `waited`. `cpu_ms` reads the CPU time
    /// of the thread; it is a system call, so it is made only for calls that had to wait.
    fn is_overloaded(&self, waited: Duration, cpu_ms: impl FnOnce() -> i64) -> bool {
        if waited < WAIT_FINE {
            return false;
        }
        let (rests, cpu_ms) = (self.rests.load(Ordering::Relaxed), cpu_ms());
        if self.backlog_after.load(Ordering::Relaxed) != rests {
            self.backlog_after.store(rests, Ordering::Relaxed);
            self.backlog_cpu_ms.store(cpu_ms, Ordering::Relaxed);
            return false;
        }
        let overloaded = cpu_ms.saturating_sub(self.backlog_cpu_ms.load(Ordering::Relaxed)) >= BACKLOG_CPU_MS;
        if overloaded {
            self.overloaded_after.store(rests, Ordering::Relaxed);
        }
        overloaded
    }

    /// Returns whether a call was found to wait for an overloaded thread since the thread last rested.
    fn is_still_overloaded(&self) -> bool {
        self.overloaded_after.load(Ordering::Relaxed) == self.rests.load(Ordering::Relaxed)
    }

    /// Logs that calls are refused, at intervals.
    fn say_overloaded(&self, now: Instant) {
        let now = millis(now.saturating_duration_since(self.began)).max(1);
        let said = self.said.load(Ordering::Relaxed);
        if said == 0 || now.saturating_sub(said) >= millis(SAY_AGAIN) {
            self.said.store(now, Ordering::Relaxed);
            tracing::warn!(
                jeton.listener = self.listener,
                "this thread is overloaded: calls that need a signature are refused"
            );
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The calls of one connection.
pub(super) struct Calls {
    queue: Arc<Queue>,
    /// The time since when the first of them may have been there: boot clock, microseconds.
    taken_since_us: i64,
    begun: AtomicU64,
    ended: AtomicU64,
    /// The calls in flight of its client on this thread, once a caller has authenticated.
    client: OnceLock<Arc<AtomicU64>>,
}

impl Calls {
    pub(super) fn on(queue: Arc<Queue>) -> Arc<Self> {
        let [begun, ended] = Default::default();
        let taken_since_us = queue.wakes.taken_since_us();
        Arc::new(Self { queue, taken_since_us, begun, ended, client: OnceLock::new() })
    }

    /// Records that this client has authenticated: calls in flight count for it from now on.
    pub(super) fn authenticated(&self, client_id: &str) {
        if self.client.get().is_some() {
            return;
        }
        let client = self.queue.of_client(client_id);
        client.fetch_add(self.own_in_flight(), Ordering::Relaxed);
        // Set only on its own thread: nobody else has set it meanwhile.
        let _set = self.client.set(client);
    }

    /// The number of calls so far.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// Begins a call.
    pub(super) fn begin(self: &Arc<Self>) -> Call {
        let since_us = self.queue.wakes.since_us();
        let since_us = if self.begun() == 0 { since_us.min(self.taken_since_us) } else { since_us };
        self.add(1);
        Call { arrival: Arrival { read: Instant::now(), since_us }, of: Arc::clone(self) }
    }

    /// The time when data that is read now arrived: boot clock, microseconds.
    pub(super) fn arrived_us(&self) -> i64 {
        arrived_us(self.queue.wakes.since_us(), clock::boot_us())
    }

    /// Counts signatures that are to be verified for one call, as calls, until they have been verified.
    pub(super) fn weigh(self: &Arc<Self>, signatures: usize) -> Weight {
        let signatures = u64::try_from(signatures).unwrap_or(u64::MAX);
        self.add(signatures);
        Weight { of: Arc::clone(self), signatures }
    }

    fn add(&self, calls: u64) {
        self.begun.fetch_add(calls, Ordering::Relaxed);
        if let Some(client) = self.client.get() {
            client.fetch_add(calls, Ordering::Relaxed);
        }
    }

    fn remove(&self, calls: u64) {
        self.ended.fetch_add(calls, Ordering::Relaxed);
        if let Some(client) = self.client.get() {
            client.fetch_sub(calls, Ordering::Relaxed);
        }
    }

    /// The state of the thread for a call that has waited since then.
    fn turn(&self, since: Instant) -> Turn {
        let now = Instant::now();
        let waited = now.saturating_duration_since(since);
        // The backlog is counted first: it starts with the first call that waited, whichever client sent it.
        let overloaded = self.queue.is_overloaded(waited, clock::thread_cpu_ms);
        let shed_costly = overloaded && self.in_flight() > FEW;
        if shed_costly {
            self.queue.say_overloaded(now);
        }
        Turn { waited, overloaded, shed_costly }
    }

    /// The state of the thread for a message whose wait was not measured: that of the calls beside it.
    pub(super) fn unmeasured_turn(&self) -> Turn {
        let overloaded = self.queue.is_still_overloaded();
        let shed_costly = overloaded && self.in_flight() > FEW;
        Turn { waited: Duration::ZERO, overloaded, shed_costly }
    }

    fn own_in_flight(&self) -> u64 {
        self.begun().saturating_sub(self.ended.load(Ordering::Relaxed))
    }

    /// The calls in flight of its client; its own if no caller has authenticated.
    fn in_flight(&self) -> u64 {
        self.client.get().map_or_else(|| self.own_in_flight(), |client| client.load(Ordering::Relaxed))
    }
}

/// Signatures that are to be verified for one call.
pub struct Weight {
    of: Arc<Calls>,
    signatures: u64,
}

impl Weight {
    /// The state of the thread for a caller that has waited since then.
    #[must_use]
    pub fn turn(&self, since: Instant) -> Turn {
        self.of.turn(since)
    }

    /// Returns whether its client has more than a few in flight, these among them.
    #[must_use]
    pub fn is_much(&self) -> bool {
        self.of.in_flight() > FEW
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.of.remove(self.signatures);
    }
}

/// A call, from the time when the head of its request had been read.
pub struct Call {
    arrival: Arrival,
    of: Arc<Calls>,
}

/// The time when a call arrived.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    read: Instant,
    since_us: i64,
}

impl Arrival {
    /// The time when it was read.
    #[must_use]
    pub const fn read(self) -> Instant {
        self.read
    }

    /// The time when it arrived, boot clock, microseconds: when it was read, or, if its thread had stood still, when
    /// that began.
    #[must_use]
    pub fn us(self) -> i64 {
        let ago_us = i64::try_from(self.read.elapsed().as_micros()).unwrap_or(i64::MAX);
        arrived_us(self.since_us, clock::boot_us().saturating_sub(ago_us))
    }
}

/// The state of the thread at the first turn of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Turn {
    /// The time that the call has waited for it.
    pub waited: Duration,
    /// The thread is overloaded, and the call had to wait.
    pub overloaded: bool,
    /// In addition its client has more than a few calls in flight: calls that need a signature are then refused, so
    /// that others are answered in time.
    pub shed_costly: bool,
}

impl Call {
    /// The time when it arrived.
    #[must_use]
    pub const fn arrival(&self) -> Arrival {
        self.arrival
    }

    /// Records that its first turn is now.
    #[must_use]
    pub fn turn(&self) -> Turn {
        self.of.turn(self.arrival.read)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.of.remove(1);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;

    const LONG: Duration = Duration::from_millis(60);

    fn long_ago(duration: Duration) -> Instant {
        Instant::now().checked_sub(duration).unwrap()
    }

    #[test]
    fn e5_a_thread_that_worked_half_a_second_without_a_rest_is_overloaded_for_calls_that_waited() {
        let queue = Queue::of("test");
        let overloaded = |cpu_ms: i64, waited| queue.is_overloaded(waited, || cpu_ms);
        assert!(!overloaded(7_000, LONG), "the work that it did before is not a backlog");
        assert!(!overloaded(7_499, LONG), "a burst is answered");
        assert!(overloaded(7_500, LONG));
        assert!(!overloaded(7_501, Duration::from_millis(49)), "a call that waited for less is answered");
        assert!(overloaded(60_000, LONG));
        assert!(queue.is_still_overloaded(), "for messages whose wait is not measured");
        queue.rested();
        assert!(!queue.is_still_overloaded());
        assert!(!overloaded(60_001, LONG), "after a rest it counts from there");
        assert!(!overloaded(60_500, LONG));
        assert!(overloaded(60_501, LONG));
    }

    #[test]
    fn e5_a_thread_that_the_machine_does_not_let_run_is_not_overloaded() {
        let queue = Queue::of("test");
        for cpu_ms in 0..BACKLOG_CPU_MS {
            // However long the calls have waited.
            assert!(!queue.is_overloaded(Duration::from_mins(1), || cpu_ms));
        }
    }

    #[test]
    fn e5_calls_that_need_not_wait_cost_no_system_call() {
        let queue = Queue::of("test");
        assert!(!queue.is_overloaded(Duration::from_millis(49), || panic!("the clock is not read")));
    }

    #[test]
    fn e5_a_connection_that_asks_for_little_is_served_in_any_crowd() {
        let busy = Queue::of("test");
        busy.backlog_after.store(0, Ordering::Relaxed);
        // This thread has used more CPU time than that since.
        busy.backlog_cpu_ms.store(i64::MIN, Ordering::Relaxed);
        let calls = Calls::on(Arc::new(busy));
        let one = || {
            let mut call = calls.begin();
            call.arrival.read = long_ago(LONG);
            call
        };
        let mut few: Vec<Call> = (0..FEW).map(|_| one()).collect();
        assert!(few.iter().all(|call| !call.turn().shed_costly));
        few.push(one());
        assert!(few.iter().all(|call| call.turn().shed_costly), "those who ask for more are");
        assert_eq!(calls.in_flight(), FEW + 1);
        few.truncate(1);
        assert_eq!((calls.in_flight(), calls.begun()), (1, FEW + 1));
    }

    #[test]
    fn e5_what_a_client_asks_for_counts_on_all_its_connections_and_by_the_signature() {
        let busy = Queue::of("test");
        busy.backlog_after.store(0, Ordering::Relaxed);
        busy.backlog_cpu_ms.store(i64::MIN, Ordering::Relaxed);
        let queue = Arc::new(busy);
        let connection = |client_id: &str| {
            let calls = Calls::on(Arc::clone(&queue));
            calls.authenticated(client_id);
            calls
        };
        let one = |calls: &Arc<Calls>| {
            let mut call = calls.begin();
            call.arrival.read = long_ago(LONG);
            call
        };
        let (much, little) = ([0; 9].map(|_| connection("much")), connection("little"));
        let calls: Vec<Call> = much.iter().map(one).collect();
        assert!(calls.iter().all(|call| call.turn().shed_costly), "one on each of nine connections");
        assert!(!one(&little).turn().shed_costly);
        drop(calls);
        let [first, ..] = &much;
        assert!(!one(first).turn().shed_costly);
        // A batch counts as many calls as it has signatures.
        let batch = little.weigh(8);
        assert!(!batch.is_much());
        let call = one(&little);
        assert!(batch.is_much() && call.turn().shed_costly && call.turn().overloaded);
        drop(batch);
        assert!(!call.turn().shed_costly);
        // Calls in flight when it authenticated are its client's, too.
        let late = Calls::on(Arc::clone(&queue));
        let early: Vec<Call> = (0..9).map(|_| one(&late)).collect();
        late.authenticated("late");
        assert_eq!(late.in_flight(), 9);
        drop(early);
        assert_eq!(late.in_flight(), 0);
    }
}
