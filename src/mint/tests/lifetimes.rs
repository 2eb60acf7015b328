//! Lifetimes: I1 to I8.

use proptest::prelude::*;

use crate::mint::{
    Ask, Basis, DailyBoundary, Excess, Lifetime, LifetimeError, LifetimeTerms, decide_lifetime as decide,
    refresh_time,
    tests::{NOW, UnixSeconds},
};

fn terms(default_ttl_s: i64, max_ttl_s: i64, excess: Excess) -> LifetimeTerms {
    LifetimeTerms { default_ttl_s, max_ttl_s, excess, daily_boundary: Vec::new() }
}

fn built_in() -> LifetimeTerms {
    terms(900, 3_600, Excess::Reject)
}

fn ttl(seconds: i64, nanos: i32) -> Result<Lifetime, LifetimeError> {
    decide(Ask::Ttl { seconds, nanos }, &built_in(), NOW, None)
}

#[expect(clippy::unnecessary_wraps, reason = "it is what `decide` gives")]
fn lives(ttl_s: i64, basis: Basis) -> Result<Lifetime, LifetimeError> {
    Ok(Lifetime { expire_time: NOW.saturating_add(ttl_s), basis })
}

/// I2, I5.
#[test]
fn asks_within_the_maximum_are_met_in_whole_seconds() {
    assert_eq!(decide(Ask::Default, &built_in(), NOW, None), lives(900, Basis::PolicyDefault));
    assert_eq!(ttl(1, 0), lives(1, Basis::Requested));
    assert_eq!(ttl(1, 999_999_999), lives(1, Basis::Requested));
    assert_eq!(ttl(3_600, 0), lives(3_600, Basis::Requested));
    assert_eq!(ttl(3_600, 1), lives(3_600, Basis::Requested));
    let at = Ask::ExpireAt { seconds: NOW.get() + 60, nanos: 5 };
    assert_eq!(decide(at, &built_in(), NOW, None), lives(60, Basis::Requested));
}

/// I3.
#[test]
fn an_ask_above_the_maximum_is_refused_with_what_was_asked_and_the_maximum() {
    let exceeds = |requested_s, likely_milliseconds| {
        Err(LifetimeError::ExceedsMaximum { requested_s, max_s: 3_600, likely_milliseconds })
    };
    // Hours, minutes and days are meant as they are written.
    for seconds in [3_601, 3_660, 7_200, 86_400, 99_000, 172_800, 2_592_000, 86_313_600, 900_001, 86_401_000]
    {
        assert_eq!(ttl(seconds, 0), exceeds(seconds, false));
    }
    for milliseconds in [100_000, 900_000, 3_600_000, 3_601_000, 86_400_000] {
        assert_eq!(ttl(milliseconds, 0), exceeds(milliseconds, true));
    }
    let at = Ask::ExpireAt { seconds: NOW.get() + 3_601, nanos: 0 };
    assert_eq!(decide(at, &built_in(), NOW, None), exceeds(3_601, false));
    let small = terms(10, 30, Excess::Reject);
    let error = decide(Ask::Ttl { seconds: 500, nanos: 0 }, &small, NOW, None).unwrap_err();
    assert_eq!(
        error,
        LifetimeError::ExceedsMaximum { requested_s: 500, max_s: 30, likely_milliseconds: false }
    );
}

/// I3.
#[test]
fn a_clamping_policy_gives_the_maximum_and_says_so() {
    let clamps = terms(900, 3_600, Excess::Clamp);
    let ask = Ask::Ttl { seconds: 3_601, nanos: 0 };
    assert_eq!(decide(ask, &clamps, NOW, None), lives(3_600, Basis::PolicyMaximum));
    let ask = Ask::ExpireAt { seconds: NOW.get() + 90_000, nanos: 0 };
    assert_eq!(decide(ask, &clamps, NOW, None), lives(3_600, Basis::PolicyMaximum));
}

