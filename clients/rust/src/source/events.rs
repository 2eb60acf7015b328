//! What a token source tells.

use std::sync::{Mutex, PoisonError};

use tokio::sync::broadcast::{self, error::RecvError};

use crate::JetonError;

/// A receiver that is so far behind misses the oldest events.
const KEPT: usize = 256;

/// The kind of an event.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// A renewal succeeded, the first included.
    Refreshed,
    /// The token has not been renewed, and 10 % of its lifetime are left. It is told once for each token.
    WillExpire,
    /// The session is over. It is told once.
    SessionEnded,
}

impl EventKind {
    /// Its name, as `session_ended`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Refreshed => "refreshed",
            Self::WillExpire => "will_expire",
            Self::SessionEnded => "session_ended",
        }
    }
}

/// What a token source tells. It holds no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Of the token in hand; empty: there is none.
    pub jti: String,
    /// Empty: there is no session.
    pub session_id: String,
    /// Of the latest attempt, or the error that ended the session.
    pub error: Option<JetonError>,
}

/// The events of a token source, in order, from the moment when they were asked for.
#[derive(Debug)]
pub struct Events(broadcast::Receiver<Event>);

impl Events {
    /// Waits for the next event; `None` after the source is closed.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Tells events to whoever listens. Nobody waits for a receiver.
pub(crate) struct Teller(Mutex<Option<broadcast::Sender<Event>>>);

impl Teller {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(broadcast::Sender::new(KEPT))))
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(sender) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // Nobody may listen.
            drop(sender.send(event));
        }
    }

    pub(crate) fn listen(&self) -> Events {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Events(match &*sender {
            Some(sender) => sender.subscribe(),
            None => broadcast::channel(1).1,
        })
    }

    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
