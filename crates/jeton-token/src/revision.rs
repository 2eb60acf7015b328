//! Revisions: places in the log.

use std::fmt;
use std::str::FromStr;

use super::malformed::Malformed;

/// Bits of the stored integer that hold `seq`.
const SEQ_BITS: u32 = 40;
/// One past the largest `seq`: 2^40.
pub const SEQ_END: i64 = 1 << SEQ_BITS;
/// One past the largest `epoch`: keeps the stored integer below 2^53, so that any JSON parser reads `rev` exactly.
pub const EPOCH_END: i64 = 8_192;

/// A place in the log: (epoch, seq), in that order of weight. Stored, and in the claim `rev`, as the integer
/// `epoch * 2^40 + seq`; on the wire the text `epoch.seq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Revision(i64);

impl Revision {
    /// Before every entry.
    pub const ZERO: Self = Self(0);
    /// The last place there can be.
    pub const MAX: Self = Self(EPOCH_END.saturating_mul(SEQ_END).saturating_sub(1));

    /// The place `seq` of `epoch`; `None` out of range.
    #[must_use]
    pub const fn new(epoch: i64, seq: i64) -> Option<Self> {
        if epoch < 0 || epoch >= EPOCH_END || seq < 0 || seq >= SEQ_END {
            return None;
        }
        Some(Self((epoch << SEQ_BITS) | seq))
    }

    /// The revision of the stored integer; `None` out of range.
    #[must_use]
    pub const fn from_i64(stored: i64) -> Option<Self> {
        if stored < 0 || stored > Self::MAX.0 { None } else { Some(Self(stored)) }
    }

    /// The stored integer.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// The epoch: below 8192.
    #[must_use]
    pub const fn epoch(self) -> i64 {
        self.0 >> SEQ_BITS
    }

    /// The place within the epoch: below 2^40.
    #[must_use]
    pub const fn seq(self) -> i64 {
        self.0 & SEQ_END.wrapping_sub(1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch(), self.seq())
    }
}

impl FromStr for Revision {
    type Err = Malformed;

    /// Parses the output of `Display`, and no other spelling.
    fn from_str(text: &str) -> Result<Self, Malformed> {
        const RULE: Malformed = Malformed::new("a revision is `epoch.seq` in decimal digits");
        let (epoch, seq) = text.split_once('.').ok_or(RULE)?;
        let epoch = decimal(epoch).ok_or(RULE)?;
        let seq = decimal(seq).ok_or(RULE)?;
        Self::new(epoch, seq).ok_or(RULE)
    }
}

/// A canonical decimal: no sign, no leading zeros.
fn decimal(text: &str) -> Option<i64> {
    let canonical = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}
