//! Bounds the memory that peers can make this process hold: incomplete messages, and answers that wait to be sent. Both
//! are counted for each connection, and for all of them together.

use std::{
    cmp::Reverse,
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::body::Bytes;

use crate::listen::connection::Connection;

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
/// The cost of an unsent answer beside its bytes: HTTP/2 keeps its stream. Bytes.
const ANSWER_BYTES: usize = 1_024;
/// The same of a connection that has not authenticated: many such connections have few answers each, and their lists of
/// streams room for twice as many. Bytes.
const STRANGER_ANSWER_BYTES: usize = 2_560;
/// More clients than hold something at once: above this, those that hold nothing are forgotten.
const CLIENTS_MAX: usize = 1_024;

/// Calls in flight on a connection that has not authenticated.
pub const STRANGER_CALLS_PER_CONNECTION_MAX: usize = 8;
/// Calls that such a connection makes while more of its answers waits than may: with more, it ends. It takes not even the
/// refusals.
pub const STRANGER_REFUSALS_MAX: usize = 16;
/// Calls in flight on all such connections, not counting the first of each.
pub const STRANGER_CALLS_MAX: usize = 1_024;

/// If all memory is taken, connections are cut off until this part of it is free again: so not one for each answer.
const FREED_PART: usize = 8;

/// There is no memory left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// A count of bytes, and its maximum.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    held: AtomicUsize,
    /// Held by connections that were told to end.
    leaving: AtomicUsize,
}

impl Budget {
    pub(super) const fn of(most: usize) -> Self {
        Self { most, held: AtomicUsize::new(0), leaving: AtomicUsize::new(0) }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes `more` bytes, if the sum stays within `most`.
    fn try_take_within(&self, more: usize, most: usize) -> Result<(), Full> {
        let sum = |held: usize| held.checked_add(more).filter(|sum| *sum <= most);
        match self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, sum) {
            Ok(_before) => Ok(()),
            Err(_held) => Err(Full),
        }
    }

    fn try_take(&self, more: usize) -> Result<(), Full> {
        self.try_take_within(more, self.most)
    }

    /// Takes bytes beyond any maximum.
    fn take(&self, more: usize) {
        self.held.fetch_add(more, Ordering::Relaxed);
    }

    fn give(&self, back: usize) {
        self.held.fetch_sub(back, Ordering::Relaxed);
    }

    fn free(&self) -> usize {
        self.most.saturating_sub(self.held())
    }

    /// The bytes that are held beyond the maximum.
    fn excess(&self) -> usize {
        self.held().saturating_sub(self.most)
    }
}

