//! The limits of tokens, each with its reason. Units last.

/// No token lives longer (promise 3). One day: a token that is stolen and never noticed dies by tomorrow.
pub const LIFETIME_CAP_S: i64 = 86_400;
/// The shortest lifetime: times of tokens are whole seconds.
pub const LIFETIME_MIN_S: i64 = 1;
/// Below this lifetime `refresh_time` is not jittered: ±5 % of it would be less than a second.
pub const JITTER_LIFETIME_MIN_S: i64 = 20;

/// A minted token is at most this long: gRPC peers cut headers at 8 KiB, and the token shares them (I10).
pub const TOKEN_BYTES_MAX: usize = 4_096;
/// A longer text is not parsed: twice the greatest length that is ever minted, so that limits may still grow (V3).
pub const PARSED_TOKEN_BYTES_MAX: usize = 8_192;
/// A longer JWS header is not parsed: ours take about 90 bytes of JSON, the rest is slack for other spellings.
pub const HEADER_BYTES_MAX: usize = 256;
/// JSON may nest this deep, the outermost object counted (V3): parsing is bounded in stack.
pub const JSON_NESTING_MAX: usize = 16;

/// `sub` is at most this long: it is an index key and a log field.
pub const SUBJECT_BYTES_MAX: usize = 255;
/// `aud` has at most this many values: each costs a policy lookup.
pub const AUDIENCES_MAX: usize = 10;
/// One audience is at most this long.
pub const AUDIENCE_BYTES_MAX: usize = 255;
/// `scope` has at most this many tokens.
pub const SCOPES_MAX: usize = 64;
/// One scope token is at most this long.
pub const SCOPE_BYTES_MAX: usize = 128;
/// `client_id` is at most this long.
pub const CLIENT_ID_BYTES_MAX: usize = 255;
/// `idp` is at most this long: the short id of a trusted issuer, as a DNS label.
pub const ISSUER_ID_BYTES_MAX: usize = 63;
/// `iss` is at most this long: the URL of the issuer.
pub const ISSUER_BYTES_MAX: usize = 512;
/// Custom claims as JSON are at most this long: half a token, so that the rest always has room.
pub const CUSTOM_CLAIMS_BYTES_MAX: usize = 2_048;
/// One custom claim's value nests at most this deep: with the payload's own object it stays below
/// `JSON_NESTING_MAX`, with one level to spare.
pub const CUSTOM_CLAIM_NESTING_MAX: usize = 14;
/// A custom claim's name is at most this long.
pub const CLAIM_NAME_BYTES_MAX: usize = 128;
/// Integers beyond ± this lose digits in parsers that read numbers as doubles (RFC 8259 section 6): 2^53 - 1.
pub const SAFE_INTEGER_MAX: i64 = 9_007_199_254_740_991;

/// A jti's own time is within this of `iat` (V5): it bounds how long a revocation by bare jti is kept.
pub const JTI_IAT_SPREAD_S: i64 = 60;
/// The last second that a claim may name: the last one that every calendar here can show (9999-12-30T22:00:00Z).
pub const TIME_MAX_S: i64 = 253_402_207_200;
/// The largest `google.protobuf.Duration`, in seconds: about 10 000 years.
pub const WIRE_DURATION_MAX_S: i64 = 315_576_000_000;
/// The smallest and the largest `google.protobuf.Timestamp`: the years 1 and 9999.
pub const WIRE_TIMESTAMP_MIN_S: i64 = -62_135_596_800;
/// See [`WIRE_TIMESTAMP_MIN_S`].
pub const WIRE_TIMESTAMP_MAX_S: i64 = 253_402_300_799;
