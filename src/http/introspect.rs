//! `POST /oauth2/introspect` (RFC 7662): the token's claims, if it is good now.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    EndpointsState,
    answer::{HttpRefusal, private},
    caller::HttpOrigin,
    form::Form,
};
use crate::{
    authority::BearerRequest,
    state::{Permission, Status, Verdict},
    token::{Thumbprint, Verified},
};

pub(super) async fn introspect(
    State(state): State<EndpointsState>,
    request: Request,
) -> Result<Response, HttpRefusal> {
    let (origin, form) = HttpOrigin::and_form(&state, request, Some(Permission::Validate)).await?;
    let request = BearerRequest {
        token: form.token()?,
        certificate_thumbprint: thumbprint(&form)?,
        ..BearerRequest::default()
    };
    if origin.shed_costly {
        state.authority.must_have_verified(&request.token)?;
    }
    let (snapshot, caller) = origin.clock_checked_snapshot(&state).await?;
    form.check_client(&caller)?;
    let verdict = state.authority.judge_bearer(snapshot, &caller, &request).await?;
    Ok(private(&match verdict.token.as_deref().filter(|_| is_active(&verdict, &request)) {
        Some(token) => active(token),
        // The reason is not told (RFC 7662 section 2.2).
        None => json!({ "active": false }),
    }))
}

/// A parameter of our own: the thumbprint of the certificate that the token's bearer presented.
fn thumbprint(form: &Form) -> Result<Option<Thumbprint>, HttpRefusal> {
    let malformed =
        |_| HttpRefusal::invalid("The certificate_thumbprint must be the base64url of a SHA-256.");
    form.get("certificate_thumbprint").map(|text| text.parse().map_err(malformed)).transpose()
}

/// A token that is bound to a certificate is good for its bearer alone. A caller that does not name the presented
/// certificate gets the token's thumbprint, and compares them itself (RFC 8705 section 3.2). The binding is judged
/// last, so nothing else speaks against such a token.
fn is_active(verdict: &Verdict, request: &BearerRequest) -> bool {
    verdict.status == Status::Active
        || (verdict.status == Status::WrongBinding && request.certificate_thumbprint.is_none())
}

fn active(token: &Verified) -> Value {
    // Custom claims first: none of them has a registered name.
    let mut said: Map<String, Value> = token.custom();
    let registered = [
        ("active", json!(true)),
        ("token_type", json!("Bearer")),
        ("iss", json!(token.issuer())),
        ("sub", json!(token.subject())),
        ("aud", json!(token.audiences().collect::<Vec<_>>())),
        ("client_id", json!(token.client_id())),
        ("jti", json!(token.jti.to_string())),
        ("iat", json!(token.issue_time.get())),
        ("exp", json!(token.expire_time.get())),
    ];
    said.extend(registered.map(|(name, value)| (name.to_owned(), value)));
    let optional = [
        ("nbf", token.not_before.map(|time| json!(time.get()))),
        ("sid", token.session_id.map(|id| json!(id.to_string()))),
        ("scope", Some(token.scope()).filter(|scope| !scope.is_empty()).map(|scope| json!(scope))),
        ("cnf", token.certificate_thumbprint.map(|it| json!({ "x5t#S256": it.to_string() }))),
    ];
    said.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(said)
}
