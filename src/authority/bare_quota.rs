//! How many live revocations by bare jti a client may have (K11). What it revokes by the text of a token is bounded by
//! the tokens that there are; ids anybody can make up.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::{Authority, Error};
use crate::{clock::BootMillis, store::BareRevocations};

/// What one count lets pass unasked: this part of what it leaves. As many replicas may have counted at once, and all of
/// them together let pass no more than is left.
const SHARE_OF_REST: i64 = 32;
/// A count is good for so long, milliseconds.
const COUNTED_MS: i64 = 1_000;
/// More clients than ever revoke by bare jti within the life of a count: then the old ones go.
const CLIENTS_MAX: usize = 1_024;

/// The quota, and what is left of the latest count of each client: near the quota, and for small ones, nothing, so that
/// each revocation is counted.
pub struct BareQuota {
    quota: NonZero<u32>,
    left: Mutex<HashMap<String, Left>>,
}

struct Left {
    counted: BootMillis,
    unasked: i64,
}

impl BareQuota {
    /// Of so many.
    #[must_use]
    pub fn new(quota: NonZero<u32>) -> Self {
        Self { quota, left: Mutex::default() }
    }

    /// Whether another one may pass by an earlier count.
    fn passes(&self, client_id: &str, now: BootMillis) -> bool {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(left) = left.get_mut(client_id) else { return false };
        let passes = left.unasked > 0 && now.since_ms(left.counted) < COUNTED_MS;
        left.unasked = left.unasked.saturating_sub(1);
        passes
    }

    /// Whether another one may pass by a count that was asked for at `counted`.
    fn counted(&self, client_id: &str, counted: BootMillis, held: i64) -> bool {
        let rest = i64::from(self.quota.get()).saturating_sub(held);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        if left.len() >= CLIENTS_MAX {
            left.retain(|_, left| counted.since_ms(left.counted) < COUNTED_MS);
        }
        left.insert(client_id.to_owned(), Left { counted, unasked: rest.div_euclid(SHARE_OF_REST) });
        rest > 0
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
        Err(Error::QuotaExceeded { quota: self.bare_quota.quota.get(), retry })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn quota(quota: u32) -> BareQuota {
        BareQuota::new(NonZero::new(quota).unwrap())
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
