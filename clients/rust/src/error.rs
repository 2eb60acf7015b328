//! The one error of this library.

use std::{collections::HashMap, error::Error, fmt, path::Path, sync::Arc, time::Duration};

use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{Code, ErrorKind, endpoint_url::EndpointUrl};

/// The domain of the reasons of jeton.
pub(crate) const DOMAIN: &str = "jeton.v1";

/// Why a call failed, or an object could not be made. [`JetonError::kind`] has one variant for each reason.
#[derive(Clone)]
pub struct JetonError(Arc<Told>);

#[derive(Clone)]
struct Told {
    kind: ErrorKind,
    code: Code,
    message: String,
    reason: String,
    metadata: HashMap<String, String>,
    retry_after: Option<Duration>,
    is_answer: bool,
    cause: Option<String>,
    http_status: Option<u16>,
}

impl JetonError {
    pub(crate) fn new(kind: ErrorKind, code: Code, message: impl Into<String>) -> Self {
        Self(Arc::new(Told {
            kind,
            code,
            message: message.into(),
            reason: String::new(),
            metadata: HashMap::new(),
            retry_after: None,
            is_answer: false,
            cause: None,
            http_status: None,
        }))
    }

    /// The kind, with its typed metadata.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The code of gRPC.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The message: the server's, or this library's.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The reason in `ErrorInfo`; empty if there was none.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The metadata of `ErrorInfo`, as they were sent.
    #[must_use]
    pub fn metadata(&self) -> &HashMap<String, String> {
        &self.0.metadata
    }

    /// The delay of `RetryInfo`, if there was one.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Returns whether a server answered with it. Otherwise it was made here: nothing answered or not in time, what
    /// answers speaks no gRPC, or an argument is wrong.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.0.is_answer
    }

    /// What the server, the network, TLS or the system said, in its own words, where the message is this library's. It
    /// is for people, and has no form to rely on.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The status of HTTP, where what answered speaks HTTP/2 but no gRPC: a proxy, as a rule.
    #[must_use]
    pub fn http_status(&self) -> Option<u16> {
        self.0.http_status
    }

    /// Returns whether no repetition mends it.
    pub(crate) fn is_lasting(&self) -> bool {
        let codes = [
            Code::InvalidArgument,
            Code::PermissionDenied,
            Code::Unauthenticated,
            Code::NotFound,
            Code::FailedPrecondition,
            Code::Unimplemented,
        ];
        let kinds = matches!(self.kind(), ErrorKind::EndpointInvalid | ErrorKind::CredentialInvalid { .. });
        kinds || codes.contains(&self.code())
    }

    /// Returns whether a session is over after this answer to Refresh.
    pub(crate) fn ends_session(&self) -> bool {
        self.kills_token()
            || matches!(
                self.kind(),
                ErrorKind::RefreshTokenExpired { .. } | ErrorKind::RefreshTokenInvalid { .. }
            )
    }

    /// Returns whether the tokens of the session are dead after this answer to Refresh.
    pub(crate) fn kills_token(&self) -> bool {
        matches!(self.kind(), ErrorKind::SessionRevoked { .. } | ErrorKind::RefreshTokenReused { .. })
    }

    pub(crate) fn endpoint_invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::EndpointInvalid, Code::InvalidArgument, message)
    }

    pub(crate) fn credential_invalid(file: Option<&Path>, message: impl Into<String>) -> Self {
        let kind = ErrorKind::CredentialInvalid { file: file.map(Path::to_owned) };
        Self::new(kind, Code::FailedPrecondition, message)
    }

    pub(crate) fn deadline_exceeded() -> Self {
        let message = "The deadline passed before the answer. What was asked may have been done.";
        Self::new(ErrorKind::DeadlineExceeded {}, Code::DeadlineExceeded, message)
    }

    pub(crate) fn closed(what: &str) -> Self {
        Self::new(ErrorKind::Closed, Code::Cancelled, format!("The {what} is closed."))
    }

    /// An argument without which nothing can be asked.
    pub(crate) fn field_required(field: &str, message: &str) -> Self {
        let kind = ErrorKind::FieldRequired { field: Some(field.to_owned()) };
        Self::new(kind, Code::InvalidArgument, message)
    }

    pub(crate) fn unreachable(at: &EndpointUrl, cause: &str) -> Self {
        let why = if cause.contains("refused") {
            "nothing listens there"
        } else if cause.contains("lookup") || cause.contains("not known") {
            "its name is not known"
        } else if [
            "certificate",
            "handshake",
            "tls",
            "TLS",
            "corrupt message",
            "UnknownIssuer",
            "InvalidContentType",
        ]
        .iter()
        .any(|word| cause.contains(word))
        {
            "TLS does not match"
        } else {
            "the connection broke, or none can be made"
        };
        let cause = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
        let message =
            format!("No answer from {at}: {why}. Check the endpoint, and that jeton runs there.{cause}");
        Self::new(ErrorKind::Unreachable { endpoint: at.to_string() }, Code::Unavailable, message)
    }

    pub(crate) fn not_jeton(at: &EndpointUrl, code: Code, cause: &str) -> Self {
        let message = format!(
            "{at} answers, but is no jeton, or one that is too old for this call. Check the endpoint. ({cause})"
        );
        Self::new(ErrorKind::NotJeton { endpoint: at.to_string() }, code, message)
    }

    fn told(self) -> Told {
        Arc::unwrap_or_clone(self.0)
    }

    pub(crate) fn with_cause(self, cause: impl Into<String>) -> Self {
        Self(Arc::new(Told { cause: Some(cause.into()), ..self.told() }))
    }

    pub(crate) fn with_http_status(self, status: u16) -> Self {
        Self(Arc::new(Told { http_status: Some(status), ..self.told() }))
    }

    /// The error of a status that came from `at`.
    pub(crate) fn from_status(status: &tonic::Status, at: &EndpointUrl) -> Self {
        let code = Code::from(status.code());
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        if let Some(info) = status.get_details_error_info().filter(|info| info.domain == DOMAIN) {
            let kind = ErrorKind::of(&info.reason, &info.metadata).unwrap_or(ErrorKind::UnknownReason);
            let (reason, metadata) = (info.reason, info.metadata);
            let message = status.message().to_owned();
            let told = Self::new(kind, code, message).told();
            return Self(Arc::new(Told { reason, metadata, retry_after, is_answer: true, ..told }));
        }
        let plain = if code == Code::Unimplemented || is_no_grpc(status.message()) {
            Self::not_jeton(at, code, status.message())
        } else if code == Code::Unavailable {
            Self::unreachable(at, status.message())
        } else if code == Code::DeadlineExceeded {
            Self::deadline_exceeded()
        } else {
            Self::new(ErrorKind::UnexpectedError, code, status.message())
        };
        let cause = Some(status.message().to_owned()).filter(|said| said != plain.message());
        Self(Arc::new(Told { retry_after, cause, is_answer: true, ..plain.told() }))
    }
}

