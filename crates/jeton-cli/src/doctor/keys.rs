//! Doctor's checks of the keys: each algorithm has one that signs, and they are rotated.

use jiff::{SignedDuration, Timestamp};

use crate::{doctor::check::Check, term::time};
use jeton_proto::v1::{Key, key::State};

/// A due key is activated within seconds.
const DUE_WITHIN: SignedDuration = SignedDuration::from_mins(1);
/// The default period of rotation, and a day.
const OLD: SignedDuration = SignedDuration::from_hours(31 * 24);
const ALGORITHMS: [&str; 2] = ["ES256", "EdDSA"];

/// Checks that each algorithm has a key that signs, at `now` by the database's clock, and that keys are rotated.
pub fn keys(keys: &[Key], now: Timestamp) -> Check {
    let name = "keys";
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
        let next = of(State::Pending).map(at);
        overdue |= match next {
            Some(due) => now.duration_since(due) > DUE_WITHIN,
            None => now.duration_since(since) > OLD,
        };
        let next =
            next.map_or_else(String::new, |due| format!(", the next one {}", time::distance(due, now)));
        details.push(format!("{algorithm} has signed for {}{next}", ago(since, now)));
    }
    let detail = details.join("; ");
    if overdue {
        let advice = "Rotation is overdue, unless --rotate-keys-every is above 30d: look at the servers' logs for keys that cannot \
                      be opened, and at their clocks.";
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

    const NOW_S: i64 = 10_000_000;

    fn said_of(list: &[Key]) -> (bool, String) {
        let check = keys(list, Timestamp::constant(NOW_S, 0));
        (check.is_ok(), check.detail.clone())
    }

    #[test]
    fn keys_are_well_when_each_algorithm_signs_and_is_rotated() {
        let both = [key("ES256", State::Active, NOW_S - 3_600), key("EdDSA", State::Active, NOW_S - 60)];
        assert_eq!(said_of(&both), (true, "ES256 has signed for 1h; EdDSA has signed for 1m".into()));
        let pending = [both.to_vec(), vec![key("ES256", State::Pending, NOW_S + 600)]].concat();
        let text = "ES256 has signed for 1h, the next one in 10m; EdDSA has signed for 1m";
        assert_eq!(said_of(&pending), (true, text.into()));
    }

    #[test]
    fn one_that_is_missing_or_overdue_is_named() {
        let es256 = |signs_for_s| key("ES256", State::Active, NOW_S - signs_for_s);
        assert_eq!(said_of(&[es256(60)]), (false, "no EdDSA key signs".into()));
        let good = key("EdDSA", State::Active, NOW_S);
        assert!(said_of(&[es256(30 * 86_400), good.clone()]).0);
        assert!(!said_of(&[es256(32 * 86_400), good.clone()]).0, "not replaced in time");
        let late = [es256(60), good, key("ES256", State::Pending, NOW_S - 61)];
        assert!(!said_of(&late).0, "not let sign in time");
    }
}
