//! The lifetime of a token.

use crate::mint::boundary::DailyBoundary;
use jeton_token::UnixSeconds;
use jeton_token::limits::{
    JITTER_LIFETIME_MIN_S, LIFETIME_CAP_S, LIFETIME_MIN_S, WIRE_DURATION_MAX_S, WIRE_TIMESTAMP_MAX_S,
    WIRE_TIMESTAMP_MIN_S,
};

/// A smaller number is not taken for milliseconds: 100 s are little for a token, and people do ask for 27 hours.
const LIKELY_MILLISECONDS_MIN: i64 = 100_000;
const DAY_S: i64 = 86_400;
/// Whole days up to this many are meant in seconds; 86 400 000 is taken for a day in milliseconds.
const LIKELY_DAYS_MAX: i64 = 1_000;

/// The limits of the policies of all audiences, merged to the strictest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifetimeTerms {
    /// The TTL if none is requested, in seconds. Above the maximum it counts as the maximum.
    pub default_ttl_s: i64,
    /// The longest TTL, in seconds. Above the cap it counts as the cap, below 1 as 1.
    pub max_ttl_s: i64,
    /// The treatment of a greater TTL.
    pub excess: Excess,
    /// The daily boundaries of all audiences: the earliest holds.
    pub daily_boundary: Vec<DailyBoundary>,
}

/// The treatment of a request above the maximum (I3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// A refusal.
    Reject,
    /// The maximum; the answer says so.
    Clamp,
}

/// The lifetime that the caller requests, as it came over the wire: any value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// Nothing.
    Default,
    /// A `google.protobuf.Duration`.
    Ttl {
        /// Whole seconds.
        seconds: i64,
        /// The fraction, of the same sign.
        nanos: i32,
    },
    /// A `google.protobuf.Timestamp`.
    ExpireAt {
        /// Whole seconds since the epoch.
        seconds: i64,
        /// The fraction, counted forward.
        nanos: i32,
    },
}

/// The rule that decided the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// The caller requested it.
    Requested,
    /// The caller requested nothing: the policy's default.
    PolicyDefault,
    /// The request exceeded the maximum, and the policy clamps.
    PolicyMaximum,
    /// The session's absolute end came first.
    SessionEnd,
    /// The daily boundary came first.
    DailyBoundary,
}

/// A decided lifetime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// `exp`: 1 to 86 400 s after now.
    pub expire_time: UnixSeconds,
    /// The rule that decided it.
    pub basis: Basis,
}

/// The reason why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LifetimeError {
    /// Below one second (I4).
    #[error("a TTL of {requested_ms} ms is below one second")]
    TooShort {
        /// The requested TTL, in milliseconds.
        requested_ms: i64,
    },
    /// Above the maximum, and the policy does not clamp (I3).
    #[error("a TTL of {requested_s} s exceeds the maximum of {max_s} s")]
    ExceedsMaximum {
        /// The requested TTL, in seconds.
        requested_s: i64,
        /// The maximum, in seconds.
        max_s: i64,
        /// The value looks like milliseconds.
        likely_milliseconds: bool,
    },
    /// Not in the future (I4).
    #[error("{expire_time} is not after the server's time {server_time}")]
    ExpireTimePast {
        /// The requested end.
        expire_time: UnixSeconds,
        /// The server's time.
        server_time: UnixSeconds,
    },
    /// Not a value of its type.
    #[error("{rule}")]
    Invalid {
        /// The rule that was broken, in words.
        rule: &'static str,
    },
}

/// Decides the end of a token minted at `now` (I1 to I7). Whatever the terms, it is 1 to 86 400 s away.
///
/// `session_end` is the session's absolute end, if the token belongs to one. The caller makes sure that it is in the
/// future; if it is not, the token lives for one second.
pub fn decide(
    ask: Ask,
    terms: &LifetimeTerms,
    now: UnixSeconds,
    session_end: Option<UnixSeconds>,
) -> Result<Lifetime, LifetimeError> {
    let max_s = terms.max_ttl_s.clamp(LIFETIME_MIN_S, LIFETIME_CAP_S);
    let (ttl_s, basis) = match ask {
        Ask::Default => (terms.default_ttl_s.clamp(LIFETIME_MIN_S, max_s), Basis::PolicyDefault),
        Ask::Ttl { seconds, nanos } => {
            let requested_s = whole_ttl(seconds, nanos)?;
            within(requested_s, requested_s, max_s, terms.excess)?
        }
        Ask::ExpireAt { seconds, nanos } => {
            let expire_time = whole_timestamp(seconds, nanos)?;
            if expire_time <= now {
                return Err(LifetimeError::ExpireTimePast { expire_time, server_time: now });
            }
            within(expire_time.since(now), seconds, max_s, terms.excess)?
        }
    };
    let mut lifetime = Lifetime { expire_time: now.saturating_add(ttl_s), basis };
    let boundary = terms.daily_boundary.iter().filter_map(|boundary| boundary.next_after(now)).min();
    for (end, basis) in [(session_end, Basis::SessionEnd), (boundary, Basis::DailyBoundary)] {
        if let Some(end) = end
            && end < lifetime.expire_time
        {
            lifetime = Lifetime { expire_time: end.max(now.saturating_add(LIFETIME_MIN_S)), basis };
        }
    }
    Ok(lifetime)
}

