//! Ids of jeton's own making.

use uuid::{Builder, Uuid};

use super::random;

/// A UUIDv7 (RFC 9562 section 5.7) of this instant, milliseconds since the epoch.
#[must_use]
pub fn new_uuid_v7(unix_ms: i64) -> Uuid {
    Builder::from_unix_timestamp_millis(unix_ms.max(0).unsigned_abs(), &random::bytes()).into_uuid()
}

/// Eight random bytes as a number: for what has to vary, not for secrets.
#[must_use]
pub fn random_u64() -> u64 {
    u64::from_le_bytes(*random::bytes())
}

/// Random bytes that nobody can guess.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    *random::bytes()
}