/// I4.
#[test]
fn asks_that_make_no_sense_are_told_apart() {
    let short = |requested_ms| Err(LifetimeError::TooShort { requested_ms });
    assert_eq!(ttl(0, 0), short(0));
    assert_eq!(ttl(0, 999_999_999), short(999));
    assert_eq!(ttl(-1, 0), short(-1_000));
    assert_eq!(ttl(-1, -500_000_000), short(-1_500));
    let invalid = |seconds, nanos| matches!(ttl(seconds, nanos), Err(LifetimeError::Invalid { .. }));
    for (seconds, nanos) in [
        (i64::MAX, 0),
        (i64::MIN, 0),
        (315_576_000_001, 0),
        (1, -1),
        (-1, 1),
        (1, 1_000_000_000),
        (0, i32::MIN),
        (0, i32::MAX),
    ] {
        assert!(invalid(seconds, nanos), "{seconds} {nanos}");
    }
    let at = |seconds, nanos| decide(Ask::ExpireAt { seconds, nanos }, &built_in(), NOW, None);
    for seconds in [NOW.get(), NOW.get() - 1, 0, -1] {
        let expire_time = UnixSeconds::new(seconds);
        assert_eq!(
            at(seconds, 999_999_999),
            Err(LifetimeError::ExpireTimePast { expire_time, server_time: NOW })
        );
    }
    for (seconds, nanos) in [
        (i64::MAX, 0),
        (i64::MIN, 0),
        (NOW.get() * 1_000, 0),
        (NOW.get() + 9, -1),
        (NOW.get() + 9, 1_000_000_000),
    ] {
        assert!(matches!(at(seconds, nanos), Err(LifetimeError::Invalid { .. })), "{seconds} {nanos}");
    }
}

/// R3, I6: the earliest end decides.
#[test]
fn the_sessions_end_and_the_daily_boundary_cut_short() {
    let end = |s| Some(NOW.saturating_add(s));
    assert_eq!(decide(Ask::Default, &built_in(), NOW, end(10)), lives(10, Basis::SessionEnd));
    assert_eq!(decide(Ask::Default, &built_in(), NOW, end(900)), lives(900, Basis::PolicyDefault));
    assert_eq!(decide(Ask::Default, &built_in(), NOW, end(-5)), lives(1, Basis::SessionEnd));
    // NOW is 08:00:00 UTC.
    let at = |hours, minutes| DailyBoundary::parse(hours, minutes, "UTC").unwrap();
    let bounded = LifetimeTerms { daily_boundary: vec![at(9, 0), at(8, 10)], ..built_in() };
    assert_eq!(decide(Ask::Default, &bounded, NOW, None), lives(600, Basis::DailyBoundary));
    assert_eq!(decide(Ask::Default, &bounded, NOW, end(5)), lives(5, Basis::SessionEnd));
    assert_eq!(decide(Ask::Default, &bounded, NOW, end(700)), lives(600, Basis::DailyBoundary));
    // A boundary does not make a request acceptable that the maximum refuses.
    let ask = Ask::Ttl { seconds: 3_601, nanos: 0 };
    assert!(decide(ask, &bounded, NOW, None).is_err());
}

/// I8.
#[test]
fn refresh_comes_at_80_percent_give_or_take_5() {
    let after =
        |lifetime_s: i64, jitter| refresh_time(NOW, NOW.saturating_add(lifetime_s), jitter).since(NOW);
    for (lifetime_s, expected) in [(1, 0), (2, 1), (3, 2), (4, 3), (5, 4), (10, 8), (19, 15)] {
        assert_eq!((after(lifetime_s, 0), after(lifetime_s, u64::MAX)), (expected, expected));
    }
    assert_eq!((after(900, 0), after(900, u64::MAX)), (675, 765));
    assert_eq!((after(20, 0), after(20, u64::MAX)), (15, 17));
    assert_eq!((after(86_400, 0), after(86_400, u64::MAX)), (64_800, 73_440));
    assert_eq!(after(0, 7), 0);
    assert_eq!(after(-5, 7), 0);
}

