//! The root in force, and the snapshot of it that a call reads.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jeton_token::{Revision, UnixSeconds};

use super::{
    Root,
    clock::{BootMillis, Clock},
};

/// The state that a call reads: a root whose lease was held after the call began, and the revision and time
/// that everything the call mints bears. Taken before any look-up: a mark that is acknowledged while the
/// call waits for something else must be above it.
pub struct Snapshot<I = ()> {
    /// The root.
    pub root: Arc<Root<I>>,
    /// The `rev` of what this call mints.
    pub revision: Revision,
    /// The `iat` of what this call mints, milliseconds since the epoch; the claim is whole seconds. By the wall clock or
    /// the database's, whichever is behind: elsewhere it must not be in the future, nor escape an earlier cutoff.
    pub issue_time_ms: i64,
    /// The wall clock when it was taken, milliseconds since the epoch.
    pub now_ms: i64,
    /// The time when it was taken.
    pub taken: BootMillis,
}

impl<I> Clone for Snapshot<I> {
    fn clone(&self) -> Self {
        Self { root: Arc::clone(&self.root), ..*self }
    }
}

impl<I> Snapshot<I> {
    /// The `iat` of what this call mints.
    #[must_use]
    pub fn issue_time(&self) -> UnixSeconds {
        UnixSeconds::new(self.issue_time_ms.div_euclid(1000))
    }

    /// The wall clock when it was taken.
    #[must_use]
    pub fn now(&self) -> UnixSeconds {
        UnixSeconds::new(self.now_ms.div_euclid(1000))
    }
}

/// The one pointer to the root in force.
pub struct Roots<I = ()> {
    current: ArcSwap<Root<I>>,
}

impl<I> Roots<I> {
    /// Begins with this root.
    #[must_use]
    pub fn new(root: Arc<Root<I>>) -> Self {
        Self { current: ArcSwap::new(root) }
    }

    /// The root in force, with a lease or without: not to answer from.
    #[must_use]
    pub fn current(&self) -> Arc<Root<I>> {
        self.current.load_full()
    }

    /// Puts another root in force; the old one is not answered from any more.
    pub fn swap(&self, root: Arc<Root<I>>) {
        self.current.swap(root).lease.retire();
    }

    /// Ends the lease for good: this process is to end.
    pub fn close(&self) {
        self.current.load().lease.retire();
    }

    /// A snapshot, if the lease is held now.
    #[must_use]
    pub fn snapshot(&self, clock: &Clock) -> Option<Snapshot<I>> {
        let root = self.current.load_full();
        let now = clock.look();
        if !root.lease.is_held(now) {
            return None;
        }
        let revision = root.applied();
        let now_ms = clock.at_ms(now);
        let issue_time_ms = now_ms.saturating_sub(root.ahead_ms());
        Some(Snapshot { root, revision, issue_time_ms, now_ms, taken: now.boot })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::{KeyRing, clock::Moment};

    fn root() -> Arc<Root> {
        Arc::new(Root::new(Revision::ZERO, KeyRing::default(), ()))
    }

    /// A lease that lasts a minute longer than usual: no machine is too slow for the test.
    fn hold_a_lease(root: &Root, clock: &Clock) {
        let now = clock.look();
        assert!(root.adopt(Revision::ZERO, Moment { boot: now.boot.plus_ms(60_000), ..now }));
    }

    #[test]
    fn there_is_no_snapshot_before_a_renewal_was_adopted() {
        let clock = Clock::system();
        assert!(Roots::new(root()).snapshot(&clock).is_none());
    }

    #[test]
    fn a_frozen_machine_gets_no_snapshot() {
        let clock = Clock::system();
        let roots = Roots::new(root());
        hold_a_lease(&roots.current(), &clock);
        assert!(roots.snapshot(&clock).is_some());
        clock.step(200);
        assert!(roots.snapshot(&clock).is_none());
    }

    #[test]
    fn a_root_that_was_replaced_is_not_answered_from() {
        let clock = Clock::system();
        let roots = Roots::new(root());
        let old = roots.current();
        hold_a_lease(&old, &clock);
        let snapshot = roots.snapshot(&clock).unwrap();
        assert!(snapshot.root.lease.is_held(clock.look()));
        roots.swap(root());
        assert!(!snapshot.root.lease.is_held(clock.look()));
        assert!(roots.snapshot(&clock).is_none());
    }
}
