//! The lease: how long a root may be answered from, and up to which revision it is whole.

use super::atomic::{AtomicI64, Ordering};
use crate::clock::{BootMillis, Moment};
use jeton_token::Revision;

/// The time for which a renewal lets a replica answer, counted from before it was sent: nine tenths of the nominal 3.0
/// s, because clock rates may differ by a tenth.
pub const LEASE_MS: i64 = 2_700;

/// The time that a revoker waits, by its own clock, until a silent replica cannot hold a lease any more: eleven tenths
/// of 3.0 s.
pub const LEASE_OVER_MS: i64 = 3_300;

// The slowest clock of a leaseholder against the fastest of a revoker.
const _: () = assert!(LEASE_MS * 11 <= LEASE_OVER_MS * 9, "a revoker must outwait every lease");

/// If the wall clock has run ahead of the boot clock by more since the renewal was sent, the machine was frozen and the
/// boot clock did not count it.
const FROZEN_MS: i64 = 100;

/// No renewal has been adopted yet.
const NEVER: i64 = i64::MIN + 1;
/// No renewal will be adopted: the root was replaced.
const RETIRED: i64 = i64::MIN;

/// The lease of one root. A caller that finds it held sees, in everything that it looks up *after that*, all that was
/// committed before the renewal was sent: entries are applied, then `applied` is published, then a renewal that knows
/// no later head is adopted, then the lease is held.
#[derive(Debug)]
pub struct Lease {
    /// The revision up to which the root is whole.
    applied: AtomicI64,
    /// Boot-clock milliseconds, or [`NEVER`], or [`RETIRED`].
    deadline_ms: AtomicI64,
    /// Wall minus boot clock when the renewal was sent, milliseconds.
    wall_ahead_ms: AtomicI64,
}

impl Lease {
    /// A lease that is not held, for a root that is whole up to `applied`.
    #[must_use]
    pub fn new(applied: Revision) -> Self {
        Self {
            applied: AtomicI64::new(applied.as_i64()),
            deadline_ms: AtomicI64::new(NEVER),
            wall_ahead_ms: AtomicI64::new(0),
        }
    }

    /// The revision up to which the root is whole.
    #[must_use]
    pub fn applied(&self) -> Revision {
        Revision::from_i64(self.applied.load(Ordering::Acquire)).unwrap_or(Revision::ZERO)
    }

    /// Publishes that everything up to here has been applied. After the entries, never before.
    pub fn publish(&self, applied: Revision) {
        self.applied.fetch_max(applied.as_i64(), Ordering::Release);
    }

    /// Adopts a renewal that was sent at `sent` and saw the log's head at `head`. The time counts from the sending,
    /// never from the reply: changes that the renewal did not see were committed after it was sent. Returns false, and
    /// adopts nothing, while the root is not whole up to `head`, is of another epoch, or was replaced.
    pub fn adopt(&self, head: Revision, sent: Moment) -> bool {
        let applied = self.applied();
        if applied < head || applied.epoch() != head.epoch() {
            return false;
        }
        // Before the deadline: a thread that sees the deadline compares the clocks with this look or a later one.
        self.wall_ahead_ms.store(sent.wall_ahead_ms, Ordering::Relaxed);
        let deadline_ms = sent.boot.plus_ms(LEASE_MS).get();
        let later = |now: i64| (now != RETIRED).then_some(now.max(deadline_ms));
        self.deadline_ms.fetch_update(Ordering::Release, Ordering::Relaxed, later).is_ok()
    }

    /// Ends the lease for good: nothing may be answered from the root any more.
    pub fn retire(&self) {
        self.deadline_ms.store(RETIRED, Ordering::Release);
    }

    /// Ends the lease until the next renewal, because its basis is in doubt.
    pub fn drop_now(&self) {
        let ended = |now: i64| (now != RETIRED).then_some(NEVER);
        // A root that was replaced stays replaced.
        let _retired = self.deadline_ms.fetch_update(Ordering::Release, Ordering::Relaxed, ended);
    }

    /// Returns whether the root may be answered from at `now`. Check before looking anything up.
    #[must_use]
    pub fn is_held(&self, now: Moment) -> bool {
        let deadline_ms = self.deadline_ms.load(Ordering::Acquire);
        let frozen_ms = now.wall_ahead_ms.saturating_sub(self.wall_ahead_ms.load(Ordering::Relaxed));
        now.boot.get() < deadline_ms && frozen_ms <= FROZEN_MS
    }

    /// The milliseconds for which it is still held; 0 if it is not.
    #[must_use]
    pub fn left_ms(&self, now: Moment) -> i64 {
        if !self.is_held(now) {
            return 0;
        }
        BootMillis::new(self.deadline_ms.load(Ordering::Acquire)).since_ms(now.boot).max(0)
    }
}
