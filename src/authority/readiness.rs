//! The readiness of this replica.

use std::time::Duration;

use crate::{authority::Authority, state::BUILT_IN_ALGORITHM};
use jeton_token::Algorithm;

/// The conditions under which this replica should receive calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a check, with a line of its own")]
pub struct Readiness {
    /// The lease is held: it was renewed recently, so the database answers and the state is whole.
    pub lease: bool,
    /// A connection that appends to the log is open: a revocation would be accepted.
    pub append: bool,
    /// A key signs with the built-in algorithm, and a MAC key opens sessions.
    pub key: bool,
    /// Server and database clocks agree.
    pub clock: bool,
    /// The state is in the log's epoch: the replica has not failed to carry it over.
    pub epoch: bool,
}

impl Readiness {
    /// Returns whether all of them hold.
    #[must_use]
    pub fn is_ready(self) -> bool {
        self.lease && self.append && self.key && self.clock && self.epoch
    }
}

impl Authority {
    /// Seconds since the latest renewal that was adopted; infinite if there was none.
    #[must_use]
    pub fn lease_age_s(&self) -> f64 {
        let Some(age_ms) = self.roots.current().age_ms(self.clock.boot()) else { return f64::INFINITY };
        Duration::from_millis(u64::try_from(age_ms).unwrap_or_default()).as_secs_f64()
    }

    /// Updates the metrics of what memory holds.
    pub fn count_held(&self) {
        let root = self.roots.current();
        self.metrics.held(root.tokens.len(), root.sessions.len(), root.marks.len());
    }

    /// The conditions now.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        const SIGNS: Algorithm = BUILT_IN_ALGORITHM;
        let root = self.roots.current();
        let signers = root.issuing.signers.load();
        Readiness {
            lease: root.lease.is_held(self.clock.look()),
            append: self.flusher.can_append(),
            key: signers.signer(SIGNS).is_some() && signers.active_mac().is_some(),
            clock: root.clock_skew_ms().is_none(),
            epoch: self.epoch.is_followed(),
        }
    }
}
