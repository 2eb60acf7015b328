//! How many entries of the log one read takes: fewer after a read that was late, more again while reads are quick.
//! A replica that is far behind on a slow machine would ask for the same too many entries again and again.

/// Entries of one read. A replica that was away for long reads several times.
const MOST: i64 = 50_000;
/// A database that cannot read these in time cannot be used at all.
const LEAST: i64 = 100;
/// A read that took no longer would have had the time to take twice as many.
const QUICK_MS: i64 = 500;

/// How many entries the next read takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ReadSize(i64);

impl Default for ReadSize {
    fn default() -> Self {
        Self(MOST)
    }
}

impl ReadSize {
    /// How many entries the next read takes.
    pub(super) fn entries(self) -> i64 {
        self.0
    }

    /// The last read was not answered in time.
    pub(super) fn was_late(&mut self) {
        self.0 = self.0.div_euclid(4).max(LEAST);
    }

    /// The last read took as many entries as it could, in this time, and there are more.
    pub(super) fn was_filled(&mut self, took_ms: i64) {
        if took_ms <= QUICK_MS {
            self.0 = self.0.saturating_mul(2).min(MOST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_entries_are_read_after_a_late_read_and_more_again_while_reads_are_quick() {
        let mut size = ReadSize::default();
        let mut sizes = Vec::new();
        for _ in 0..6 {
            size.was_late();
            sizes.push(size.entries());
        }
        assert_eq!(sizes, [12_500, 3_125, 781, 195, 100, 100]);
        size.was_filled(501);
        assert_eq!(size.entries(), 100, "it was too slow to take more");
        let mut reads = 0;
        while size != ReadSize::default() {
            size.was_filled(500);
            reads += 1;
        }
        assert_eq!(reads, 9, "and it is as large as before after a few");
    }
}
