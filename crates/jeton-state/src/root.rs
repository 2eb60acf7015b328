//! A root holds everything that a replica answers from. A call takes it once, and again after every wait. Entries are
//! added to the live root, which is never cleared: loading all tables again builds another root, which begins without a
//! lease, and swaps it in.

use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;

use jeton_token::{Revision, UnixSeconds, Verified};

use super::{
    Denylist, Entry, KeyRing, Lease, Mark, MarkKind, Marks, Reason, SessionFacts,
    clock::{BootMillis, Moment},
};

/// If server and database clocks are further apart than this, the replica neither mints nor judges.
const CLOCK_SKEW_MAX_MS: i64 = 30_000;
/// Synchronized clocks differ by less; a slow statement looks like a difference below this.
const CLOCK_OFFSET_KNOWN_MS: i64 = 1_000;

/// Everything that is answered from memory.
pub struct Root<I = ()> {
    /// Tells how long the root may be answered from, and up to which revision it is whole.
    pub lease: Lease,
    /// The time when the latest adopted renewal was sent, boot-clock milliseconds.
    renewed_ms: AtomicI64,
    /// Database clock minus wall clock, milliseconds.
    clock_offset_ms: AtomicI64,
    /// The milliseconds by which the wall clock is ahead of the database's, at least.
    ahead_ms: AtomicI64,
    /// Revoked tokens, by `jti`.
    pub tokens: Denylist,
    /// Revoked sessions, by `sid`.
    pub sessions: Denylist,
    /// Wide revocations.
    pub marks: Marks,
    /// Public keys.
    pub keys: ArcSwap<KeyRing>,
    /// What else its owner keeps: a server, all that issuing needs.
    pub issuing: I,
}

/// The clock tolerance of an issuer's policies.
pub trait Leeway {
    /// The seconds by which a token's times may be exceeded; 0 if no policy says otherwise. Asked only if it could
    /// change the answer.
    fn leeway_s(&self, token: &Verified) -> i64;
}

/// No tolerance.
impl Leeway for () {
    fn leeway_s(&self, _: &Verified) -> i64 {
        0
    }
}

impl<I> Root<I> {
    /// A root whose content is whole up to `applied`, without a lease.
    #[must_use]
    pub fn new(applied: Revision, keys: KeyRing, issuing: I) -> Self {
        Self {
            lease: Lease::new(applied),
            renewed_ms: AtomicI64::new(BootMillis::NEVER.get()),
            clock_offset_ms: AtomicI64::new(0),
            ahead_ms: AtomicI64::new(0),
            tokens: Denylist::default(),
            sessions: Denylist::default(),
            marks: Marks::default(),
            keys: ArcSwap::from_pointee(keys),
            issuing,
        }
    }

    /// Applies an entry of the log. Applying it twice changes nothing.
    pub fn apply(&self, entry: Entry) {
        match entry {
            Entry::Token { id, expire_time, reason } => self.tokens.insert(id, expire_time, reason),
            Entry::Session { id, expire_time, reason } => self.sessions.insert(id, expire_time, reason),
            Entry::Mark(mark) => self.marks.insert(mark),
            Entry::MarkRemoved { kind, target, audience } => self.marks.remove(kind, &target, &audience),
        }
    }

