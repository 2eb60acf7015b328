//! A token as people paste it: in quotes, behind `Bearer`, in prose, with line breaks. The verbs that look at a token
//! take it out of that, as revoking does; servers judge exactly what they are given.

use jeton_token::pasted::{bare as without_surroundings, candidates, surroundings};
use secrecy::{ExposeSecret as _, SecretString};

use crate::term::{exit::Failure, output};

/// The token in a text, without what is around it, which is said.
pub fn bare(text: &SecretString) -> Result<SecretString, Failure> {
    let (token, around) = taken_out(text.expose_secret())?;
    if let Some(around) = around {
        output::talk(&format!("The token was taken out of the text: {around}."));
    }
    Ok(token.into())
}

/// The token, and what is around it. A text in which no token of jeton's is found keeps everything but quotes and the
/// like: it may be a token of others.
fn taken_out(given: &str) -> Result<(String, Option<&'static str>), Failure> {
    let found: Vec<_> = candidates(given).into_iter().filter(|token| !goes_on(given, token)).collect();
    match found.as_slice() {
        [] => {
            let rest = without_surroundings(given);
            let is_like_one =
                rest.len() < given.len() && (rest.starts_with("eyJ") || rest.starts_with("jtr_"));
            Ok(if is_like_one { (rest.to_owned(), Some(OTHER_TEXT)) } else { (given.to_owned(), None) })
        }
        [token] if token == given => Ok((token.clone(), None)),
        [token] => {
            let within =
                if given.contains(token.as_str()) { OTHER_TEXT } else { "white space stands within it" };
            Ok((token.clone(), surroundings(given).or(Some(within))))
        }
        several => Err(Failure::Usage(format!(
            "the text holds {} tokens, and one is looked at at a time. Give one of them.",
            several.len()
        ))),
    }
}

const OTHER_TEXT: &str = "other text surrounds the token";

/// Returns whether the text goes on where the token ends: then it is the beginning of something else.
fn goes_on(given: &str, token: &str) -> bool {
    let after = given.split_once(token).and_then(|(_, rest)| rest.bytes().next());
    after.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_token::base64url;

    #[test]
    fn v15_a_token_is_taken_out_and_other_texts_are_left() {
        let token = format!(
            "{}.{}.{}",
            base64url::encode(r#"{"a":1}"#),
            base64url::encode(r#"{"b":2}"#),
            "s".repeat(86)
        );
        let found = |text: &str| taken_out(text).ok();
        for (text, around) in [
            (token.clone(), None),
            (format!("\"{token}\""), Some("quotes surround the token")),
            (format!("Bearer {token}"), Some("a scheme or a name stands before the token")),
            (format!("see {token} in the log"), Some(OTHER_TEXT)),
            (token.replacen('s', "s\n  ", 1), Some("white space stands within it")),
        ] {
            assert_eq!(found(&text), Some((token.clone(), around)), "{text}");
        }
        for text in ["garbage", "a.b.c", "jtr_x", "", "a=b", &format!("{token}x"), &format!("{token}.x")] {
            assert_eq!(found(text), Some((text.to_owned(), None)), "{text}");
        }
        // A longer signature is that of somebody else's token.
        let foreign = format!("{token}{}", "s".repeat(256));
        assert_eq!(found(&format!("'{foreign}'")), Some((foreign, Some(OTHER_TEXT))));
        let other = token.replacen('s', "t", 1);
        assert!(taken_out(&format!("{token} {other}")).is_err());
    }
}
