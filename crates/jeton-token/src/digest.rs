//! SHA-256 (FIPS 180-4).

use aws_lc_rs::digest;

/// The SHA-256 of the concatenated parts.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let digest = if let [one] = parts {
        // One part, as for an API key at each call: this takes half of the time.
        digest::digest(&digest::SHA256, one)
    } else {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(part);
        }
        context.finish()
    };
    let mut out = [0; 32];
    // Both are 32 bytes: zip cannot cut.
    for (to, from) in out.iter_mut().zip(digest.as_ref()) {
        *to = *from;
    }
    out
}
