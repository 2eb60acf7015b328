//! The forms of text in tokens: one set of rules for Issue and for Validate.
//!
//! An `Err` is the broken rule, in words that complete the sentence "must be …".

use std::{borrow::Cow, fmt};

use unicode_normalization::is_nfc;
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};
use uuid::{Uuid, Variant};

use crate::UnixSeconds;

use super::{
    api_key,
    credential::holds_credential,
    limits::{
        AUDIENCE_BYTES_MAX, CLIENT_ID_BYTES_MAX, ISSUER_BYTES_MAX, ISSUER_ID_BYTES_MAX, SCOPE_BYTES_MAX,
        SUBJECT_BYTES_MAX,
    },
};

/// The greatest length of a display name, characters: a line of a list.
const DISPLAY_NAME_CHARS_MAX: usize = 100;

/// Names are written to the audit trail, to logs and to lists, which others can read.
const NO_CREDENTIAL: &str = "a name: it holds a token or an API key, and names are stored and shown";

/// The rule that a text breaks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule(Cow<'static, str>);

impl From<&'static str> for Rule {
    fn from(rule: &'static str) -> Self {
        Self(Cow::Borrowed(rule))
    }
}

impl From<Rule> for String {
    fn from(rule: Rule) -> Self {
        rule.0.into_owned()
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A subject (`sub`): 1 to 255 bytes of visible text. Where subjects are matched, `*` stands for any, and a person who
/// revokes `user:*` means all of them: so no subject contains one.
pub fn check_subject(subject: &str) -> Result<(), Rule> {
    const RULE: &str =
        "1 to 255 bytes without control or format characters and without `*`, which is no wildcard here";
    check(!subject.contains('*'), RULE)?;
    check_plain(subject, SUBJECT_BYTES_MAX, RULE)
}

/// An audience of a token (one value of `aud`): like a subject. Where audiences are matched, "*" means any, and a
/// person who writes `orders-*` means all of them: so no audience contains one.
pub fn check_audience(audience: &str) -> Result<(), Rule> {
    const RULE: &str =
        "1 to 255 bytes without control or format characters and without `*`, which is no wildcard here";
    check(!audience.contains('*'), RULE)?;
    check_plain(audience, AUDIENCE_BYTES_MAX, RULE)
}

/// A scope token (RFC 6749 section 3.3: %x21 / %x23-5B / %x5D-7E), at most 128 bytes, and no credential.
pub fn check_scope(scope: &str) -> Result<(), &'static str> {
    let good = !scope.is_empty()
        && scope.len() <= SCOPE_BYTES_MAX
        && scope.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
    if holds_credential(scope) {
        return Err(NO_CREDENTIAL);
    }
    if !good {
        return Err("1 to 128 printable ASCII characters other than space, quote and backslash");
    }
    Ok(())
}

/// A text of another form that is stored and shown: no credential.
pub fn check_no_credential(text: &str) -> Result<(), Rule> {
    check(!holds_credential(text), NO_CREDENTIAL)
}

/// A client's id: 1 to 255 printable ASCII characters (RFC 6749 appendix A.1) without spaces, because it is typed on
/// command lines and read in logs. "*" means any client in policies, and a person who writes `bill*` means all of them:
/// so no id contains one. Nor may it look like an API key, or contain a credential, because names are shown.
pub fn check_client_id(client_id: &str) -> Result<(), Rule> {
    let good = !client_id.is_empty()
        && client_id.len() <= CLIENT_ID_BYTES_MAX
        && client_id.bytes().all(|b| b.is_ascii_graphic())
        && !client_id.contains('*');
    // Said first: a token is longer than a name, too.
    check(!holds_credential(client_id), NO_CREDENTIAL)?;
    check(
        good,
        "1 to 255 printable ASCII characters without spaces and without `*`, which is no wildcard here",
    )?;
    check(!client_id.starts_with(api_key::PREFIX), "a name: what begins like an API key is taken for one")
}

/// The short id of a trusted issuer: 1 to 63 lower case letters, digits and hyphens. It stands in tokens.
pub fn check_issuer_id(id: &str) -> Result<(), Rule> {
    let good = (1..=ISSUER_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    check(good, "1 to 63 lower case letters, digits and hyphens")
}

/// An issuer (`iss`): 1 to 512 bytes of visible text.
pub fn check_issuer(issuer: &str) -> Result<(), Rule> {
    check_plain(issuer, ISSUER_BYTES_MAX, "1 to 512 bytes without control or format characters")
}

/// Parses a canonical `UUIDv7`: lower case, hyphenated, version 7, the variant of RFC 9562. One id has one text.
#[must_use]
pub fn parse_uuid_v7(text: &str) -> Option<Uuid> {
    // Uuid's own parser accepts braces, URNs, plain hex and upper case.
    if text.len() != 36 || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let id = Uuid::try_parse(text).ok()?;
    is_uuid_v7(id).then_some(id)
}

/// Returns whether `id` is of version 7 and of the variant of RFC 9562.
#[must_use]
pub fn is_uuid_v7(id: Uuid) -> bool {
    id.get_version_num() == 7 && id.get_variant() == Variant::RFC4122
}

/// The time in a `UUIDv7`: milliseconds since the epoch, below 2^48 (RFC 9562 section 5.7).
#[must_use]
pub fn uuid_unix_ms(id: Uuid) -> i64 {
    // 48 bits always fit.
    i64::try_from(id.as_u128() >> 80).unwrap_or(i64::MAX)
}

/// The same in whole seconds: for a `jti`, the time when the token was issued, if there is one.
#[must_use]
pub fn uuid_time(id: Uuid) -> UnixSeconds {
    UnixSeconds::new(uuid_unix_ms(id).div_euclid(1000))
}

/// The part after a scheme in an `authorization` header: one or more spaces separate them, and spaces around both are
/// ignored (RFC 9110 section 11.4, RFC 6750 section 2.1).
#[must_use]
pub fn credentials<'a>(value: &'a str, scheme: &str) -> Option<&'a str> {
    let (given, rest) = value.trim_matches(' ').split_once(' ')?;
    given.eq_ignore_ascii_case(scheme).then(|| rest.trim_start_matches(' '))
}

