//! The forms of what can be revoked, read from bytes of any kind. Nothing here is verified.

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use jeton_token::{base64url, is_api_key_id, limits::PARSED_TOKEN_BYTES_MAX};

/// The beginning of the base64url of a JSON object: `{"`.
pub const JWT: &[u8] = b"eyJ";
/// The beginning of a refresh token.
pub const REFRESH: &[u8] = b"jtr_";
/// The beginning of an API key.
pub const API_KEY: &[u8] = b"jtk_";

/// Characters of a signature that jeton makes: 64 bytes.
const SIGNATURE_CHARS: usize = base64url::encoded_len(64);
/// Characters of the shortest signature that others make: 32 bytes.
const FOREIGN_SIGNATURE_CHARS: usize = base64url::encoded_len(32);
/// Characters of a refresh token behind its beginning: 73 bytes.
const REFRESH_CHARS: usize = base64url::encoded_len(73);
/// Characters of the id of an API key.
const API_KEY_ID_CHARS: usize = 22;
/// Characters of a UUID.
const UUID_CHARS: usize = 36;
/// Less than this behind a refresh token's beginning is prose about refresh tokens.
const REFRESH_BEGUN: usize = 16;

/// What may stand within one thing, because the text was folded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Folds {
    /// Nothing.
    None,
    /// Ends of lines, with indentation, quotes and marks of a citation.
    Lines,
    /// Any blanks.
    Blanks,
}

/// A JWT.
#[derive(Debug, PartialEq, Eq)]
pub enum Jwt {
    /// With a signature.
    Whole(String, Claims),
    /// The payload can be read, and the signature is missing.
    Unsigned(Claims),
    /// No more than its header can be read.
    Broken,
}

/// What a payload says of itself: claims, not facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// `iss`.
    pub issuer: Option<String>,
    /// `jti`, if it is a UUID.
    pub jti: Option<Uuid>,
    /// `exp`.
    pub expires: Option<i64>,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Payload {
    iss: Option<Value>,
    jti: Option<Value>,
    exp: Option<Value>,
}

/// Returns whether something may begin here: not within a word. The end of an escape (`\n`, `\u003d`, `%22`, a
/// terminal's colour) is no part of a word.
pub fn begins(bytes: &[u8], at: usize) -> bool {
    let before = bytes.get(..at).unwrap_or_default();
    match before.last() {
        Some(last) if last.is_ascii_alphanumeric() => is_escape(before),
        _ => true,
    }
}

fn is_escape(before: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match before {
        [.., b'\\', b'n' | b'r' | b't' | b'f' | b'b' | b'v'] => true,
        [.., b'\\', b'u', a, b, c, d] => is_hex(&[*a, *b, *c, *d]),
        [.., b'\\', b'x', a, b] | [.., b'%', a, b] => is_hex(&[*a, *b]),
        [colour @ .., b'm'] => {
            let digits = colour.iter().rev().take_while(|b| b.is_ascii_digit() || **b == b';').count();
            colour.len().checked_sub(digits.saturating_add(1)).and_then(|at| colour.get(at)) == Some(&b'[')
        }
        _ => false,
    }
}

/// Returns whether something that ends before `at` is whole.
fn ends(bytes: &[u8], at: usize) -> bool {
    !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric)
}

fn is_base64url(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')
}

/// A UUID with hyphens that begins here.
pub fn uuid(bytes: &[u8], at: usize) -> Option<Uuid> {
    let end = at.checked_add(UUID_CHARS)?;
    let text = bytes.get(at..end)?;
    let is_form = text.iter().enumerate().all(|(index, b)| match index {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    });
    (is_form && begins(bytes, at) && ends(bytes, end)).then(|| Uuid::try_parse_ascii(text).ok())?
}

/// The JWT that begins here, and the place behind it.
pub fn jwt(bytes: &[u8], at: usize, folds: Folds) -> Option<(Jwt, usize)> {
    // A payload begins like a header, but after a dot.
    if !begins(bytes, at) || at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'.') {
        return None;
    }
    let (mut text, end) = take(bytes, at, PARSED_TOKEN_BYTES_MAX, folds, is_base64url);
    let header: Header = serde_json::from_slice(&base64url::decode(&text)?).ok()?;
    let Some(after) = dot(bytes, end, folds) else { return Some((Jwt::Broken, end)) };
    let (payload, end) = take(bytes, after, PARSED_TOKEN_BYTES_MAX, folds, is_base64url);
    let Some(claims) = claims(&payload) else { return Some((Jwt::Broken, end)) };
    let Some(after) = dot(bytes, end, folds) else { return Some((Jwt::Unsigned(claims), end)) };
    let is_ours = matches!(header.alg.as_str(), "ES256" | "EdDSA");
    let (least, most) = if is_ours || folds != Folds::None {
        (SIGNATURE_CHARS, SIGNATURE_CHARS)
    } else {
        (FOREIGN_SIGNATURE_CHARS, PARSED_TOKEN_BYTES_MAX)
    };
    let (signature, end) = take(bytes, after, most, folds, is_base64url);
    if signature.len() < least {
        return Some((Jwt::Unsigned(claims), end));
    }
    if folds != Folds::None {
        // What was joined must look like one: the words that follow a cut token are no signature.
        let goes_on = bytes.get(end).is_some_and(|b| is_base64url(*b) || *b == b'.');
        if goes_on || base64url::decode_array::<64>(&signature).is_none() {
            return Some((Jwt::Unsigned(claims), end));
        }
    }
    text.push('.');
    text.push_str(&payload);
    text.push('.');
    text.push_str(&signature);
    Some(if text.len() > PARSED_TOKEN_BYTES_MAX {
        (Jwt::Broken, end)
    } else {
        (Jwt::Whole(text, claims), end)
    })
}

