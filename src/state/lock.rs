//! Locks: subjects and clients for which nothing is issued for a time.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use jiff::Timestamp;

use jeton_state::MarkKind;
use jeton_token::{Revision, UnixSeconds};

/// The kind of target of a lock. The numbers are those of the table, and the same as of marks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LockKind {
    /// Nothing is issued for a subject, by any client.
    Subject,
    /// Nothing is issued to a client.
    Client,
}

impl LockKind {
    /// The kind of the same target as a mark's, if such targets can be locked.
    #[must_use]
    pub fn of(mark: MarkKind) -> Option<Self> {
        match mark {
            MarkKind::Subject => Some(Self::Subject),
            MarkKind::Client => Some(Self::Client),
            MarkKind::Key | MarkKind::Audience | MarkKind::Issuer => None,
        }
    }

    /// The kind with this number.
    #[must_use]
    pub fn from_number(number: i16) -> Option<Self> {
        MarkKind::from_number(number).and_then(Self::of)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Subject => MarkKind::Subject.number(),
            Self::Client => MarkKind::Client.number(),
        }
    }
}

/// A lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    /// The kind of target.
    pub kind: LockKind,
    /// The subject or the client.
    pub target: String,
    /// The revision of its latest change.
    pub revision: Revision,
    /// The time when it was locked; of several locks one upon the other, the first.
    pub lock_time: Timestamp,
    /// It ends then, by itself or because it was unlocked.
    pub end_time: UnixSeconds,
    /// Who made the lock that ends then.
    pub actor: String,
    /// The note of that lock.
    pub note: String,
}

impl Lock {
    /// Its target: a subject, or else a client.
    #[must_use]
    pub fn subject_or_client(&self) -> (Option<&str>, Option<&str>) {
        match self.kind {
            LockKind::Subject => (Some(&self.target), None),
            LockKind::Client => (None, Some(&self.target)),
        }
    }

    /// Returns whether it still holds at `now`.
    #[must_use]
    pub fn holds(&self, now: UnixSeconds) -> bool {
        now < self.end_time
    }
}

type Table = HashMap<LockKind, HashMap<Box<str>, Arc<Lock>>>;

/// All locks. There are few, and they change seldom; each Issue looks at them.
#[derive(Default)]
pub struct Locks(ArcSwap<Table>);

impl Locks {
    /// Applies locks as the log has them. Applying one twice, or after a later one of the same target, changes nothing.
    pub fn apply(&self, locks: &[Lock]) {
        if locks.is_empty() {
            return;
        }
        self.0.rcu(|held| {
            let mut table = Table::clone(held);
            for lock in locks {
                let of_kind = table.entry(lock.kind).or_default();
                let is_newer = of_kind.get(lock.target.as_str()).is_none_or(|it| it.revision < lock.revision);
                if is_newer {
                    of_kind.insert(lock.target.as_str().into(), Arc::new(lock.clone()));
                }
            }
            table
        });
    }

    /// The lock of a target, whether it still holds or not.
    #[must_use]
    pub fn get(&self, kind: LockKind, target: &str) -> Option<Arc<Lock>> {
        self.0.load().get(&kind)?.get(target).cloned()
    }

    /// The lock of a target, if it holds at `now`.
    #[must_use]
    pub fn held(&self, kind: LockKind, target: &str, now: UnixSeconds) -> Option<Arc<Lock>> {
        self.get(kind, target).filter(|lock| lock.holds(now))
    }

    /// The locks that hold at `now`, in no order.
    #[must_use]
    pub fn all_held(&self, now: UnixSeconds) -> Vec<Arc<Lock>> {
        let table = self.0.load();
        table.values().flat_map(HashMap::values).filter(|lock| lock.holds(now)).cloned().collect()
    }

    /// Forgets those that ended before `time`.
    pub fn forget_ended(&self, time: UnixSeconds) {
        let stay = |lock: &Arc<Lock>| lock.holds(time);
        if self.0.load().values().flat_map(HashMap::values).all(stay) {
            return;
        }
        self.0.rcu(|held| {
            let mut table = Table::clone(held);
            for locks in table.values_mut() {
                locks.retain(|_, lock| stay(lock));
            }
            table
        });
    }

    /// Locks that hold here at `now` and that `stored` has lost: it lacks them, or ends them earlier although that is no
    /// news, which is a change after `applied` (rule `RemovedLaterIsNews` of tests/model/README.md).
    #[must_use]
    pub fn lost_in(&self, stored: &Self, applied: Revision, now: UnixSeconds) -> Vec<Arc<Lock>> {
        let is_lost = |lock: &Arc<Lock>| {
            let other = stored.get(lock.kind, &lock.target);
            other.is_none_or(|other| other.end_time < lock.end_time && other.revision <= applied)
        };
        self.all_held(now).into_iter().filter(is_lost).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn lock(target: &str, revision: i64, end_s: i64) -> Lock {
        Lock {
            kind: LockKind::Subject,
            target: target.to_owned(),
            revision: Revision::from_i64(revision).unwrap(),
            lock_time: Timestamp::UNIX_EPOCH,
            end_time: UnixSeconds::new(end_s),
            actor: "oncall".to_owned(),
            note: String::new(),
        }
    }

    fn at(seconds: i64) -> UnixSeconds {
        UnixSeconds::new(seconds)
    }

    #[test]
    fn k22_a_lock_holds_until_its_end_and_for_its_target_alone() {
        let locks = Locks::default();
        locks.apply(&[lock("svc:a", 7, 100)]);
        assert!(locks.held(LockKind::Subject, "svc:a", at(99)).is_some());
        assert!(locks.held(LockKind::Subject, "svc:a", at(100)).is_none());
        assert!(locks.held(LockKind::Client, "svc:a", at(99)).is_none());
        assert!(locks.held(LockKind::Subject, "svc:ab", at(99)).is_none());
        locks.forget_ended(at(99));
        assert_eq!(locks.all_held(at(0)).len(), 1);
        locks.forget_ended(at(100));
        assert!(locks.get(LockKind::Subject, "svc:a").is_none());
    }

    #[test]
    fn the_latest_change_of_a_lock_counts_in_whatever_order_they_are_applied() {
        let locks = Locks::default();
        locks.apply(&[lock("svc:a", 8, 50)]);
        locks.apply(&[lock("svc:a", 7, 100)]);
        assert!(locks.held(LockKind::Subject, "svc:a", at(60)).is_none(), "it was unlocked at 8");
        locks.apply(&[lock("svc:a", 9, 70)]);
        assert!(locks.held(LockKind::Subject, "svc:a", at(60)).is_some());
    }

    #[test]
    fn k12_a_lost_lock_is_written_back_and_a_later_unlock_is_no_loss() {
        let (held, stored) = (Locks::default(), Locks::default());
        held.apply(&[
            lock("absent", 5, 100),
            lock("shorter", 6, 100),
            lock("same", 7, 100),
            lock("longer", 7, 100),
            lock("unlocked", 8, 100),
            lock("over", 8, 10),
        ]);
        stored.apply(&[
            lock("shorter", 4, 50),
            lock("same", 7, 100),
            lock("longer", 3, 200),
            lock("unlocked", 12, 20),
        ]);
        let applied = Revision::from_i64(9).unwrap();
        let mut lost: Vec<_> =
            held.lost_in(&stored, applied, at(30)).iter().map(|lock| lock.target.clone()).collect();
        lost.sort_unstable();
        assert_eq!(lost, ["absent", "shorter"]);
    }
}
