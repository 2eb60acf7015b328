//! `POST /oauth2/revoke` (RFC 7009): when it answers 200, the token is dead on every replica.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use crate::{
    authority::{Denied, Error, RevokeRequest, RevokeTarget},
    edge::{self, Listener, REVOCATION},
    http::{
        EndpointsState,
        answer::{HttpRefusal, NO_STORE},
        caller::admit_form,
    },
    replica::Reach,
    state::Reason,
};

pub(super) async fn revoke(
    State(state): State<EndpointsState>,
    request: Request,
) -> Result<Response, HttpRefusal> {
    // `token_type_hint` is ignored: the text itself shows its type (RFC 7009 section 2.1).
    let (origin, form) = admit_form(&state, request, REVOCATION).await?;
    let request = of_token(form.token()?);
    let EndpointsState { authority, background, .. } = &state;
    let revoked = edge::revoke(authority, background, Listener::Public, origin, request).await;
    let revoked = revoked.map_err(refusal)?;
    // Durable, but a replica may still accept the token: a repeated request waits for it.
    if revoked.propagation.is_some_and(|propagation| !propagation.complete) {
        return Err(HttpRefusal::unavailable());
    }
    Ok((StatusCode::OK, [NO_STORE]).into_response())
}

fn of_token(token: String) -> RevokeRequest {
    RevokeRequest {
        target: RevokeTarget::Token(token),
        reason: Reason::Unspecified,
        note: String::new(),
        validate_only: false,
        max_affected_sessions: None,
        lock_ttl_s: None,
        reach: Reach::Replicas,
        wait: None,
        asks_for_much: false,
    }
}

/// A token of another client is refused, and never answered as if it had been revoked (RFC 7009 section 2.1).
fn refusal(error: Error) -> HttpRefusal {
    if matches!(error, Error::Denied(Denied::Permission(_))) {
        return HttpRefusal::of(
            StatusCode::BAD_REQUEST,
            "unauthorized_client",
            "The token was not issued to this client. It was not revoked.",
        );
    }
    error.into()
}
