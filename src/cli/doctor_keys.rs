//! What doctor says of the keys: that each algorithm has one that signs, and that they are rotated.

use jiff::{SignedDuration, Timestamp};

use super::{doctor::Check, time};
use crate::proto::v1::{Key, key::State};

/// A key that is due is let sign within seconds.
const DUE_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// Where the server does not say how often it rotates.
const EVERY_DEFAULT_S: i64 = 30 * 86_400;
const ALGORITHMS: [&str; 2] = ["ES256", "EdDSA"];

/// Whether each algorithm has a key that signs, at `now` by the database's clock, and rotation keeps up with its
/// period.
pub fn keys(keys: &[Key], every_s: Option<i64>, now: Timestamp) -> Check {
    let name = "keys";
    let every = SignedDuration::from_secs(every_s.unwrap_or(EVERY_DEFAULT_S));
    let mut details = Vec::new();
    let mut overdue = false;
    for algorithm in ALGORITHMS {
        let of = |state: State| keys.iter().find(|key| key.algorithm == algorithm && key.state() == state);
        let Some(active) = of(State::Active) else {
            return Check::fail(
                name,
                format!("no {algorithm} key signs"),
                "Nothing is minted with it: look at the server's log. If the keys were sealed under another master key, give \
                 it that one.",
            );
        };
        let since = at(active);
        let next = if let Some(pending) = of(State::Pending) {
            let due = at(pending);
            overdue |= now.duration_since(due) > DUE_WITHIN;
            format!("the next one {}", time::distance(due, now))
        } else {
            let end = since.saturating_add(every).unwrap_or(Timestamp::MAX);
            overdue |= end < now;
            format!("is replaced {}", time::distance(end, now))
        };
        details.push(format!("{algorithm} signs since {}, {next}", ago(since, now)));
    }
    let detail = details.join("; ");
    if overdue {
        let advice = "Rotation is overdue: look at the servers' logs for keys that cannot be opened, and at their clocks.";
        return Check::warn(name, detail, advice);
    }
    Check::ok(name, detail)
}

fn at(key: &Key) -> Timestamp {
    key.activate_time.as_ref().and_then(time::from_wire_timestamp).unwrap_or(Timestamp::MIN)
}

fn ago(since: Timestamp, now: Timestamp) -> String {
    time::show_signed(SignedDuration::from_secs(now.as_second().saturating_sub(since.as_second()).max(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(algorithm: &str, state: State, activate_s: i64) -> Key {
        Key {
            algorithm: algorithm.into(),
            state: state.into(),
            activate_time: Some(prost_types::Timestamp { seconds: activate_s, nanos: 0 }),
            ..Key::default()
        }
    }

    fn said_of(list: &[Key]) -> (bool, String) {
        let check = keys(list, Some(7_200), Timestamp::constant(10_000, 0));
        (check.is_ok(), check.detail().to_owned())
    }

    #[test]
    fn keys_are_well_when_each_algorithm_signs_and_is_rotated() {
        let both = [key("ES256", State::Active, 6_400), key("EdDSA", State::Active, 9_940)];
        let said = said_of(&both);
        let text = "ES256 signs since 1h, is replaced in 1h; EdDSA signs since 1m, is replaced in 1h 59m";
        assert_eq!(said, (true, text.into()));
        let pending = [both.to_vec(), vec![key("ES256", State::Pending, 10_600)]].concat();
        assert!(said_of(&pending).1.starts_with("ES256 signs since 1h, the next one in 10m"));
    }

    #[test]
    fn one_that_is_missing_or_overdue_is_named() {
        assert_eq!(said_of(&[key("ES256", State::Active, 9_000)]), (false, "no EdDSA key signs".into()));
        let good = key("EdDSA", State::Active, 9_000);
        assert!(!said_of(&[key("ES256", State::Active, 2_000), good.clone()]).0, "not replaced in time");
        let late = [key("ES256", State::Active, 9_000), good, key("ES256", State::Pending, 9_900)];
        assert!(!said_of(&late).0, "not let sign in time");
    }
}
