//! A double of jeton, which issues, refreshes, judges and revokes in memory: token sources and guards that are made from
//! its client work as with a server. Its tokens are none that a verifier accepts.
//!
//! ```ignore
//! let double = Double::new();
//! let source = TokenSource::builder(&double.client()).subject("svc:a").audiences(["orders"]).build()?;
//! double.advance(Duration::from_secs(3600)); // the source renews its token
//! ```

mod server;
mod tokens;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{Client, Code, IssueRequest, JetonError, Secret, clock::Clock, error::DOMAIN};
use tokens::Tokens;

/// The double.
#[derive(Clone)]
pub struct Double(Arc<Server>);

struct Server {
    time: Arc<watch::Sender<Duration>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tokens: Tokens,
    is_away: bool,
    /// Ends the streams when the double goes away.
    away: CancellationToken,
    refusals: Vec<(String, Status)>,
    calls: HashMap<String, usize>,
}

impl Double {
    /// A double, whose clock stands still until [`Double::advance`].
    #[must_use]
    pub fn new() -> Self {
        let time = Arc::new(watch::Sender::new(Duration::ZERO));
        Self(Arc::new(Server { time, state: Mutex::default() }))
    }

    /// A client of the double.
    pub fn client(&self) -> Result<Client, JetonError> {
        let server: Arc<Server> = Arc::clone(&self.0);
        Client::of_double(server, Clock::Manual(Arc::clone(&self.0.time)))
    }

    /// Lets time pass, for the double and for what is made from its client. Deadlines of calls are by the clock of the
    /// machine nevertheless.
    pub fn advance(&self, by: Duration) {
        self.0.time.send_modify(|now| *now = now.saturating_add(by));
    }

    /// Makes the double unreachable, or reachable again. Its streams end.
    pub fn set_away(&self, is_away: bool) {
        let mut state = self.0.lock();
        state.is_away = is_away;
        if is_away {
            std::mem::take(&mut state.away).cancel();
        }
    }

    /// Answers the next call of a method, as `Issue`, by a reason, as `RATE_LIMITED`. An empty reason is a bare status.
    pub fn refuse(&self, method: &str, code: Code, reason: &str, metadata: HashMap<String, String>) {
        let status = refusal(code, reason, metadata);
        self.0.lock().refusals.push((method.to_owned(), status));
    }

    /// How many calls of a method there were, refused ones included.
    #[must_use]
    pub fn calls(&self, method: &str) -> usize {
        self.0.lock().calls.get(method).copied().unwrap_or(0)
    }

    /// Mints a token without a call: for the test of a guard.
    #[must_use]
    pub fn issue(&self, request: IssueRequest) -> Secret {
        let now = self.0.now();
        Secret::new(self.0.lock().tokens.mint(&request.into(), now).access_token)
    }

    /// Revokes the token with this `jti`.
    pub fn revoke_token(&self, jti: &str) {
        self.0.lock().tokens.revoke_jti(jti);
    }

    /// Revokes a session, and its tokens.
    pub fn revoke_session(&self, session_id: &str) {
        self.0.lock().tokens.revoke_session(session_id);
    }
}

impl Default for Double {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Double {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Double(after {:?})", self.0.now())
    }
}

impl Server {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        *self.time.borrow()
    }

    /// Counts a call. The error is the status by which it fails.
    fn begin(&self, method: &str) -> Result<(), Status> {
        let mut state = self.lock();
        let count = state.calls.entry(method.to_owned()).or_default();
        *count = count.saturating_add(1);
        if state.is_away {
            return Err(Status::unavailable("The double is away, as the test told it."));
        }
        match state.refusals.iter().position(|(of, _)| of == method) {
            Some(at) => Err(state.refusals.remove(at).1),
            None => Ok(()),
        }
    }
}

fn refusal(code: Code, reason: &str, metadata: HashMap<String, String>) -> Status {
    if reason.is_empty() {
        return Status::new(code.into(), "The double refuses, as the test told it.");
    }
    let mut details = ErrorDetails::new();
    details.set_error_info(reason, DOMAIN, metadata);
    Status::with_error_details(code.into(), format!("The double refuses: {reason}."), details)
}
