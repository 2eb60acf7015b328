//! The time when an API key was last used, to the minute. No decision depends on it: it is kept in memory and written
//! later.

use std::sync::atomic::{AtomicI64, Ordering};

use jeton_token::UnixSeconds;

const MINUTE_S: i64 = 60;

/// The last use of one key on one replica. Minutes since the epoch; 0: never.
#[derive(Debug, Default)]
pub struct LastUse {
    used: AtomicI64,
    noted: AtomicI64,
}

impl LastUse {
    /// Records a use. Writes to the shared memory only when the minute has changed.
    pub fn used(&self, now: UnixSeconds) {
        let minute = now.get().div_euclid(MINUTE_S);
        if self.used.load(Ordering::Relaxed) < minute {
            self.used.fetch_max(minute, Ordering::Relaxed);
        }
    }

    /// The minute that is not written yet, if there is one.
    #[must_use]
    pub fn to_note(&self) -> Option<i64> {
        let used = self.used.load(Ordering::Relaxed);
        (used > self.noted.load(Ordering::Relaxed)).then_some(used)
    }

    /// Records that this minute is written.
    pub fn noted(&self, minute: i64) {
        self.noted.fetch_max(minute, Ordering::Relaxed);
    }

    /// The last use, as far as this replica knows.
    #[must_use]
    pub fn time(&self) -> Option<UnixSeconds> {
        let minute = self.used.load(Ordering::Relaxed);
        (minute > 0).then(|| UnixSeconds::new(minute.saturating_mul(MINUTE_S)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_use_is_noted_once_per_minute() {
        let last = LastUse::default();
        assert_eq!((last.time(), last.to_note()), (None, None));
        last.used(UnixSeconds::new(119));
        assert_eq!(last.time(), Some(UnixSeconds::new(60)));
        assert_eq!(last.to_note(), Some(1));
        last.noted(1);
        last.used(UnixSeconds::new(60));
        assert_eq!(last.to_note(), None, "the same minute");
        last.used(UnixSeconds::new(30));
        assert_eq!(last.time(), Some(UnixSeconds::new(60)), "never back");
        last.used(UnixSeconds::new(120));
        assert_eq!(last.to_note(), Some(2));
    }
}
