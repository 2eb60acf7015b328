//! The answers of the token endpoint (RFC 6749 section 5).

use axum::response::Response;
use serde_json::{Map, json};

use crate::{
    authority::{Denied, Error, Invalid, Issued},
    http::{
        answer::{HttpRefusal, private},
        token::request::ACCESS_TOKEN,
    },
};

/// A token that was issued. A scope that was not asked for is not repeated (RFC 6749 sections 5.1 and 6).
pub(super) fn issued(issued: &Issued, scopes: &[String]) -> Response {
    let seconds_until = |time: jeton_token::UnixSeconds| time.get().saturating_sub(issued.issue_time.get());
    let always = [
        ("access_token", json!(issued.access_token)),
        ("token_type", json!("Bearer")),
        ("expires_in", json!(seconds_until(issued.expire_time))),
        ("issued_token_type", json!(ACCESS_TOKEN)),
        // Our own: when to ask for the next one.
        ("refresh_in", json!(seconds_until(issued.refresh_time))),
    ];
    let sometimes = [
        ("scope", Some(scopes.join(" ")).filter(|scope| !scope.is_empty())),
        ("refresh_token", issued.refresh.as_ref().map(|it| it.refresh_token.clone())),
    ];
    let sometimes = sometimes.into_iter().filter_map(|(name, value)| Some((name, json!(value?))));
    let members: Map<_, _> =
        always.into_iter().chain(sometimes).map(|(name, value)| (name.to_owned(), value)).collect();
    private(&members.into())
}

/// The error of a grant (RFC 6749 section 5.2, RFC 8707 section 2).
pub(super) fn refusal(error: Error) -> HttpRefusal {
    let error = if let Error::Invalid(invalid) = error { as_parameter(invalid).into() } else { error };
    let name = name(&error);
    let refusal = HttpRefusal::from(error);
    name.into_iter().fold(refusal, HttpRefusal::renamed)
}

/// The name that OAuth has for an error of a grant, if it has one of its own.
fn name(error: &Error) -> Option<&'static str> {
    if let Error::RefreshRefused(_) = error {
        return Some("invalid_grant");
    }
    if let Error::Denied(denied) = error {
        return Some(match denied {
            Denied::Scope { .. } => "invalid_scope",
            Denied::Audience(_) => "invalid_target",
            Denied::Permission(_)
            | Denied::Subject(_)
            | Denied::Locked { .. }
            | Denied::WideRevocation { .. } => "unauthorized_client",
        });
    }
    let Error::Invalid(Invalid::Field { field, .. }) = error else { return None };
    match field.as_str() {
        "scope" => Some("invalid_scope"),
        "audience" | "resource" => Some("invalid_target"),
        _ => None,
    }
}

/// A field of the API under the name of the parameter that carries it.
fn as_parameter(invalid: Invalid) -> Invalid {
    let Invalid::Field { field, rule } = invalid else { return invalid };
    let field = match field.split('[').next() {
        Some("audiences") => "audience".to_owned(),
        Some("scopes") => "scope".to_owned(),
        _ => field,
    };
    Invalid::Field { field, rule }
}
