//! Limits of the rows that a client may have: live revocations by bare jti (K11), and live sessions. Revocations by a
//! token's text are bounded by the number of tokens, but anybody can make up ids, and open sessions in a loop.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{self, OwnedMutexGuard},
    time::sleep,
};

use crate::{
    authority::{Authority, Error, error::Quantity},
    store::{BareRevocations, SessionFilter},
};
use jeton_state::clock::BootMillis;

/// The share of what is left that passes after one count without another. As many replicas may count at once, and
/// together let no more pass than is left.
const SHARE_OF_REST: i64 = 32;
/// For sessions at least this share of the whole quota passes, if so much is left: so a client near its quota is not
/// counted for each session. Replicas that count at once may together exceed the quota by as much each.
const SHARE_OF_QUOTA: i64 = 1_024;
/// The time for which a count of revocations is used, milliseconds.
const BARE_COUNTED_MS: i64 = 1_000;
/// The same for a count of sessions, which reads as many rows; until then this replica lets pass as many as the count
/// allowed.
const SESSIONS_COUNTED_MS: i64 = 60_000;
/// The time for which a count that leaves nothing is used, milliseconds: sessions end at any time.
const FULL_MS: i64 = 1_000;
/// After a count, the next count of the same client waits for this many times as long as the count took: a client costs
/// the database no more than a fifth of one connection's time.
const REST_AFTER_COUNT: i64 = 4;
/// The longest such wait, milliseconds: a caller waits for it.
const REST_MAX_MS: i64 = 5_000;
/// The retry delay of a refusal for the sessions of one subject.
const SUBJECT_RETRY: Duration = Duration::from_secs(1);
/// More clients than are counted during the life of a count: above this, old counts are dropped.
const CLIENTS_MAX: usize = 1_024;

/// A quota, and the rest of the latest count of each client. Near the quota, and for small quotas, the rest is nothing,
/// so that each call counts.
pub struct Quota {
    most: NonZero<u32>,
    counted_ms: i64,
    clients: Mutex<HashMap<String, Client>>,
}

#[derive(Default)]
struct Client {
    /// Held while the client is counted: other calls of the client wait for that count. Other clients do not.
    counting: Arc<sync::Mutex<()>>,
    left: Option<Left>,
}

/// The rest of a count.
#[derive(Clone, Copy)]
struct Left {
    /// The end of the count.
    counted: BootMillis,
    took_ms: i64,
    unasked: i64,
    found: Found,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Room,
    NoRoom,
    /// The database did not count to the end.
    TooSlow,
}

/// The answer of an earlier count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    Passes,
    Refused(Found),
    /// Count again, in so many milliseconds.
    Count(i64),
}

impl Left {
    /// The time before which no other count follows this one, milliseconds.
    fn rest_ms(&self) -> i64 {
        let rest = self.took_ms.saturating_mul(REST_AFTER_COUNT).clamp(0, REST_MAX_MS);
        if self.found == Found::Room { rest } else { rest.max(FULL_MS) }
    }
}

impl Quota {
    /// A quota of live revocations by bare jti.
    #[must_use]
    pub fn of_bare_revocations(quota: NonZero<u32>) -> Self {
        Self::new(quota, BARE_COUNTED_MS)
    }

    /// A quota of live sessions.
    #[must_use]
    pub fn of_sessions(quota: NonZero<u32>) -> Self {
        Self::new(quota, SESSIONS_COUNTED_MS)
    }

    fn new(quota: NonZero<u32>, counted_ms: i64) -> Self {
        Self { most: quota, counted_ms, clients: Mutex::default() }
    }

