//! Ids that jeton makes.

use uuid::{Builder, Uuid};

use super::random;

/// A UUIDv7 (RFC 9562 section 5.7) of this instant, milliseconds since the epoch.
#[must_use]
pub fn new_uuid_v7(unix_ms: i64) -> Uuid {
    Builder::from_unix_timestamp_millis(unix_ms.max(0).unsigned_abs(), &random::bytes()).into_uuid()
}

/// The last 62 bits of a `UUIDv7`, all of them random: for values that must vary from id to id, not for secrets.
#[must_use]
pub fn chance_of(id: Uuid) -> u64 {
    const BITS: u32 = 62;
    let (_, low) = id.as_u64_pair();
    low & (1_u64 << BITS).wrapping_sub(1)
}

/// Unpredictable random bytes.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    *random::bytes()
}

/// The least UUID of an instant, milliseconds since the epoch: its first 48 bits, and zeros.
#[must_use]
pub fn least_uuid_v7(unix_ms: i64) -> Uuid {
    const TIME_BITS: u32 = 48;
    let millis = u128::from(unix_ms.clamp(0, (1 << TIME_BITS) - 1).unsigned_abs());
    Uuid::from_u128(millis << (128 - TIME_BITS))
}
