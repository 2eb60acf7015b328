//! A connection as all that serve it see it: its peer, and the memory that is held for it.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hyper::body::Bytes;

use crate::{
    listen::{
        CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES,
        memory::{
            Budget, Full, Held, Memory, STRANGER_CALLS_PER_CONNECTION_MAX, STRANGER_REFUSALS_MAX,
            STRANGER_WAITING_BYTES_MAX, Side, StrangerCall, WAITING_BYTES_MAX,
        },
        places::Standing,
        queue::{Calls, Turn, Weight},
    },
    tls::{Peer, ServerTls, ShownChain},
};

/// A stream of answers continues while fewer bytes than this wait to be sent on its connection.
const STREAMED_BYTES_MAX: usize = 1024 * 1024;
/// And while fewer wait than this part of the free memory, so that any number of streams shares it.
const STREAMED_PART: usize = 4;
/// Calls on one connection whose messages are incomplete count this much beside their bytes, except the first. Bytes.
const CALL_BYTES: usize = 12 * 1024;
/// The same for calls that stay open. Bytes.
const OPEN_CALL_BYTES: usize = 12 * 1024;

/// A connection. Each request has it in its extensions, as an `Arc`.
pub struct Connection {
    peer: Peer,
    /// The certificates that the peer presented, which must still be good when other files are in use.
    chain: Option<(ShownChain, Arc<ServerTls>)>,
    memory: Arc<Memory>,
    standing: Arc<Standing>,
    calls: Arc<Calls>,
    known: AtomicBool,
    /// Its client's share of the memory, once the client is known.
    client: OnceLock<Arc<Budget>>,
    arriving: Budget,
    waiting: Budget,
    stranger_calls: Budget,
    /// Bytes of answers that were sent since the beginning.
    taken: AtomicUsize,
    /// Streams that wait until fewer bytes are waiting.
    parked: Mutex<Vec<Waker>>,
    /// Calls whose messages come for as long as the caller likes. While answers wait, their messages are not read.
    streams: AtomicUsize,
    /// The bytes that are counted for unread messages of such calls.
    unread: AtomicUsize,
    /// Calls whose messages are incomplete.
    unfinished: AtomicUsize,
    /// Calls that stay open.
    staying: AtomicUsize,
    /// Calls that were refused, one after another, since too much waits to be taken.
    refusals: AtomicUsize,
    /// The number of looks for which too few bytes of its answers were sent.
    stalled: AtomicU32,
    /// The bytes that it held when it was told to end, plus one; 0: it was not told.
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

    /// The peer of the connection.
    #[must_use]
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Returns whether the certificate that the peer presented would still be accepted.
    pub(super) fn is_trusted(&self) -> bool {
        self.chain.as_ref().is_none_or(|(chain, tls)| tls.still_takes(chain))
    }

    /// Returns whether a caller has authenticated on it.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Records that this client has authenticated on it.
    pub fn authenticated(&self, client_id: &str) {
        if self.is_known() {
            return;
        }
        self.calls.authenticated(client_id);
        if self.standing.authenticated(client_id) {
            // Bytes that were counted for an unauthenticated peer count for the client from now on.
            self.memory.exchange(self, self.unread.swap(0, Ordering::Relaxed), 0);
            // Set only on its own thread: nobody else has set it meanwhile.
            let _set = self.client.set(self.memory.of_client(client_id));
            self.known.store(true, Ordering::Relaxed);
            self.count_unread();
        }
    }

    /// Counts the signatures that are to be verified for one call.
    #[must_use]
    pub fn weigh(&self, signatures: usize) -> Weight {
        self.calls.weigh(signatures)
    }

    /// The state of the thread for a message of a stream, whose wait is not measured.
    #[must_use]
    pub fn unmeasured_turn(&self) -> Turn {
        self.calls.unmeasured_turn()
    }

    /// The time when data that is read now arrived, boot clock, microseconds: now, or, if its thread had stood still,
    /// when that began.
    #[must_use]
    pub fn came_us(&self) -> i64 {
        self.calls.came_us()
    }

    /// Records the beginning of a request: an unauthenticated connection makes room after those without one for longer.
    pub(super) fn begins(&self) {
        if !self.is_known() {
            self.standing.begins();
        }
    }

