//! The memory that all connections share, and the account of each. They know each other: who takes more than there is
//! makes room by cutting off those that hold most.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::listen::{
    CONNECTION_WINDOW_BYTES, STREAM_WINDOW_BYTES,
    memory::budget::{Budget, Full},
    places::Standing,
};

/// Incomplete messages and unsent answers of all authenticated connections. Bytes.
pub const HELD_BYTES_MAX: usize = 20 * 1024 * 1024;
/// The same of all other connections: their bytes take nothing away from clients. Bytes.
pub const STRANGERS_HELD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// One client may have this share of the whole: one part of so many.
const PER_CLIENT_SHARE: usize = 2;
/// The time for a message, or a form, to arrive: from its first byte; for a unary one, from its call.
pub const ARRIVES_WITHIN: Duration = Duration::from_secs(10);
/// Incomplete messages of one connection. Bytes.
pub const ARRIVING_BYTES_MAX: usize = 1024 * 1024;
/// The same of a connection that has not authenticated: eight messages of the greatest length. Bytes.
pub const STRANGER_ARRIVING_BYTES_MAX: usize = 128 * 1024;
/// Unsent answers of one connection: with more, no further call of it is answered. Bytes.
pub const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The same of one that has not authenticated. Bytes.
pub const STRANGER_WAITING_BYTES_MAX: usize = 128 * 1024;
/// More clients than hold something at once: above this, those that hold nothing are forgotten.
const CLIENTS_MAX: usize = 1_024;

/// Calls in flight on a connection that has not authenticated.
pub const STRANGER_CALLS_PER_CONNECTION_MAX: usize = 8;
/// Calls that such a connection makes while more of its answers waits than may: with more, it ends. It takes not even the
/// refusals.
pub const STRANGER_REFUSALS_MAX: usize = 16;
/// Calls in flight on all such connections, not counting the first of each.
pub const STRANGER_CALLS_MAX: usize = 1_024;

/// A stream of answers continues while fewer bytes than this wait to be sent on its connection.
const STREAMED_BYTES_MAX: usize = 1024 * 1024;
/// And while fewer wait than this part of the free memory, so that any number of streams shares it.
const STREAMED_PART: usize = 4;
/// If all memory is taken, connections are cut off until this part of it is free again: so not one for each answer.
const FREED_PART: usize = 8;

/// The memory that all connections of one or several listeners share.
#[derive(Debug)]
pub struct Memory {
    known: Budget,
    strangers: Budget,
    /// Counts calls, not bytes.
    pub(super) stranger_calls: Budget,
    clients: Mutex<HashMap<String, Arc<Budget>>>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Weak<Account>>,
}

impl Memory {
    /// So many bytes for authenticated connections, and so many for the others.
    #[must_use]
    pub fn of(known: usize, strangers: usize) -> Self {
        Self {
            known: Budget::of(known),
            strangers: Budget::of(strangers),
            stranger_calls: Budget::of(STRANGER_CALLS_MAX),
            clients: Mutex::default(),
            open: Mutex::default(),
        }
    }

