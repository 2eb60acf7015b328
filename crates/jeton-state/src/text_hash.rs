//! A hash of texts that nobody outside of this process can compute.

use std::hash::{BuildHasherDefault, Hasher};

use siphasher::sip128::{Hasher128, SipHasher13};

use jeton_token::random_bytes;

/// A hash of a whole text to 128 bits, under a random key of this process that never leaves it: so nobody can make two
/// texts collide, or learn of one text by the time that another takes.
pub struct TextHash([u8; 16]);

/// For tables keyed by such hashes: hashing them again makes them no more random.
pub type AsHashed = BuildHasherDefault<Hashed>;

/// Takes half of a [`TextHash`] as the hash.
#[derive(Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not used by the tables here, but correct for any key.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u128(&mut self, hash: u128) {
        self.0 = u64::try_from(hash >> 64).unwrap_or_default();
    }
}

impl Default for TextHash {
    fn default() -> Self {
        Self(random_bytes())
    }
}

impl TextHash {
    /// The hash of a text.
    #[must_use]
    pub fn of(&self, text: &str) -> u128 {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(text.as_bytes());
        hasher.finish128().as_u128()
    }
}
