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
    // `token_type_hint` is a hint: the text says what it is (RFC 7009 section 2.1).
    let (origin, form) = HttpOrigin::and_form(&state, request, None).await?;
    let token = form.token()?;
    let request = RevokeRequest { asks_for_much: origin.asks_for_much(), ..of_token(token) };
    let background = state.background.clone();
    // Runs to its end whatever becomes of the caller: what was sent to the database is not cancelled.
    let revoking = background.spawn(async move {
        let (snapshot, caller) = origin.snapshot(&state).await?;
        form.check_client(&caller)?;
        state.authority.revoke(&snapshot, &caller, &request).await
    });
    let revoked = match revoking.await {
        Ok(revoked) => revoked.map_err(refusal)?,
        Err(_) => return Err(Error::Internal("a task ended before its answer".to_owned()).into()),
    };
    // Durable, but somebody may still take the token for good: a repetition waits for them.
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

/// A token of another client's is refused, and never answered as though it had been revoked (RFC 7009
/// section 2.1).
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
