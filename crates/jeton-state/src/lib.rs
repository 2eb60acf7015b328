//! What judges a token in memory: the lease, revocations, public keys, and the one evaluator.
//!
//! A server's feed of the log writes here, everybody else reads. Nothing here uses gRPC, SQL or a runtime, and only
//! [`clock`] reads the system's clocks.

mod cache;
pub mod clock;
mod denylist;
mod evaluator;
mod keys;
mod known;
mod lease;
mod marks;
mod revocation;
mod root;
mod roots;
mod sharded;
#[cfg(test)]
mod tests;
mod text_hash;

pub use cache::VerifiedCache;
pub use denylist::Denylist;
pub use evaluator::{Accepted, Judge, Status, Verdict};
pub use keys::{KeyLife, KeyRecord, KeyRing, KeyState};
pub use known::{Encode, KnownToken};
pub use lease::{LEASE_MS, LEASE_OVER_MS, Lease};
pub use marks::{Mark, MarkKind, Marks, SessionFacts};
pub use revocation::{Entry, Reason};
pub use root::{Leeway, Root};
pub use roots::{Roots, Snapshot};
pub use text_hash::{AsHashed, TextHash};

/// The atomics of the lease; a model checker substitutes its own.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicI64, Ordering};
}
