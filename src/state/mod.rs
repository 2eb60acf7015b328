//! The state of a replica, in memory, and the one function that judges a token by it. Uses neither gRPC nor SQL; the
//! log's feed writes here, everybody else reads.

mod cache;
mod client;
mod client_loss;
mod denylist;
mod evaluator;
mod keys;
mod last_use;
mod lease;
mod marks;
mod policy;
mod policy_loss;
mod revocation;
mod root;
mod sharded;
#[cfg(test)]
mod tests;
mod text_hash;

pub use cache::VerifiedCache;
pub use client::{ApiKeyRecord, Client, Clients, Permission};
pub use client_loss::{EndingKey, Restriction, SeenClients};
pub use denylist::Denylist;
pub use evaluator::{Accepted, Judge, Status, Verdict};
pub use keys::{KeyLife, KeyRecord, KeyRing, KeyState, MacRecord};
pub use last_use::LastUse;
pub use lease::{LEASE_MS, LEASE_OVER_MS, Lease};
pub use marks::{Mark, MarkKind, Marks, SessionFacts};
pub use policy::{
    BUILT_IN_ALGORITHM, Effective, FAMILY_ANY, IDLE_BUILT_IN_S, LEEWAY_MAX_S, Policies, Policy,
    REFRESH_ABSOLUTE_MAX_S, REPLAY_GRACE_MAX_S, SUBJECT_SESSIONS_MAX, Terms,
};
pub use policy_loss::{LostPolicy, RemovedPolicies, StoredPolicies};
pub use revocation::{Entry, Reason};
pub use root::{Root, Roots, Snapshot};
pub use text_hash::{AsHashed, TextHash};

/// The atomics of the lease; a model checker substitutes its own.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicI64, Ordering};
}
