//! A token that stays fresh.

mod events;
mod keeper;
mod options;
mod renewal;
mod run;
mod token;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use arc_swap::ArcSwapOption;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout_at,
};

pub use events::{Event, EventKind, Events};
pub use options::TokenSourceBuilder;
pub use token::Token;

use crate::{Client, JetonError, Secret, clock::deadline_in};
use events::Teller;
use renewal::{Looked, Renewal};
use token::Lifetime;

/// A caller waits so long for a token, unless it says otherwise.
const GET_TIME: Duration = Duration::from_secs(10);

/// Holds one token, and renews it in the background. Clones are the same source; it is closed by
/// [`TokenSource::close`], or when the last clone is dropped.
#[derive(Clone)]
pub struct TokenSource(Arc<Owner>);

/// A source that may have been dropped meanwhile.
pub(crate) struct SourceRef(Weak<Owner>);

impl SourceRef {
    /// Notes that a peer refused a token, so that it is renewed in the background.
    pub(crate) fn note_refusal(&self, refused: &Token) {
        if let Some(owner) = self.0.upgrade() {
            TokenSource(owner).note_refusal(refused);
        }
    }
}

/// What the clones share, and the background does not: when it is dropped, the background ends.
struct Owner {
    shared: Arc<Shared>,
    background: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    options: TokenSourceBuilder,
    /// Read in the hot path: no renewal holds it up.
    held: ArcSwapOption<Lifetime>,
    renewal: Mutex<Renewal>,
    /// Counts the attempts that have ended, and the close.
    changed: watch::Sender<u64>,
    poked: Notify,
    events: Teller,
}

impl TokenSource {
    /// A source of tokens of the client's server.
    pub fn builder(client: &Client) -> TokenSourceBuilder {
        TokenSourceBuilder::new(client.clone())
    }

    fn new(options: TokenSourceBuilder, session: Option<Secret>) -> Self {
        let now = options.client.shared.clock.now();
        let shared = Arc::new(Shared {
            renewal: Mutex::new(Renewal::new(session, now)),
            options,
            held: ArcSwapOption::empty(),
            changed: watch::Sender::new(0),
            poked: Notify::new(),
            events: Teller::new(),
        });
        Self(Arc::new(Owner { shared, background: Mutex::default() }))
    }

    /// The token in hand, if it lives. Nothing is waited for.
    #[must_use]
    pub fn current(&self) -> Option<Token> {
        let shared = &self.0.shared;
        let held = shared.held.load();
        held.as_ref().filter(|held| shared.now() < held.dead_at).map(|held| held.token.clone())
    }

    /// A token that lives. Only if there is none it waits, 10 s at most.
    pub async fn get(&self) -> Result<Token, JetonError> {
        self.get_within(GET_TIME).await
    }

    /// The same with a deadline of its own. After it the error is that of the latest attempt since the token in hand
    /// died. The renewal goes on.
    pub async fn get_within(&self, deadline: Duration) -> Result<Token, JetonError> {
        if let Some(token) = self.current() {
            return Ok(token);
        }
        // It is seldom waited for: a caller is not made large by it.
        Box::pin(self.wait(deadline)).await
    }

    async fn wait(&self, deadline: Duration) -> Result<Token, JetonError> {
        let shared = &self.0.shared;
        let mut changed = shared.changed.subscribe();
        let seen = shared.lock().completed;
        let waiting = async {
            loop {
                let looked = shared.lock().look(seen, shared.now());
                match looked {
                    Looked::Token(token) => return Ok(token),
                    Looked::Failed(error) => return Err(error),
                    Looked::Wait => self.wake(),
                }
                // The sender lives in `shared`.
                let _changed = changed.changed().await;
            }
        };
        timeout_at(deadline_in(deadline), waiting).await.unwrap_or_else(|_| {
            Err(shared.lock().since_death().unwrap_or_else(JetonError::deadline_exceeded))
        })
    }

    /// Another token than one that a peer refused. `None`: there is none, or none may be asked for.
    pub(crate) async fn another(&self, refused: &Token, deadline: Duration) -> Option<Token> {
        let shared = &self.0.shared;
        let mut changed = shared.changed.subscribe();
        let seen = shared.lock().completed;
        let waiting = async {
            loop {
                {
                    let mut renewal = shared.lock();
                    if renewal.closed || renewal.ended.is_some() {
                        return None;
                    }
                    let now = shared.now();
                    if let Some(token) = renewal.live(now).filter(|token| !token.is(refused)) {
                        return Some(token.clone());
                    }
                    if renewal.completed > seen || !renewal.refuse(refused, now) {
                        return None;
                    }
                }
                self.wake();
                let _changed = changed.changed().await;
            }
        };
        timeout_at(deadline_in(deadline), waiting).await.ok().flatten()
    }

    /// Notes that a peer refused a token, so that it is renewed in the background.
    pub(crate) fn note_refusal(&self, refused: &Token) {
        let shared = &self.0.shared;
        let comes = {
            let mut renewal = shared.lock();
            let now = shared.now();
            renewal.live(now).is_some_and(|token| token.is(refused)) && renewal.refuse(refused, now)
        };
        if comes {
            self.wake();
        }
    }

    pub(crate) fn downgrade(&self) -> SourceRef {
        SourceRef(Arc::downgrade(&self.0))
    }

    /// Wakes the background, which begins with the first caller.
    fn wake(&self) {
        let mut background = self.0.background.lock().unwrap_or_else(PoisonError::into_inner);
        if background.as_ref().is_none_or(JoinHandle::is_finished) && !self.0.shared.lock().closed {
            let shared = Arc::clone(&self.0.shared);
            *background = Some(tokio::spawn(async move { shared.run().await }));
        }
        self.0.shared.poked.notify_one();
    }

    /// The events from now on. Ask before the first [`TokenSource::get`] to hear of all.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.shared.events.listen()
    }

    /// Closes the source. Callers that wait fail by [`ErrorKind::Closed`](crate::ErrorKind). When it returns, nothing of
    /// the source is left.
    pub async fn close(&self) {
        self.0.shared.close();
        let background = self.0.background.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(background) = background {
            // It ends by itself. That it panicked is told by its own message.
            drop(background.await);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn now(&self) -> Duration {
        self.options.client.shared.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, Renewal> {
        self.renewal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        {
            let mut renewal = self.lock();
            renewal.closed = true;
            renewal.held = None;
            renewal.refresh_token = None;
            self.held.store(None);
        }
        self.events.close();
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
        self.poked.notify_one();
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.shared.options.fmt(f)
    }
}
