//! `POST /oauth2/token` (RFC 6749 section 3.2): Issue and Refresh for software that speaks OAuth.

mod answer;
mod client;
mod exchange;
mod request;

use axum::{
    extract::{Request, State},
    response::Response,
};

use crate::{
    authority::{IssueRequest, Issued},
    edge::{self, Admission, Origin, TOKEN},
    http::{
        EndpointsState,
        answer::HttpRefusal,
        form::Form,
        token::{answer::refusal, request::Parameters},
    },
};

pub(super) use request::Grant;

pub(super) async fn token(
    State(state): State<EndpointsState>,
    request: Request,
) -> Result<Response, HttpRefusal> {
    let admitted = client::admit(&state, request, TOKEN).await;
    let (origin, form) = admitted.map_err(HttpRefusal::of_grant)?;
    let parameters = Parameters::read(&form)?;
    let (issued, scopes) = grant(&state, origin, &form, parameters).await?;
    Ok(answer::issued(&issued, &scopes))
}

/// The token that a grant obtains, and the scopes that were asked for.
async fn grant(
    state: &EndpointsState,
    origin: Origin,
    form: &Form,
    parameters: Parameters,
) -> Result<(Issued, Vec<String>), HttpRefusal> {
    let EndpointsState { authority, background, .. } = state;
    let (admission, request): (Admission, _) = match parameters.grant {
        Grant::RefreshToken => {
            let scopes = parameters.scopes().to_vec();
            let request = parameters.into_refresh(form).map_err(|invalid| refusal(invalid.into()))?;
            let issued = edge::refresh(authority, background, origin, request).await.map_err(refusal)?;
            return Ok((issued, scopes));
        }
        Grant::ClientCredentials => {
            let certificate = origin.connection().peer().certificate.as_ref().map(|it| it.thumbprint);
            let admission = origin.again(authority).await?;
            let request = parameters.into_issue(form, &admission.caller.client, certificate);
            let request = request.map_err(|invalid| refusal(invalid.into()))?;
            // Whoever comes by an assertion speaks for the subject that its rules give.
            let subject = admission.caller.vouched().map(|vouched| vouched.subject.clone());
            let subject = subject.unwrap_or_else(|| request.subject.clone());
            (admission, IssueRequest { subject, ..request })
        }
        Grant::JwtBearer => exchange::by_assertion(authority, &origin, form, parameters).await?,
        Grant::TokenExchange => exchange::exchanged(authority, &origin, form, parameters).await?,
    };
    let scopes = request.scopes.clone();
    let issuing = edge::issue(authority, background, admission, Ok(request)).map_err(refusal)?;
    Ok((issuing.whole().await.map_err(refusal)?, scopes))
}