/// The memory that all connections of one or several listeners share.
#[derive(Debug)]
pub struct Memory {
    known: Budget,
    strangers: Budget,
    /// Counts calls, not bytes.
    stranger_calls: Budget,
    clients: Mutex<HashMap<String, Arc<Budget>>>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    connections: HashMap<u64, Weak<Connection>>,
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
    pub(super) fn of_client(&self, client_id: &str) -> Arc<Budget> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, budget| Arc::strong_count(budget) > 1);
        }
        let most = self.known.most.div_ceil(PER_CLIENT_SHARE);
        Arc::clone(clients.entry(client_id.to_owned()).or_insert_with(|| Arc::new(Budget::of(most))))
    }

    /// The budgets that count for a connection: that of unauthenticated peers, or that of its client and that of all
    /// clients.
    fn budgets<'a>(&'a self, of: &'a Connection, stranger: bool) -> [Option<&'a Budget>; 2] {
        if stranger { [Some(&self.strangers), None] } else { [of.client(), Some(&self.known)] }
    }

    /// The free memory for a connection.
    pub(super) fn free_for(&self, connection: &Connection) -> usize {
        let budgets = self.budgets(connection, !connection.is_known());
        budgets.into_iter().flatten().map(Budget::free).min().unwrap_or_default()
    }

    fn try_take(&self, of: &Connection, stranger: bool, more: usize) -> Result<(), Full> {
        let [first, second] = self.budgets(of, stranger);
        first.map_or(Ok(()), |first| first.try_take(more))?;
        second.map_or(Ok(()), |second| second.try_take(more)).inspect_err(|_full| {
            if let Some(first) = first {
                first.give(more);
            }
        })
    }

    /// Takes bytes beyond any maximum, and makes room if there are too many.
    fn take(&self, of: &Connection, stranger: bool, more: usize) {
        let budgets = self.budgets(of, stranger);
        budgets.into_iter().flatten().for_each(|budget| budget.take(more));
        for budget in budgets.into_iter().flatten() {
            if budget.excess() > 0 {
                self.make_room(budget);
            }
        }
    }

    fn give(&self, of: &Connection, stranger: bool, back: usize) {
        self.budgets(of, stranger).into_iter().flatten().for_each(|budget| budget.give(back));
    }

    /// Changes the count of bytes that may have arrived unread.
    pub(super) fn exchange(&self, of: &Connection, before: usize, now: usize) {
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
    pub(super) fn enter(&self, connection: &Weak<Connection>) -> u64 {
        let mut open = self.opened();
        let number = open.next;
        open.next = number.wrapping_add(1);
        open.connections.insert(number, Weak::clone(connection));
        number
    }

    /// Removes a connection; so many bytes of it were about to be freed.
    pub(super) fn leave(&self, connection: &Connection, number: u64, leaving: usize) {
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
        let connections: Vec<Arc<Connection>> =
            self.opened().connections.values().filter_map(Weak::upgrade).collect();
        let counts = |it: &&Arc<Connection>| {
            let budgets = self.budgets(it, !it.is_known());
            budgets.into_iter().flatten().any(|counted| std::ptr::eq(counted, budget))
        };
        let mut takes_too_little: Vec<&Arc<Connection>> =
            connections.iter().filter(counts).filter(|it| it.answers().0 > 0 && !it.is_leaving()).collect();
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
    pub(super) fn cut_off(&self, connection: &Connection) -> usize {
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
pub(super) enum Side {
    /// An incomplete message.
    Arriving,
    /// An unsent answer.
    Waiting,
}

/// Bytes that count for a connection until they are given back.
pub struct Held {
    connection: Arc<Connection>,
    side: Side,
    stranger: bool,
    bytes: usize,
    /// The cost of a call beside its bytes: counted only for all connections together.
    cost: usize,
    /// For an answer, the bytes that have been sent when this is dropped.
    taken: usize,
}

impl Held {
    pub(super) fn nothing(connection: Arc<Connection>, side: Side) -> Self {
        let stranger = !connection.is_known();
        Self { connection, side, stranger, bytes: 0, cost: 0, taken: 0 }
    }

    /// Changes the count to `bytes`, if the connection's sum stays within `most` and all stays within the common
    /// maximum.
    pub fn resize(&mut self, bytes: usize, most: usize) -> Result<(), Full> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            self.shrink(bytes);
            return Ok(());
        };
        let own = self.connection.budget(self.side);
        own.try_take_within(more, most)?;
        if let Err(full) = self.connection.memory().try_take(&self.connection, self.stranger, more) {
            own.give(more);
            return Err(full);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Counts the cost of a call beside its bytes, once.
    pub fn charge(&mut self, cost: usize) -> Result<(), Full> {
        self.connection.memory().try_take(&self.connection, self.stranger, cost)?;
        self.cost = self.cost.saturating_add(cost);
        Ok(())
    }

    /// Lowers the count to `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.connection.budget(self.side).give(back);
        self.connection.memory().give(&self.connection, self.stranger, back);
        self.bytes = bytes.min(self.bytes);
    }

    /// The bytes of an answer, counted beyond any maximum. `taken`: they have been sent when they are dropped;
    /// otherwise their parts are reported.
    pub(super) fn answer(mut self, bytes: Bytes, taken: bool) -> Bytes {
        let cost = if self.stranger { STRANGER_ANSWER_BYTES } else { ANSWER_BYTES };
        let more = bytes.len().saturating_add(cost);
        self.connection.budget(self.side).take(more);
        self.bytes = self.bytes.saturating_add(more);
        self.connection.memory().take(&self.connection, self.stranger, more);
        self.taken = if taken { bytes.len() } else { 0 };
        self.with(bytes)
    }

    /// A count of its own for `bytes` of it, or for all if there are fewer.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        Self { connection: Arc::clone(&self.connection), bytes, cost: 0, taken: 0, ..*self }
    }

    /// The bytes, which own this: they count until their last part is dropped.
    #[must_use]
    pub fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Owned { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink(0);
        self.connection.memory().give(&self.connection, self.stranger, self.cost);
        if self.side == Side::Waiting {
            self.connection.taken(self.taken);
        }
    }
}

/// Marks a response whose bytes are counted already.
#[derive(Clone, Copy)]
pub struct IsCounted;

/// A call on a connection that had not authenticated when the call began.
pub struct StrangerCall {
    connection: Arc<Connection>,
    /// It counts among those of all connections.
    beyond: bool,
}

impl StrangerCall {
    /// Counts another call, if allowed. The first one of its connection is always admitted: so a peer with few calls is
    /// answered whatever others do.
    pub(super) fn begin(connection: &Arc<Connection>) -> Result<Self, Full> {
        let own = connection.stranger_calls();
        let beyond = own.held() > 0;
        own.try_take(1)?;
        if beyond && connection.memory().stranger_calls.try_take(1).is_err() {
            own.give(1);
            return Err(Full);
        }
        Ok(Self { connection: Arc::clone(connection), beyond })
    }
}

impl Drop for StrangerCall {
    fn drop(&mut self) {
        self.connection.stranger_calls().give(1);
        if self.beyond {
            self.connection.memory().stranger_calls.give(1);
        }
    }
}

struct Owned {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owned {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
