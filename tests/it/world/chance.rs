//! Chance that can be had again: by the seed that is printed, and given in `JETON_FAULTS_SEED`.

/// `SplitMix64`.
pub struct Chance(u64);

impl Chance {
    /// From the seed in the environment, or from the time; either is printed with a failing test.
    #[expect(clippy::print_stdout, reason = "what a failing test shows beside its failure")]
    pub fn seeded() -> Self {
        let given = std::env::var("JETON_FAULTS_SEED").ok();
        let seed = given.map_or_else(
            || jiff::Timestamp::now().as_nanosecond() as u64,
            |seed| seed.parse().expect("JETON_FAULTS_SEED is a number"),
        );
        println!("to have it again: JETON_FAULTS_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below this one.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// One of these.
    pub fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }
}