fn any_ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::Default),
        (-10_i64..100_000, any::<i32>()).prop_map(|(seconds, nanos)| Ask::Ttl { seconds, nanos }),
        (1_i64..100_000, 0_i32..999_999_999).prop_map(|(seconds, nanos)| Ask::Ttl { seconds, nanos }),
        (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Ask::Ttl { seconds, nanos }),
        (-10_i64..100_000, 0_i32..999_999_999)
            .prop_map(|(after, nanos)| Ask::ExpireAt { seconds: NOW.get() + after, nanos }),
        (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| Ask::ExpireAt { seconds, nanos }),
    ]
}

fn any_terms() -> impl Strategy<Value = LifetimeTerms> {
    let seconds = prop_oneof![any::<i64>(), 1_i64..100_000];
    let excess = prop_oneof![Just(Excess::Reject), Just(Excess::Clamp)];
    let boundary = (0..24, 0..60)
        .prop_map(|(hours, minutes)| DailyBoundary::parse(hours, minutes, "Europe/Berlin").unwrap());
    let boundaries = prop::collection::vec(boundary, 0..3);
    (seconds.clone(), seconds, excess, boundaries).prop_map(
        |(default_ttl_s, max_ttl_s, excess, daily_boundary)| LifetimeTerms {
            default_ttl_s,
            max_ttl_s,
            excess,
            daily_boundary,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// I1, for all requests and terms.
    #[test]
    fn no_lifetime_is_above_the_cap_or_below_a_second(
        ask in any_ask(),
        terms in any_terms(),
        end in prop::option::of(any::<i64>()),
        jitter in any::<u64>(),
    ) {
        let end = end.map(UnixSeconds::new);
        let Ok(lifetime) = decide(ask, &terms, NOW, end) else { return Ok(()) };
        let ttl_s = lifetime.expire_time.since(NOW);
        prop_assert!((1..=86_400).contains(&ttl_s));
        prop_assert!(ttl_s <= terms.max_ttl_s.max(1));
        let refresh = refresh_time(NOW, lifetime.expire_time, jitter);
        prop_assert!(refresh >= NOW && refresh < lifetime.expire_time);
        // The basis names the rule that decided.
        match lifetime.basis {
            Basis::Requested => match ask {
                Ask::Ttl { seconds, .. } => prop_assert_eq!(ttl_s, seconds),
                Ask::ExpireAt { seconds, .. } => prop_assert_eq!(lifetime.expire_time.get(), seconds),
                Ask::Default => prop_assert!(false, "nothing was asked for"),
            },
            Basis::PolicyDefault => prop_assert_eq!(ask, Ask::Default),
            Basis::PolicyMaximum => {
                prop_assert_eq!(terms.excess, Excess::Clamp);
                prop_assert_eq!(ttl_s, terms.max_ttl_s.clamp(1, 86_400));
            }
            Basis::SessionEnd => prop_assert_eq!(Some(lifetime.expire_time), end.map(|end| end.max(NOW.saturating_add(1)))),
            Basis::DailyBoundary => {
                let ends = terms.daily_boundary.iter().filter_map(|boundary| boundary.next_after(NOW));
                prop_assert_eq!(Some(lifetime.expire_time), ends.min());
            }
        }
    }

    /// I8.
    #[test]
    fn refresh_is_within_5_percent_of_the_lifetime_around_80(lifetime_s in 20_i64..=86_400, jitter in any::<u64>()) {
        let after = refresh_time(NOW, NOW.saturating_add(lifetime_s), jitter).since(NOW);
        prop_assert!(after * 100 >= lifetime_s * 75 && after * 100 <= lifetime_s * 85);
    }
}
