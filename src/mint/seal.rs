//! Sealing private keys under the master key, which is never in Postgres (C2).

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use jeton_token::{Malformed, base64url, pasted::without_blanks, random, sha256};

/// The format of sealed bytes: this byte, a nonce of 12 bytes, the ciphertext with its tag of 16.
const VERSION: u8 = 1;
const NONCE_BYTES: usize = 12;

/// The key that seals keys: 256 bits. The type cannot be printed.
pub struct MasterKey {
    secret: Zeroizing<[u8; 32]>,
    key: LessSafeKey,
}

/// The kind of the sealed key. It is bound into the seal, so that one kind never opens as the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A signing key's PKCS#8 document; the id is its `kid`.
    SigningKey,
    /// A MAC key's secret; the id is the MAC key's.
    MacKey,
}

/// The sealed bytes do not open: another master key, another purpose or id, or changed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sealed under another master key, or damaged")]
pub struct WrongMasterKey;

impl MasterKey {
    /// Parses 32 bytes written as 64 hexadecimal digits, or as base64 or base64url with or without padding. Whitespace
    /// around them is ignored, because files end with a newline.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        const RULE: Malformed =
            Malformed::new("a master key is 32 bytes as 64 hexadecimal digits or as base64");
        let text = without_blanks(text);
        let unpadded = text.strip_suffix('=').unwrap_or(text);
        let secret = match (text.len(), unpadded.len()) {
            (64, _) => hex(text),
            (43 | 44, 43) => base64url::decode_array(unpadded).or_else(|| {
                let bytes = Zeroizing::new(STANDARD.decode(format!("{unpadded}=")).ok()?);
                bytes.as_slice().try_into().ok()
            }),
            _ => None,
        };
        Self::new(Zeroizing::new(secret.ok_or(RULE)?))
    }

    /// An id that tells nothing about the key: 64 bits of a hash of 256 random ones.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let hash = sha256(&[b"jeton-master-key-fingerprint", self.secret.as_slice()]);
        format!("{:016x}", hash.first_chunk().map_or(0, |first| u64::from_be_bytes(*first)))
    }

    /// Makes a key from the system's randomness.
    pub fn generate() -> Result<Self, Malformed> {
        Self::new(random::bytes())
    }

    fn new(secret: Zeroizing<[u8; 32]>) -> Result<Self, Malformed> {
        let key = UnboundKey::new(&AES_256_GCM, secret.as_slice())
            .map_err(|_| Malformed::new("the cryptographic library refused the master key"))?;
        Ok(Self { secret, key: LessSafeKey::new(key) })
    }

    /// Its text for `parse`: base64url without padding. Secret.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::encode(self.secret.as_slice()))
    }

    /// Derives the key of a MAC: HMAC-SHA256 of a label, as a pseudorandom function (NIST SP 800-108r1). Each use has a
    /// label of its own.
    pub(super) fn derive(&self, label: &[u8]) -> hmac::Key {
        let root = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_slice());
        hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&root, label).as_ref())
    }

    /// Seals `plaintext` for `purpose` and `id` by AES-256-GCM under a random nonce. Keys are few: far below the 2^32
    /// messages that random nonces allow (NIST SP 800-38D section 8.3).
    ///
    /// # Panics
    /// For a plaintext of 64 GiB or more, and if the system has no randomness.
    #[must_use]
    pub fn seal(&self, purpose: Purpose, id: &str, plaintext: &[u8]) -> Vec<u8> {
        let nonce = *random::bytes::<NONCE_BYTES>();
        let mut body = Zeroizing::new(plaintext.to_vec());
        #[expect(clippy::expect_used, reason = "AES-GCM fails for messages of 64 GiB and more alone")]
        let tag = self
            .key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                aad(purpose, id),
                body.as_mut_slice(),
            )
            .expect("a key is short enough to seal");
        [&[VERSION], nonce.as_slice(), body.as_slice(), tag.as_ref()].concat()
    }

    /// Opens bytes that `seal` made for the same `purpose` and `id`.
    pub fn open(
        &self,
        purpose: Purpose,
        id: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrongMasterKey> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(WrongMasterKey)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(WrongMasterKey)?;
        let mut body = Zeroizing::new(body.to_vec());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = self
            .key
            .open_in_place(nonce, aad(purpose, id), body.as_mut_slice())
            .map_err(|_| WrongMasterKey)?
            .len();
        body.truncate(len);
        Ok(body)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(..)")
    }
}

fn aad(purpose: Purpose, id: &str) -> Aad<Vec<u8>> {
    let purpose = match purpose {
        Purpose::SigningKey => "signing-key",
        Purpose::MacKey => "mac-key",
    };
    // No purpose holds a colon, so no two pairs share a text.
    Aad::from(format!("jeton-seal-v1:{purpose}:{id}").into_bytes())
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.chars().map(|c| c.to_digit(16));
    let mut out = [0; 32];
    for byte in &mut out {
        let (high, low) = (digits.next()??, digits.next()??);
        *byte = u8::try_from((high << 4) | low).ok()?;
    }
    digits.next().is_none().then_some(out)
}
