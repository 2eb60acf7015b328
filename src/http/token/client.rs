//! The client of a token request (RFC 6749 section 2.3, RFC 7521 section 4.2, RFC 8705 section 2).

use std::sync::Arc;

use axum::extract::Request;

use crate::{
    authority::{Error, PresentedCredential, Vouched},
    edge::{Authorization, Head, Method, Origin, admit as admitted},
    http::{
        EndpointsState,
        answer::HttpRefusal,
        caller::admit_form,
        form::Form,
        token::{
            exchange::{is_ours, refused, vouched},
            request::Grant,
        },
    },
    listen::{Connection, Turn},
    state::Snapshot,
    tls::Peer,
};

/// RFC 7523 section 2.2.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Admits a request, and reads its form: once the client is known by its headers, or, for a client that authenticates by
/// the form itself, as one of a stranger.
pub(super) async fn admit(
    state: &EndpointsState,
    request: Request,
    method: Method,
) -> Result<(Origin, Form), HttpRefusal> {
    if Authorization::in_headers(request.headers()) != Authorization::Absent {
        let (origin, form) = admit_form(state, request, method).await?;
        if form.get("client_assertion").is_some() {
            return Err(HttpRefusal::invalid(
                "The caller is known by its headers: leave client_assertion out.",
            ));
        }
        return Ok((origin, form));
    }
    let (parts, body) = request.into_parts();
    let connection = parts.extensions.get::<Arc<Connection>>().ok_or(Error::Unauthenticated)?;
    let turn = parts.extensions.get::<Turn>().copied().unwrap_or_default();
    let form = Form::read(&parts.headers, body, connection, method.message_bytes_max).await?;
    let snapshot = state.authority.snapshot().await?;
    let by_assertion = by_assertion(state, &snapshot, &form, connection.peer()).await?;
    // After a wait for keys, the caller is looked up in a fresh snapshot.
    let snapshot = if by_assertion.is_some() { state.authority.snapshot().await? } else { snapshot };
    let presented = match (&by_assertion, form.get("client_secret"), form.get("client_id")) {
        (Some(vouched), _, _) => PresentedCredential::Vouched(vouched),
        (None, Some(api_key), Some(name)) => PresentedCredential::Named { api_key, client_id: [name, name] },
        (None, Some(_), None) => {
            return Err(HttpRefusal::invalid(
                "The parameter client_id is missing beside client_secret. Send it.",
            ));
        }
        (None, None, _) => PresentedCredential::Certificate,
    };
    let head = Head { headers: &parts.headers, presented, connection, turn };
    let origin = admitted(&state.authority, snapshot, &head, method)?.into_origin(method, connection, None);
    form.check_client(origin.caller())?;
    Ok((origin, form))
}

/// Whom an assertion vouches for, if the client authenticates by one: as `client_assertion`, or, if it authenticates in no
/// other way, by the assertion that it brings for its grant.
async fn by_assertion(
    state: &EndpointsState,
    snapshot: &Snapshot,
    form: &Form,
    peer: &Peer,
) -> Result<Option<Vouched>, HttpRefusal> {
    let authority = &state.authority;
    let has_secret = form.get("client_secret").is_some();
    if let Some(text) = form.get("client_assertion") {
        if has_secret {
            return Err(HttpRefusal::invalid(
                "A client authenticates in one way only: by client_secret or client_assertion.",
            ));
        }
        if form.get("client_assertion_type") != Some(JWT_BEARER) {
            return Err(HttpRefusal::invalid("This client_assertion_type is not served: jwt-bearer is."));
        }
        let found = vouched(authority, snapshot, text).await;
        return found.map(Some).map_err(|why| {
            let refusal = refused("invalid_client", "client_assertion", &why).unauthenticated();
            counted(state, peer, refusal)
        });
    }
    let Some(text) = Grant::assertion(form).filter(|_| !has_secret && peer.certificate.is_none()) else {
        return Ok(None);
    };
    if is_ours(authority, text) {
        // Its bearer may be anybody.
        return Ok(None);
    }
    let found = vouched(authority, snapshot, text).await;
    found.map(Some).map_err(|why| counted(state, peer, refused("invalid_grant", "assertion", &why)))
}

/// The refusal of an assertion, or, from an address that has sent too many, that of its rate.
fn counted(state: &EndpointsState, peer: &Peer, refusal: HttpRefusal) -> HttpRefusal {
    let counted = state.authority.assertion_refused(peer);
    if matches!(counted, Error::Unauthenticated) { refusal } else { counted.into() }
}
