//! Credentials in texts that are no place for them.

use super::{api_key, refresh_form};

/// The beginning of the base64url of a JSON object: `{"`. Every JWT begins with it.
pub(super) const JWT_PREFIX: &str = "eyJ";
/// The beginnings of access tokens, refresh tokens and API keys.
const PREFIXES: [&str; 3] = [JWT_PREFIX, refresh_form::PREFIX, api_key::PREFIX];
/// The fewest characters behind a beginning that make a name an unlikely one. A credential that was cut short has more.
const SECRET_CHARS_MIN: usize = 12;

/// The part of a text that is searched: more than any name or note has. A token that is longer begins within it.
const SEARCHED_BYTES_MAX: usize = 2_048;

/// Returns whether a text holds an access token, a refresh token or an API key, also one that was cut short: it is no
/// name and no note then, which are stored and shown.
#[must_use]
pub fn holds_credential(text: &str) -> bool {
    let bytes = text.as_bytes();
    let bytes = bytes.get(..SEARCHED_BYTES_MAX).unwrap_or(bytes);
    bytes.windows(4).enumerate().any(|(at, beginning)| {
        let rest = || bytes.iter().skip(at.saturating_add(beginning.len()));
        match beginning {
            // What stands before the second `_` is the public part: no secret by itself.
            b"jtk_" => rest().position(|byte| *byte == b'_').is_some_and(|end| {
                end == api_key::ID_CHARS
                    && rest().take(end).all(u8::is_ascii_alphanumeric)
                    && rest().nth(end.saturating_add(1)).is_some_and(|byte| is_digit(*byte))
            }),
            b"jtr_" => digits(rest()) >= SECRET_CHARS_MIN,
            [b'e', b'y', b'J', digit] if is_digit(*digit) => {
                let header = digits(rest());
                let mut payload = rest().skip(header);
                header >= SECRET_CHARS_MIN
                    && payload.next() == Some(&b'.')
                    && digits(payload) >= SECRET_CHARS_MIN
            }
            _ => false,
        }
    })
}

/// Returns whether a text may hold a credential, or a part of one: it is better not shown.
#[must_use]
pub fn may_hold_credential(text: &str) -> bool {
    PREFIXES.iter().any(|beginning| text.contains(beginning))
}

/// The first beginning of a credential in a text, and its place in bytes.
#[must_use]
pub fn first_beginning(text: &str) -> Option<(usize, &'static str)> {
    PREFIXES.iter().filter_map(|prefix| Some((text.find(prefix)?, *prefix))).min()
}

/// Returns whether a byte is a digit of base64url.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

fn digits<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.take_while(|byte| is_digit(**byte)).count()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn e26_a_text_holds_a_credential_if_it_is_one_or_a_part_of_one_wherever_it_stands() {
        let key = crate::ApiKey::generate();
        let jwt = "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiIxIn19.c2lnbmF0dXJl";
        let refresh = format!("jtr_{}", "aB3-_".repeat(19));
        for whole in [key.expose(), jwt, &refresh] {
            let cut = whole.get(..40).unwrap();
            for text in [whole.to_owned(), cut.to_owned(), format!("token: '{whole}'"), format!("é{whole}\n")]
            {
                assert!(holds_credential(&text) && may_hold_credential(&text), "{text}");
            }
        }
    }

    #[test]
    fn names_that_look_a_little_like_credentials_hold_none() {
        let public_part = format!("jtk_{}", "a".repeat(22));
        for text in [
            "",
            "jtk",
            "jtk_x",
            "jtr_",
            "eyJ",
            "eyJk.example",
            "a.b.c",
            "user:eyJ.7",
            "jtk_a_b",
            &public_part,
        ] {
            assert!(!holds_credential(text), "{text}");
        }
    }
}
