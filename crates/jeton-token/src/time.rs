//! Instants in tokens: whole seconds.

use std::fmt;

/// Whole seconds since 1970-01-01T00:00:00Z, as in `iat` and `exp` (RFC 7519 `NumericDate`, without fractions).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixSeconds(i64);

impl UnixSeconds {
    /// `seconds` since the epoch.
    #[must_use]
    pub const fn new(seconds: i64) -> Self {
        Self(seconds)
    }

    /// The second that contains `timestamp`: rounded down, also before the epoch.
    #[must_use]
    pub fn from_timestamp(timestamp: jiff::Timestamp) -> Self {
        // jiff's fraction has the sign of the whole, so its seconds are rounded towards zero.
        let seconds = timestamp.as_second();
        Self(if timestamp.subsec_nanosecond() < 0 { seconds.saturating_sub(1) } else { seconds })
    }

    /// Seconds since the epoch.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// `seconds` later, stopping at the ends of the range.
    #[must_use]
    pub const fn saturating_add(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// `seconds` earlier, stopping at the ends of the range.
    #[must_use]
    pub const fn saturating_sub(self, seconds: i64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }

    /// Seconds from `earlier` to this; negative if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl From<UnixSeconds> for jiff::Timestamp {
    /// Clamped to jiff's range: the years -9999 to 9999.
    fn from(time: UnixSeconds) -> Self {
        let end = if time.0 < 0 { Self::MIN } else { Self::MAX };
        Self::from_second(time.0).unwrap_or(end)
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
