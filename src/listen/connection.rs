//! One connection, as everything that serves it sees it: who is at its other end, and what is held for it.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hyper::body::Bytes;

use super::memory::{
    Budget, Full, Held, Memory, STRANGER_CALLS_PER_CONNECTION_MAX, STRANGER_REFUSALS_MAX,
    STRANGER_WAITING_BYTES_MAX, Side, StrangerCall, WAITING_BYTES_MAX,
};
use super::{CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES};
use super::{
    places::Standing,
    queue::{Calls, Weight},
};
use crate::tls::{Peer, ServerTls, ShownChain};

/// A stream of answers goes on while less than this waits to be taken on its connection. Bytes.
const STREAMED_BYTES_MAX: usize = 1024 * 1024;
/// And while it is less than this part of what is free of all: so that what is free is shared by however many there are.
const STREAMED_PART: usize = 4;
/// Calls on one connection whose messages do not come cost this besides what has come, but for the first. Bytes.
const CALL_BYTES: usize = 12 * 1024;
/// And those that stay open. Bytes.
const OPEN_CALL_BYTES: usize = 12 * 1024;

/// A connection. Each request has it in its extensions, as an `Arc`.
pub struct Connection {
    peer: Peer,
    /// What the peer showed, where it is still to be good when other files are in use.
    chain: Option<(ShownChain, Arc<ServerTls>)>,
    memory: Arc<Memory>,
    standing: Arc<Standing>,
    calls: Arc<Calls>,
    known: AtomicBool,
    /// What its client has of the memory, once it is known.
    client: OnceLock<Arc<Budget>>,
    arriving: Budget,
    waiting: Budget,
    stranger_calls: Budget,
    /// Bytes of answers that were taken since the beginning.
    taken: AtomicUsize,
    /// Streams that wait until less is waiting.
    parked: Mutex<Vec<Waker>>,
    /// Calls whose messages come for as long as the caller likes. Where answers wait, they are not read.
    streams: AtomicUsize,
    /// What is counted for what has come on them and was not read. Bytes.
    unread: AtomicUsize,
    /// Calls whose messages have not come.
    unfinished: AtomicUsize,
    /// Calls that stay open.
    staying: AtomicUsize,
    /// Calls that were refused, one after another, since too much waits to be taken.
    refusals: AtomicUsize,
    /// For how many looks it has taken too little of its answers.
    stalled: AtomicU32,
    /// What it held when it was told to end, and one more; 0: it was not.
    leaving: AtomicUsize,
    /// Its number among all that share the memory.
    number: u64,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.memory.exchange(self, self.unread.load(Ordering::Relaxed), 0);
        let leaving = self.leaving.load(Ordering::Relaxed).saturating_sub(1);
        self.memory.leave(self, self.number, leaving);
    }
}