/// The time to refresh: at 80 % of the lifetime, plus or minus 5 % of it by `jitter` (random, any value), so that
/// tokens minted together are not refreshed together; below 20 s of lifetime at 80 %, rounded down (I8). Always before
/// `expire`; for a lifetime of 1 s it is `issue`.
#[must_use]
pub fn refresh_time(issue: UnixSeconds, expire: UnixSeconds, jitter: u64) -> UnixSeconds {
    let lifetime_s = expire.since(issue).max(0);
    let percent = |p: i64| lifetime_s.saturating_mul(p);
    if lifetime_s < JITTER_LIFETIME_MIN_S {
        return issue.saturating_add(percent(80) / 100);
    }
    let first = percent(75).saturating_add(99) / 100;
    let last = percent(85) / 100;
    let choices = last.saturating_sub(first).saturating_add(1).unsigned_abs();
    // The high half of the product is evenly distributed, without a division.
    let chosen = (u128::from(choices).saturating_mul(u128::from(jitter))) >> 64;
    issue.saturating_add(first.saturating_add(i64::try_from(chosen).unwrap_or(0)))
}

/// Limits `ttl_s` to the maximum. `value` is the number that the caller wrote, in seconds.
fn within(ttl_s: i64, value: i64, max_s: i64, excess: Excess) -> Result<(i64, Basis), LifetimeError> {
    if ttl_s <= max_s {
        return Ok((ttl_s, Basis::Requested));
    }
    match excess {
        Excess::Clamp => Ok((max_s, Basis::PolicyMaximum)),
        Excess::Reject => {
            let likely_milliseconds = looks_like_milliseconds(value);
            Err(LifetimeError::ExceedsMaximum { requested_s: ttl_s, max_s, likely_milliseconds })
        }
    }
}

/// Returns whether a caller who wrote this number of seconds probably meant milliseconds: a round number of them that
/// is a plausible lifetime, and no plausible number of days.
fn looks_like_milliseconds(value: i64) -> bool {
    let is_whole_days = value % DAY_S == 0 && value / DAY_S < LIKELY_DAYS_MAX;
    value >= LIKELY_MILLISECONDS_MIN
        && value % 1_000 == 0
        && value / 1_000 <= LIFETIME_CAP_S
        && !is_whole_days
}

/// The whole seconds of a TTL, the fraction dropped; at least one.
fn whole_ttl(seconds: i64, nanos: i32) -> Result<i64, LifetimeError> {
    let invalid = |rule| Err(LifetimeError::Invalid { rule });
    if !(-WIRE_DURATION_MAX_S..=WIRE_DURATION_MAX_S).contains(&seconds) {
        return invalid("a duration is within ±315 576 000 000 s");
    }
    if nanos.unsigned_abs() > 999_999_999 {
        return invalid("the nanos of a duration are within ±999 999 999");
    }
    if (seconds > 0 && nanos < 0) || (seconds < 0 && nanos > 0) {
        return invalid("seconds and nanos of a duration have one sign");
    }
    if seconds < LIFETIME_MIN_S {
        let fraction_ms = i64::from(nanos / 1_000_000);
        return Err(LifetimeError::TooShort {
            requested_ms: seconds.saturating_mul(1_000).saturating_add(fraction_ms),
        });
    }
    Ok(seconds)
}

/// The second that contains a timestamp.
fn whole_timestamp(seconds: i64, nanos: i32) -> Result<UnixSeconds, LifetimeError> {
    let invalid = |rule| Err(LifetimeError::Invalid { rule });
    if !(0..=999_999_999).contains(&nanos) {
        return invalid("the nanos of a timestamp are 0 to 999 999 999");
    }
    if seconds > WIRE_TIMESTAMP_MAX_S {
        return invalid("a timestamp is in the years 1 to 9999; this one looks like milliseconds");
    }
    if seconds < WIRE_TIMESTAMP_MIN_S {
        return invalid("a timestamp is in the years 1 to 9999");
    }
    Ok(UnixSeconds::new(seconds))
}
