//! The limits of foreign tokens, keys and rules, each with its reason. Units last.

/// A longer token or proof is not parsed. An assertion of a CI system takes 2 KiB, one with a hundred groups 8 KiB.
pub const TOKEN_BYTES_MAX: usize = 16_384;
/// A longer key set or discovery document is not parsed: 100 keys of RSA with certificates take less.
pub const DOCUMENT_BYTES_MAX: usize = 262_144;
/// A key set with more entries is refused.
pub const KEYS_MAX: usize = 100;
/// A token without `kid` is tried with at most this many keys: each costs a signature check.
pub const KEYS_TRIED_MAX: usize = 8;
/// `kid` is at most this long: it is only ever compared.
pub const KEY_ID_BYTES_MAX: usize = 255;
/// A shorter RSA modulus is too weak (RFC 7518 section 3.3).
pub const RSA_MODULUS_BITS_MIN: usize = 2_048;
/// A longer RSA modulus costs more than a caller may ask for.
pub const RSA_MODULUS_BITS_MAX: usize = 4_096;
/// An RSA exponent is at most this long. All in use are 65537; the cost of a check grows with it.
pub const RSA_EXPONENT_BYTES_MAX: usize = 4;

/// `sub` is at most this long, as a subject of jeton's own tokens (OpenID Connect Core section 2).
pub const SUBJECT_BYTES_MAX: usize = 255;
/// `jti` is at most this long: replay caches keep it.
pub const TOKEN_ID_BYTES_MAX: usize = 255;
/// A clock of another machine may differ from ours by this, in both directions, in milliseconds.
pub const CLOCK_SKEW_MS: i64 = 60_000;
/// The greatest time that the assertion of a client may still have to live, in milliseconds: 5 min.
pub const CLIENT_ASSERTION_LIFE_MAX_MS: i64 = 300_000;

/// An issuer has at most this many rules: each token is compared with all of them.
pub const RULES_MAX: usize = 100;
/// A rule has at most this many conditions.
pub const CONDITIONS_MAX: usize = 16;
/// The name of a claim in a rule is at most this long.
pub const CLAIM_NAME_BYTES_MAX: usize = 256;
/// The value of a condition is at most this long: references to workflows in repositories take 300.
pub const CONDITION_BYTES_MAX: usize = 1_024;
/// The template of a subject is at most this long.
pub const TEMPLATE_BYTES_MAX: usize = 1_024;
/// What an explanation shows of a claim's value, in characters.
pub const SHOWN_CHARS_MAX: usize = 64;

/// A longer URI is refused.
pub const URI_BYTES_MAX: usize = 2_048;
