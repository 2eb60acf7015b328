//! What a guard asks for.

use std::{sync::Arc, time::Duration};

use http::Extensions;

use crate::{Client, Guard};

/// How a guard asks for verdicts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum GuardMode {
    /// By Validate, for each call.
    #[default]
    Unary,
    /// By one stream of `StreamValidate` for all calls: cheaper under load.
    Stream,
}

type Certificate = dyn Fn(&Extensions) -> Option<Vec<u8>> + Send + Sync;

/// The options of a guard.
#[derive(Clone)]
#[must_use]
pub struct GuardBuilder {
    pub(super) client: Client,
    pub(super) audiences: Vec<String>,
    pub(super) scopes: Vec<String>,
    pub(super) mode: GuardMode,
    pub(super) deadline: Duration,
    pub(super) recheck: Option<Duration>,
    pub(super) max_waiting: usize,
    pub(super) except: Vec<String>,
    pub(super) certificate: Option<Arc<Certificate>>,
}

impl GuardBuilder {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            audiences: Vec::new(),
            scopes: Vec::new(),
            mode: GuardMode::Unary,
            deadline: Duration::from_secs(2),
            recheck: Some(Duration::from_secs(30)),
            max_waiting: 1000,
            except: Vec::new(),
            certificate: None,
        }
    }

    /// The audiences that the server accepts. Without any, those of its registration.
    pub fn audiences(mut self, audiences: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// Scopes that every call needs.
    pub fn scopes(mut self, scopes: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// How it asks.
    pub fn mode(mut self, mode: GuardMode) -> Self {
        self.mode = mode;
        self
    }

    /// How long a call waits for its verdict: 2 s, unless it is set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How often a long call is judged again: each 30 s, unless it is set; `None`: not before its token expires.
    pub fn recheck(mut self, every: impl Into<Option<Duration>>) -> Self {
        self.recheck = every.into().filter(|every| !every.is_zero());
        self
    }

    /// How many calls may wait for a verdict with [`GuardMode::Stream`]: 1000, unless it is set.
    pub fn max_waiting(mut self, calls: usize) -> Self {
        self.max_waiting = calls;
        self
    }

    /// What is not guarded: paths, which are the full names of methods of gRPC, as `/grpc.health.v1.Health/Check`.
    pub fn except(mut self, paths: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.except = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Finds the certificate that the peer presented, in DER form, in the extensions of a request. Without it the guard
    /// looks for a [`PeerCertificate`](crate::PeerCertificate).
    pub fn peer_certificate(
        mut self,
        find: impl Fn(&Extensions) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        self.certificate = Some(Arc::new(find));
        self
    }

    /// Makes the guard. No call is made.
    #[must_use]
    pub fn build(self) -> Guard {
        Guard::of(self)
    }
}

impl std::fmt::Debug for GuardBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("audiences", &self.audiences)
            .field("scopes", &self.scopes)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}