fn claims(payload: &str) -> Option<Claims> {
    let read: Payload = serde_json::from_slice(&base64url::decode(payload)?).ok()?;
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) => Some(text),
        _ => None,
    };
    Some(Claims {
        issuer: text(read.iss),
        jti: text(read.jti).and_then(|jti| Uuid::try_parse(&jti).ok()),
        expires: read.exp.and_then(|value| value.as_i64()),
    })
}

/// The refresh token that begins here, with its session. `Err`: one that is broken.
pub fn refresh(bytes: &[u8], at: usize, folds: Folds) -> Option<Result<(String, Uuid), ()>> {
    if !begins(bytes, at) {
        return None;
    }
    let body = at.saturating_add(REFRESH.len());
    let (text, _) = take(bytes, body, REFRESH_CHARS, folds, is_base64url);
    if text.len() < REFRESH_BEGUN {
        return None;
    }
    let token = format!("jtr_{text}");
    let session = session_of(&token);
    Some(session.map(|session| (token, session)).ok_or(()))
}

/// The session of a refresh token: version 1 is a byte, then the MAC key's id (4), the session (16), of 73 bytes.
fn session_of(text: &str) -> Option<Uuid> {
    let bytes: [u8; 73] = base64url::decode_array(text.strip_prefix("jtr_")?)?;
    if bytes.first() != Some(&1) {
        return None;
    }
    Uuid::from_slice(bytes.get(5..21)?).ok()
}

/// The id of the API key that begins here. What follows the id is secret, and not read.
pub fn api_key(bytes: &[u8], at: usize, folds: Folds) -> Option<String> {
    let body = at.saturating_add(API_KEY.len());
    let (id, end) = take(bytes, body, API_KEY_ID_CHARS, folds, |b| b.is_ascii_alphanumeric());
    (begins(bytes, at) && ends(bytes, end) && is_api_key_id(&id)).then_some(id)
}

/// The text without what folds it, between characters of UUIDs.
pub fn unfolded(bytes: &[u8]) -> Vec<u8> {
    let is_part = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_hexdigit() || *b == b'-');
    let (mut joined, mut at) = (Vec::with_capacity(bytes.len()), 0_usize);
    while let Some(byte) = bytes.get(at) {
        let behind = if is_part(joined.last()) { fold(bytes, at, Folds::Lines) } else { None };
        match behind {
            Some(behind) if is_part(bytes.get(behind)) => at = behind,
            _ => {
                joined.push(*byte);
                at = at.saturating_add(1);
            }
        }
    }
    joined
}

/// At most so many characters of an alphabet, without the folds between them, and the place behind them.
fn take(bytes: &[u8], at: usize, most: usize, folds: Folds, is_part: fn(u8) -> bool) -> (String, usize) {
    let (mut taken, mut at) = (String::new(), at);
    while taken.len() < most {
        match bytes.get(at) {
            Some(byte) if is_part(*byte) => {
                taken.push(char::from(*byte));
                at = at.saturating_add(1);
            }
            _ => match fold(bytes, at, folds) {
                Some(behind) if bytes.get(behind).is_some_and(|b| is_part(*b)) => at = behind,
                _ => break,
            },
        }
    }
    (taken, at)
}

/// The place behind a dot, which may be folded.
fn dot(bytes: &[u8], at: usize, folds: Folds) -> Option<usize> {
    let at = if bytes.get(at) == Some(&b'.') { at } else { fold(bytes, at, folds)? };
    (bytes.get(at) == Some(&b'.')).then(|| at.saturating_add(1))
}

/// The place behind a fold that begins here.
fn fold(bytes: &[u8], at: usize, folds: Folds) -> Option<usize> {
    if folds == Folds::None {
        return None;
    }
    let (mut at, mut ended, mut any) = (at, false, false);
    while let Some(rest) = bytes.get(at..) {
        let (length, is_end) = match rest {
            [b'\n' | b'\r' | 0x0b | 0x0c, ..] => (1, true),
            [b'\\', b'n' | b'r', ..] => (2, true),
            [b' ' | b'\t', ..] => (1, false),
            [b'"' | b'\'' | b'+' | b'\\' | b'=', ..] if folds == Folds::Lines => (1, false),
            [b'>' | b'|' | b'#' | b'*', ..] if folds == Folds::Lines && ended => (1, false),
            // A blank that does not break, blanks without width, a byte order mark.
            [0xc2, 0xa0, ..] => (2, false),
            [0xe2, 0x80, 0x8b..=0x8d, ..] | [0xe2, 0x81, 0xa0, ..] | [0xef, 0xbb, 0xbf, ..] => (3, true),
            _ => break,
        };
        at = at.saturating_add(length);
        any = true;
        ended |= is_end;
    }
    (any && (ended || folds == Folds::Blanks)).then_some(at)
}
