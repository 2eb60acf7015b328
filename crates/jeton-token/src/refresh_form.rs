//! The outer form of refresh tokens: enough to recognize one. Only the issuer makes and opens them.

/// The beginning of every refresh token, by which secret scanners find it.
pub const PREFIX: &str = "jtr_";
/// The length of the decoded text behind the prefix, in bytes.
pub const TOKEN_BYTES: usize = 73;

/// Returns whether `text` begins like a refresh token, so that Revoke can tell.
#[must_use]
pub fn looks_like_refresh_token(text: &str) -> bool {
    text.starts_with(PREFIX)
}
