//! The caller of an endpoint: known by HTTP Basic (RFC 7617) with an API key in place of a password, by Bearer
//! (RFC 6750 section 2.1), or by the certificate of the connection.

use std::sync::Arc;

use axum::{
    extract::Request,
    http::{HeaderMap, header::AUTHORIZATION},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{EndpointsState, answer::HttpRefusal, form::Form};
use crate::{
    authority::{Caller, Credential, Error, PresentedCredential},
    listen::{Connection, Turn},
    rpc::trace_id,
    state::{Permission, Snapshot},
    token::text,
};

/// The sender of a request: authenticated, and to be looked up again in the snapshot that the request is answered from.
pub(super) struct HttpOrigin {
    credential: Arc<Credential>,
    trace_id: String,
    connection: Arc<Connection>,
    /// The thread is overloaded, and this client has many calls in flight: calls that need a signature are refused.
    pub(super) shed_costly: bool,
}

impl HttpOrigin {
    /// The sender, and the form that was sent. A sender that is not known or lacks the permission is refused before any
    /// of the form is read.
    pub(super) async fn and_form(
        state: &EndpointsState,
        request: Request,
        permission: Option<Permission>,
    ) -> Result<(Self, Form), HttpRefusal> {
        let (parts, body) = request.into_parts();
        let connection = parts.extensions.get::<Arc<Connection>>().ok_or(Error::Unauthenticated)?;
        let shed_costly = parts.extensions.get::<Turn>().is_some_and(|turn| turn.shed_costly);
        let origin = Self::authenticate(state, &parts.headers, connection, permission, shed_costly).await?;
        let form = Form::read(&parts.headers, body, connection).await?;
        Ok((origin, form))
    }

    async fn authenticate(
        state: &EndpointsState,
        headers: &HeaderMap,
        connection: &Arc<Connection>,
        permission: Option<Permission>,
        shed_costly: bool,
    ) -> Result<Self, Error> {
        let snapshot = state.authority.snapshot().await?;
        let sent = Sent::of(headers);
        let client = state.authority.authenticate(&snapshot, sent.presented(), connection.peer())?;
        connection.authenticated(client.client_id());
        if let Some(permission) = permission {
            client.must(permission)?;
        }
        let credential = client.credential;
        let traceparent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        Ok(Self {
            credential,
            trace_id: trace_id(traceparent),
            connection: Arc::clone(connection),
            shed_costly,
        })
    }

    /// Returns whether its client has more than a few calls in flight.
    pub(super) fn asks_for_much(&self) -> bool {
        self.connection.weigh(0).is_much()
    }

    /// A snapshot, and the caller as it stands there.
    pub(super) async fn snapshot(&self, state: &EndpointsState) -> Result<(Snapshot, Caller), Error> {
        let snapshot = state.authority.snapshot().await?;
        let caller = state.authority.caller(&snapshot, &self.credential, &self.trace_id)?;
        Ok((snapshot, caller))
    }

    /// Like [`Self::snapshot`]; refused also while the clocks are too far apart.
    pub(super) async fn clock_checked_snapshot(
        &self,
        state: &EndpointsState,
    ) -> Result<(Snapshot, Caller), Error> {
        let snapshot = state.authority.clock_checked_snapshot().await?;
        let caller = state.authority.caller(&snapshot, &self.credential, &self.trace_id)?;
        Ok((snapshot, caller))
    }
}

/// The content of the `authorization` header.
enum Sent {
    Nothing,
    Bearer(String),
    /// The user as it was sent, and decoded from the form that RFC 6749 section 2.3.1 requires: many clients do not
    /// encode it.
    Basic {
        user: String,
        decoded: String,
        api_key: String,
    },
    Unreadable,
}

impl Sent {
    fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Self::Nothing };
        // More than one header counts as none.
        let one = value.to_str().ok().filter(|_| values.next().is_none());
        one.and_then(Self::parse).unwrap_or(Self::Unreadable)
    }

    fn parse(value: &str) -> Option<Self> {
        if let Some(key) = text::credentials(value, "bearer") {
            return Some(Self::Bearer(key.to_owned()));
        }
        let encoded = text::credentials(value, "basic")?;
        let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
        // A client's name may contain a colon, an API key does not.
        let (user, password) = text.rsplit_once(':')?;
        Some(Self::Basic {
            user: user.to_owned(),
            decoded: form_decoded(user),
            api_key: form_decoded(password),
        })
    }

    fn presented(&self) -> PresentedCredential<'_> {
        match self {
            Self::Nothing => PresentedCredential::Certificate,
            Self::Unreadable => PresentedCredential::ApiKey(""),
            Self::Bearer(api_key) => PresentedCredential::ApiKey(api_key),
            Self::Basic { user, decoded, api_key } => {
                PresentedCredential::Named { api_key, client_id: [user, decoded] }
            }
        }
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
