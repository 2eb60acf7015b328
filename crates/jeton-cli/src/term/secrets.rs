//! Secrets in texts that are shown.

use jeton_token::first_beginning;

/// Shorter than what follows them in a text that is worth hiding.
const SECRET_CHARS_MIN: usize = 8;

/// The text with `[secret]` for each token or API key in it, also for a part of one: an error repeats what was typed.
#[must_use]
pub fn without_secrets(text: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.~+/=".contains(c);
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((at, prefix)) = first_beginning(rest) {
        let (before, found) = rest.split_at(at);
        let end = found.find(|c| !is_part(c)).unwrap_or(found.len());
        let (secret, after) = found.split_at(end);
        out.push_str(before);
        out.push_str(if secret.len() < prefix.len().saturating_add(SECRET_CHARS_MIN) {
            secret
        } else {
            "[secret]"
        });
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k21_tokens_and_keys_are_hidden_in_any_text_and_nothing_else_is() {
        for (text, shown) in [
            (
                "invalid value 'eyJhbGciOiJFUzI1NiJ9.e30.c2ln' for '--ttl'",
                "invalid value '[secret]' for '--ttl'",
            ),
            ("jtr_0123456789-_ and jtk_0123456789", "[secret] and [secret]"),
            ("Give jtk_ and 66 characters, as eyJ", "Give jtk_ and 66 characters, as eyJ"),
            ("subject user:7, é", "subject user:7, é"),
        ] {
            assert_eq!(without_secrets(text), shown);
        }
    }
}
