//! Tokens in text that people paste. One rule everywhere: outer white space, quotes and a scheme are not part of a
//! token.
//!
//! Judging takes exactly the text, and reports by [`surroundings`] what is around a token. Revoking finds the token in
//! any text: an emergency comes first, and a found token must verify.

use uuid::Uuid;

use super::api_key::{PREFIX as API_KEY_PREFIX, is_id, named_id};
use super::base64url;
use super::credential::JWT_PREFIX;
use super::json;
use super::limits::PARSED_TOKEN_BYTES_MAX;
use super::refresh_form::{PREFIX as REFRESH_PREFIX, TOKEN_BYTES as REFRESH_BYTES};
use super::text::is_uuid_v7;

/// The signature of an access token is 64 bytes.
const SIGNATURE_CHARS: usize = base64url::encoded_len(64);
const REFRESH_CHARS: usize = base64url::encoded_len(REFRESH_BYTES);
/// The most candidates that are tried. A longer text is a list, and there are other ways to revoke many.
const CANDIDATES_MAX: usize = 8;
/// Schemes of `authorization` that carry a token.
const SCHEMES: [&str; 2] = ["bearer", "dpop"];

/// The text without what may surround a token: white space, quotes, the name of a header or a variable, a scheme.
#[must_use]
pub fn bare(text: &str) -> &str {
    let mut text = text;
    loop {
        let trimmed = text.trim_matches(|c: char| is_blank(c) || is_quote(c));
        let next = without_name(trimmed);
        if next.len() == text.len() {
            return next;
        }
        text = next;
    }
}

/// The text of a file without white space at its ends, and without a byte order mark.
#[must_use]
pub fn without_blanks(text: &str) -> &str {
    text.trim_matches(is_blank)
}

/// A description of what surrounds a token in this text; `None` if nothing does, or there is no token.
#[must_use]
pub fn surroundings(text: &str) -> Option<&'static str> {
    if text.len() > PARSED_TOKEN_BYTES_MAX {
        // Too long or too short for a token: not searched.
        return None;
    }
    let bare = bare(text);
    let is_token = || {
        (bare.starts_with(JWT_PREFIX) && jwt(bare, SIGNATURE_CHARS).is_some_and(|token| token == bare))
            || refresh_token(bare).is_some_and(|token| token == bare)
    };
    if bare.len() == text.len() || !is_token() {
        return None;
    }
    let outer = text.trim_matches(is_blank);
    let unquoted = outer.trim_matches(|c: char| is_blank(c) || is_quote(c));
    Some(if unquoted != bare {
        "a scheme or a name stands before the token"
    } else if outer != bare {
        "quotes surround the token"
    } else {
        "white space surrounds the token"
    })
}

/// The texts that may be a token, the likeliest first; none is verified. Line breaks and blanks within a token are
/// removed.
#[must_use]
pub fn candidates(text: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for prefix in [JWT_PREFIX, REFRESH_PREFIX] {
        let starts = text.match_indices(prefix).map(|(at, _)| at).filter(|at| begins_there(text, *at));
        for start in starts.take(CANDIDATES_MAX) {
            let rest = text.get(start..).unwrap_or_default();
            let token = if prefix == JWT_PREFIX { jwt(rest, SIGNATURE_CHARS) } else { refresh_token(rest) };
            found.extend(token.filter(|token| !found.contains(token)));
        }
    }
    found.truncate(CANDIDATES_MAX);
    found
}

/// The `jti` in a text whose token cannot be verified: in a readable payload, or an id in another than the canonical
/// form.
#[must_use]
pub fn named_jti(text: &str) -> Option<Uuid> {
    if let Some(id) = uuid_in_any_form(text) {
        return Some(id);
    }
    let start = text.match_indices(JWT_PREFIX).map(|(at, _)| at).find(|at| begins_there(text, *at))?;
    let unsigned = jwt(text.get(start..)?, 0)?;
    let (_, payload) = unsigned.trim_end_matches('.').split_once('.')?;
    let claims = json::parse_object(&base64url::decode(payload)?).ok()?;
    uuid_in_any_form(claims.get("jti")?.as_str()?)
}

