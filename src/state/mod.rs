//! The memory of a server: what judges tokens (`jeton-state`), and beside it all that issuing needs: policies, clients,
//! private keys and locks. Uses neither gRPC nor SQL; the log's feed writes here, everybody else reads.

mod client;
mod client_loss;
mod issuer;
mod last_use;
mod lock;
mod policy;
mod policy_loss;
mod signers;

use arc_swap::ArcSwap;
use jeton_token::Verified;

pub use client::{ApiKeyRecord, Client, Clients, Permission};
pub use client_loss::{EndingKey, Restriction, SeenClients};
pub use issuer::{
    IssuerRegistration, Issuers, KeySource, RegisteredCondition, RegisteredKeys, RegisteredRule,
    RegisteredTest, TrustedIssuer,
};
pub use jeton_state::{
    Accepted, AsHashed, Encode, Entry, KeyLife, KeyRecord, KeyRing, KeyState, KnownToken, LEASE_MS,
    LEASE_OVER_MS, Lease, Leeway, Mark, MarkKind, Marks, Reason, SessionFacts, Status, TextHash, Verdict,
    VerifiedCache,
};
pub use last_use::LastUse;
pub use lock::{Lock, LockKind, Locks};
pub use policy::{
    BUILT_IN_ALGORITHM, Effective, FAMILY_ANY, IDLE_BUILT_IN_S, LEEWAY_MAX_S, Policies, Policy,
    REFRESH_ABSOLUTE_MAX_S, REPLAY_GRACE_MAX_S, SUBJECT_SESSIONS_MAX, Terms,
};
pub use policy_loss::{LostPolicy, RemovedPolicies, StoredPolicies};
pub use signers::{MacRecord, OpenedKeys, Signers};

/// A root of a server.
pub type Root = jeton_state::Root<Issuing>;
/// The pointer to a server's root in force.
pub type Roots = jeton_state::Roots<Issuing>;
/// What a call of a server reads.
pub type Snapshot = jeton_state::Snapshot<Issuing>;
/// The evaluator of a server.
pub type Judge<'a> = jeton_state::Judge<'a, Issuing>;

/// What issuing needs beside what judges.
#[derive(Default)]
pub struct Issuing {
    /// Policies.
    pub policies: ArcSwap<Policies>,
    /// Callers.
    pub clients: ArcSwap<Clients>,
    /// Issuers whose assertions are accepted.
    pub issuers: ArcSwap<Issuers>,
    /// Private keys.
    pub signers: ArcSwap<Signers>,
    /// Subjects and clients for which nothing is issued.
    pub locks: Locks,
}

impl Issuing {
    /// From its parts.
    #[must_use]
    pub fn new(policies: Policies, clients: Clients, issuers: Issuers, signers: Signers) -> Self {
        Self {
            policies: ArcSwap::from_pointee(policies),
            clients: ArcSwap::from_pointee(clients),
            issuers: ArcSwap::from_pointee(issuers),
            signers: ArcSwap::from_pointee(signers),
            locks: Locks::default(),
        }
    }
}

impl Leeway for Issuing {
    fn leeway_s(&self, token: &Verified) -> i64 {
        self.policies.load().terms(token.audiences(), token.client_id()).leeway_s()
    }
}