    /// Applies many entries, marks in their order.
    pub fn apply_all(&self, entries: Vec<Entry>) {
        let mut tokens = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Entry::Token { id, expire_time, reason } => tokens.push((id, expire_time, reason)),
                other @ (Entry::Session { .. } | Entry::Mark(_) | Entry::MarkRemoved { .. }) => {
                    self.apply(other);
                }
            }
        }
        self.tokens.insert_all(tokens);
    }

    /// The revision up to which the content is whole.
    #[must_use]
    pub fn applied(&self) -> Revision {
        self.lease.applied()
    }

    /// Adopts a renewal, as [`Lease::adopt`] does.
    pub fn adopt(&self, head: Revision, sent: Moment) -> bool {
        let adopted = self.lease.adopt(head, sent);
        if adopted {
            self.renewed_ms.fetch_max(sent.boot.get(), Ordering::Relaxed);
        }
        adopted
    }

    /// Records the database's time from a statement that began and ended at these times of the wall clock. The offset
    /// is counted from the middle.
    pub fn set_database_time_ms(&self, database_ms: i64, before_ms: i64, after_ms: i64) {
        let middle_ms = before_ms.saturating_add(after_ms.saturating_sub(before_ms).div_euclid(2));
        self.clock_offset_ms.store(database_ms.saturating_sub(middle_ms), Ordering::Relaxed);
        self.ahead_ms.store(before_ms.saturating_sub(database_ms).max(0), Ordering::Relaxed);
    }

    /// Takes over the clock offsets of another root.
    pub fn set_clocks_of(&self, other: &Self) {
        self.clock_offset_ms.store(other.clock_offset_ms(), Ordering::Relaxed);
        self.ahead_ms.store(other.ahead_ms(), Ordering::Relaxed);
    }

    /// The seconds by which the database's clock is ahead, if that is a second or more, rounded up: other replicas'
    /// clocks may be ahead as far.
    #[must_use]
    pub fn known_behind_s(&self) -> i64 {
        if self.clock_offset_ms() < CLOCK_OFFSET_KNOWN_MS { 0 } else { self.behind_s() }
    }

    /// The milliseconds since this root was last proven to hold the whole log; `None` if it never was.
    #[must_use]
    pub fn age_ms(&self, now: BootMillis) -> Option<i64> {
        let renewed = BootMillis::new(self.renewed_ms.load(Ordering::Relaxed));
        (renewed != BootMillis::NEVER).then(|| now.since_ms(renewed))
    }

    /// Database clock minus wall clock, milliseconds.
    #[must_use]
    pub fn clock_offset_ms(&self) -> i64 {
        self.clock_offset_ms.load(Ordering::Relaxed)
    }

    /// The milliseconds by which the wall clock is ahead of the database's, at least.
    pub(super) fn ahead_ms(&self) -> i64 {
        self.ahead_ms.load(Ordering::Relaxed)
    }

    /// The seconds for which entries must be kept longer than this server's clock says: if it is behind the database's,
    /// the tables would forget too early.
    #[must_use]
    pub fn behind_s(&self) -> i64 {
        self.clock_offset_ms().max(0).div_euclid(1000).saturating_add(i64::from(self.clock_offset_ms() > 0))
    }

    /// The offset, if it is too large to mint or judge.
    #[must_use]
    pub fn clock_skew_ms(&self) -> Option<i64> {
        let offset = self.clock_offset_ms();
        (offset.saturating_abs() > CLOCK_SKEW_MAX_MS).then_some(offset)
    }

    /// The revocations that `other` lacks, each once, as entries to add to it. Those that have expired at `now` are
    /// left out, except for sessions, which outlive their entries. A key that is revoked here without a mark gets a
    /// mark until `key_end`.
    #[must_use]
    pub fn lost_in(&self, other: &Self, now: UnixSeconds, key_end: UnixSeconds) -> Vec<Entry> {
        let mut lost = Vec::new();
        self.tokens.for_each(|id, expire_time, reason| {
            if expire_time > now && other.tokens.get(&id).is_none() {
                lost.push(Entry::Token { id, expire_time, reason });
            }
        });
        self.sessions.for_each(|id, expire_time, reason| {
            if other.sessions.get(&id).is_none() {
                lost.push(Entry::Session { id, expire_time, reason });
            }
        });
        self.marks.for_each(|mark| {
            if other.has_lost(mark) {
                lost.push(Entry::Mark(mark.clone()));
            }
        });
        lost.extend(self.revoked_keys_lost_in(other, key_end));
        lost
    }

    /// Marks on keys that are revoked here and good in `other`, except those that `other` lacks as marks.
    fn revoked_keys_lost_in(&self, other: &Self, key_end: UnixSeconds) -> Vec<Entry> {
        let (held, others) = (self.keys.load(), other.keys.load());
        let mark = |key_id: &str| {
            let new = || Mark {
                kind: MarkKind::Key,
                target: key_id.to_owned(),
                audience: String::new(),
                position: self.applied(),
                cutoff: UnixSeconds::new(0),
                reason: Reason::Compromised,
                expire_time: key_end,
            };
            match self.marks.get(MarkKind::Key, key_id, "") {
                Some(mark) if other.has_lost(&mark) => None,
                held => Some(Entry::Mark(held.unwrap_or_else(new))),
            }
        };
        held.revoked_but_not_in(&others).filter_map(mark).collect()
    }

    /// Returns whether a mark is absent here, or hits less.
    fn has_lost(&self, mark: &Mark) -> bool {
        let held = self.marks.get(mark.kind, &mark.target, &mark.audience);
        held.is_none_or(|held| held.position < mark.position || held.cutoff < mark.cutoff)
    }

    /// The reason why a session is revoked, by its id or by a mark, if it is.
    #[must_use]
    pub fn session_revoked(&self, session: SessionFacts<'_>) -> Option<Reason> {
        self.sessions.get(&session.id).or_else(|| self.marks.hit_session(session))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;

    use super::*;
    use crate::{KeyLife, KeyRecord, KeyState};
    use jeton_token::{Algorithm, SigningKey};

    fn root() -> Arc<Root> {
        Arc::new(Root::new(Revision::ZERO, KeyRing::default(), ()))
    }

    #[test]
    fn i12_clocks_more_than_30_s_apart_are_too_far_apart() {
        let root = root();
        for (offset_ms, skew_ms) in [
            (0, None),
            (30_000, None),
            (-30_000, None),
            (30_001, Some(30_001)),
            (-30_001, Some(-30_001)),
            (i64::MIN, Some(i64::MIN)),
        ] {
            root.set_database_time_ms(offset_ms, 0, 0);
            assert_eq!(root.clock_skew_ms(), skew_ms);
        }
    }

    #[test]
    fn k9_what_another_root_has_lost_is_found() {
        let (old, new) = (root(), root());
        let id = uuid::Uuid::from_u128;
        let token =
            |n, end| Entry::Token { id: id(n), expire_time: UnixSeconds::new(end), reason: Reason::Leaked };
        let mark = |target: &str, position| Mark {
            kind: MarkKind::Subject,
            target: target.to_owned(),
            audience: String::new(),
            position: Revision::from_i64(position).unwrap(),
            cutoff: UnixSeconds::new(0),
            reason: Reason::Leaked,
            expire_time: UnixSeconds::new(500),
        };
        let session = Entry::Session { id: id(3), expire_time: UnixSeconds::new(1), reason: Reason::Logout };
        for entry in [token(1, 500), token(2, 500), token(4, 100), session.clone()] {
            old.apply(entry);
        }
        for (target, position) in [("lost", 7), ("behind", 7), ("same", 7)] {
            old.apply(Entry::Mark(mark(target, position)));
        }
        new.apply(token(2, 500));
        new.apply(Entry::Mark(mark("behind", 6)));
        new.apply(Entry::Mark(mark("same", 7)));

        let lost = old.lost_in(&new, UnixSeconds::new(100), UnixSeconds::new(900));
        let targets = lost.iter().filter_map(|entry| match entry {
            Entry::Mark(mark) => Some((mark.target.as_str(), mark.position.as_i64())),
            Entry::Token { .. } | Entry::Session { .. } | Entry::MarkRemoved { .. } => None,
        });
        let mut targets: Vec<_> = targets.collect();
        targets.sort_unstable();
        assert_eq!(targets, [("behind", 7), ("lost", 7)], "each at the position that it had");
        assert!(lost.contains(&token(1, 500)));
        assert!(lost.contains(&session), "though its end has passed: the session may live on");
        assert_eq!(lost.len(), 4);
        for entry in lost {
            new.apply(entry);
        }
        assert_eq!(old.lost_in(&new, UnixSeconds::new(100), UnixSeconds::new(900)), []);
    }

    #[test]
    fn k9_the_lost_revocation_of_a_key_is_named_once() {
        let keys = [SigningKey::generate(Algorithm::Es256), SigningKey::generate(Algorithm::EdDsa)];
        let keys = keys.map(|key| key.unwrap().verifying());
        let ids = keys.each_ref().map(|key| key.key_id().to_owned());
        let ring = |state| {
            let life = KeyLife {
                state,
                activate_time: UnixSeconds::new(0),
                expire_time: None,
                published: Revision::ZERO,
            };
            let records = keys.iter().map(|key| KeyRecord { verifying: key.clone(), life });
            KeyRing::new(records.collect())
        };
        let of_ring = |keys| Root::new(Revision::ZERO, keys, ());
        let (old, new) = (of_ring(ring(KeyState::Revoked)), of_ring(ring(KeyState::Active)));
        let mark = |position| Mark {
            kind: MarkKind::Key,
            target: ids[0].clone(),
            audience: String::new(),
            position: Revision::from_i64(position).unwrap(),
            cutoff: UnixSeconds::new(0),
            reason: Reason::Leaked,
            expire_time: UnixSeconds::new(500),
        };
        old.apply(Entry::Mark(mark(7)));
        // The tables lack the mark, hold an earlier one, or hold it beside a good key.
        for held in [None, Some(mark(6)), Some(mark(7))] {
            if let Some(mark) = held {
                new.apply(Entry::Mark(mark));
            }
            let lost = old.lost_in(&new, UnixSeconds::new(100), UnixSeconds::new(900));
            let mut targets: Vec<_> = lost
                .iter()
                .filter_map(|entry| match entry {
                    Entry::Mark(mark) => Some((mark.target.clone(), mark.expire_time.get())),
                    Entry::Token { .. } | Entry::Session { .. } | Entry::MarkRemoved { .. } => None,
                })
                .collect();
            targets.sort_by_key(|(_, end)| *end);
            assert_eq!(targets, [(ids[0].clone(), 500), (ids[1].clone(), 900)]);
        }
    }
}
