//! The error of a call that failed on its way.

use tonic::Status;

use crate::{
    Code, JetonError,
    cause::root_cause,
    endpoint_url::EndpointUrl,
    lane::{WayError, broken},
};

/// The error of a channel that a status comes from.
pub(crate) fn of_way(status: &Status) -> Option<&WayError> {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

/// The error of a status, which a server sent, or which the connection made.
pub(crate) fn failed(status: &Status, at: &EndpointUrl) -> JetonError {
    if let Some(error) = of_way(status) {
        return way_error(error, at);
    }
    match std::error::Error::source(status) {
        Some(cause) if status.details().is_empty() => {
            if cause.to_string().to_lowercase().contains("timeout") {
                return JetonError::deadline_exceeded();
            }
            let error = broken(cause);
            tracing::debug!(endpoint = %at, error = root_cause(cause), "a call to jeton broke");
            way_error(&error, at)
        }
        _ => JetonError::from_status(status, at),
    }
}

pub(crate) fn way_error(error: &WayError, at: &EndpointUrl) -> JetonError {
    let said = error.to_string();
    let told = match error {
        WayError::NotHttp2 | WayError::OtherProtocol(_) => {
            JetonError::not_jeton(at, Code::Unavailable, &said)
        }
        WayError::NotGrpc(status) => {
            JetonError::not_jeton(at, Code::Unavailable, &said).with_http_status(status.as_u16())
        }
        WayError::NotConnected(_) | WayError::Tls(_) | WayError::Broken(_) | WayError::NotSent => {
            JetonError::unreachable(at, &said)
        }
    };
    told.with_cause(error.cause())
}
