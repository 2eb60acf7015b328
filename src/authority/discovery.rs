//! Public facts: they need no caller and no lease check.

use crate::authority::{Authority, BATCH_MAX};
use jeton_token::{LIFETIME_CAP_S, Revision, UnixSeconds, base64url, jwks, limits, sha256};

/// The time for which verifiers may keep the key set, seconds: far less than the hour for which a key is published
/// before it signs.
pub const JWKS_MAX_AGE_S: i64 = 300;

/// The key set, as verifiers fetch it.
#[derive(Clone, Debug)]
pub struct Jwks {
    /// RFC 7517 JSON.
    pub json: String,
    /// Strong entity tag.
    pub etag: String,
}

/// Facts about this server that a client may want.
#[derive(Clone, Debug)]
pub struct ServerInfo {
    /// Wall clock, milliseconds since the epoch.
    pub server_time_ms: i64,
    /// Database clock minus wall clock, milliseconds.
    pub clock_offset_ms: i64,
    /// The revision up to which the log is applied.
    pub revision: Revision,
}

/// Limits that clients may query, by name.
pub const LIMITS: [(&str, i64); 4] = [
    ("token_bytes_max", to_i64(limits::TOKEN_BYTES_MAX)),
    ("batch_size_max", to_i64(BATCH_MAX)),
    ("page_size_max", crate::authority::admin::page::PAGE_SIZE_MAX),
    ("ttl_seconds_cap", LIFETIME_CAP_S),
];

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_wrap,
    reason = "small constants; no conversion is const"
)]
const fn to_i64(limit: usize) -> i64 {
    limit as i64
}

impl Authority {
    /// The public keys that verifiers may trust.
    #[must_use]
    pub fn jwks(&self) -> Jwks {
        let now = UnixSeconds::new(self.clock.now_s());
        let json = jwks(self.roots.current().keys.load().published(now));
        let etag = format!("\"{}\"", base64url::encode(sha256(&[json.as_bytes()])));
        Jwks { json, etag }
    }

    /// Clock and revision of this replica.
    #[must_use]
    pub fn server_info(&self) -> ServerInfo {
        let root = self.roots.current();
        ServerInfo {
            server_time_ms: self.clock.now_ms(),
            clock_offset_ms: root.clock_offset_ms(),
            revision: root.applied(),
        }
    }
}
