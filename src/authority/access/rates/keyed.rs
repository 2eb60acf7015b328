//! So many per second for each key, and all of them at once after a pause: a bucket of tokens for each key, kept as the
//! one time at which it is full again (GCRA). Time is an argument.

use std::{
    borrow::Borrow,
    collections::HashMap,
    hash::Hash,
    num::NonZero,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// A second, in nanoseconds.
const SECOND_NS: u64 = 1_000_000_000;
/// The number of keys from which on it pays to look for those to forget.
const FORGET_FROM: usize = 1_024;

/// The same rate for each key.
pub(super) struct KeyedRate<K> {
    limit: NonZero<u32>,
    /// The time in which an empty bucket gains one, nanoseconds; rounded up, so that a second never has more.
    one_ns: u64,
    /// The time in which an empty bucket becomes full, nanoseconds.
    all_ns: u64,
    keys: Mutex<Keys<K>>,
}

struct Keys<K> {
    /// When the bucket of a key is full again, nanoseconds. A key whose bucket is full is as good as one that was
    /// never seen.
    full_at: HashMap<K, u64>,
    /// The number of keys at which those with a full bucket are forgotten.
    forget_at: usize,
}

impl<K: Hash + Eq> KeyedRate<K> {
    /// At most so many per second.
    pub(super) fn per_second(limit: NonZero<u32>) -> Self {
        let one_ns = SECOND_NS.div_ceil(u64::from(limit.get()));
        Self {
            limit,
            one_ns,
            all_ns: one_ns.saturating_mul(u64::from(limit.get())),
            keys: Mutex::new(Keys { full_at: HashMap::new(), forget_at: FORGET_FROM }),
        }
    }

    /// The number per second.
    pub(super) fn limit(&self) -> NonZero<u32> {
        self.limit
    }

    /// Takes one from the bucket of a key at a time of a monotonic clock; the refusal is the time until there is one.
    pub(super) fn take<Q>(&self, key: &Q, now: Duration) -> Result<(), Duration>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        // Another thread's panic leaves a whole map behind.
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let known = keys.full_at.get_mut(key);
        let full_at = known.as_deref().map_or(now, |full_at| now.max(*full_at)).saturating_add(self.one_ns);
        let missing = full_at.saturating_sub(now).saturating_sub(self.all_ns);
        if missing > 0 {
            return Err(Duration::from_nanos(missing));
        }
        if let Some(known) = known {
            *known = full_at;
        } else {
            keys.insert(key.to_owned(), full_at, now);
        }
        Ok(())
    }
}

impl<K: Hash + Eq> Keys<K> {
    /// Adds a key. Whenever they have doubled, those with a full bucket are forgotten: so a key costs the look at two,
    /// and there are never many more of them than took something within the last second.
    fn insert(&mut self, key: K, full_at: u64, now: u64) {
        if self.full_at.len() >= self.forget_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.forget_at = self.full_at.len().saturating_mul(2).max(FORGET_FROM);
        }
        self.full_at.insert(key, full_at);
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unchecked_time_subtraction,
        clippy::as_conversions,
        reason = "a test fails by panicking"
    )]
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn rate(limit: u32) -> KeyedRate<u8> {
        KeyedRate::per_second(NonZero::new(limit).unwrap())
    }

    /// A bucket of tokens as everybody would write it: it gains one part per nanosecond.
    struct Bucket {
        parts: u64,
        at: u64,
    }

    impl Bucket {
        fn take(&mut self, rate: &KeyedRate<u8>, now: u64) -> bool {
            self.parts = (self.parts + (now - self.at)).min(rate.all_ns);
            self.at = now;
            let enough = self.parts >= rate.one_ns;
            if enough {
                self.parts -= rate.one_ns;
            }
            enough
        }
    }

    /// Presentations: a key, and the nanoseconds since the one before; often none, sometimes a second.
    fn presented() -> impl Strategy<Value = Vec<(u8, u64)>> {
        let pause = prop_oneof![Just(0), 0..1_000_u64, 0..50_000_000_u64, 0..3_000_000_000_u64];
        vec((0..3_u8, pause), 1..300)
    }

    fn limits() -> impl Strategy<Value = u32> {
        prop_oneof![1..40_u32, Just(20), Just(999_999_937), Just(u32::MAX)]
    }

    proptest! {
        #[test]
        fn c5_each_key_has_a_bucket_of_its_own(limit in limits(), presented in presented()) {
            let rate = rate(limit);
            let mut buckets: [Bucket; 3] = std::array::from_fn(|_| Bucket { parts: rate.all_ns, at: 0 });
            let mut now = 0;
            for (key, pause) in presented {
                now += pause;
                let expected = buckets[usize::from(key)].take(&rate, now);
                prop_assert_eq!(rate.take(&key, Duration::from_nanos(now)).is_ok(), expected);
            }
        }

        #[test]
        fn c5_no_time_has_more_than_the_limit_at_once_and_the_limit_per_second(
            limit in 1..40_u32, presented in presented(),
        ) {
            let rate = rate(limit);
            let (mut now, mut taken) = (0, Vec::new());
            for (_, pause) in presented {
                now += pause;
                if rate.take(&0, Duration::from_nanos(now)).is_ok() {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let gained = u128::from(limit) * u128::from(to - from) / u128::from(SECOND_NS);
                    prop_assert!((last - first + 1) as u128 <= u128::from(limit) + gained);
                }
            }
        }

        #[test]
        fn c5_who_waits_as_long_as_told_passes_and_who_waits_less_does_not(
            limit in 1..10_000_u32, at in 0..u64::from(u32::MAX),
        ) {
            let rate = rate(limit);
            let at = Duration::from_nanos(at);
            for _ in 0..limit {
                prop_assert_eq!(rate.take(&0, at), Ok(()));
            }
            let wait = rate.take(&0, at).unwrap_err();
            let almost = wait - Duration::from_nanos(1);
            prop_assert_eq!(rate.take(&0, at + almost), Err(Duration::from_nanos(1)));
            prop_assert_eq!(rate.take(&0, at + wait), Ok(()));
        }
    }

    #[test]
    fn c5_idle_keys_are_forgotten_and_busy_ones_are_not() {
        let rate: KeyedRate<u64> = KeyedRate::per_second(NonZero::new(2).unwrap());
        let at = Duration::from_millis;
        // One key takes all that it may, again and again, among others that are seen once, a thousand in a second.
        for millis in 0..100_000 {
            rate.take(&millis, at(millis)).unwrap();
            if millis % 1_000 == 0 {
                assert_eq!([0; 3].map(|_| rate.take(&u64::MAX, at(millis)).is_ok()), [true, true, false]);
            }
        }
        let kept = rate.keys.lock().unwrap().full_at.len();
        assert!(kept <= 2 * FORGET_FROM, "{kept}");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let rate = rate(3);
        let later = Duration::from_secs(9);
        for _ in 0..3 {
            rate.take(&0, later).unwrap();
        }
        assert!(rate.take(&0, Duration::from_secs(5)).is_err());
        assert!(rate.take(&0, later).is_err());
        assert!(rate.take(&0, Duration::MAX).is_ok(), "nor does its end keep anybody out");
    }
}
