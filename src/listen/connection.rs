//! A connection as all that serve it see it: its peer, and the memory that is held for it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hyper::body::Bytes;

use crate::{
    listen::{
        memory::{Account, Full, Held, Memory, Side, StrangerCall},
        places::Standing,
        queue::{Calls, Turn, Weight},
    },
    tls::{Peer, ServerTls, ShownChain},
};

/// Calls on one connection whose messages are incomplete count this much beside their bytes, except the first. Bytes.
const CALL_BYTES: usize = 12 * 1024;
/// The same for calls that stay open. Bytes.
const OPEN_CALL_BYTES: usize = 12 * 1024;

/// A connection. Each request has it in its extensions, as an `Arc`.
pub struct Connection {
    peer: Peer,
    /// The certificates that the peer presented, which must still be good when other files are in use.
    chain: Option<(ShownChain, Arc<ServerTls>)>,
    account: Arc<Account>,
    calls: Arc<Calls>,
    /// Calls whose messages are incomplete.
    unfinished: AtomicUsize,
    /// Calls that stay open.
    staying: AtomicUsize,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("account", &self.account).finish_non_exhaustive()
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
        Arc::new(Self {
            peer,
            chain,
            account: Account::open(memory, standing),
            calls,
            unfinished: AtomicUsize::new(0),
            staying: AtomicUsize::new(0),
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
        self.account.is_known()
    }

    /// Records that this client has authenticated on it.
    pub fn authenticated(&self, client_id: &str) {
        if self.is_known() {
            return;
        }
        self.calls.authenticated(client_id);
        self.account.authenticated(client_id);
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
    pub fn arrived_us(&self) -> i64 {
        self.calls.arrived_us()
    }

    /// Records the beginning of a request: an unauthenticated connection makes room after those without one for longer.
    pub(super) fn begins(&self) {
        if !self.is_known() {
            self.account.begins();
        }
    }

    /// Admits a call that needs no credential, if there are not too many of them; `None`: a caller has authenticated
    /// here, and nothing is counted.
    pub fn stranger(self: &Arc<Self>) -> Result<Option<StrangerCall>, Full> {
        if self.is_known() { Ok(None) } else { StrangerCall::begin(&self.account).map(Some) }
    }

    /// A count of the bytes of an arriving message.
    #[must_use]
    pub fn arriving(self: &Arc<Self>) -> Held {
        Held::nothing(Arc::clone(&self.account), Side::Arriving)
    }

    /// A count of the bytes of an answer.
    #[must_use]
    pub fn answering(self: &Arc<Self>) -> Held {
        Held::nothing(Arc::clone(&self.account), Side::Waiting)
    }

    /// The counts of the memory that is held for it.
    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// Refuses another call while too many bytes wait to be sent on this connection, or no memory is left; unless
    /// nothing waits on this one.
    pub fn has_room(&self) -> Result<(), Full> {
        self.account.has_room()
    }

    /// Bytes of an answer, counted until they are dropped; `taken`: they have then been sent.
    pub(super) fn hold(self: &Arc<Self>, bytes: Bytes, taken: bool) -> Bytes {
        let held = self.answering().answer(bytes, taken);
        self.account.count_unread();
        held
    }

    /// Counts a call whose messages come for as long as the caller likes.
    #[must_use]
    pub fn streaming(self: &Arc<Self>) -> Counted {
        Counted::one(self, |it| &it.account.streams)
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
        self.connection.account.count_unread();
    }
}