/// A `UUIDv7` in any spelling: capitals, braces, without hyphens.
#[must_use]
pub fn uuid_in_any_form(text: &str) -> Option<Uuid> {
    Uuid::try_parse(bare(text)).ok().filter(|id| is_uuid_v7(*id))
}

/// The id of the API key in a text.
#[must_use]
pub fn named_api_key(text: &str) -> Option<&str> {
    named_id(text.get(text.find(API_KEY_PREFIX)?..)?).filter(|id| is_id(id))
}

fn is_blank(c: char) -> bool {
    // A byte order mark, and the blanks that have no width.
    c.is_whitespace() || c.is_control() || matches!(c, '\u{feff}' | '\u{200b}'..='\u{200d}' | '\u{2060}')
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '`' | '<' | '>' | ',' | ';' | '\\')
        || matches!(c, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}')
}

/// Without a leading `authorization:`, `NAME=`, `export`, or scheme.
fn without_name(text: &str) -> &str {
    let end =
        text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end).unwrap_or((text, ""));
    let rest_after = |mark: char| rest.trim_start().strip_prefix(mark).filter(|rest| !rest.is_empty());
    let is_name = !word.is_empty();
    if let Some(rest) = rest_after(':').or_else(|| rest_after('=')).filter(|_| is_name) {
        return rest;
    }
    let is_word = |known: &str| word.eq_ignore_ascii_case(known);
    let blank_follows = rest.starts_with(is_blank);
    if blank_follows && (SCHEMES.into_iter().any(is_word) || is_word("export")) { rest } else { text }
}

/// Returns whether a token may begin here: a payload begins like a header, but after a dot.
fn begins_there(text: &str, at: usize) -> bool {
    let before = text.get(..at).and_then(|before| before.chars().next_back());
    !before.is_some_and(|c| is_base64url(c) || c == '.')
}

