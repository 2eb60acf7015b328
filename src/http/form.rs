//! The form of a request: `application/x-www-form-urlencoded`, each parameter once (RFC 6749 section 3.2), but for two.

use std::{collections::HashSet, future::poll_fn, pin::Pin, sync::Arc};

use axum::{
    body::{Body, HttpBody as _},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
};

use tokio::time::timeout;

use crate::{
    authority::{Caller, Error, Invalid},
    http::answer::HttpRefusal,
    listen::{ARRIVES_WITHIN, ARRIVING_BYTES_MAX, Connection, Held},
};

/// The most parameters of a form: no endpoint knows more than a few.
const PARAMETERS_MAX: usize = 32;
/// The parameters that may be there several times (RFC 8693 section 2.1, RFC 8707 section 2).
const SEVERAL: [&str; 2] = ["audience", "resource"];
const FORM: &str = "application/x-www-form-urlencoded";

/// Reads a body into memory of its own, counted for its connection as it arrives.
async fn read(
    mut body: Body,
    connection: &Arc<Connection>,
    bytes_max: usize,
) -> Result<(Vec<u8>, Held), HttpRefusal> {
    let (mut bytes, mut held) = (Vec::new(), connection.arriving());
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let frame = frame.map_err(|_| HttpRefusal::invalid("The body broke off."))?;
        let Ok(data) = frame.into_data() else { continue };
        let length = data.len().saturating_add(bytes.len());
        check_size(u64::try_from(length).unwrap_or(u64::MAX), bytes_max)?;
        held.resize(length, ARRIVING_BYTES_MAX).map_err(|_full| HttpRefusal::from(Error::Overloaded))?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

/// Refuses a body that is, or is said to be, so long.
fn check_size(size: u64, bytes_max: usize) -> Result<(), Error> {
    let max_size = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    if size > max_size { Err(Invalid::MessageTooLarge { size, max_size }.into()) } else { Ok(()) }
}

/// The parameters of a request.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads the body.
    pub(super) async fn read(
        headers: &HeaderMap,
        body: Body,
        connection: &Arc<Connection>,
        bytes_max: usize,
    ) -> Result<Self, HttpRefusal> {
        let label = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let label = label.split(';').next().unwrap_or_default().trim();
        if !label.eq_ignore_ascii_case(FORM) {
            return Err(HttpRefusal::of(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "invalid_request",
                "The body must be application/x-www-form-urlencoded.",
            ));
        }
        check_size(body.size_hint().lower(), bytes_max)?;
        let late = HttpRefusal::of(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request",
            "The body did not arrive within 10 s. Send it at once.",
        );
        let (bytes, _held) =
            timeout(ARRIVES_WITHIN, read(body, connection, bytes_max)).await.map_err(|_late| late)??;
        if bytes.split(|byte| *byte == b'&').nth(PARAMETERS_MAX).is_some() {
            return Err(HttpRefusal::invalid("The form has more than 32 parameters."));
        }
        let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(&bytes)
            .map_err(|_| HttpRefusal::invalid("The body is not a form in UTF-8."))?;
        let mut seen = HashSet::new();
        let mut single = pairs.iter().map(|(name, _)| name.as_str()).filter(|name| !SEVERAL.contains(name));
        if !single.all(|name| seen.insert(name)) {
            return Err(HttpRefusal::invalid("A parameter is there twice."));
        }
        Ok(Self(pairs))
    }

    /// Refuses the credential of a client that is known already: it authenticates in one way only (RFC 6749
    /// section 2.3).
    pub(super) fn check_no_secret(&self) -> Result<(), HttpRefusal> {
        if self.get("client_secret").is_none() {
            return Ok(());
        }
        Err(HttpRefusal::invalid("The caller is known by its headers: leave client_secret out."))
    }

    /// The value of a parameter; one without a value counts as absent (RFC 6749 section 3.2).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The values of a parameter that may be there several times.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let given = self.0.iter().filter(move |(given, _)| given == name);
        given.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Refuses a caller that claims another name: clients with certificates name themselves here (RFC 8705 section 2).
    pub(super) fn check_client(&self, caller: &Caller) -> Result<(), Error> {
        self.get("client_id").map_or(Ok(()), |named| caller.must_be(named))
    }

    /// The token.
    pub(super) fn token(&self) -> Result<String, Invalid> {
        let token = self.get("token").ok_or_else(|| Invalid::required("token"))?;
        Ok(token.to_owned())
    }
}
