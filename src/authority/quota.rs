//! How much of what is kept a client may have: live revocations by bare jti (K11), and live sessions. What it revokes by
//! the text of a token is bounded by the tokens that there are; ids anybody can make up, and sessions open in a loop.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync;

use super::{Authority, Error, error::Quantity};
use crate::{
    clock::BootMillis,
    store::{BareRevocations, SessionFilter},
};

/// What one count lets pass unasked: this part of what it leaves. As many replicas may have counted at once, and all of
/// them together let pass no more than is left.
const SHARE_OF_REST: i64 = 32;
/// A count of revocations is good for so long, milliseconds.
const BARE_COUNTED_MS: i64 = 1_000;
/// A count of sessions, which reads as many rows: until then this replica lets pass what the count left for it.
const SESSIONS_COUNTED_MS: i64 = 60_000;
/// A count that leaves nothing is good for so long, milliseconds: sessions end at any time.
const FULL_MS: i64 = 1_000;
/// More clients than ever revoke by bare jti within the life of a count: then the old ones go.
const CLIENTS_MAX: usize = 1_024;

/// The quota, and what is left of the latest count of each client: near the quota, and for small ones, nothing, so that
/// each is counted.
pub struct Quota {
    most: NonZero<u32>,
    counted_ms: i64,
    left: Mutex<HashMap<String, Left>>,
    /// Held while somebody counts: those who come meanwhile wait for that count.
    counting: sync::Mutex<()>,
}

struct Left {
    counted: BootMillis,
    unasked: i64,
    /// Whether there was nothing left.
    full: bool,
}

impl Quota {
    /// Of so many live revocations by bare jti.
    #[must_use]
    pub fn of_bare_revocations(quota: NonZero<u32>) -> Self {
        Self::new(quota, BARE_COUNTED_MS)
    }

    /// Of so many live sessions.
    #[must_use]
    pub fn of_sessions(quota: NonZero<u32>) -> Self {
        Self::new(quota, SESSIONS_COUNTED_MS)
    }

    fn new(quota: NonZero<u32>, counted_ms: i64) -> Self {
        Self { most: quota, counted_ms, left: Mutex::default(), counting: sync::Mutex::default() }
    }

    /// Whether another one may pass by an earlier count.
    fn passes(&self, client_id: &str, now: BootMillis) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = left.get_mut(client_id) else { return false };
        let passes = left.unasked > 0 && now.since_ms(left.counted) < self.counted_ms;
        left.unasked = left.unasked.saturating_sub(1);
        passes
    }

    /// Whether another one may pass by a count that was asked for at `counted`.
    fn counted(&self, client_id: &str, counted: BootMillis, held: i64) -> bool {
        let rest = i64::from(self.most.get()).saturating_sub(held);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= CLIENTS_MAX {
            left.retain(|_, left| counted.since_ms(left.counted) < self.counted_ms);
        }
        let unasked = rest.max(0).div_euclid(SHARE_OF_REST);
        left.insert(client_id.to_owned(), Left { counted, unasked, full: rest <= 0 });
        rest > 0
    }

    /// Whether a count has just left nothing.
    fn is_full(&self, client_id: &str, now: BootMillis) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.get(client_id).is_some_and(|left| left.full && now.since_ms(left.counted) < FULL_MS)
    }
}

impl Authority {
    /// Refuses a client that has as many live revocations by bare jti as it may have.
    pub(super) async fn check_bare_quota(&self, client_id: &str) -> Result<(), Error> {
        let asked = self.clock.boot();
        if self.bare_quota.passes(client_id, asked) {
            return Ok(());
        }
        let now = self.now();
        let BareRevocations { held, fewer_from } = self.store.bare_revocations(client_id, now).await?;
        if self.bare_quota.counted(client_id, asked, held) {
            return Ok(());
        }
        let wait_s = fewer_from.map_or(1, |from| from.since(now).max(1));
        let retry = Duration::from_secs(wait_s.unsigned_abs());
        let quota = self.bare_quota.most.get();
        Err(Error::QuotaExceeded { of: Quantity::BareRevocations, quota, retry })
    }

    /// Refuses a client that has as many live sessions as it may have.
    pub(super) async fn check_session_quota(&self, client_id: &str) -> Result<(), Error> {
        let quota = &self.session_quota;
        if quota.passes(client_id, self.clock.boot()) {
            return Ok(());
        }
        let _one = quota.counting.lock().await;
        let asked = self.clock.boot();
        // By a count that others asked for meanwhile.
        if quota.passes(client_id, asked) {
            return Ok(());
        }
        let full = quota.is_full(client_id, asked) || {
            let filter = SessionFilter { client_id: Some(client_id.to_owned()), ..SessionFilter::default() };
            let held = self.store.count_sessions(&filter).await?;
            !quota.counted(client_id, asked, held)
        };
        if !full {
            return Ok(());
        }
        let retry = Duration::from_millis(FULL_MS.unsigned_abs());
        Err(Error::QuotaExceeded { of: Quantity::Sessions, quota: quota.most.get(), retry })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn quota(quota: u32) -> Quota {
        Quota::of_bare_revocations(NonZero::new(quota).unwrap())
    }

    #[test]
    fn k11_all_replicas_together_let_pass_no_more_than_a_count_leaves() {
        let quota = quota(1_000);
        assert!(!quota.passes("a", BootMillis::new(0)), "nothing was counted");
        for held in [0, 500, 967, 968, 969, 999, 1_000, 2_000] {
            let may = quota.counted("a", BootMillis::new(5), held);
            assert_eq!(may, held < 1_000);
            let unasked = (0..2_000).filter(|_| quota.passes("a", BootMillis::new(6))).count();
            let rest = usize::try_from(1_000 - held).unwrap_or_default();
            assert_eq!(unasked, rest / 32, "{held}");
            assert_eq!(quota.is_full("a", BootMillis::new(6)), !may);
            assert!(!quota.is_full("a", BootMillis::new(1_005)));
        }
    }

    #[test]
    fn k11_a_count_is_of_one_client_and_grows_old() {
        let quota = quota(1_000);
        quota.counted("a", BootMillis::new(5), 0);
        assert!(quota.passes("a", BootMillis::new(1_004)));
        assert!(!quota.passes("a", BootMillis::new(1_005)));
        assert!(!quota.passes("b", BootMillis::new(6)));
    }

    #[test]
    fn k11_counts_of_clients_that_are_quiet_are_forgotten() {
        let quota = quota(1_000);
        for client in 0..CLIENTS_MAX {
            quota.counted(&client.to_string(), BootMillis::new(0), 0);
        }
        quota.counted("one", BootMillis::new(2_000), 0);
        assert_eq!(quota.left.lock().unwrap().len(), 1);
    }
}
