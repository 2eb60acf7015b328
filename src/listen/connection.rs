//! One connection, as everything that serves it sees it: who is at its other end, and what is held for it.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use hyper::body::Bytes;

use super::memory::{
    Budget, Full, Held, Memory, STRANGER_CALLS_PER_CONNECTION_MAX, Side, StrangerCall, WAITING_BYTES_MAX,
};
use super::{
    places::{Busy, Standing},
    queue::{Calls, Weight},
};
use crate::tls::{Peer, ServerTls, ShownChain};

/// A stream of answers goes on while less than this waits to be taken on its connection. Bytes.
const STREAMED_BYTES_MAX: usize = 1024 * 1024;

/// A connection. Each request has it in its extensions, as an `Arc`.
pub struct Connection {
    peer: Peer,
    /// What the peer showed, where it is still to be good when other files are in use.
    chain: Option<(ShownChain, Arc<ServerTls>)>,
    memory: Arc<Memory>,
    standing: Arc<Standing>,
    calls: Arc<Calls>,
    known: AtomicBool,
    arriving: Budget,
    waiting: Budget,
    stranger_calls: Budget,
    /// Bytes of answers that were taken since the beginning.
    taken: AtomicUsize,
    /// Streams that wait until less is waiting.
    parked: Mutex<Vec<Waker>>,
}

impl Connection {
    pub(super) fn new(
        peer: Peer,
        chain: Option<(ShownChain, Arc<ServerTls>)>,
        memory: Arc<Memory>,
        standing: Arc<Standing>,
        calls: Arc<Calls>,
    ) -> Self {
        Self {
            peer,
            chain,
            memory,
            standing,
            calls,
            known: AtomicBool::new(false),
            arriving: Budget::of(usize::MAX),
            waiting: Budget::of(WAITING_BYTES_MAX),
            stranger_calls: Budget::of(STRANGER_CALLS_PER_CONNECTION_MAX),
            taken: AtomicUsize::new(0),
            parked: Mutex::default(),
        }
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
            self.known.store(true, Ordering::Relaxed);
        }
    }

    /// Counts so many signatures that are to be verified for one call.
    #[must_use]
    pub fn weigh(&self, signatures: usize) -> Weight {
        self.calls.weigh(signatures)
    }

    /// Keeps a connection that has not authenticated from making room for others: until its request has been answered.
    pub(super) fn busy(&self) -> Option<Busy> {
        (!self.is_known()).then(|| self.standing.busy())
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

    /// Refuses a further call while more waits to be taken than may: on this connection, or on all, unless nothing
    /// waits on this one.
    pub fn has_room(&self) -> Result<(), Full> {
        let waiting = self.waiting.held();
        let full = waiting > 0 && (waiting >= WAITING_BYTES_MAX || self.memory.is_full());
        if full { Err(Full) } else { Ok(()) }
    }

    /// Bytes of an answer, counted until they are taken.
    pub(super) fn hold(self: &Arc<Self>, bytes: Bytes) -> Bytes {
        let mut held = self.answering();
        held.add(bytes.len());
        held.with(bytes)
    }

    /// Pending while so much waits to be taken that a stream of answers had better wait, too.
    pub(super) fn poll_room(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiting.held() < STREAMED_BYTES_MAX {
            return Poll::Ready(());
        }
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if !parked.iter().any(|waker| waker.will_wake(context.waker())) {
            parked.push(context.waker().clone());
        }
        // What was taken in between has woken nobody.
        if self.waiting.held() < STREAMED_BYTES_MAX { Poll::Ready(()) } else { Poll::Pending }
    }

    /// So many bytes of an answer are held no longer.
    pub(super) fn taken(&self, bytes: usize) {
        self.taken.fetch_add(bytes, Ordering::Relaxed);
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
