//! The lease check: the first step of every call that is answered from memory.

use crate::{
    authority::{Authority, Error, Invalid},
    state::Snapshot,
};
use jeton_token::Revision;

/// A mint that ends later than this after its lease check is abandoned, milliseconds: no lease lasts longer. So no
/// session is inserted after the mark that must hit its `rev`.
const MINT_MAX_MS: i64 = 3_000;

impl Authority {
    /// A snapshot under a lease that is held now. If none is held, waits for one renewal together with all other
    /// calls that wait; if that fails, refuses the call.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        if let Some(snapshot) = self.try_snapshot() {
            return Ok(snapshot);
        }
        self.lease.join().await;
        self.try_snapshot().ok_or_else(|| self.stale())
    }

    /// A snapshot, if the lease is held now.
    #[must_use]
    pub fn try_snapshot(&self) -> Option<Snapshot> {
        self.roots.snapshot(&self.clock)
    }

    /// A snapshot to mint or judge from: refused while the clocks are too far apart.
    pub async fn clock_checked_snapshot(&self) -> Result<Snapshot, Error> {
        let snapshot = self.snapshot().await?;
        check_clock(&snapshot)?;
        Ok(snapshot)
    }

    /// A snapshot taken after a renewal that is sent from now on.
    pub(in crate::authority) async fn renewed_snapshot(&self) -> Result<Snapshot, Error> {
        if !self.lease.join().await {
            return Err(self.stale());
        }
        self.clock_checked_snapshot().await
    }

    /// A snapshot of at least `revision`: applied already, or after one renewal.
    pub(in crate::authority) async fn snapshot_at(&self, revision: Revision) -> Result<Snapshot, Error> {
        let snapshot = self.clock_checked_snapshot().await?;
        if snapshot.revision >= revision {
            return Ok(snapshot);
        }
        let snapshot = self.renewed_snapshot().await?;
        if snapshot.revision >= revision {
            Ok(snapshot)
        } else {
            Err(Invalid::revision("min_revision").into())
        }
    }

    /// Refuses to hand out a token if its snapshot was taken too long ago.
    pub(in crate::authority) fn check_age(&self, snapshot: &Snapshot) -> Result<(), Error> {
        if self.clock.boot().since_ms(snapshot.taken) > MINT_MAX_MS {
            tracing::warn!("a mint took longer than 3 s and was abandoned");
            return Err(Error::StoreUnavailable);
        }
        Ok(())
    }

    fn stale(&self) -> Error {
        Error::Stale { age_ms: self.roots.current().age_ms(self.clock.boot()) }
    }
}

/// Refuses to mint or to judge while the clocks are too far apart.
pub fn check_clock(snapshot: &Snapshot) -> Result<(), Error> {
    match snapshot.root.clock_skew_ms() {
        Some(offset_ms) => Err(Error::ClockSkew { offset_ms }),
        None => Ok(()),
    }
}
