//! The parts of a configuration of the leased log.

use super::state::{Mishaps, State};
use crate::rule::{Removed, Rule};

/// The clocks of replicas. Revokers and reapers keep time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    Even,
    /// A replica's clock may miss one tick of three.
    Slow,
    /// A replica's clock may stand still at will.
    Freezing,
}

/// The losses of a failover. In any case statements under way get no answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The latest commit.
    pub commit: bool,
    /// Every registration: they were made after the standby's, or the backup's, last news.
    pub registrations: bool,
    /// The timeline does not show it: a disk was put back.
    pub silent: bool,
}

/// The claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The specification: no ACTIVE for a call that begins after Revoke has returned. Commits that a failover loses are
    /// included only if every replica with state held them.
    AfterRevoke,
    /// The same, whatever a failover takes away.
    DespiteLoss,
    /// Also none for a call that begins after a caller was answered REVOKED.
    AfterRevokedWasSeen,
}

/// A configuration of the leased log.
#[derive(Clone, Debug)]
pub struct World {
    pub replicas: usize,
    /// The token of each Revoke; its index tells the replica. A repeated token is a retry.
    pub revokes: Vec<u8>,
    pub mishaps: Mishaps,
    pub loss: Loss,
    /// The time for which a replica uses a renewal, in ticks of its clock.
    pub lease: u8,
    /// The time that a revoker and a reaper wait, in ticks of theirs.
    pub wait: u8,
    pub clocks: Clocks,
    /// A call may be answered from the database instead.
    pub calls_ask_database: bool,
    /// A call without a lease waits for a renewal, rather than to fail.
    pub calls_join: bool,
    /// A renewal's snapshot is taken before its row is written.
    pub renewals_in_two_steps: bool,
    /// Leases and renewals are carried over into a new epoch.
    pub leases_outlive_epochs: bool,
    /// A replica that starts takes an epoch for settled when it has known it for long.
    pub starters_lose_patience: bool,
    /// REVOKED is answered only when every replica would answer it.
    pub revoked_waits_for_barrier: bool,
    pub promise: Promise,
    /// Look for what must be able to happen.
    pub witnesses: bool,
    pub removed: Removed,
}

impl Default for World {
    fn default() -> Self {
        Self {
            replicas: 2,
            revokes: vec![0],
            mishaps: Mishaps::default(),
            loss: Loss::default(),
            lease: 1,
            wait: 1,
            clocks: Clocks::Even,
            calls_ask_database: false,
            calls_join: false,
            renewals_in_two_steps: false,
            leases_outlive_epochs: false,
            starters_lose_patience: false,
            revoked_waits_for_barrier: false,
            promise: Promise::AfterRevoke,
            witnesses: false,
            removed: Removed::default(),
        }
    }
}

impl World {
    /// Returns whether a rule is kept.
    pub fn keeps(&self, rule: Rule) -> bool {
        self.removed.keeps(rule)
    }

    /// Registrations that each replica may make one after the other.
    pub fn registrations_each(&self) -> usize {
        usize::from(self.mishaps.crashes) + 1
    }

    /// The time that a revoker waits after its commit.
    pub fn wait_ticks(&self) -> u8 {
        if self.keeps(Rule::WaitOutSlowClocks) { self.wait } else { self.lease }
    }

    /// The replica that a Revoke was sent to.
    pub fn home(&self, revoke: usize) -> usize {
        revoke % self.replicas
    }

    pub fn promises_what_was_seen(&self) -> bool {
        self.promise == Promise::AfterRevokedWasSeen
    }

    /// Returns whether the promise is broken.
    pub fn is_broken(&self, state: &State) -> bool {
        state.violated || (self.promises_what_was_seen() && state.inverted)
    }
}