fn is_base64url(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// Three segments, the last of which has `signature_chars` characters.
fn jwt(text: &str, signature_chars: usize) -> Option<String> {
    let mut rest = text.chars().filter(|c| !is_blank(*c));
    let mut token = String::new();
    for _segment in 0..2 {
        let before = token.len();
        loop {
            match rest.next() {
                Some('.') => break,
                Some(c) if is_base64url(c) => token.push(c),
                // The text may end with a payload if no signature is required.
                Some(_) | None if signature_chars == 0 && token.contains('.') => break,
                Some(_) | None => return None,
            }
        }
        if token.len() == before {
            return None;
        }
        token.push('.');
    }
    let signature: String = rest.by_ref().take_while(|c| is_base64url(*c)).take(signature_chars).collect();
    (signature.len() == signature_chars).then(|| token + &signature)
}

fn refresh_token(text: &str) -> Option<String> {
    let body = text.strip_prefix(REFRESH_PREFIX)?;
    let body = body.chars().filter(|c| !is_blank(*c)).take_while(|c| is_base64url(*c));
    let token: String = REFRESH_PREFIX.chars().chain(body.take(REFRESH_CHARS)).collect();
    (token.len() == REFRESH_PREFIX.len().saturating_add(REFRESH_CHARS)).then_some(token)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn token() -> String {
        let payload = base64url::encode(r#"{"sub":"user:7","jti":"019a0000-0000-7000-8000-000000000000"}"#);
        format!("{}.{payload}.{}", base64url::encode(r#"{"alg":"ES256"}"#), "s".repeat(SIGNATURE_CHARS))
    }

    fn refresh() -> String {
        format!("{REFRESH_PREFIX}{}", "r".repeat(REFRESH_CHARS))
    }

    #[test]
    fn a_token_is_found_whatever_surrounds_it() {
        for token in [token(), refresh()] {
            let folded = token.chars().enumerate().fold(String::new(), |mut folded, (index, c)| {
                if index > 0 && index % 40 == 0 {
                    folded.push_str("\r\n  ");
                }
                folded.push(c);
                folded
            });
            for text in [
                token.clone(),
                format!("{token}\n\n"),
                format!("\u{feff}{token}"),
                format!("\"{token}\""),
                format!("'{token}',"),
                format!("Bearer {token}"),
                format!("authorization: bearer  {token}\r\n"),
                format!("Authorization: Bearer {token}"),
                format!("JETON_TOKEN={token}"),
                format!("export T='{token}'"),
                format!("-H 'authorization: Bearer {token}' https://x.example/eyJ"),
                format!("I found {token} in a log. Please revoke it."),
                format!("{{\"token\": \"{token}\", \"n\": 1}}"),
                format!("<{token}>"),
                folded.clone(),
                format!("{folded} and so on"),
            ] {
                assert_eq!(candidates(&text), [token.as_str()], "{text:?}");
            }
        }
        let both = format!("{} {}", token(), refresh());
        assert_eq!(candidates(&both), [token(), refresh()]);
        for text in ["", "eyJ", "eyJ.eyJ", "eyJ..", "jtr_", "no token", "a.b.c", token().get(..60).unwrap()] {
            assert_eq!(candidates(text), [""; 0], "{text:?}");
        }
    }

    #[test]
    fn outer_white_space_quotes_and_a_scheme_are_no_part_of_a_token() {
        let token = token();
        for (text, said) in [
            (format!("{token}\n"), "white space surrounds the token"),
            (format!("\u{feff}{token}"), "white space surrounds the token"),
            (format!("\"{token}\"\n"), "quotes surround the token"),
            (format!("Bearer {token}"), "a scheme or a name stands before the token"),
            (format!("authorization: Bearer {token}"), "a scheme or a name stands before the token"),
            (format!("JETON_TOKEN={token}"), "a scheme or a name stands before the token"),
        ] {
            assert_eq!((bare(&text), surroundings(&text)), (token.as_str(), Some(said)), "{text:?}");
        }
        for text in [token.as_str(), "", " ", "garbage ", "Bearer", "Bearer ", "a=b", "\"", "a.b.c\n"] {
            assert_eq!(surroundings(text), None, "{text:?}");
        }
        // A text longer than any accepted token, and a token in the middle of a text: neither is searched.
        let long = format!("{}{token}", " ".repeat(PARSED_TOKEN_BYTES_MAX));
        for text in [long, format!(" eyJ eyJ {token}"), format!("{token} {token}"), format!(" x{token}")] {
            assert_eq!(surroundings(&text), None, "{text:?}");
        }
    }

    #[test]
    fn an_id_is_read_where_the_token_cannot_be() {
        let token = token();
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        let id = "019a0000-0000-7000-8000-000000000000";
        for text in [
            unsigned.to_owned(),
            format!("{unsigned}."),
            format!("{unsigned}.[REDACTED]"),
            format!("{unsigned}.***"),
            format!("\"{unsigned}.x\""),
            id.to_uppercase(),
            format!("{{{id}}}"),
            format!(" {id}\n"),
            id.replace('-', ""),
        ] {
            assert_eq!(named_jti(&text).map(|id| id.to_string()).as_deref(), Some(id), "{text:?}");
        }
        for text in ["", "eyJ", "eyJ.eyJ", "garbage", "9c5b94b1-35ad-49bb-b118-8e8fc24abf80"] {
            assert_eq!(named_jti(text), None, "{text:?}");
        }
        let key = crate::ApiKey::generate();
        assert_eq!(named_api_key(&format!("Bearer {}", key.expose())), Some(key.id()));
        assert_eq!(named_api_key("jtk_x"), None);
    }
}
