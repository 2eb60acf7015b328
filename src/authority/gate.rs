//! The gate before every answer from memory.

use super::{Authority, Error, Invalid};
use crate::{state::Pass, token::Revision};

/// A mint that ends later than this after its gate is abandoned, milliseconds: what a lease stands for. No
/// session is inserted later below a mark that its `rev` is held against.
const MINT_MAX_MS: i64 = 3_000;

impl Authority {
    /// Passes the gate: with a lease that is held now. Where it is not, waits for one renewal together with
    /// everybody else who waits; where that fails, refuses to guess.
    pub async fn enter(&self) -> Result<Pass, Error> {
        if let Some(pass) = self.try_enter() {
            return Ok(pass);
        }
        self.lease.join().await;
        self.try_enter().ok_or_else(|| self.stale())
    }

    /// Passes the gate, if the lease is held now.
    #[must_use]
    pub fn try_enter(&self) -> Option<Pass> {
        self.roots.enter(&self.clock)
    }

    /// Passes the gate for minting or judging: not while the clocks are too far apart.
    pub async fn enter_by_the_clock(&self) -> Result<Pass, Error> {
        let pass = self.enter().await?;
        by_the_clock(&pass)?;
        Ok(pass)
    }

    /// Passes the gate anew after one renewal that is sent from here on.
    pub(super) async fn enter_anew(&self) -> Result<Pass, Error> {
        if !self.lease.join().await {
            return Err(self.stale());
        }
        self.enter_by_the_clock().await
    }

    /// Passes the gate with a state of at least `revision`: applied already, or after one renewal.
    pub(super) async fn enter_at(&self, revision: Revision) -> Result<Pass, Error> {
        let pass = self.enter_by_the_clock().await?;
        if pass.revision >= revision {
            return Ok(pass);
        }
        let pass = self.enter_anew().await?;
        if pass.revision >= revision { Ok(pass) } else { Err(Invalid::revision("min_revision").into()) }
    }

    /// Refuses to hand out what was minted at a gate that lies too far back.
    pub(super) fn still_good(&self, pass: &Pass) -> Result<(), Error> {
        if self.clock.boot().since_ms(pass.entered) > MINT_MAX_MS {
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
pub fn by_the_clock(pass: &Pass) -> Result<(), Error> {
    match pass.root.clock_skew_ms() {
        Some(offset_ms) => Err(Error::ClockSkew { offset_ms }),
        None => Ok(()),
    }
}
