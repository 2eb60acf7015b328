//! `POST /oauth2/introspect` (RFC 7662): what a token says, if it is good now.

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::{Map, Value, json};

use super::{
    DoorsState,
    answer::{Refusal, private},
    caller::Who,
    form::Form,
};
use crate::{
    authority::BearerRequest,
    state::{Status, Verdict},
    token::{Claims, Thumbprint},
};

pub(super) async fn introspect(
    State(state): State<DoorsState>,
    request: Request,
) -> Result<Response, Refusal> {
    let (who, headers, body) = Who::of(&state, request).await?;
    let form = Form::read(&headers, body).await?;
    let request = BearerRequest {
        token: form.token()?,
        certificate_thumbprint: thumbprint(&form)?,
        ..BearerRequest::default()
    };
    let (pass, caller) = who.enter_by_the_clock(&state).await?;
    form.check_client(&caller.client.client_id)?;
    let verdict = state.authority.judge_bearer(pass, &caller, &request).await?;
    let claims = verdict.token.as_ref().map(|token| &token.claims);
    Ok(private(&match claims.filter(|_| is_active(&verdict, &request)) {
        Some(claims) => active(claims),
        // Nothing of why (RFC 7662 section 2.2).
        None => json!({ "active": false }),
    }))
}

/// A parameter of ours: of the certificate that the token's bearer presented.
fn thumbprint(form: &Form) -> Result<Option<Thumbprint>, Refusal> {
    let malformed = |_| Refusal::invalid("The certificate_thumbprint must be the base64url of a SHA-256.");
    form.get("certificate_thumbprint").map(|text| text.parse().map_err(malformed)).transpose()
}

/// A token that is bound to a certificate is good for its bearer alone. Whoever does not say which
/// certificate was presented is told the token's, and compares them (RFC 8705 section 3.2): the binding is
/// what is judged last, so that nothing else speaks against the token.
fn is_active(verdict: &Verdict, request: &BearerRequest) -> bool {
    verdict.status == Status::Active
        || (verdict.status == Status::WrongBinding && request.certificate_thumbprint.is_none())
}

fn active(claims: &Claims) -> Value {
    // Custom claims first: none has a registered name.
    let mut said: Map<String, Value> = claims.custom.clone();
    let registered = [
        ("active", json!(true)),
        ("token_type", json!("Bearer")),
        ("iss", json!(claims.issuer)),
        ("sub", json!(claims.subject)),
        ("aud", json!(claims.audiences)),
        ("client_id", json!(claims.client_id)),
        ("jti", json!(claims.jti.to_string())),
        ("iat", json!(claims.issue_time.get())),
        ("exp", json!(claims.expire_time.get())),
    ];
    said.extend(registered.map(|(name, value)| (name.to_owned(), value)));
    let optional = [
        ("nbf", claims.not_before.map(|time| json!(time.get()))),
        ("sid", claims.session_id.map(|id| json!(id.to_string()))),
        ("scope", (!claims.scopes.is_empty()).then(|| json!(claims.scopes.join(" ")))),
        ("cnf", claims.certificate_thumbprint.map(|it| json!({ "x5t#S256": it.to_string() }))),
    ];
    said.extend(optional.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Value::Object(said)
}
