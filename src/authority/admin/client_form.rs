//! The form of a client's registration: the values and the length of each field.

use std::collections::HashSet;

use crate::{
    authority::Invalid,
    state::{Client, FAMILY_ANY},
    store::ClientRow,
};
use jeton_token::{
    SpiffeId, is_api_key_id,
    text::{self, Rule},
};

/// The most certificates of a client: one for each place that it runs in.
const CERTIFICATE_URIS_MAX: usize = 32;
/// The most audiences of a client: each call searches them. A client with more takes "*".
const AUDIENCES_MAX: usize = 100;
/// The most subjects of a client: each call searches them.
const SUBJECTS_MAX: usize = 100;
/// The longest lifetime of an API key, seconds: ten years. A key that is to live longer has no end.
const API_KEY_TTL_MAX_S: i64 = 10 * 366 * 86_400;

/// A client's name in a field.
pub(in crate::authority) fn check_client_name(field: &str, client_id: &str) -> Result<(), Invalid> {
    if client_id.is_empty() {
        return Err(Invalid::required(field));
    }
    text::check_client_id(client_id).map_err(|rule| Invalid::field(field, rule))
}

/// The public part of an API key.
pub(in crate::authority) fn check_api_key_id(api_key_id: &str) -> Result<(), Invalid> {
    const RULE: &str = "the part of the key that is no secret: the 22 characters between its first underscore and its second";
    if api_key_id.is_empty() {
        return Err(Invalid::required("api_key_id"));
    }
    if is_api_key_id(api_key_id) { Ok(()) } else { Err(Invalid::field("api_key_id", RULE)) }
}

/// Checks the other fields of a registration.
pub(in crate::authority) fn check_registration(row: &ClientRow) -> Result<(), Invalid> {
    let client = &row.client;
    text::check_display_name(&row.display_name)
        .map_err(|rule| Invalid::field("client.display_name", rule))?;
    check_list("client.certificate_uris", &client.certificate_uris, CERTIFICATE_URIS_MAX, |uri| {
        text::check_no_credential(uri)?;
        SpiffeId::parse(uri).map(|_| ()).map_err(|malformed| malformed.rule.into())
    })?;
    check_list("client.audiences", &client.audiences, AUDIENCES_MAX, check_audiences)?;
    check_list("client.subjects", &client.subjects, SUBJECTS_MAX, check_subjects)?;
    if !client.own_subject.is_empty() {
        text::check_subject(&client.own_subject)
            .map_err(|rule| Invalid::field("client.own_subject", rule))?;
    }
    let mut seen = HashSet::new();
    if client.permissions.iter().all(|permission| seen.insert(*permission)) {
        Ok(())
    } else {
        Err(Invalid::field("client.permissions", "each permission once"))
    }
}

/// Checks what the fields of a whole registration say of each other.
pub(in crate::authority) fn check_whole(client: &Client) -> Result<(), Invalid> {
    if client.own_subject.is_empty() || client.covers_subject(&client.own_subject) {
        return Ok(());
    }
    Err(Invalid::field("client.own_subject", "one of the client's subjects"))
}

/// Checks the lifetime of an API key.
pub(in crate::authority) fn check_api_key_ttl(ttl_s: Option<i64>) -> Result<(), Invalid> {
    match ttl_s {
        Some(ttl_s) if !(1..=API_KEY_TTL_MAX_S).contains(&ttl_s) => {
            Err(Invalid::field("ttl", format!("1 to {API_KEY_TTL_MAX_S} s; unset: it does not expire")))
        }
        _ => Ok(()),
    }
}

/// An audience, or `*`. There are no prefixes: a `*` in a longer text would be taken literally.
fn check_audiences(audience: &str) -> Result<(), Rule> {
    if audience == FAMILY_ANY {
        return Ok(());
    }
    if audience.contains('*') {
        return Err("an audience, without `*`; or `*` alone, for any".into());
    }
    text::check_audience(audience)
}

/// A subject, or a prefix followed by `*`. A `*` elsewhere would be taken literally, which nobody means.
fn check_subjects(subjects: &str) -> Result<(), Rule> {
    let prefix = subjects.strip_suffix('*').unwrap_or(subjects);
    if prefix.contains('*') {
        return Err("a subject, or a prefix followed by `*`: no `*` but at the end".into());
    }
    // Everything before its `*`; `*` alone stands for any subject.
    if prefix.is_empty() && !subjects.is_empty() { Ok(()) } else { text::check_subject(prefix) }
}

fn check_list(
    field: &str,
    values: &[String],
    most: usize,
    check: impl Fn(&str) -> Result<(), Rule>,
) -> Result<(), Invalid> {
    if values.len() > most {
        return Err(Invalid::field(field, format!("at most {most} of them")));
    }
    let mut seen = HashSet::new();
    for (index, value) in values.iter().enumerate() {
        check(value).map_err(|rule| Invalid::field(format!("{field}[{index}]"), rule))?;
        if !seen.insert(value) {
            return Err(Invalid::field(format!("{field}[{index}]"), "another than those before it"));
        }
    }
    Ok(())
}