    /// Admits a call that needs no credential, if there are not too many of them; `None`: a caller has authenticated
    /// here, and nothing is counted.
    pub fn stranger(self: &Arc<Self>) -> Result<Option<StrangerCall>, Full> {
        if self.is_known() { Ok(None) } else { StrangerCall::begin(self).map(Some) }
    }

    /// A count of the bytes of an arriving message.
    #[must_use]
    pub fn arriving(self: &Arc<Self>) -> Held {
        Held::nothing(Arc::clone(self), Side::Arriving)
    }

    /// A count of the bytes of an answer.
    #[must_use]
    pub fn answering(self: &Arc<Self>) -> Held {
        Held::nothing(Arc::clone(self), Side::Waiting)
    }

    /// Refuses another call while too many bytes wait to be sent on this connection, or no memory is left; unless
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

    /// Bytes of an answer, counted until they are dropped; `taken`: they have then been sent.
    pub(super) fn hold(self: &Arc<Self>, bytes: Bytes, taken: bool) -> Bytes {
        let held = self.answering().answer(bytes, taken);
        self.count_unread();
        held
    }

    /// Its client's share of the memory.
    pub(super) fn client(&self) -> Option<&Budget> {
        self.client.get().map(Arc::as_ref)
    }

    /// Counts the bytes that may arrive on its streams unread while answers wait: as many as HTTP/2 lets come.
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

    /// Counts a call whose messages come for as long as the caller likes.
    #[must_use]
    pub fn streaming(self: &Arc<Self>) -> Counted {
        Counted::one(self, |it| &it.streams)
    }

    /// Counts a call that waits for its message, with its further costs.
    #[must_use]
    pub fn unfinished(self: &Arc<Self>) -> (Counted, usize) {
        let cost = if self.unfinished.load(Ordering::Relaxed) == 0 { 0 } else { CALL_BYTES };
        (Counted::one(self, |it| &it.unfinished), cost)
    }

    /// Counts a call that stays open for as long as the caller likes: after the first of its connection it has a cost.
    pub fn stays_open(self: &Arc<Self>) -> Result<(Counted, Held), Full> {
        let cost = if self.staying.load(Ordering::Relaxed) == 0 { 0 } else { OPEN_CALL_BYTES };
        let mut held = self.arriving();
        held.charge(cost)?;
        Ok((Counted::one(self, |it| &it.staying), held))
    }

    /// The bytes of its answers that may wait before a stream of it waits, too.
    fn room(&self) -> usize {
        let free = self.memory.free_for(self);
        // Some always pass.
        STREAMED_BYTES_MAX.min(free.checked_div(STREAMED_PART).unwrap_or_default()).max(1)
    }

    /// Records the number of looks for which too few bytes of its answers were sent.
    pub(super) fn has_stalled_for(&self, looks: u32) {
        self.stalled.store(looks, Ordering::Relaxed);
    }

    pub(super) fn stalled_for(&self) -> u32 {
        self.stalled.load(Ordering::Relaxed)
    }

    /// All bytes that are counted for it.
    pub(super) fn held(&self) -> usize {
        let unread = self.unread.load(Ordering::Relaxed);
        self.waiting.held().saturating_add(self.arriving.held()).saturating_add(unread)
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) > 0
    }

    /// Ends it, on whatever thread it is. Returns the bytes that it holds.
    pub(super) fn cut_off(&self) -> usize {
        let held = self.held();
        self.leaving.store(held.saturating_add(1), Ordering::Relaxed);
        self.standing.send_away();
        held
    }

    /// Pending while so many bytes wait to be sent that a stream of answers should wait, too.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        let room = self.room();
        if self.waiting.held() < room {
            return Poll::Ready(());
        }
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if !parked.iter().any(|waker| waker.will_wake(context.waker())) {
            parked.push(context.waker().clone());
        }
        // Bytes that were sent in between have woken nobody.
        if self.waiting.held() < room { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Records that so many bytes were sent of an answer that is still held.
    pub(super) fn goes_on(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Records that an answer is no longer held, of which so many bytes were sent.
    pub(super) fn taken(&self, bytes: usize) {
        self.goes_on(bytes);
        self.count_unread();
        if self.waiting.held() < STREAMED_BYTES_MAX {
            let parked = std::mem::take(&mut *self.parked.lock().unwrap_or_else(PoisonError::into_inner));
            parked.into_iter().for_each(Waker::wake);
        }
    }

    /// Bytes of answers that wait to be sent, and those that were sent since the beginning.
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

/// A count of one, for a connection, until it is dropped.
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
