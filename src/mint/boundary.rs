//! The daily boundary: a time of day in a zone that no token outlives (I6).

use std::fmt;
use std::sync::LazyLock;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{AmbiguousOffset, Offset, TimeZone, TimeZoneDatabase};
use jiff::{Span, Timestamp};

use jeton_token::UnixSeconds;

/// The zones as they were when jeton was built: the same on every replica, whatever its image contains.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// The areas of IANA's names of places. The others (`Etc`, `US`, `SystemV`, …) hold offsets and old aliases.
const AREAS: [&str; 10] = [
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
];

/// A time of day in an IANA zone. Each calendar day has one boundary: if a clock change skips the time, the first
/// instant after the gap; if it repeats the time, the first occurrence.
#[derive(Clone, PartialEq, Eq)]
pub struct DailyBoundary {
    time: Time,
    zone: TimeZone,
    name: String,
}

impl DailyBoundary {
    /// `hours` 0 to 23, `minutes` 0 to 59, and the zone's name: `Area/City` as IANA spells it, or `UTC`.
    ///
    /// # Errors
    /// The rule that was broken, in words. Offsets, abbreviations and POSIX strings are refused: they know nothing of
    /// clock changes.
    pub fn parse(hours: i32, minutes: i32, name: &str) -> Result<Self, &'static str> {
        let hours = i8::try_from(hours).ok().filter(|h| (0..=23).contains(h)).ok_or("hours are 0 to 23")?;
        let minutes =
            i8::try_from(minutes).ok().filter(|m| (0..=59).contains(m)).ok_or("minutes are 0 to 59")?;
        let time = Time::new(hours, minutes, 0, 0).map_err(|_| "not a time of day")?;
        let rule = "a zone is an IANA name such as `Europe/Berlin`, or `UTC`";
        let placed = name.split_once('/').is_some_and(|(area, _)| AREAS.contains(&area));
        let zone = if name == "UTC" {
            TimeZone::UTC
        } else if placed {
            // Names are found in any case; only IANA's own spelling is accepted.
            ZONES.get(name).ok().filter(|zone| zone.iana_name() == Some(name)).ok_or(rule)?
        } else {
            return Err(rule);
        };
        Ok(Self { time, zone, name: name.to_owned() })
    }

    /// 0 to 23.
    #[must_use]
    pub fn hours(&self) -> i32 {
        self.time.hour().into()
    }

    /// 0 to 59.
    #[must_use]
    pub fn minutes(&self) -> i32 {
        self.time.minute().into()
    }

    /// The zone's IANA name.
    #[must_use]
    pub fn zone_name(&self) -> &str {
        &self.name
    }

    /// The first boundary strictly after `now`; `None` at the end of the calendar (the year 9999).
    #[must_use]
    pub fn next_after(&self, now: UnixSeconds) -> Option<UnixSeconds> {
        let today = self.zone.to_datetime(Timestamp::from(now)).date();
        // Two days around: a place that moves across the date line skips or repeats a whole day.
        (-2..=3)
            .filter_map(|days| today.checked_add(Span::new().days(days)).ok())
            .filter_map(|date| self.on(date))
            .filter(|instant| *instant > now)
            .min()
    }

    /// The boundary of `date`.
    fn on(&self, date: Date) -> Option<UnixSeconds> {
        let local = date.to_datetime(self.time);
        let instant = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } => offset.to_timestamp(local).ok()?,
            // The first of two: the clock has not changed yet.
            AmbiguousOffset::Fold { before, .. } => before.to_timestamp(local).ok()?,
            AmbiguousOffset::Gap { before, after } => self.end_of_gap(local, before, after)?,
        };
        Some(UnixSeconds::from_timestamp(instant))
    }

    /// The clock change that skipped `local`: it lies between `local` by the later offset and `local` by the earlier
    /// one.
    fn end_of_gap(&self, local: DateTime, before: Offset, after: Offset) -> Option<Timestamp> {
        let earliest = after.to_timestamp(local).ok()?;
        let latest = before.to_timestamp(local).ok()?;
        let mut changes = self.zone.following(earliest).take_while(|change| change.timestamp() <= latest);
        // Some changes rename the time and leave the clock as it is.
        let change = changes.find(|change| change.offset() == after);
        Some(change.map_or(latest, |change| change.timestamp()))
    }
}

impl fmt::Debug for DailyBoundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DailyBoundary({:02}:{:02} {})", self.hours(), self.minutes(), self.name)
    }
}
