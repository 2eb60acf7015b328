//! The operations of jeton: one file each, as functions that read from top to bottom. Uses neither gRPC nor SQL.

mod access;
mod admin;
mod background;
mod discovery;
mod error;
mod readiness;
mod tokens;

use std::sync::Arc;

use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    observe::{Metrics, Sampled},
    replica::{Auditor, Barrier, EpochKnown, Flusher, Keys, LeaseHandle, Reach, Refresher, Refusals},
    state::{Judge, Root, Roots, VerifiedCache},
    store::{NewAudit, Store},
    trust::IssuerKeys,
};
use jeton_state::clock::Clock;
use jeton_token::{Revision, UnixSeconds, new_uuid_v7};

pub use access::{
    assertion::{AssertionRefused, Purpose, Tested, TestedRule, Vouched},
    caller::{AuthenticatedClient, Caller, Credential, CredentialFacts, PresentedCredential},
    known_keys::KnownKeys,
    lease_check::check_clock,
    presence::Presence,
    quota::Quota,
    rates::Rates,
};
pub use admin::{
    client::{ClientField, ClientUpdate, NewApiKey},
    explain::{Cause, Explained, Explanation, Question, State, Thing, TokenFacts},
    issuer::{IssuerField, IssuerUpdate},
    key::{KeyPage, RotateRequest, Rotated},
    lists::{AuditQuery, Listed, SessionQuery},
    lock::{LockChanged, LockRequest, UnlockRequest},
    page::Page,
    policy::{PolicyField, PolicyUpdate},
};
pub use background::Background;
pub use discovery::{JWKS_MAX_AGE_S, Jwks, LIMITS, ServerInfo};
pub use error::{Denied, Error, Invalid, Quantity, RefreshRefused};
pub use readiness::Readiness;
pub use tokens::{
    bulk::{Bulk, BulkOpening, CHUNK_TARGETS_MAX, Chunk, Failures},
    findings::{Findings, LOOKS_MAX},
    introspect::BearerRequest,
    issue::{IssueRequest, Issued, RefreshCredential, TryIssued},
    refresh_request::RefreshRequest,
    revocation::{RevokeOutcome, RevokeRequest, Revoked},
    target::RevokeTarget,
    validate::{BATCH_MAX, Judged, ValidateRequest, check_batch_size},
};

/// The authority of one replica.
pub struct Authority {
    /// `iss` of every token.
    pub issuer: String,
    /// Name of this replica.
    pub replica: String,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The state in memory.
    pub roots: Arc<Roots>,
    /// Renewals of the lease.
    pub lease: LeaseHandle,
    /// Appends to the log.
    pub flusher: Flusher,
    /// Spends refresh tokens.
    pub refresher: Refresher,
    /// Facts about the log's epoch.
    pub epoch: EpochKnown,
    /// Writes acts that are not in the log.
    pub auditor: Auditor,
    /// Counts refusals.
    pub refusals: Refusals,
    /// Waits for all replicas.
    pub barrier: Barrier,
    /// The database.
    pub store: Store,
    /// Opens and makes keys.
    pub keys: Keys,
    /// Signatures that were found good before.
    pub cache: VerifiedCache,
    /// The keys of trusted issuers.
    pub issuer_keys: IssuerKeys,
    /// API keys that were found good before.
    pub known_keys: KnownKeys,
    /// Limits of calls per second.
    pub rates: Rates,
    /// The limit of a client's live revocations by bare jti (K11).
    pub bare_quota: Quota,
    /// The limit of a client's live sessions.
    pub session_quota: Quota,
    /// Bounds the looks for findings.
    pub looks: Semaphore,
    /// Bounds the texts of tokens that revocations verify at once: one, and one for clients with many calls in flight.
    pub texts: [Semaphore; 2],
    /// Limits the log lines about revocations.
    pub revocation_lines: Sampled,
    /// Limits the log lines about refused credentials.
    pub refusal_lines: Sampled,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl Authority {
    fn judge<'a>(&'a self, root: &'a Root) -> Judge<'a> {
        Judge { root, cache: &self.cache, issuer: &self.issuer }
    }

    fn now(&self) -> UnixSeconds {
        UnixSeconds::new(self.clock.now_s())
    }

    fn new_id(&self) -> Uuid {
        new_uuid_v7(self.clock.now_ms())
    }

    /// Logs a change, and waits until it is in effect on every replica, by the same barrier as a revocation.
    async fn changed(&self, audit: &NewAudit, revision: Revision) -> Result<(), Error> {
        audit.log(Some(revision), 0);
        self.in_effect(revision).await
    }

    /// Waits until a change is in effect on every replica.
    async fn in_effect(&self, revision: Revision) -> Result<(), Error> {
        self.barrier.wait(revision, Reach::Replicas, None).await?;
        Ok(())
    }

    fn audit(&self, caller: &Caller, action: &'static str) -> NewAudit {
        NewAudit {
            trace_id: caller.trace_id.clone(),
            ..NewAudit::new(self.new_id(), &caller.client.client_id, action)
        }
    }
}
