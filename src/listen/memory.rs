//! How much memory the other ends of connections can make this process hold: messages that have not arrived whole, and
//! answers that wait to be taken. Both are counted for each connection, and for all of them together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use hyper::body::Bytes;

use super::connection::Connection;

/// Messages that have not arrived whole and answers that have not been taken, of all connections together. Bytes.
pub const HELD_BYTES_MAX: usize = 24 * 1024 * 1024;
/// What connections that have not authenticated may have of it. Bytes.
pub const STRANGERS_HELD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Messages that have not arrived whole, of one connection. Bytes.
pub const ARRIVING_BYTES_MAX: usize = 1024 * 1024;
/// The same of a connection that has not authenticated: eight messages of the greatest length. Bytes.
pub const STRANGER_ARRIVING_BYTES_MAX: usize = 128 * 1024;
/// Answers of one connection that have not been taken: with more, no further call of it is taken up. Bytes.
pub const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Calls in flight on a connection that has not authenticated.
pub const STRANGER_CALLS_PER_CONNECTION_MAX: usize = 8;
/// Calls in flight on all such connections, beyond the first of each.
pub const STRANGER_CALLS_MAX: usize = 1_024;

/// There is no room for more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// A count of bytes, and how many there may be.
#[derive(Debug)]
pub(super) struct Budget {
    most: usize,
    held: AtomicUsize,
}

impl Budget {
    pub(super) const fn of(most: usize) -> Self {
        Self { most, held: AtomicUsize::new(0) }
    }

    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Takes so many more, if the sum stays within `most`.
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

    /// Takes them, whatever there is.
    fn take(&self, more: usize) {
        self.held.fetch_add(more, Ordering::Relaxed);
    }

    fn give(&self, back: usize) {
        self.held.fetch_sub(back, Ordering::Relaxed);
    }
}

/// What all connections of a listener, or of several, share.
#[derive(Debug)]
pub struct Memory {
    all: Budget,
    strangers: Budget,
    /// Not bytes, but calls.
    stranger_calls: Budget,
}

impl Memory {
    /// So many bytes for all, and of them so many for connections that have not authenticated.
    #[must_use]
    pub const fn of(all: usize, strangers: usize) -> Self {
        Self {
            all: Budget::of(all),
            strangers: Budget::of(strangers),
            stranger_calls: Budget::of(STRANGER_CALLS_MAX),
        }
    }

    /// Whether nothing more fits.
    pub(super) fn is_full(&self) -> bool {
        self.all.held() >= self.all.most
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::of(HELD_BYTES_MAX, STRANGERS_HELD_BYTES_MAX)
    }
}

/// What bytes are held for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// A message that has not arrived whole.
    Arriving,
    /// An answer that has not been taken.
    Waiting,
}

/// Bytes that count for a connection until they are given back. Those of an answer also count once they are gone: a
/// connection that takes nothing is cut off.
pub struct Held {
    connection: Arc<Connection>,
    side: Side,
    stranger: bool,
    bytes: usize,
}

impl Held {
    pub(super) fn nothing(connection: Arc<Connection>, side: Side) -> Self {
        let stranger = !connection.is_known();
        Self { connection, side, stranger, bytes: 0 }
    }

    /// From now on it is so many bytes, if the connection's side stays within `most` and everything within what there
    /// is for all.
    pub fn resize(&mut self, bytes: usize, most: usize) -> Result<(), Full> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            self.shrink(bytes);
            return Ok(());
        };
        let own = self.connection.budget(self.side);
        let memory = self.connection.memory();
        own.try_take_within(more, most)?;
        let strangers = if self.stranger { memory.strangers.try_take(more) } else { Ok(()) };
        if let Err(full) = strangers {
            own.give(more);
            return Err(full);
        }
        if let Err(full) = memory.all.try_take(more) {
            own.give(more);
            if self.stranger {
                memory.strangers.give(more);
            }
            return Err(full);
        }
        self.bytes = bytes;
        Ok(())
    }

    fn shrink(&mut self, bytes: usize) {
        let back = self.bytes.saturating_sub(bytes);
        self.connection.budget(self.side).give(back);
        let memory = self.connection.memory();
        if self.stranger {
            memory.strangers.give(back);
        }
        memory.all.give(back);
        self.bytes = bytes.min(self.bytes);
    }

    /// Counts so many bytes more, whatever there is.
    pub(super) fn add(&mut self, more: usize) {
        self.connection.budget(self.side).take(more);
        let memory = self.connection.memory();
        if self.stranger {
            memory.strangers.take(more);
        }
        memory.all.take(more);
        self.bytes = self.bytes.saturating_add(more);
    }

    /// The bytes, with this in their ownership: they count until the last part of them is gone.
    #[must_use]
    pub fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Owned { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.shrink(0);
        if self.side == Side::Waiting {
            self.connection.taken(bytes);
        }
    }
}

/// A call on a connection that had not authenticated when it began.
pub struct StrangerCall {
    connection: Arc<Connection>,
    /// Whether it counts among those of all.
    beyond: bool,
}

impl StrangerCall {
    /// One more, if there may be. A first one of its connection is always let in: who asks for little is answered
    /// whatever others do.
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
