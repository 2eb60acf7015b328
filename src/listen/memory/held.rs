//! What counts for a connection until it is dropped.

use std::sync::Arc;

use hyper::body::Bytes;

use crate::listen::memory::{
    account::{Account, Side},
    budget::Full,
};

/// The cost of an unsent answer beside its bytes: HTTP/2 keeps its stream. Bytes.
const ANSWER_BYTES: usize = 1_024;
/// The same of a connection that has not authenticated: many such connections have few answers each, and their lists of
/// streams room for twice as many. Bytes.
const STRANGER_ANSWER_BYTES: usize = 2_560;
/// Bytes that count for a connection until they are given back.
pub struct Held {
    account: Arc<Account>,
    side: Side,
    stranger: bool,
    bytes: usize,
    /// The cost of a call beside its bytes: counted only for all connections together.
    cost: usize,
    /// For an answer, the bytes that have been sent when this is dropped.
    taken: usize,
}

impl Held {
    pub(in crate::listen) fn nothing(account: Arc<Account>, side: Side) -> Self {
        let stranger = !account.is_known();
        Self { account, side, stranger, bytes: 0, cost: 0, taken: 0 }
    }

    /// Changes the count to `bytes`, if the connection's sum stays within `most` and all stays within the common
    /// maximum.
    pub fn resize(&mut self, bytes: usize, most: usize) -> Result<(), Full> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            self.shrink(bytes);
            return Ok(());
        };
        let own = self.account.budget(self.side);
        own.try_take_within(more, most)?;
        if let Err(full) = self.account.memory().try_take(&self.account, self.stranger, more) {
            own.give(more);
            return Err(full);
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Counts the cost of a call beside its bytes, once.
    pub fn charge(&mut self, cost: usize) -> Result<(), Full> {
        self.account.memory().try_take(&self.account, self.stranger, cost)?;
        self.cost = self.cost.saturating_add(cost);
        Ok(())
    }

    /// Lowers the count to `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.account.budget(self.side).give(back);
        self.account.memory().give(&self.account, self.stranger, back);
        self.bytes = bytes.min(self.bytes);
    }

    /// The bytes of an answer, counted beyond any maximum. `taken`: they have been sent when they are dropped;
    /// otherwise their parts are reported.
    pub(in crate::listen) fn answer(mut self, bytes: Bytes, taken: bool) -> Bytes {
        let cost = if self.stranger { STRANGER_ANSWER_BYTES } else { ANSWER_BYTES };
        let more = bytes.len().saturating_add(cost);
        self.account.budget(self.side).take(more);
        self.bytes = self.bytes.saturating_add(more);
        self.account.memory().take(&self.account, self.stranger, more);
        self.taken = if taken { bytes.len() } else { 0 };
        self.with(bytes)
    }

    /// A count of its own for `bytes` of it, or for all if there are fewer.
    #[must_use]
    pub fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes = self.bytes.saturating_sub(bytes);
        Self { account: Arc::clone(&self.account), bytes, cost: 0, taken: 0, ..*self }
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
        self.account.memory().give(&self.account, self.stranger, self.cost);
        if self.side == Side::Waiting {
            self.account.taken(self.taken);
        }
    }
}

/// Marks a response whose bytes are counted already.
#[derive(Clone, Copy)]
pub struct IsCounted;

/// A call on a connection that had not authenticated when the call began.
pub struct StrangerCall {
    account: Arc<Account>,
    /// It counts among those of all connections.
    beyond: bool,
}

impl StrangerCall {
    /// Counts another call, if allowed. The first one of its connection is always admitted: so a peer with few calls is
    /// answered whatever others do.
    pub(in crate::listen) fn begin(account: &Arc<Account>) -> Result<Self, Full> {
        let own = account.stranger_calls();
        let beyond = own.held() > 0;
        own.try_take(1)?;
        if beyond && account.memory().stranger_calls.try_take(1).is_err() {
            own.give(1);
            return Err(Full);
        }
        Ok(Self { account: Arc::clone(account), beyond })
    }
}

impl Drop for StrangerCall {
    fn drop(&mut self) {
        self.account.stranger_calls().give(1);
        if self.beyond {
            self.account.memory().stranger_calls.give(1);
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
