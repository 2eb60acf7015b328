//! PKCS#8 documents, and their second version for keys on P-256.
//!
//! aws-lc reads version 2 (RFC 5958: the public key follows the private one) only for Ed25519. For P-256 the public key
//! is cut off here, and the caller compares it with the private one.

/// Splits a version 2 document into the version 1 document of the same key and its public key; `None` for anything
/// else.
pub(super) fn split_public_key(der: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (document, []) = element(der, 0x30)? else { return None };
    let (version, rest) = element(document, 0x02)?;
    let (_, after_algorithm) = element(rest, 0x30)?;
    let (_, after_key) = element(after_algorithm, 0x04)?;
    // Attributes, if any, are cut off with the public key.
    let public = element(after_key, 0xA0).map_or(after_key, |(_, rest)| rest);
    let (bits, []) = element(public, 0x81)? else { return None };
    if version != [1] {
        return None;
    }
    let kept = rest.get(..rest.len().checked_sub(after_key.len())?)?;
    let body = [&[0x02, 0x01, 0x00], kept].concat();
    // A key on P-256 takes fewer than 256 bytes: one byte of length, in the long form from 128 on.
    let len = u8::try_from(body.len()).ok()?;
    let head: &[u8] = if len < 0x80 { &[0x30, len] } else { &[0x30, 0x81, len] };
    // A bit string starts with the number of its unused bits.
    Some(([head, &body].concat(), bits.strip_prefix(&[0])?))
}

/// Reads the DER element of `tag` at the beginning of `input`. Returns its content and the rest.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match input.strip_prefix(&[tag])? {
        [len @ 0..=0x7F, rest @ ..] | [0x81, len @ 0x80..=0xFF, rest @ ..] => (usize::from(*len), rest),
        [0x82, high @ 1..=0xFF, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(len)
}

/// The algorithm of the key in a document of either version, by its object identifiers (RFC 5208 section 5): `P-256`
/// and `Ed25519` can sign here. `None` if it is no such document.
#[must_use]
pub fn algorithm_of(der: &[u8]) -> Option<&'static str> {
    const EC: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01];
    let (document, _) = element(der, 0x30)?;
    let (_, rest) = element(document, 0x02)?;
    let (algorithm, _) = element(rest, 0x30)?;
    let (identifier, parameters) = element(algorithm, 0x06)?;
    Some(match identifier {
        EC => match element(parameters, 0x06).map(|(curve, _)| curve) {
            Some([0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07]) => "P-256",
            Some([0x2B, 0x81, 0x04, 0x00, 0x22]) => "P-384",
            Some([0x2B, 0x81, 0x04, 0x00, 0x23]) => "P-521",
            Some([0x2B, 0x81, 0x04, 0x00, 0x0A]) => "secp256k1",
            Some(_) | None => "another elliptic curve",
        },
        [0x2B, 0x65, 0x70] => "Ed25519",
        [0x2B, 0x65, 0x71] => "Ed448",
        [0x2B, 0x65, 0x6E] => "X25519",
        [0x2B, 0x65, 0x6F] => "X448",
        [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, _] => "RSA",
        _ => "another algorithm",
    })
}
