//! Tests of the module as a whole.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod boundaries;
mod lifetimes;
mod secrets;

use jeton_token::UnixSeconds;

/// A time to mint at: 2027-01-15T08:00:00Z.
const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);
