//! The second version of PKCS#8 for keys on P-256.
//!
//! aws-lc reads version 2 (RFC 5958: the public key follows the private one) for Ed25519 alone. For P-256 the public
//! key is taken off here, and held against the private one by the caller.

/// Splits a version 2 document into the version 1 document of the same key and its public key; `None` for anything
/// else.
pub(super) fn split_public_key(der: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (document, []) = element(der, 0x30)? else { return None };
    let (version, rest) = element(document, 0x02)?;
    let (_, after_algorithm) = element(rest, 0x30)?;
    let (_, after_key) = element(after_algorithm, 0x04)?;
    // Attributes, if there are any, go with the public key.
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

/// Reads the DER element of `tag` that `input` starts with: its content, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (len, rest) = match input.strip_prefix(&[tag])? {
        [len @ 0..=0x7F, rest @ ..] | [0x81, len @ 0x80..=0xFF, rest @ ..] => (usize::from(*len), rest),
        [0x82, high @ 1..=0xFF, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    rest.split_at_checked(len)
}
