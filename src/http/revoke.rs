//! `POST /oauth2/revoke` (RFC 7009): when it answers 200, the token is dead on every replica.

use axum::{
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};

use super::{
    EndpointsState,
    answer::{HttpRefusal, NO_STORE},
    caller::HttpOrigin,
};
use crate::{
    authority::{Denied, Error, RevokeRequest, RevokeTarget},
    replica::Reach,
    state::Reason,
};

pub(super) async fn revoke(
    State(state): State<EndpointsState>,
    request: Request,
) -> Result<Response, HttpRefusal> {
    // `token_type_hint` is ignored: the text itself shows its type (RFC 7009 section 2.1).
    let (origin, form) = HttpOrigin::and_form(&state, request, None).await?;
    let token = form.token()?;
    let request = RevokeRequest { asks_for_much: origin.asks_for_much(), ..of_token(token) };
    let background = state.background.clone();
    // Runs to its end even if the caller goes away: a statement that was sent to the database is not cancelled.
    let revoking = background.spawn(async move {
        let (snapshot, caller) = origin.snapshot(&state).await?;
        form.check_client(&caller)?;
        state.authority.revoke(&snapshot, &caller, &request).await
    });
    let revoked = match revoking.await {
        Ok(revoked) => revoked.map_err(refusal)?,
        Err(_) => return Err(Error::Internal("a task ended before its answer".to_owned()).into()),
    };
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
