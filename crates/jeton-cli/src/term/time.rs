//! Times and durations as people write and read them. Pure: now is an argument.

use jiff::{SignedDuration, Span, SpanRelativeTo, SpanRound, Timestamp, Unit};

/// A duration with its unit: `15m`, `2h`, `86400s`, `7d`, `1h 30m`. A day is 24 hours.
pub fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let duration = signed(text)?;
    if duration.is_negative() {
        return Err("a duration cannot be negative. Write 15m, 2h or 7d".into());
    }
    Ok(duration)
}

/// An instant in the past: RFC 3339, `2h ago`, or `2h`, which means the same.
pub fn parse_past(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(instant) = text.parse() {
        return Ok(instant);
    }
    let duration = signed(text)
        .map_err(|_| format!("{text:?} is no time in the past. Write 2h, or 2026-01-31T09:00:00Z"))?;
    now.checked_sub(duration.abs()).map_err(|_| format!("{text:?} is further back than time goes"))
}

fn signed(text: &str) -> Result<SignedDuration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("{text} has no unit. Write {text}s for seconds, or {text}m for minutes"));
    }
    let span: Span = text.parse().map_err(|_| format!("{text:?} is no duration. Write 15m, 2h or 7d"))?;
    if span.get_years() != 0 || span.get_months() != 0 {
        return Err("months and years have no fixed length. Write days, as in 30d".into());
    }
    span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| format!("{text:?} is too long"))
}

/// The duration as the API's type.
#[must_use]
pub fn to_wire_duration(duration: SignedDuration) -> prost_types::Duration {
    prost_types::Duration { seconds: duration.as_secs(), nanos: duration.subsec_nanos() }
}

/// The instant as the API's type.
#[must_use]
pub fn to_wire_timestamp(instant: Timestamp) -> prost_types::Timestamp {
    // The wire counts nanoseconds forward from the second, also before 1970.
    let nanos = instant.subsec_nanosecond();
    if nanos < 0 {
        let seconds = instant.as_second().saturating_sub(1);
        return prost_types::Timestamp { seconds, nanos: nanos.saturating_add(1_000_000_000) };
    }
    prost_types::Timestamp { seconds: instant.as_second(), nanos }
}

/// The instant of the API's type; `None` if no calendar contains it.
#[must_use]
pub fn from_wire_timestamp(instant: &prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(instant.seconds, instant.nanos).ok()
}

/// The duration of the API's type.
#[must_use]
pub fn from_wire_duration(duration: &prost_types::Duration) -> SignedDuration {
    SignedDuration::new(duration.seconds.clamp(-MAX_SECONDS, MAX_SECONDS), duration.nanos)
}

/// The range of protobuf's Duration: values beyond it are nonsense, and must not overflow.
const MAX_SECONDS: i64 = 315_576_000_000;

/// An instant for a table: RFC 3339 in UTC; empty when unset.
#[must_use]
pub fn show(instant: Option<&prost_types::Timestamp>) -> String {
    instant
        .map(|wire| from_wire_timestamp(wire).map_or("out of range".to_owned(), |at| at.to_string()))
        .unwrap_or_default()
}

/// An instant with its distance: `2026-01-31T09:15:00Z (in 15m)`.
#[must_use]
pub fn show_with_distance(instant: Option<&prost_types::Timestamp>, now: Timestamp) -> String {
    match instant.and_then(from_wire_timestamp) {
        Some(at) => format!("{at} ({})", distance(at, now)),
        None => show(instant),
    }
}

/// `in 15m` or `2h 3m ago`, in whole seconds.
#[must_use]
pub fn distance(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second().saturating_sub(now.as_second());
    match seconds {
        0 => "now".to_owned(),
        1.. => format!("in {}", show_signed(SignedDuration::from_secs(seconds))),
        ..0 => format!("{} ago", show_signed(SignedDuration::from_secs(seconds.saturating_neg()))),
    }
}

/// A duration for a table: `15m`; empty when unset.
#[must_use]
pub fn show_duration(duration: Option<&prost_types::Duration>) -> String {
    duration.map(|wire| show_signed(from_wire_duration(wire))).unwrap_or_default()
}

/// A duration in the usual units: `15m`, `24h`, `30d`.
#[must_use]
pub fn show_signed(duration: SignedDuration) -> String {
    let span = Span::try_from(duration).and_then(|span| {
        // Up to two days, people count hours.
        let largest = if duration.abs() > SignedDuration::from_hours(48) { Unit::Day } else { Unit::Hour };
        span.round(SpanRound::new().largest(largest).days_are_24_hours())
    });
    span.map_or_else(|_| format!("{duration:#}"), |span| format!("{span:#}"))
}

/// The time of day, to the millisecond, for a channel where everyone knows the day: `02:14:07.412Z`.
#[must_use]
pub fn show_time_of_day(instant: Option<&prost_types::Timestamp>) -> String {
    instant
        .and_then(from_wire_timestamp)
        .map_or_else(|| "an unknown time".to_owned(), |at| at.strftime("%H:%M:%S.%3fZ").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::constant(360_000, 0)
    }

    #[test]
    fn durations_are_read_as_people_write_them() {
        let cases = [
            ("15m", 900),
            ("2h", 7200),
            ("86400s", 86_400),
            ("7d", 604_800),
            ("1h 30m", 5400),
            ("1w", 604_800),
        ];
        for (text, seconds) in cases {
            assert_eq!(parse_duration(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
    }

    #[test]
    fn durations_without_a_unit_or_a_length_are_refused() {
        for text in ["", "900", "soon", "1 month", "2y", "15m ago", "-5m"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        let refusal = parse_duration("900").err().unwrap_or_default();
        assert!(refusal.contains("900s"), "{refusal}");
    }

    #[test]
    fn the_past_is_rfc_3339_or_a_duration() {
        let two_hours_back = Timestamp::constant(352_800, 0);
        assert_eq!(parse_past("2h ago", now()), Ok(two_hours_back));
        assert_eq!(parse_past("1970-01-05T02:00:00Z", now()), Ok(two_hours_back));
        assert_eq!(parse_past("2h", now()), Ok(two_hours_back));
        assert!(parse_past("yesterday", now()).is_err() && parse_past("900", now()).is_err());
    }

    #[test]
    fn the_wire_counts_nanoseconds_forward() {
        let before_the_epoch = Timestamp::constant(0, -250_000_000);
        let wire = to_wire_timestamp(before_the_epoch);
        assert_eq!((wire.seconds, wire.nanos), (-1, 750_000_000));
        assert_eq!(from_wire_timestamp(&wire), Some(before_the_epoch));
    }

    #[test]
    fn times_read_well() {
        let wire = prost_types::Timestamp { seconds: 8_047, nanos: 412_900_000 };
        assert_eq!(show_time_of_day(Some(&wire)), "02:14:07.412Z");
        assert_eq!(show_duration(Some(&prost_types::Duration { seconds: 900, nanos: 0 })), "15m");
        assert_eq!(show_signed(SignedDuration::from_hours(24)), "24h");
        assert_eq!(show_signed(SignedDuration::from_hours(169)), "7d 1h");
        assert_eq!(distance(Timestamp::constant(360_900, 0), now()), "in 15m");
        assert_eq!(distance(Timestamp::constant(359_910, 0), now()), "1m 30s ago");
    }
}
