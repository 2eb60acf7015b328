//! Daily boundaries against clocks that change (I6). The oracle has no rule for gaps and folds: it walks through time
//! minute by minute and reads the wall clock.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;

use crate::mint::DailyBoundary;
use jeton_token::UnixSeconds;

/// Zones with the instants around which they are looked at: gaps and folds, at midnight and elsewhere, of an hour, of
/// half an hour, of two hours and of a whole day.
const CHANGES: &[(&str, &str)] = &[
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-03-08T07:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/Sao_Paulo", "2018-02-18T02:00:00Z"),
    ("America/Havana", "2026-03-08T05:00:00Z"),
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("Asia/Beirut", "2026-03-28T22:00:00Z"),
    ("Asia/Beirut", "2026-10-24T21:00:00Z"),
    ("Africa/Cairo", "2026-04-23T22:00:00Z"),
    ("Africa/Cairo", "2026-10-29T21:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("Australia/Lord_Howe", "2026-10-03T15:30:00Z"),
    ("Antarctica/Troll", "2026-03-29T01:00:00Z"),
    ("Antarctica/Troll", "2026-10-25T01:00:00Z"),
    ("Africa/Casablanca", "2026-02-15T02:00:00Z"),
    ("Asia/Kathmandu", "1985-12-31T18:30:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Pacific/Kwajalein", "1993-08-21T12:00:00Z"),
    ("Pacific/Kwajalein", "1969-09-30T13:00:00Z"),
    ("UTC", "2026-07-01T00:00:00Z"),
];

const DAY_MIN: i64 = 1_440;

/// The boundaries from two days before `around` to two days after: each is the first minute at which the wall clock
/// shows the time of its day, or later.
fn walk(zone: &TimeZone, around: i64, hours: i8, minutes: i8) -> Vec<i64> {
    let at = |minute: i64| Timestamp::from_second(around + minute * 60).unwrap();
    let mut due: Option<DateTime> = None;
    let mut boundaries = Vec::new();
    for minute in -4 * DAY_MIN..=4 * DAY_MIN {
        let local = zone.to_datetime(at(minute));
        // The first one to look out for: tomorrow's.
        let next = due.get_or_insert_with(|| local.date().tomorrow().unwrap().at(hours, minutes, 0, 0));
        while local >= *next {
            boundaries.push(at(minute).as_second());
            *next = next.checked_add(1.day()).unwrap();
        }
    }
    boundaries
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_next_boundary_is_the_one_that_a_walk_through_time_meets(
        change in 0..CHANGES.len(),
        near in prop::bool::ANY,
        hours in 0_i8..24,
        minutes in 0_i8..60,
        after_s in -172_000_i64..172_000,
    ) {
        let (name, around) = CHANGES[change];
        let around = around.parse::<Timestamp>().unwrap().as_second();
        let zone = if name == "UTC" { TimeZone::UTC } else { jiff::tz::db().get(name).unwrap() };
        // Half of the cases are at hours where clocks change.
        let hours = if near { hours % 4 } else { hours };
        let now = around + if near { after_s / 20 } else { after_s };
        let boundary = DailyBoundary::parse(hours.into(), minutes.into(), name).unwrap();
        let expected = walk(&zone, around, hours, minutes).into_iter().find(|at| *at > now).unwrap();
        let next = boundary.next_after(UnixSeconds::new(now)).unwrap();
        prop_assert_eq!(next.get(), expected, "{} {:02}:{:02} after {}", name, hours, minutes, now);
        // Exactly at a boundary, the next one is meant.
        prop_assert!(boundary.next_after(next).unwrap() > next);
    }
}

fn next(name: &str, hours: i32, minutes: i32, now: &str) -> String {
    let now = UnixSeconds::from_timestamp(now.parse().unwrap());
    let next = DailyBoundary::parse(hours, minutes, name).unwrap().next_after(now).unwrap();
    Timestamp::from(next).to_string()
}

#[test]
fn a_skipped_time_means_the_first_instant_after_the_gap() {
    // 02:00 to 03:00 is skipped.
    assert_eq!(next("Europe/Berlin", 2, 30, "2026-03-29T00:30:00Z"), "2026-03-29T01:00:00Z");
    assert_eq!(next("Europe/Berlin", 2, 30, "2026-03-29T01:00:00Z"), "2026-03-30T00:30:00Z");
    // Midnight itself is skipped.
    assert_eq!(next("America/Sao_Paulo", 0, 0, "2018-11-04T02:59:59Z"), "2018-11-04T03:00:00Z");
    assert_eq!(next("America/Sao_Paulo", 0, 0, "2018-11-04T03:00:00Z"), "2018-11-05T02:00:00Z");
    // Half an hour.
    assert_eq!(next("Australia/Lord_Howe", 2, 15, "2026-10-03T15:00:00Z"), "2026-10-03T15:30:00Z");
    // All of 2011-12-30: its noon falls on the midnight after.
    assert_eq!(next("Pacific/Apia", 12, 0, "2011-12-30T09:00:00Z"), "2011-12-30T10:00:00Z");
    assert_eq!(next("Pacific/Apia", 12, 0, "2011-12-30T10:00:00Z"), "2011-12-30T22:00:00Z");
}

#[test]
fn a_repeated_time_means_its_first_occurrence() {
    assert_eq!(next("Europe/Berlin", 2, 30, "2026-10-25T00:00:00Z"), "2026-10-25T00:30:00Z");
    // Between the two: tomorrow's.
    assert_eq!(next("Europe/Berlin", 2, 30, "2026-10-25T00:45:00Z"), "2026-10-26T01:30:00Z");
    assert_eq!(next("Europe/Berlin", 2, 30, "2026-10-25T00:30:00Z"), "2026-10-26T01:30:00Z");
    assert_eq!(next("America/Havana", 0, 30, "2026-11-01T05:10:00Z"), "2026-11-02T05:30:00Z");
}

#[test]
fn zones_are_iana_names_of_places_or_utc() {
    for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Asia/Kolkata", "Antarctica/Troll"]
    {
        let boundary = DailyBoundary::parse(23, 59, name).unwrap();
        assert_eq!((boundary.hours(), boundary.minutes(), boundary.zone_name()), (23, 59, name));
    }
    for name in [
        "",
        "EST",
        "CET",
        "EST5EDT",
        "GMT",
        "utc",
        "Z",
        "+01:00",
        "UTC+1",
        "Etc/GMT+1",
        "Etc/UTC",
        "US/Eastern",
        "CET-1CEST,M3.5.0,M10.5.0/3",
        "europe/berlin",
        "Europe/berlin",
        "Europe/Nowhere",
        "Europe/",
        "Europe/../Asia/Tokyo",
        "posix/Europe/Berlin",
        "local",
        "Europe/Berlin\0",
        " Europe/Berlin",
    ] {
        assert!(DailyBoundary::parse(0, 0, name).is_err(), "{name}");
    }
    for (hours, minutes) in [(-1, 0), (24, 0), (0, -1), (0, 60), (i32::MAX, 0), (0, i32::MIN)] {
        assert!(DailyBoundary::parse(hours, minutes, "UTC").is_err());
    }
}

#[test]
fn the_end_of_the_calendar_has_no_boundary_and_no_panic() {
    let boundary = DailyBoundary::parse(12, 0, "Pacific/Kiritimati").unwrap();
    for now in [i64::MIN, i64::MAX, -377_705_023_201, 253_402_207_200] {
        let _ = boundary.next_after(UnixSeconds::new(now));
    }
}