/// A display name: at most 100 characters of visible text; may be empty.
pub fn check_display_name(name: &str) -> Result<(), Rule> {
    const RULE: &str = "at most 100 characters without control or format characters";
    check(name.chars().count() <= DISPLAY_NAME_CHARS_MAX, RULE)?;
    if name.is_empty() { Ok(()) } else { check_plain(name, usize::MAX, RULE) }
}

/// A replica's name: 1 to 255 bytes of visible text.
pub fn check_replica_name(name: &str) -> Result<(), Rule> {
    check_plain(name, CLIENT_ID_BYTES_MAX, "1 to 255 bytes without control or format characters")
}

/// The first invisible or deceptive blank character of a text, and its byte offset.
#[must_use]
pub fn hidden_in(text: &str) -> Option<(usize, char)> {
    text.char_indices().find(|(_, c)| is_hidden(*c) || is_like_a_space(*c))
}

/// Checks that a text is visible: two texts that look alike are equal. Refused are control and format characters, line
/// and paragraph separators (the general categories Cc, Cf, Zl and Zp), characters that are drawn as nothing or as a
/// blank, spaces at the ends, texts not in the normal form NFC, and credentials.
fn check_plain(text: &str, bytes_max: usize, rule: &'static str) -> Result<(), Rule> {
    // Said first: a token is longer than a name, too.
    check(!holds_credential(text), NO_CREDENTIAL)?;
    check(!text.is_empty() && text.len() <= bytes_max, rule)?;
    check(!text.starts_with(' ') && !text.ends_with(' '), "without spaces at its beginning and its end")?;
    // Nearly all are ASCII, which needs no decoding.
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) { Ok(()) } else { check_unicode(text, rule) }
}

#[cold]
fn check_unicode(text: &str, rule: &'static str) -> Result<(), Rule> {
    if let Some((at, c)) = hidden_in(text) {
        let code = u32::from(c);
        return Err(Rule(if is_hidden(c) {
            format!("{rule}: U+{code:04X} at byte {at} is one").into()
        } else {
            format!("without characters that look like a space: U+{code:04X} at byte {at} is one").into()
        }));
    }
    check(is_nfc(text), "in the Unicode normal form NFC, so that two that look alike are the same")
}

/// Characters that control the text around them, or are drawn as nothing: those of Cc, Cf, Zl and Zp, and those of
/// other categories that Unicode calls `Default_Ignorable_Code_Point`.
fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2065}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
        || matches!(
            c.general_category(),
            GeneralCategory::Control
                | GeneralCategory::Format
                | GeneralCategory::LineSeparator
                | GeneralCategory::ParagraphSeparator
        )
}

/// Blanks other than the space: the category Zs, and the Braille pattern without dots.
fn is_like_a_space(c: char) -> bool {
    c == '\u{2800}' || (c != ' ' && c.general_category() == GeneralCategory::SpaceSeparator)
}

fn check(good: bool, rule: &'static str) -> Result<(), Rule> {
    if good { Ok(()) } else { Err(rule.into()) }
}
