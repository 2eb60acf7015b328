//! Refresh tokens that need no table.
//!
//! `jtr_` and the base64url of: version (1 byte), MAC key id (4), session id (16), generation (4, big endian), session
//! secret (16), and the HMAC-SHA-256 (32) over `jeton-refresh-v1` and all before. A forged token is refused without a
//! query. Neither the database alone can make one, because it has only the secret's SHA-256, nor the MAC key alone.

use std::fmt;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use jeton_token::{
    base64url, random,
    refresh_form::{PREFIX, TOKEN_BYTES},
    sha256,
};

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"jeton-refresh-v1";
/// The part under the MAC, without the domain.
const BODY_BYTES: usize = 41;

/// A key that authenticates refresh tokens. It cannot be printed.
#[derive(Clone)]
pub struct MacKey {
    id: [u8; 4],
    secret: Zeroizing<[u8; 32]>,
    key: hmac::Key,
}

impl MacKey {
    /// Makes a key with a random id. The store refuses an id that is taken.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(*random::bytes(), *random::bytes())
    }

    /// From its parts.
    #[must_use]
    pub fn new(id: [u8; 4], secret: [u8; 32]) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, &secret), secret: Zeroizing::new(secret) }
    }

    /// The id that refresh tokens name it by.
    #[must_use]
    pub const fn id(&self) -> [u8; 4] {
        self.id
    }

    /// The secret, to be sealed.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    fn mac(&self, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(DOMAIN);
        context.update(body);
        context.sign()
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The secret that proves a session's refresh token beside its MAC: 128 random bits, the same for all generations. The
/// row stores its hash. The type cannot be printed.
#[derive(Clone)]
pub struct SessionSecret(Zeroizing<[u8; 16]>);

impl SessionSecret {
    /// Makes a new secret.
    #[must_use]
    pub fn generate() -> Self {
        Self(random::bytes())
    }

    /// From its bytes.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The SHA-256, as the row stores it. 128 random bits need no slow hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[self.0.as_slice()])
    }
}

/// A refresh token with a good MAC. The row tells whether it is the session's current one.
#[derive(Clone)]
pub struct RefreshToken {
    /// The session, a `UUIDv7`.
    pub session_id: Uuid,
    /// The number of refreshes before it.
    pub generation: u32,
    /// The session's secret.
    pub secret: SessionSecret,
    /// The MAC key that made it, and makes its successor.
    pub key_id: [u8; 4],
}

impl RefreshToken {
    /// The text of a session's refresh token: the same for the same arguments, so that a retry gets the same successor
    /// (R1).
    #[must_use]
    pub fn mint(key: &MacKey, session_id: Uuid, generation: u32, secret: &SessionSecret) -> String {
        let mut bytes = Zeroizing::new(Vec::with_capacity(TOKEN_BYTES));
        bytes.push(VERSION);
        bytes.extend_from_slice(&key.id);
        bytes.extend_from_slice(session_id.as_bytes());
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(secret.0.as_slice());
        let mac = key.mac(&bytes);
        bytes.extend_from_slice(mac.as_ref());
        format!("{PREFIX}{}", base64url::encode(bytes.as_slice()))
    }

    /// Parses and verifies `text` with the key that it names. Unknown, malformed and forged texts take the same time:
    /// one look-up and one HMAC over as many bytes (R6).
    pub fn open<'k>(text: &str, lookup: impl Fn([u8; 4]) -> Option<&'k MacKey>) -> Option<Self> {
        let parsed = ParsedRefresh::parse(text);
        let well_formed = parsed.is_some();
        let parsed = parsed.unwrap_or_else(|| ParsedRefresh(Zeroizing::new([0; TOKEN_BYTES])));
        let found = lookup(parsed.key_id());
        let known = found.is_some();
        // A key that nobody has: a token that it verifies is refused anyway.
        let stand_in = MacKey::new([0; 4], [0; 32]);
        let verified = parsed.verify(found.unwrap_or(&stand_in));
        verified.filter(|_| well_formed && known)
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { session_id, generation, .. } = self;
        f.debug_struct("RefreshToken")
            .field("session_id", session_id)
            .field("generation", generation)
            .finish_non_exhaustive()
    }
}

/// The text of a well-formed refresh token whose MAC is not verified.
pub struct ParsedRefresh(Zeroizing<[u8; TOKEN_BYTES]>);

impl ParsedRefresh {
    /// Reads the form: prefix, canonical base64url, length and version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = base64url::decode_array(text.strip_prefix(PREFIX)?).map(Zeroizing::new)?;
        (bytes.first() == Some(&VERSION)).then_some(Self(bytes))
    }

    /// The id of the MAC key that it names.
    #[must_use]
    pub fn key_id(&self) -> [u8; 4] {
        let [_, a, b, c, d, ..] = *self.0;
        [a, b, c, d]
    }

    /// Its content, if the MAC is `key`'s. In constant time.
    #[must_use]
    pub fn verify(&self, key: &MacKey) -> Option<RefreshToken> {
        let (body, mac) = self.0.split_at_checked(BODY_BYTES)?;
        let good: bool = key.mac(body).as_ref().ct_eq(mac).into();
        if !good || self.key_id() != key.id {
            return None;
        }
        let (_, rest) = body.split_first_chunk::<5>()?;
        let (session_id, rest) = rest.split_first_chunk::<16>()?;
        let (generation, rest) = rest.split_first_chunk::<4>()?;
        let (secret, _) = rest.split_first_chunk::<16>()?;
        Some(RefreshToken {
            session_id: Uuid::from_bytes(*session_id),
            generation: u32::from_be_bytes(*generation),
            secret: SessionSecret::new(*secret),
            key_id: key.id,
        })
    }
}