    /// The share of this client.
    fn of_client(&self, client_id: &str) -> Arc<Budget> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, budget| Arc::strong_count(budget) > 1);
        }
        let most = self.known.most.div_ceil(PER_CLIENT_SHARE);
        Arc::clone(clients.entry(client_id.to_owned()).or_insert_with(|| Arc::new(Budget::of(most))))
    }

    /// The budgets that count for a connection: that of unauthenticated peers, or that of its client and that of all
    /// clients.
    fn budgets<'a>(&'a self, of: &'a Account, stranger: bool) -> [Option<&'a Budget>; 2] {
        if stranger { [Some(&self.strangers), None] } else { [of.client(), Some(&self.known)] }
    }

    /// The free memory for a connection.
    pub(in crate::listen) fn free_for(&self, connection: &Account) -> usize {
        let budgets = self.budgets(connection, !connection.is_known());
        budgets.into_iter().flatten().map(Budget::free).min().unwrap_or_default()
    }

    pub(super) fn try_take(&self, of: &Account, stranger: bool, more: usize) -> Result<(), Full> {
        let [first, second] = self.budgets(of, stranger);
        first.map_or(Ok(()), |first| first.try_take(more))?;
        second.map_or(Ok(()), |second| second.try_take(more)).inspect_err(|_full| {
            if let Some(first) = first {
                first.give(more);
            }
        })
    }

    /// Takes bytes beyond any maximum, and makes room if there are too many.
    pub(super) fn take(&self, of: &Account, stranger: bool, more: usize) {
        let budgets = self.budgets(of, stranger);
        budgets.into_iter().flatten().for_each(|budget| budget.take(more));
        for budget in budgets.into_iter().flatten() {
            if budget.excess() > 0 {
                self.make_room(budget);
            }
        }
    }

    pub(super) fn give(&self, of: &Account, stranger: bool, back: usize) {
        self.budgets(of, stranger).into_iter().flatten().for_each(|budget| budget.give(back));
    }

    /// Changes the count of bytes that may have arrived unread.
    fn exchange(&self, of: &Account, before: usize, now: usize) {
        let stranger = !of.is_known();
        if now > before {
            self.take(of, stranger, now.saturating_sub(before));
        } else {
            self.give(of, stranger, before.saturating_sub(now));
        }
    }

    fn opened(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a connection. Returns its number.
    fn enter(&self, connection: &Weak<Account>) -> u64 {
        let mut open = self.opened();
        let number = open.next;
        open.next = number.wrapping_add(1);
        open.connections.insert(number, Weak::clone(connection));
        number
    }

    /// Removes a connection; so many bytes of it were about to be freed.
    fn leave(&self, connection: &Account, number: u64, leaving: usize) {
        self.opened().connections.remove(&number);
        for budget in self.budgets(connection, !connection.is_known()).into_iter().flatten() {
            budget.leaving.fetch_sub(leaving, Ordering::Relaxed);
        }
    }

    /// If more is held than allowed, cuts off connections whose answers are not taken: those that have taken too little
    /// for longest, and of them those that hold most.
    fn make_room(&self, budget: &Budget) {
        let excess = || budget.excess().saturating_sub(budget.leaving.load(Ordering::Relaxed));
        if excess() == 0 {
            return;
        }
        let accounts: Vec<Arc<Account>> =
            self.opened().connections.values().filter_map(Weak::upgrade).collect();
        let counts = |it: &&Arc<Account>| {
            let budgets = self.budgets(it, !it.is_known());
            budgets.into_iter().flatten().any(|counted| std::ptr::eq(counted, budget))
        };
        let mut takes_too_little: Vec<&Arc<Account>> =
            accounts.iter().filter(counts).filter(|it| it.answers().0 > 0 && !it.is_leaving()).collect();
        takes_too_little.sort_by_cached_key(|it| Reverse((it.stalled_for(), it.held())));
        let freed = budget.most.checked_div(FREED_PART).unwrap_or_default();
        let mut wanted = excess().saturating_add(freed);
        for connection in takes_too_little {
            if wanted == 0 {
                break;
            }
            wanted = wanted.saturating_sub(self.cut_off(connection));
        }
    }

    /// Ends a connection. Gives how much will be free.
    fn cut_off(&self, connection: &Account) -> usize {
        let held = connection.cut_off();
        for counted in self.budgets(connection, !connection.is_known()).into_iter().flatten() {
            counted.leaving.fetch_add(held, Ordering::Relaxed);
        }
        held
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(HELD_BYTES_MAX, STRANGERS_HELD_BYTES_MAX)
    }
}

/// The purpose of held bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::listen) enum Side {
    /// An incomplete message.
    Arriving,
    /// An unsent answer.
    Waiting,
}

/// The memory that is held for one connection, as all that hold it count it.
pub(in crate::listen) struct Account {
    memory: Arc<Memory>,
    standing: Arc<Standing>,
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
    pub(in crate::listen) streams: AtomicUsize,
    /// The bytes that are counted for unread messages of such calls.
    unread: AtomicUsize,
    /// Calls that were refused, one after another, since too much waits to be taken.
    refusals: AtomicUsize,
    /// The number of looks for which too few bytes of its answers were sent.
    stalled: AtomicU32,
    /// The bytes that it held when it was told to end, plus one; 0: it was not told.
    leaving: AtomicUsize,
    /// Its number among all that share the memory.
    number: u64,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.memory.exchange(self, self.unread.load(Ordering::Relaxed), 0);
        let leaving = self.leaving.load(Ordering::Relaxed).saturating_sub(1);
        self.memory.leave(self, self.number, leaving);
    }
}

