//! `POST /oauth2/introspect` (RFC 7662): the token's claims, if it is good now.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use crate::{
    authority::{BearerRequest, Invalid},
    edge::{self, INTROSPECTION},
    http::{
        EndpointsState,
        answer::{HttpRefusal, private},
        caller::admit_form,
        form::Form,
    },
    state::{Status, Verdict},
};
use jeton_token::Verified;

pub(super) async fn introspect(
    State(state): State<EndpointsState>,
    request: Request,
) -> Result<Response, HttpRefusal> {
    let (origin, form) = admit_form(&state, request, INTROSPECTION).await?;
    let admission = origin.again(&state.authority).await?;
    let request = bearer_request(&form)?;
    let verdict = edge::judge_bearer(&state.authority, admission, &request).await?;
    Ok(private(&match verdict.token.as_deref().filter(|_| is_active(&verdict, &request)) {
        Some(token) => active(token),
        // The reason is not told (RFC 7662 section 2.2).
        None => json!({ "active": false }),
    }))
}

fn bearer_request(form: &Form) -> Result<BearerRequest, Invalid> {
    Ok(BearerRequest {
        token: form.token()?,
        // A parameter of our own: of the certificate that the token's bearer presented.
        certificate_thumbprint: edge::thumbprint_of(form.get("certificate_thumbprint").unwrap_or_default())?,
        ..BearerRequest::default()
    })
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
        ("idp", Some(token.identity_provider()).filter(|idp| !idp.is_empty()).map(|idp| json!(idp))),
        ("act", token.actor().map(|actor| actor.to_json())),
        ("cnf", token.certificate_thumbprint.map(|it| json!({ "x5t#S256": it.to_string() }))),
    ];
    said.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(said)
}