impl Connection {
    pub(super) fn new(
        peer: Peer,
        chain: Option<(ShownChain, Arc<ServerTls>)>,
        memory: Arc<Memory>,
        standing: Arc<Standing>,
        calls: Arc<Calls>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|connection| Self {
            number: memory.enter(connection),
            peer,
            chain,
            memory,
            standing,
            calls,
            known: AtomicBool::new(false),
            client: OnceLock::new(),
            arriving: Budget::of(usize::MAX),
            waiting: Budget::of(WAITING_BYTES_MAX),
            stranger_calls: Budget::of(STRANGER_CALLS_PER_CONNECTION_MAX),
            taken: AtomicUsize::new(0),
            parked: Mutex::default(),
            streams: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(0),
            staying: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            stalled: AtomicU32::new(0),
            leaving: AtomicUsize::new(0),
        })
    }

    /// Who is at its other end.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether the certificate that the peer showed would still be taken.
    pub(super) fn is_trusted(&self) -> bool {
        self.chain.as_ref().is_none_or(|(chain, tls)| tls.still_takes(chain))
    }

    /// Whether somebody has authenticated on it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// This client has authenticated on it.
    pub fn authenticated(&self, client_id: &str) {
        if self.is_known() {
            return;
        }
        self.calls.authenticated(client_id);
        if self.standing.authenticated(client_id) {
            // What was counted for a stranger counts for the client from here on.
            self.memory.exchange(self, self.unread.swap(0, Ordering::Relaxed), 0);
            // On its own thread alone: nobody else has set it meanwhile.
            let _set = self.client.set(self.memory.of_client(client_id));
            self.known.store(true, Ordering::Relaxed);
            self.count_unread();
        }
    }

    /// Counts so many signatures that are to be verified for one call.
    #[must_use]
    pub fn weigh(&self, signatures: usize) -> Weight {
        self.calls.weigh(signatures)
    }

    /// When what is read of it now came, boot clock, microseconds: now, or, where its thread had stood still, when that
    /// began.
    #[must_use]
    pub fn came_us(&self) -> i64 {
        self.calls.came_us()
    }

    /// A request begins: one that has not authenticated makes room after those on which none has for longer.
    pub(super) fn begins(&self) {
        if !self.is_known() {
            self.standing.begins();
        }
    }

    /// Lets a call in that needs no credential, if there are not too many of them; `None`: somebody has authenticated
    /// here, and nothing is counted.
    pub fn stranger(self: &Arc<Self>) -> Result<Option<StrangerCall>, Full> {
        if self.is_known() { Ok(None) } else { StrangerCall::begin(self).map(Some) }
    }

    /// A count of the bytes of a message that arrives.
    #[must_use]
    pub fn arriving(self: &Arc<Self>) -> Held {
        Held::nothing(Arc::clone(self), Side::Arriving)
    }

    /// A count of the bytes of an answer.
    #[must_use]
    pub fn answering(self: &Arc<Self>) -> Held {
        Held::nothing(Arc::clone(self), Side::Waiting)
    }

    /// Refuses a further call while more waits to be taken on this connection than may, or nothing more fits; unless
    /// nothing waits on this one.
    pub fn has_room(&self) -> Result<(), Full> {
        let most = if self.is_known() { WAITING_BYTES_MAX } else { STRANGER_WAITING_BYTES_MAX };
        let waiting = self.waiting.held();
        let full = waiting > 0 && (waiting >= most || self.memory.free_for(self) == 0);
        if !full {
            self.refusals.store(0, Ordering::Relaxed);
            return Ok(());
        }
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed);
        if refusals >= STRANGER_REFUSALS_MAX && !self.is_known() && !self.is_leaving() {
            self.memory.cut_off(self);
        }
        Err(Full)
    }

    /// Bytes of an answer, counted until they are gone; `taken`: and taken then.
    pub(super) fn hold(self: &Arc<Self>, bytes: Bytes, taken: bool) -> Bytes {
        let held = self.answering().answer(bytes, taken);
        self.count_unread();
        held
    }

    /// What its client has of the memory.
    pub(super) fn client(&self) -> Option<&Budget> {
        self.client.get().map(Arc::as_ref)
    }

    /// Counts what may have come on its streams and is not read while answers wait: as much as HTTP/2 lets come.
    fn count_unread(&self) {
        let streams = self.streams.load(Ordering::Relaxed);
        if streams == 0 && self.unread.load(Ordering::Relaxed) == 0 {
            return;
        }
        let waits = self.waiting.held() > 0;
        let may_have_come = streams.saturating_mul(STREAM_WINDOW_BYTES).min(CONNECTION_WINDOW_BYTES);
        let now = if waits { may_have_come } else { 0 };
        let before = self.unread.swap(now, Ordering::Relaxed);
        if before != now {
            self.memory.exchange(self, before, now);
        }
    }

    /// A call begins whose messages come for as long as the caller likes.
    #[must_use]
    pub fn streaming(self: &Arc<Self>) -> Counted {
        Counted::one(self, |it| &it.streams)
    }

    /// A call waits for its message. Also what that costs besides.
    #[must_use]
    pub fn unfinished(self: &Arc<Self>) -> (Counted, usize) {
        let cost = if self.unfinished.load(Ordering::Relaxed) == 0 { 0 } else { CALL_BYTES };
        (Counted::one(self, |it| &it.unfinished), cost)
    }

    /// A call stays open for as long as the caller likes: beyond the first of its connection it costs something.
    pub fn stays_open(self: &Arc<Self>) -> Result<(Counted, Held), Full> {
        let cost = if self.staying.load(Ordering::Relaxed) == 0 { 0 } else { OPEN_CALL_BYTES };
        let mut held = self.arriving();
        held.charge(cost)?;
        Ok((Counted::one(self, |it| &it.staying), held))
    }

    /// How much of its answers may wait before a stream of it does, too.
    fn room(&self) -> usize {
        let free = self.memory.free_for(self);
        // Some always goes.
        STREAMED_BYTES_MAX.min(free.checked_div(STREAMED_PART).unwrap_or_default()).max(1)
    }

    /// For so many looks it has taken too little of its answers.
    pub(super) fn has_stalled_for(&self, looks: u32) {
        self.stalled.store(looks, Ordering::Relaxed);
    }

    pub(super) fn stalled_for(&self) -> u32 {
        self.stalled.load(Ordering::Relaxed)
    }

    /// All that is counted for it. Bytes.
    pub(super) fn held(&self) -> usize {
        let unread = self.unread.load(Ordering::Relaxed);
        self.waiting.held().saturating_add(self.arriving.held()).saturating_add(unread)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) > 0
    }

    /// Ends it, on whatever thread it is. Gives how much it holds.
    pub(super) fn cut_off(&self) -> usize {
        let held = self.held();
        self.leaving.store(held.saturating_add(1), Ordering::Relaxed);
        self.standing.send_away();
        held
    }

    /// Pending while so much waits to be taken that a stream of answers had better wait, too.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let room = self.room();
        if self.waiting.held() < room {
            return Poll::Ready(());
        }
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if !parked.iter().any(|waker| waker.will_wake(context.waker())) {
            parked.push(context.waker().clone());
        }
        // What was taken in between has woken nobody.
        if self.waiting.held() < room { Poll::Ready(()) } else { Poll::Pending }
    }

    /// So many bytes were taken of an answer that is still held.
    pub(super) fn goes_on(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An answer is held no longer, so many bytes of which were taken.
    pub(super) fn taken(&self, bytes: usize) {
        self.goes_on(bytes);
        self.count_unread();
        if self.waiting.held() < STREAMED_BYTES_MAX {
            let parked = std::mem::take(&mut *self.parked.lock().unwrap_or_else(PoisonError::into_inner));
            parked.into_iter().for_each(Waker::wake);
        }
    }

    /// Bytes of answers that wait to be taken, and those that were taken since the beginning.
    pub(super) fn answers(&self) -> (usize, usize) {
        (self.waiting.held(), self.taken.load(Ordering::Relaxed))
    }

    pub(super) fn stranger_calls(&self) -> &Budget {
        &self.stranger_calls
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn budget(&self, side: Side) -> &Budget {
        match side {
            Side::Arriving => &self.arriving,
            Side::Waiting => &self.waiting,
        }
    }
}

/// One of something that is counted for a connection, until it is dropped.
pub struct Counted {
    connection: Arc<Connection>,
    count: fn(&Connection) -> &AtomicUsize,
}

impl Counted {
    fn one(connection: &Arc<Connection>, count: fn(&Connection) -> &AtomicUsize) -> Self {
        count(connection).fetch_add(1, Ordering::Relaxed);
        Self { connection: Arc::clone(connection), count }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        (self.count)(&self.connection).fetch_sub(1, Ordering::Relaxed);
        self.connection.count_unread();
    }
}