/// Returns whether tonic says that the answer is none of gRPC.
fn is_no_grpc(message: &str) -> bool {
    message.starts_with("grpc-status header missing")
}

impl fmt::Display for JetonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Debug for JetonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told = f.debug_struct("JetonError");
        told.field("kind", self.kind()).field("code", &self.code()).field("message", &self.message());
        told.field("retry_after", &self.retry_after()).finish_non_exhaustive()
    }
}

impl Error for JetonError {}

impl From<JetonError> for tonic::Status {
    /// For a server that hands an error on to its own caller.
    fn from(error: JetonError) -> Self {
        let mut details = ErrorDetails::new();
        if !error.reason().is_empty() {
            details.set_error_info(error.reason(), DOMAIN, error.metadata().clone());
        }
        if error.retry_after().is_some() {
            details.set_retry_info(error.retry_after());
        }
        let mut status = Self::with_error_details(error.code().into(), error.message(), details);
        status.set_source(Arc::new(error));
        status
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn at() -> EndpointUrl {
        EndpointUrl::parse("http://127.0.0.1:7070").unwrap()
    }

    #[test]
    fn a_reason_is_typed_and_one_of_a_newer_server_is_kept() {
        let status = |reason: &str| {
            let mut details = ErrorDetails::new();
            details.set_error_info(reason, DOMAIN, [("limitPerSecond".to_owned(), "7".to_owned())]);
            details.set_retry_info(Some(Duration::from_millis(100)));
            tonic::Status::with_error_details(tonic::Code::ResourceExhausted, "Too many.", details)
        };
        let error = JetonError::from_status(&status("RATE_LIMITED"), &at());
        assert_eq!(*error.kind(), ErrorKind::RateLimited { limit_per_second: Some(7) });
        assert_eq!((error.code(), error.message()), (Code::ResourceExhausted, "Too many."));
        assert_eq!(error.retry_after(), Some(Duration::from_millis(100)));
        let handed_on = tonic::Status::from(error);
        assert_eq!(JetonError::from_status(&handed_on, &at()).reason(), "RATE_LIMITED");
        let newer = JetonError::from_status(&status("NEW"), &at());
        assert_eq!((newer.kind(), newer.reason()), (&ErrorKind::UnknownReason, "NEW"));
        assert_eq!(newer.metadata()["limitPerSecond"], "7");
        assert!(newer.is_answer() && newer.cause().is_none());
    }

    #[test]
    fn a_status_without_a_reason_says_where_to_look() {
        let kind = |code, message: &str| {
            let error = JetonError::from_status(&tonic::Status::new(code, message), &at());
            assert!(error.is_answer());
            assert_eq!(error.cause().unwrap_or(error.message()), message, "the server's own words are kept");
            (error.kind().name(), error.message().contains("http://127.0.0.1:7070"))
        };
        assert_eq!(kind(tonic::Code::Unimplemented, ""), ("NotJeton", true));
        assert_eq!(kind(tonic::Code::Unavailable, "x"), ("Unreachable", true));
        assert_eq!(kind(tonic::Code::DeadlineExceeded, ""), ("DeadlineExceeded", false));
        assert_eq!(kind(tonic::Code::DataLoss, ""), ("UnexpectedError", false));
    }
}
