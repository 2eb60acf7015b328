//! Counters, gauges and histograms: atomics alone, so that what is measured costs a few additions and takes no lock.

use std::{
    array,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub(super) fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Adds so many.
    pub(super) fn add(&self, number: u64) {
        self.0.fetch_add(number, Ordering::Relaxed);
    }

    /// The number.
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that was set last: the bits of an `f64`.
#[derive(Debug, Default)]
pub(super) struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the number.
    pub(super) fn set(&self, value: f64) {
        self.0.store(value.to_bits(), Ordering::Relaxed);
    }

    /// The number.
    pub(super) fn get(&self) -> f64 {
        f64::from_bits(self.0.load(Ordering::Relaxed))
    }
}

/// The upper ends of the buckets, in nanoseconds, and in seconds as they are written: from a look-up in memory to a
/// database that is away.
pub(super) const BUCKETS: [(u64, &str); 12] = [
    (100_000, "0.0001"),
    (250_000, "0.00025"),
    (500_000, "0.0005"),
    (1_000_000, "0.001"),
    (2_500_000, "0.0025"),
    (5_000_000, "0.005"),
    (10_000_000, "0.01"),
    (50_000_000, "0.05"),
    (100_000_000, "0.1"),
    (500_000_000, "0.5"),
    (1_000_000_000, "1"),
    (5_000_000_000, "5"),
];

/// A histogram of durations.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// Each counts what no bucket before it counts.
    buckets: [AtomicU64; BUCKETS.len()],
    /// What is above all of them.
    above: AtomicU64,
    sum_ns: AtomicU64,
}

/// What a histogram held at one time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// The number of durations up to the end of each bucket.
    pub(super) up_to: [u64; BUCKETS.len()],
    /// The number of all.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum: Duration,
}

impl Durations {
    /// Counts a duration.
    pub(super) fn record(&self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let place = BUCKETS.iter().position(|(end, _)| nanoseconds <= *end);
        let bucket = place.and_then(|place| self.buckets.get(place)).unwrap_or(&self.above);
        bucket.fetch_add(1, Ordering::Relaxed);
        // It overflows after 584 years of calls, one after the other.
        self.sum_ns.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Returns whether nothing was counted yet.
    pub(super) fn is_empty(&self) -> bool {
        self.read().count == 0
    }

    /// Reads it. The number is that of the buckets; the sum may be ahead or behind by what is recorded meanwhile.
    pub(super) fn read(&self) -> Reading {
        let mut count = 0_u64;
        let mut counted = |bucket: &AtomicU64| {
            count = count.saturating_add(bucket.load(Ordering::Relaxed));
            count
        };
        let mut buckets = self.buckets.iter();
        let up_to = array::from_fn(|_| buckets.next().map_or(0, &mut counted));
        let count = counted(&self.above);
        Reading { up_to, count, sum: Duration::from_nanos(self.sum_ns.load(Ordering::Relaxed)) }
    }
}

/// The series of one metric, by the values of its label.
#[derive(Debug)]
pub(super) struct Labelled<T> {
    /// The name of the label.
    pub(super) label: &'static str,
    series: Vec<(&'static str, T)>,
}

impl<T: Default> Labelled<T> {
    /// One series for each value, at zero.
    pub(super) fn new(label: &'static str, values: &[&'static str]) -> Self {
        Self { label, series: values.iter().map(|&value| (value, T::default())).collect() }
    }

    /// The series of this value, if there is one. They are few: a look at each is faster than a hash.
    pub(super) fn of(&self, value: &str) -> Option<&T> {
        self.iter().find_map(|(other, series)| (other == value).then_some(series))
    }

    /// The series of the value at this place.
    pub(super) fn at(&self, place: usize) -> Option<&T> {
        self.series.get(place).map(|(_, series)| series)
    }

    /// Values and series.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &T)> {
        self.series.iter().map(|(value, series)| (*value, series))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn buckets_are_written_as_what_they_are_and_grow() {
        for (end, text) in BUCKETS {
            let seconds: f64 = text.parse().unwrap();
            assert_eq!(Duration::from_nanos(end), Duration::from_secs_f64(seconds));
            assert_eq!(seconds.to_string(), text);
        }
        assert!(BUCKETS.is_sorted_by(|one, next| one.0 < next.0));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_it_does_not_exceed() {
        let durations = Durations::default();
        let recorded = [0, 99_999, 100_000, 100_001, 5_000_000_000, 5_000_000_001, 3_600_000_000_000];
        for nanoseconds in recorded {
            durations.record(Duration::from_nanos(nanoseconds));
        }
        let Reading { up_to, count, sum } = durations.read();
        assert_eq!((up_to[0], up_to[1], up_to[10], up_to[11], count), (3, 4, 4, 5, 7));
        assert_eq!(sum, Duration::from_nanos(recorded.iter().sum()));
    }

    #[test]
    fn threads_lose_no_count() {
        let (counter, durations) = (Counter::default(), Durations::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        counter.increment();
                        durations.record(Duration::from_micros(300));
                    }
                });
            }
        });
        let Reading { count, sum, .. } = durations.read();
        assert_eq!((counter.get(), count, sum), (4_000, 4_000, Duration::from_millis(1_200)));
    }
}
