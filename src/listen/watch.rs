//! A worker's watch over a connection, and the end of idle connections.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{sync::oneshot, task::AbortHandle};

use crate::listen::{connection::Connection, queue::Calls};

/// The interval of looking at the connections.
pub(super) const TICK: Duration = Duration::from_secs(1);
/// A connection without a first request is ended after so many ticks.
const FIRST_REQUEST_TICKS: u32 = 5;
/// A connection without a further request is ended after so many ticks.
const IDLE_TICKS: u32 = 300;
/// A connection that was told to end and never had a request is cut off after so many ticks: nothing is in flight on
/// it. So is one whose certificate would not be accepted any more: calls in flight have that time.
const CUT_OFF_TICKS: u32 = 10;

/// As many connections may have ended and still be watched.
const SWEPT_MIN: usize = 32;

/// A connection must take one of so many parts of its waiting bytes within so many ticks, or is cut off.
const STALLED_PART: usize = 8;
const STALLED_TICKS: u32 = 20;

/// A connection, as its worker watches it.
pub(super) struct Open {
    calls: Arc<Calls>,
    connection: Arc<OnceLock<Arc<Connection>>>,
    stall: Stall,
    /// The number of calls at the last look.
    seen: u64,
    /// Ticks since there was a new one.
    quiet: u32,
    /// Ticks since its certificate would not be accepted any more.
    distrusted: Option<u32>,
    /// Taken when it is used.
    go: Option<oneshot::Sender<()>>,
    abort: Option<AbortHandle>,
}

impl Open {
    /// The watch over a connection with these calls, which ends when it is told.
    pub(super) fn new(
        calls: Arc<Calls>,
        connection: Arc<OnceLock<Arc<Connection>>>,
        go: oneshot::Sender<()>,
    ) -> Self {
        Self {
            calls,
            connection,
            stall: Stall::default(),
            seen: 0,
            quiet: 0,
            distrusted: None,
            go: Some(go),
            abort: None,
        }
    }

    /// Adds the task that serves it.
    pub(super) fn of(self, task: &tokio::task::JoinHandle<()>) -> Self {
        Self { abort: Some(task.abort_handle()), ..self }
    }

    fn has_ended(&self) -> bool {
        self.abort.as_ref().is_some_and(AbortHandle::is_finished)
    }

    /// Ends a connection that does nothing. False: it has ended. Activity is seen only if the connection's thread had
    /// time for all connections since the last look: otherwise arrived data may be unread.
    pub(super) fn look(&mut self, had_time: bool) -> bool {
        if self.has_ended() {
            return false;
        }
        self.look_at_certificate();
        let connection = self.connection.get();
        if !had_time {
            return true;
        }
        if connection.is_some_and(|it| self.stall.look(it)) {
            self.cut_off();
        }
        let requests = self.calls.begun();
        self.quiet = if requests == self.seen { self.quiet.saturating_add(1) } else { 0 };
        self.seen = requests;
        let patience = if requests == 0 { FIRST_REQUEST_TICKS } else { IDLE_TICKS };
        if self.go.is_some() && self.quiet >= patience {
            self.let_go();
        } else if self.go.is_none() && requests == 0 && self.quiet >= CUT_OFF_TICKS {
            self.cut_off();
        }
        true
    }

    /// Ends a connection whose certificate would not be accepted any more, and cuts it off some time later.
    fn look_at_certificate(&mut self) {
        if let Some(ticks) = self.distrusted.as_mut() {
            *ticks = ticks.saturating_add(1);
            if *ticks >= CUT_OFF_TICKS {
                self.cut_off();
            }
        } else if self.connection.get().is_some_and(|connection| !connection.is_trusted()) {
            self.distrusted = Some(0);
            self.let_go();
        }
    }

    fn cut_off(&self) {
        self.abort.iter().for_each(AbortHandle::abort);
    }

    /// Calls in flight on it are still answered.
    pub(super) fn let_go(&mut self) {
        if let Some(go) = self.go.take() {
            // If nobody receives it, the connection has ended by itself.
            let _unheard = go.send(());
        }
    }
}

/// The connections of one worker.
#[derive(Default)]
pub(super) struct Watch {
    open: Vec<Open>,
    /// With so many, those that have ended are dropped.
    sweep_at: usize,
}

impl Watch {
    /// Adds a connection. The memory of a task stays until its watch is dropped: so ended connections are dropped as soon
    /// as they may be as many as the others, and not at the next tick, before which a peer can begin and end thousands.
    pub(super) fn add(&mut self, one: Open) {
        if self.open.len() >= self.sweep_at {
            self.open.retain(|one| !one.has_ended());
            self.sweep_at = self.open.len().saturating_mul(2).max(SWEPT_MIN);
        }
        self.open.push(one);
    }

    /// Looks at all of them, and drops those that have ended.
    pub(super) fn look(&mut self, had_time: bool) {
        self.open.retain_mut(|one| one.look(had_time));
    }

