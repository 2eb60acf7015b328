//! Base64url without padding, canonical only (RFC 4648 section 5, RFC 7515 section 2).
//!
//! One value has one text: padding, whitespace, the standard alphabet and non-zero trailing bits are refused, so that
//! no token has a second spelling.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::NO_PAD;
use zeroize::Zeroizing;

/// With vector instructions if the processor has them: most of the text of a token is base64url.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
static ENGINE: LazyLock<base64::engine::Simd> = LazyLock::new(|| base64::engine::Simd::url_safe(NO_PAD));
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
static ENGINE: LazyLock<base64::engine::GeneralPurpose> =
    LazyLock::new(|| base64::engine::GeneralPurpose::new(&base64::alphabet::URL_SAFE, NO_PAD));

/// The text of `bytes`.
#[must_use]
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    ENGINE.encode(bytes)
}

/// Appends the text of `bytes` to `out`.
pub fn encode_into(bytes: impl AsRef<[u8]>, out: &mut String) {
    ENGINE.encode_string(bytes, out);
}

/// The length in bytes of the text of `len` bytes.
#[must_use]
pub const fn encoded_len(len: usize) -> usize {
    len.saturating_mul(4).div_ceil(3)
}

/// The bytes of `text`, if it is canonical.
#[must_use]
pub fn decode(text: &str) -> Option<Vec<u8>> {
    ENGINE.decode(text).ok()
}

/// The `N` bytes of `text`, if it is canonical and has as many.
#[must_use]
pub fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != encoded_len(N) {
        return None;
    }
    // The decoder needs room for whole groups of three bytes: the longest value here is a refresh token of 73.
    let mut room = Zeroizing::new([0; 96]);
    let len = ENGINE.decode_slice(text, room.as_mut_slice()).ok()?;
    room.get(..len)?.try_into().ok()
}
