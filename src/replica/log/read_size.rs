//! The number of log entries that one read takes: fewer after a late read, more again while reads are quick. Otherwise
//! a replica that is far behind on a slow machine would ask for too many entries again and again.

/// The most entries of one read. A replica that was away for long reads several times.
const MOST: i64 = 50_000;
/// A database that cannot read these in time cannot be used at all.
const LEAST: i64 = 100;
/// A read that took no longer could have taken twice as many entries.
const QUICK_MS: i64 = 500;

/// The number of entries of the next read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::replica) struct ReadSize(i64);

impl Default for ReadSize {
    fn default() -> Self {
        Self(MOST)
    }
}

impl ReadSize {
    /// The number of entries of the next read.
    pub(in crate::replica) fn entries(self) -> i64 {
        self.0
    }

    /// Records that the last read was not answered in time.
    pub(in crate::replica) fn was_late(&mut self) {
        self.0 = self.0.div_euclid(4).max(LEAST);
    }

    /// Records that the last read took its full number of entries, in this time, and there are more.
    pub(in crate::replica) fn was_filled(&mut self, took_ms: i64) {
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
