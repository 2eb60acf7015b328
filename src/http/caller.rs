//! The caller of an endpoint: known by HTTP Basic (RFC 7617) with an API key in place of a password, by Bearer
//! (RFC 6750 section 2.1), or by the certificate of the connection.

use std::sync::Arc;

use axum::extract::Request;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{
    authority::{Error, PresentedCredential},
    edge::{Authorization, Head, Method, Origin, admit},
    http::{EndpointsState, answer::HttpRefusal, form::Form},
    listen::{Connection, Turn},
};

/// Admits a request, and reads the form that was sent: nothing of it before the caller is known, may call, and is within
/// its rate.
pub(super) async fn admit_form(
    state: &EndpointsState,
    request: Request,
    method: Method,
) -> Result<(Origin, Form), HttpRefusal> {
    let (parts, body) = request.into_parts();
    let connection = parts.extensions.get::<Arc<Connection>>().ok_or(Error::Unauthenticated)?;
    let turn = parts.extensions.get::<Turn>().copied().unwrap_or_default();
    let snapshot = state.authority.snapshot().await?;
    let admission = {
        let authorization = Authorization::in_headers(&parts.headers);
        let basic = Basic::of(authorization);
        let presented = basic.as_ref().map_or_else(|| authorization.presented(), Basic::presented);
        let head = Head { headers: &parts.headers, presented, connection, turn };
        admit(&state.authority, snapshot, &head, method)?
    };
    let origin = admission.into_origin(method, connection, None);
    let form = Form::read(&parts.headers, body, connection, method.message_bytes_max).await?;
    form.check_no_secret()?;
    form.check_client(origin.caller())?;
    Ok((origin, form))
}

/// Credentials of the scheme Basic. The user as it was sent, and decoded from the form that RFC 6749 section 2.3.1
/// requires: many clients do not encode it.
struct Basic {
    user: String,
    decoded: String,
    api_key: String,
}

impl Basic {
    fn of(authorization: Authorization<'_>) -> Option<Self> {
        let encoded = authorization.scheme("basic")?;
        let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        // A client's name may contain a colon, an API key does not.
        let (user, password) = text.rsplit_once(':')?;
        Some(Self { user: user.to_owned(), decoded: form_decoded(user), api_key: form_decoded(password) })
    }

    fn presented(&self) -> PresentedCredential<'_> {
        PresentedCredential::Named { api_key: &self.api_key, client_id: [&self.user, &self.decoded] }
    }
}

/// A value decoded from `application/x-www-form-urlencoded`; returned as it is if it cannot be decoded.
fn form_decoded(text: &str) -> String {
    let pairs = serde_urlencoded::from_str::<Vec<(String, String)>>(&format!("v={text}"));
    match pairs.ok().as_deref() {
        Some([(_, value)]) => value.clone(),
        _ => text.to_owned(),
    }
}
