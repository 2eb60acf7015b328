//! `POST /oauth2/token` (RFC 6749 section 3.2): Issue and Refresh for software that speaks OAuth.

mod answer;
mod request;

use axum::{
    extract::{Request, State},
    response::Response,
};

use crate::{
    authority::{Error, Issued},
    edge::{self, Origin, TOKEN},
    http::{
        EndpointsState, answer::HttpRefusal, caller::admit_client, form::Form, token::request::Parameters,
    },
};

pub(super) use request::Grant;

pub(super) async fn token(
    State(state): State<EndpointsState>,
    request: Request,
) -> Result<Response, HttpRefusal> {
    let (origin, form) = admit_client(&state, request, TOKEN).await.map_err(HttpRefusal::of_grant)?;
    let parameters = Parameters::read(&form)?;
    let scopes = parameters.scopes().to_vec();
    let issued = grant(&state, origin, &form, parameters).await.map_err(answer::refusal)?;
    Ok(answer::issued(&issued, &scopes))
}

/// The token that a grant obtains.
async fn grant(
    state: &EndpointsState,
    origin: Origin,
    form: &Form,
    parameters: Parameters,
) -> Result<Issued, Error> {
    let EndpointsState { authority, background, .. } = state;
    match parameters.grant {
        Grant::ClientCredentials => {
            let certificate = origin.connection().peer().certificate.as_ref().map(|it| it.thumbprint);
            let admission = origin.again(authority).await?;
            let request = parameters.into_issue(form, &admission.caller.client, certificate);
            edge::issue(authority, background, admission, request)?.whole().await
        }
        Grant::RefreshToken => {
            let request = parameters.into_refresh(form)?;
            edge::refresh(authority, background, origin, request).await
        }
    }
}