impl Account {
    pub(in crate::listen) fn open(memory: Arc<Memory>, standing: Arc<Standing>) -> Arc<Self> {
        Arc::new_cyclic(|account| Self {
            number: memory.enter(account),
            memory,
            standing,
            known: AtomicBool::new(false),
            client: OnceLock::new(),
            arriving: Budget::of(usize::MAX),
            waiting: Budget::of(WAITING_BYTES_MAX),
            stranger_calls: Budget::of(STRANGER_CALLS_PER_CONNECTION_MAX),
            taken: AtomicUsize::new(0),
            parked: Mutex::default(),
            streams: AtomicUsize::new(0),
            unread: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            stalled: AtomicU32::new(0),
            leaving: AtomicUsize::new(0),
        })
    }

    /// Returns whether a caller has authenticated on its connection.
    pub(in crate::listen) fn is_known(&self) -> bool {
        self.known.load(Ordering::Relaxed)
    }

    /// Records that this client has authenticated.
    pub(in crate::listen) fn authenticated(&self, client_id: &str) {
        if self.standing.authenticated(client_id) {
            // Bytes that were counted for an unauthenticated peer count for the client from now on.
            self.memory.exchange(self, self.unread.swap(0, Ordering::Relaxed), 0);
            // Set only on its own thread: nobody else has set it meanwhile.
            let _set = self.client.set(self.memory.of_client(client_id));
            self.known.store(true, Ordering::Relaxed);
            self.count_unread();
        }
    }

    /// Records the beginning of a request of an unauthenticated peer.
    pub(in crate::listen) fn begins(&self) {
        self.standing.begins();
    }

    /// Refuses another call while too many bytes wait to be sent on this connection, or no memory is left; unless
    /// nothing waits on this one.
    pub(in crate::listen) fn has_room(&self) -> Result<(), Full> {
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

    /// Its client's share of the memory.
    pub(super) fn client(&self) -> Option<&Budget> {
        self.client.get().map(Arc::as_ref)
    }

    /// Counts the bytes that may arrive on its streams unread while answers wait: as many as HTTP/2 lets come.
    pub(in crate::listen) fn count_unread(&self) {
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

    /// The bytes of its answers that may wait before a stream of it waits, too.
    fn room(&self) -> usize {
        let free = self.memory.free_for(self);
        // Some always pass.
        STREAMED_BYTES_MAX.min(free.checked_div(STREAMED_PART).unwrap_or_default()).max(1)
    }

    /// Records the number of looks for which too few bytes of its answers were sent.
    pub(in crate::listen) fn has_stalled_for(&self, looks: u32) {
        self.stalled.store(looks, Ordering::Relaxed);
    }

    pub(in crate::listen) fn stalled_for(&self) -> u32 {
        self.stalled.load(Ordering::Relaxed)
    }

    /// All bytes that are counted for it.
    pub(in crate::listen) fn held(&self) -> usize {
        let unread = self.unread.load(Ordering::Relaxed);
        self.waiting.held().saturating_add(self.arriving.held()).saturating_add(unread)
    }

    pub(in crate::listen) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed) > 0
    }

    /// Ends it, on whatever thread it is. Returns the bytes that it holds.
    pub(in crate::listen) fn cut_off(&self) -> usize {
        let held = self.held();
        self.leaving.store(held.saturating_add(1), Ordering::Relaxed);
        self.standing.send_away();
        held
    }

    /// Pending while so many bytes wait to be sent that a stream of answers should wait, too.
    pub(in crate::listen) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
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
    pub(in crate::listen) fn goes_on(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Records that an answer is no longer held, of which so many bytes were sent.
    pub(in crate::listen) fn taken(&self, bytes: usize) {
        self.goes_on(bytes);
        self.count_unread();
        if self.waiting.held() < STREAMED_BYTES_MAX {
            let parked = std::mem::take(&mut *self.parked.lock().unwrap_or_else(PoisonError::into_inner));
            parked.into_iter().for_each(Waker::wake);
        }
    }

    /// Bytes of answers that wait to be sent, and those that were sent since the beginning.
    pub(in crate::listen) fn answers(&self) -> (usize, usize) {
        (self.waiting.held(), self.taken.load(Ordering::Relaxed))
    }

    pub(super) fn stranger_calls(&self) -> &Budget {
        &self.stranger_calls
    }

    pub(in crate::listen) fn memory(&self) -> &Memory {
        &self.memory
    }

    pub(super) fn budget(&self, side: Side) -> &Budget {
        match side {
            Side::Arriving => &self.arriving,
            Side::Waiting => &self.waiting,
        }
    }
}