    fn lock<T>(&self, with: impl FnOnce(&mut HashMap<String, Client>) -> T) -> T {
        with(&mut self.clients.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether another one may pass by an earlier count.
    fn passes(&self, client_id: &str, now: BootMillis) -> bool {
        self.lock(|clients| {
            let Some(left) = clients.get_mut(client_id).and_then(|client| client.left.as_mut()) else {
                return false;
            };
            let passes = left.unasked > 0 && now.since_ms(left.counted) < self.counted_ms;
            left.unasked = left.unasked.saturating_sub(1);
            passes
        })
    }

    /// The answer of an earlier count, for the holder of the client's lock.
    fn known(&self, client_id: &str, now: BootMillis) -> Known {
        if self.passes(client_id, now) {
            return Known::Passes;
        }
        let left = self.lock(|clients| clients.get(client_id).and_then(|client| client.left));
        let Some(left) = left else { return Known::Count(0) };
        let rest = left.rest_ms().saturating_sub(now.since_ms(left.counted)).max(0);
        match left.found {
            Found::Room => Known::Count(rest),
            refused @ (Found::NoRoom | Found::TooSlow) if rest > 0 => Known::Refused(refused),
            Found::NoRoom | Found::TooSlow => Known::Count(0),
        }
    }

    /// The lock of the client's counts.
    fn turn(&self, client_id: &str) -> Arc<sync::Mutex<()>> {
        self.lock(|clients| Arc::clone(&clients.entry(client_id.to_owned()).or_default().counting))
    }

    /// Returns whether another one may pass by a count of `held`. At least `spare` may pass after it without a count,
    /// if so many are left.
    fn counted(&self, client_id: &str, began: BootMillis, now: BootMillis, held: i64, spare: i64) -> bool {
        let rest = i64::from(self.most.get()).saturating_sub(held);
        let unasked = rest.max(0).div_euclid(SHARE_OF_REST).max(spare.min(rest.saturating_sub(1)));
        let found = if rest > 0 { Found::Room } else { Found::NoRoom };
        self.note(client_id, Left { counted: now, took_ms: now.since_ms(began), unasked, found });
        rest > 0
    }

    fn note(&self, client_id: &str, left: Left) {
        self.lock(|clients| {
            if clients.len() >= CLIENTS_MAX {
                clients.retain(|_, client| {
                    Arc::strong_count(&client.counting) > 1
                        || client.left.is_some_and(|old| left.counted.since_ms(old.counted) < self.counted_ms)
                });
            }
            clients.entry(client_id.to_owned()).or_default().left = Some(left);
        });
    }
}

impl Authority {
    /// Refuses a client that has as many live revocations by bare jti as it may have.
    pub(in crate::authority) async fn check_bare_quota(&self, client_id: &str) -> Result<(), Error> {
        let asked = self.clock.boot();
        if self.bare_quota.passes(client_id, asked) {
            return Ok(());
        }
        let now = self.now();
        let BareRevocations { held, fewer_from } = self.store.bare_revocations(client_id, now).await?;
        if self.bare_quota.counted(client_id, asked, asked, held, 0) {
            return Ok(());
        }
        let wait_s = fewer_from.map_or(1, |from| from.since(now).max(1));
        let retry = Duration::from_secs(wait_s.unsigned_abs());
        let quota = self.bare_quota.most.get().into();
        Err(Error::QuotaExceeded { of: Quantity::BareRevocations, quota, retry })
    }

    /// Refuses a client that has as many live sessions as it may have. If this call counted, the guard must be held
    /// until the session exists, so that the next count of this replica sees it.
    pub(in crate::authority) async fn check_session_quota(
        &self,
        client_id: &str,
    ) -> Result<Option<OwnedMutexGuard<()>>, Error> {
        let quota = &self.session_quota;
        if quota.passes(client_id, self.clock.boot()) {
            return Ok(None);
        }
        let turn = quota.turn(client_id).lock_owned().await;
        loop {
            match quota.known(client_id, self.clock.boot()) {
                Known::Passes => return Ok(None),
                Known::Refused(Found::TooSlow) => return Err(Error::Overloaded),
                Known::Refused(_) => return Err(self.over_sessions()),
                Known::Count(0) => break,
                Known::Count(rest_ms) => sleep(Duration::from_millis(rest_ms.unsigned_abs())).await,
            }
        }
        let filter = SessionFilter { client_id: Some(client_id.to_owned()), ..SessionFilter::default() };
        let began = self.clock.boot();
        let held = self.store.count_sessions(&filter).await?;
        let now = self.clock.boot();
        let Some(held) = held else {
            let left = Left { counted: now, took_ms: now.since_ms(began), unasked: 0, found: Found::TooSlow };
            quota.note(client_id, left);
            return Err(Error::Overloaded);
        };
        let spare = i64::from(quota.most.get()).div_euclid(SHARE_OF_QUOTA);
        if quota.counted(client_id, began, now, held, spare) {
            Ok(Some(turn))
        } else {
            Err(self.over_sessions())
        }
    }

    fn over_sessions(&self) -> Error {
        let retry = Duration::from_millis(FULL_MS.unsigned_abs());
        Error::QuotaExceeded { of: Quantity::Sessions, quota: self.session_quota.most.get().into(), retry }
    }
}

/// The refusal of another session for a subject that has the most allowed.
pub(in crate::authority) fn over_subject_sessions(most: i64) -> Error {
    Error::QuotaExceeded { of: Quantity::SubjectSessions, quota: most, retry: SUBJECT_RETRY }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn quota(quota: u32) -> Quota {
        Quota::of_bare_revocations(NonZero::new(quota).unwrap())
    }

    fn at(millis: i64) -> BootMillis {
        BootMillis::new(millis)
    }

    #[test]
    fn k11_all_replicas_together_let_pass_no_more_than_a_count_leaves() {
        let quota = quota(1_000);
        assert!(!quota.passes("a", at(0)), "nothing was counted");
        for held in [0, 500, 967, 968, 969, 999, 1_000, 2_000] {
            let may = quota.counted("a", at(5), at(5), held, 0);
            assert_eq!(may, held < 1_000);
            let unasked = (0..2_000).filter(|_| quota.passes("a", at(6))).count();
            let rest = usize::try_from(1_000 - held).unwrap_or_default();
            assert_eq!(unasked, rest / 32, "{held}");
            let known = if may { Known::Count(0) } else { Known::Refused(Found::NoRoom) };
            assert_eq!(quota.known("a", at(6)), known);
            assert_eq!(quota.known("a", at(1_005)), Known::Count(0));
        }
    }

    #[test]
    fn k11_a_client_at_its_quota_is_not_counted_for_each_session() {
        let quota = Quota::of_sessions(NonZero::new(1_000_000).unwrap());
        for (rest, unasked) in [(1, 0), (2, 1), (20, 19), (2_000, 976), (64_000, 2_000)] {
            assert!(quota.counted("a", at(0), at(1_000), 1_000_000 - rest, 976));
            let passed = (0..100_000).filter(|_| quota.passes("a", at(1_001))).count();
            assert_eq!(passed, unasked, "{rest}");
            // The count took a second: the next one waits for four, from its end.
            assert_eq!(quota.known("a", at(1_001)), Known::Count(3_999));
            assert_eq!(quota.known("a", at(5_000)), Known::Count(0));
        }
        assert!(!quota.counted("a", at(0), at(1_000), 1_000_000, 976));
        assert_eq!(quota.known("a", at(4_999)), Known::Refused(Found::NoRoom));
        assert_eq!(quota.known("a", at(5_000)), Known::Count(0));
    }

    #[tokio::test]
    async fn k11_who_counts_for_one_client_is_waited_for_by_no_other() {
        let quota = Quota::of_sessions(NonZero::new(3).unwrap());
        let one = quota.turn("a").lock_owned().await;
        assert!(quota.turn("a").try_lock_owned().is_err());
        assert!(quota.turn("b").try_lock_owned().is_ok());
        drop(one);
        assert!(quota.turn("a").try_lock_owned().is_ok());
    }

    #[test]
    fn k11_a_count_is_of_one_client_and_grows_old() {
        let quota = quota(1_000);
        quota.counted("a", at(5), at(5), 0, 0);
        assert!(quota.passes("a", at(1_004)));
        assert!(!quota.passes("a", at(1_005)));
        assert!(!quota.passes("b", at(6)));
    }

    #[test]
    fn k11_counts_of_clients_that_are_quiet_are_forgotten() {
        let quota = quota(1_000);
        for client in 0..CLIENTS_MAX {
            quota.counted(&client.to_string(), at(0), at(0), 0, 0);
        }
        let waits = quota.turn("7");
        quota.counted("one", at(2_000), at(2_000), 0, 0);
        assert_eq!(quota.clients.lock().unwrap().len(), 2, "and one whose turn is waited for stays");
        drop(waits);
    }
}
