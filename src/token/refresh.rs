//! Refresh tokens that need no table.
//!
//! `jtr_` and the base64url of: version (1 byte), MAC key id (4), session id (16), generation (4, big endian), session
//! secret (16), and the HMAC-SHA-256 (32) over `jeton-refresh-v1` and all before. A forged one is refused without a
//! query; the database alone cannot make one, for it has the secret's SHA-256 only, nor can the MAC key alone.

use std::fmt;

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::base64url;
use super::digest::sha256;
use super::random;

/// How every refresh token starts: secret scanners find it by this.
pub const PREFIX: &str = "jtr_";

const VERSION: u8 = 1;
const DOMAIN: &[u8] = b"jeton-refresh-v1";
/// What the MAC is over, without the domain.
const BODY_BYTES: usize = 41;
pub(super) const TOKEN_BYTES: usize = 73;

/// Whether `text` starts like a refresh token, so that Revoke knows what it was given.
#[must_use]
pub fn looks_like_refresh_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// A key that authenticates refresh tokens. It cannot be printed.
#[derive(Clone)]
pub struct MacKey {
    id: [u8; 4],
    secret: Zeroizing<[u8; 32]>,
    key: hmac::Key,
}

impl MacKey {
    /// A new one with a random id: the store refuses one that is taken.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(*random::bytes(), *random::bytes())
    }

    /// From its parts.
    #[must_use]
    pub fn new(id: [u8; 4], secret: [u8; 32]) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, &secret), secret: Zeroizing::new(secret) }
    }

    /// What refresh tokens name it by.
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

/// What proves a session's refresh token beside its MAC: 128 random bits, the same for all generations, of which the
/// row keeps the hash. It cannot be printed.
#[derive(Clone)]
pub struct SessionSecret(Zeroizing<[u8; 16]>);

impl SessionSecret {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(random::bytes())
    }

    /// From its bytes.
    #[must_use]
    pub fn new(secret: [u8; 16]) -> Self {
        Self(Zeroizing::new(secret))
    }

    /// The SHA-256, as the row keeps it. 128 random bits need no slow hash.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&[self.0.as_slice()])
    }
}

/// A refresh token whose MAC is good. Whether it is the session's current one, the row says.
#[derive(Clone)]
pub struct RefreshToken {
    /// The session, a `UUIDv7`.
    pub session_id: Uuid,
    /// How many refreshes came before it.
    pub generation: u32,
    /// The session's secret.
    pub secret: SessionSecret,
    /// The MAC key that made it, and makes its successor.
    pub key_id: [u8; 4],
}

impl RefreshToken {
    /// The text of a session's refresh token: the same for the same arguments, so that a retry can be given the same
    /// successor (R1).
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

    /// Reads and verifies `text` with the key that it names. Unknown, malformed and forged texts take one time: each
    /// costs one look-up and one HMAC over as many bytes (R6).
    pub fn open<'k>(text: &str, lookup: impl Fn([u8; 4]) -> Option<&'k MacKey>) -> Option<Self> {
        let parsed = ParsedRefresh::parse(text);
        let well_formed = parsed.is_some();
        let parsed = parsed.unwrap_or_else(|| ParsedRefresh(Zeroizing::new([0; TOKEN_BYTES])));
        let found = lookup(parsed.key_id());
        let known = found.is_some();
        // A key that nobody has: what it verifies is refused all the same.
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

/// The text of a refresh token whose form is good and whose MAC nobody has looked at.
pub struct ParsedRefresh(Zeroizing<[u8; TOKEN_BYTES]>);

impl ParsedRefresh {
    /// Reads the form: prefix, canonical base64url, length and version.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = base64url::decode_array(text.strip_prefix(PREFIX)?).map(Zeroizing::new)?;
        (bytes.first() == Some(&VERSION)).then_some(Self(bytes))
    }

    /// The MAC key that it names.
    #[must_use]
    pub fn key_id(&self) -> [u8; 4] {
        let [_, a, b, c, d, ..] = *self.0;
        [a, b, c, d]
    }

    /// What it says, if the MAC is `key`'s. In constant time.
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
