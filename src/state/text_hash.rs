//! Texts by a hash that nobody outside of this process can reckon.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::token::random_bytes;

/// Hashes the whole of a text to 128 bits under a key that is made anew with each process and leaves it nowhere: so
/// nobody can make two texts collide, or learn of one by the time that another takes.
pub struct TextHash([u8; 16]);

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