    /// Tells all of them to end.
    pub(super) fn let_go(&mut self) {
        self.open.iter_mut().for_each(Open::let_go);
    }
}

/// The bytes of its answers that a connection has taken recently.
#[derive(Default)]
struct Stall {
    ticks: u32,
    waited: usize,
    taken: usize,
}

impl Stall {
    /// Looks at a connection, and records for how long it has taken too little.
    fn look(&mut self, connection: &Connection) -> bool {
        let is_stalled = self.look_at(connection.account().answers());
        connection.account().has_stalled_for(self.ticks);
        is_stalled
    }

    /// Looks at waiting and taken bytes. Returns whether too few of the bytes that waited some time ago were taken
    /// since.
    fn look_at(&mut self, (waiting, taken): (usize, usize)) -> bool {
        let took = taken.wrapping_sub(self.taken);
        if took >= self.waited.div_ceil(STALLED_PART) {
            *self = Self { ticks: 0, waited: waiting, taken };
            return false;
        }
        self.ticks = self.ticks.saturating_add(1);
        self.ticks >= STALLED_TICKS
    }
}

#[cfg(test)]
mod tests {
    use oneshot::error::TryRecvError;

    use super::*;
    use crate::listen::queue::Queue;

    fn open() -> (Open, Arc<Calls>, oneshot::Receiver<()>) {
        let calls = Calls::on(Arc::new(Queue::of("test")));
        let (go, told) = oneshot::channel();
        (Open::new(Arc::clone(&calls), Arc::default(), go), calls, told)
    }

    /// The number of looks after which it is told to end.
    fn looks(open: &mut Open, told: &mut oneshot::Receiver<()>) -> u64 {
        let mut looks = 0_u64;
        while told.try_recv() == Err(TryRecvError::Empty) && looks < 10_000 {
            assert!(open.look(true), "it has not ended");
            looks = looks.saturating_add(1);
        }
        looks
    }

    fn seconds(looks: u64) -> u64 {
        looks.saturating_mul(TICK.as_secs())
    }

    #[test]
    fn e5_an_idle_connection_is_let_go_after_5_minutes() {
        let (mut open, calls, mut told) = open();
        // A connection that is used from time to time stays for as long as it likes.
        for _ in 0..5 {
            drop(calls.begin());
            for _ in 0..IDLE_TICKS {
                open.look(true);
            }
            assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
        }
        drop(calls.begin());
        assert!(open.look(true));
        assert_eq!(seconds(looks(&mut open, &mut told)), 5 * 60);
    }

    #[test]
    fn e5_a_connection_without_a_first_request_is_let_go_after_5_seconds() {
        let (mut open, _calls, mut told) = open();
        assert_eq!(seconds(looks(&mut open, &mut told)), 5);
    }

    #[test]
    fn e5_a_connection_whose_thread_had_no_time_for_it_is_not_let_go() {
        let (mut open, _calls, mut told) = open();
        for _ in 0..10 * IDLE_TICKS {
            open.look(false);
        }
        assert_eq!(told.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(seconds(looks(&mut open, &mut told)), 5);
    }

    #[test]
    fn e5_a_connection_that_takes_too_little_of_what_waits_for_it_is_cut_off() {
        let looks = |answers: &dyn Fn(usize) -> (usize, usize)| {
            let mut stall = Stall::default();
            (0..1_000).find(|tick| stall.look_at(answers(*tick)))
        };
        assert_eq!(looks(&|_| (0, 5)), None, "nothing waits");
        assert_eq!(looks(&|_| (100, 0)), Some(20), "nothing is taken");
        assert_eq!(looks(&|tick| (1_000, 6 * tick)), Some(20), "too little is taken");
        assert_eq!(looks(&|tick| (1_000, 7 * tick)), None, "it is slow, but goes on");
    }

    #[tokio::test]
    async fn e15_connections_that_have_ended_hold_no_memory_until_the_next_look() {
        let mut watch = Watch::default();
        let live = tokio::spawn(std::future::pending());
        watch.add(open().0.of(&live));
        for _ in 0..10_000 {
            let ended = tokio::spawn(std::future::ready(()));
            let one = open().0.of(&ended);
            let _done = ended.await;
            watch.add(one);
            assert!(watch.open.len() <= SWEPT_MIN.saturating_add(1));
        }
        watch.look(true);
        assert_eq!(watch.open.len(), 1, "the one that lives is still watched");
    }

    /// A request that arrives at the moment of the goodbye is answered.
    #[tokio::test]
    async fn e5_one_that_does_not_go_is_cut_off_only_where_nothing_is_in_flight() {
        for (late, ends) in [(false, true), (true, false)] {
            let (open, calls, mut told) = open();
            let task = tokio::spawn(std::future::pending());
            let mut open = open.of(&task);
            looks(&mut open, &mut told);
            let _late = late.then(|| calls.begin());
            for _ in 0..u64::from(IDLE_TICKS) {
                open.look(true);
                tokio::task::yield_now().await;
            }
            assert_eq!(task.is_finished(), ends);
        }
    }
}
