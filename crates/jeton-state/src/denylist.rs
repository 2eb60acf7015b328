//! The live revocations by id.

use uuid::Uuid;

use jeton_token::UnixSeconds;

use super::{Reason, sharded::Sharded};

/// 24 bytes with its key, so that ten million of them fit into memory.
#[derive(Clone, Copy)]
struct Denied {
    /// Seconds since the epoch; sufficient until 2106.
    expire_s: u32,
    reason: Reason,
}

impl Denied {
    fn new(expire_time: UnixSeconds, reason: Reason) -> Self {
        Self { expire_s: u32::try_from(expire_time.get().max(0)).unwrap_or(u32::MAX), reason }
    }

    fn beside(self, old: Option<Self>) -> Self {
        old.map_or(self, |old| Self { expire_s: old.expire_s.max(self.expire_s), reason: old.reason })
    }
}

/// Revoked ids of one kind, each kept until no token that it hits can be live.
#[derive(Default)]
pub struct Denylist {
    ids: Sharded<Uuid, Denied>,
}

impl Denylist {
    /// The reason why `id` is revoked, if it is.
    #[must_use]
    pub fn get(&self, id: &Uuid) -> Option<Reason> {
        self.ids.get(id, |denied| denied.reason)
    }

    /// Adds a revocation. A second one of the same id keeps the first reason and the later end.
    pub fn insert(&self, id: Uuid, expire_time: UnixSeconds, reason: Reason) {
        self.ids.change(id, |old| Some(Denied::new(expire_time, reason).beside(old)));
    }

    /// Adds many.
    pub fn insert_all(&self, revocations: Vec<(Uuid, UnixSeconds, Reason)>) {
        let denied = |(id, expire_time, reason)| (id, Denied::new(expire_time, reason));
        self.ids.change_all(revocations.into_iter().map(denied), |new, old| Some(new.beside(old)));
    }

    /// Makes room for about `count` more.
    pub fn reserve(&self, count: usize) {
        self.ids.reserve(count);
    }

    /// Calls `see` with every revocation: id, end, reason.
    pub fn for_each(&self, mut see: impl FnMut(Uuid, UnixSeconds, Reason)) {
        self.ids.for_each(|id, denied| see(*id, UnixSeconds::new(denied.expire_s.into()), denied.reason));
    }

    /// Forgets revocations that have reached their end.
    pub fn forget_expired(&self, now: UnixSeconds) {
        let now_s = u32::try_from(now.get().max(0)).unwrap_or(u32::MAX);
        self.ids.retain(|_, denied| denied.expire_s > now_s);
    }

    /// Number of revocations held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Returns whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_is_held_until_its_end_and_no_longer() {
        let list = Denylist::default();
        let id = Uuid::from_u128(7);
        list.insert(id, UnixSeconds::new(100), Reason::Leaked);
        list.forget_expired(UnixSeconds::new(99));
        assert_eq!(list.get(&id), Some(Reason::Leaked));
        list.forget_expired(UnixSeconds::new(100));
        assert_eq!(list.get(&id), None);
        assert!(list.is_empty());
    }

    #[test]
    fn k11_a_repeated_revocation_adds_nothing_and_never_shortens() {
        let list = Denylist::default();
        let id = Uuid::from_u128(7);
        list.insert(id, UnixSeconds::new(100), Reason::Leaked);
        list.insert(id, UnixSeconds::new(50), Reason::Logout);
        list.forget_expired(UnixSeconds::new(60));
        assert_eq!(list.len(), 1);
        assert_eq!(list.get(&id), Some(Reason::Leaked));
    }

    #[test]
    fn many_at_once_are_held_as_one_by_one() {
        let (many, single) = (Denylist::default(), Denylist::default());
        let revocations: Vec<_> = (0_u32..2_000)
            .map(|n| {
                let reason = if n % 3 == 0 { Reason::Leaked } else { Reason::Logout };
                // Each id twice, for some with the earlier end first, for others with the later.
                let end = UnixSeconds::new(i64::from(100 + n % 7));
                (Uuid::from_u128(u128::from(n % 1_000) << 64), end, reason)
            })
            .collect();
        for (id, end, reason) in &revocations {
            single.insert(*id, *end, *reason);
        }
        many.insert_all(revocations);
        let held = |list: &Denylist| {
            let mut held = Vec::new();
            list.for_each(|id, end, reason| held.push((id, end, reason.number())));
            held.sort_unstable();
            held
        };
        assert_eq!(held(&many).len(), 1_000);
        assert_eq!(held(&many), held(&single));
    }
}
