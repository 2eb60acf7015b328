//! The transport's refusals with the texts of the catalogue: calls of no method of ours, unreadable messages, and calls
//! that came too late.

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use tonic::{Code, Status};

use crate::{
    authority::Invalid,
    edge::{Code as RefusalCode, Listener, Method, Operation, Refusal, SERVICES, quoted, unreadable},
};

static GRPC_ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

/// The part of a call that its refusal names.
pub(in crate::rpc) struct Called {
    uri: Uri,
    encoding: Option<HeaderValue>,
    listener: Listener,
}

impl Called {
    /// The call with this target and these headers.
    pub(in crate::rpc) fn of(uri: &Uri, headers: &HeaderMap, listener: Listener) -> Self {
        Self { uri: uri.clone(), encoding: headers.get(&GRPC_ENCODING).cloned(), listener }
    }

    /// The refusal of a call that is not served here.
    fn not_served(&self) -> Status {
        let path = self.uri.path().trim_start_matches('/');
        let (service, method) = path.split_once('/').unwrap_or((path, ""));
        let here = self.listener.name();
        let served = SERVICES.iter().find(|known| known.name == service).map(|known| known.listeners);
        let encoding = self.encoding.as_ref().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let encoding = encoding.filter(|encoding| encoding != "identity");
        let message = match (served, &encoding) {
            (Some(listeners), Some(encoding)) if listeners.contains(&self.listener) => {
                format!(
                    "Messages in the encoding {} are not served here. Send them uncompressed.",
                    quoted(encoding)
                )
            }
            (Some(listeners), _) if listeners.contains(&self.listener) => format!(
                "The service {service} has no method {} here. Check its name, and whether the server is older than the caller.",
                quoted(method)
            ),
            (Some([elsewhere, ..]), _) => format!(
                "The service {service} is not served on the {here} listener. Call it on the {} listener.",
                elsewhere.name()
            ),
            (Some([]) | None, _) => format!(
                "The service {} is not served. Check its name, and whether the server is older than the caller.",
                quoted(service)
            ),
        };
        let refusal = Refusal::new(RefusalCode::Unimplemented, "NOT_SERVED_HERE", message)
            .with("service", service)
            .with("listener", here);
        match encoding {
            Some(encoding) => refusal.with("encoding", encoding),
            None => refusal,
        }
        .into()
    }

    /// Returns whether the call is one of reflection.
    pub(in crate::rpc) fn reflects(&self) -> bool {
        Method::of(self.uri.path(), self.listener).operation == Operation::Reflection
    }

    /// The catalogue's status for a call that tonic could not serve; `None` to leave tonic's.
    pub(in crate::rpc) fn refused(&self, code: Code, message: &str) -> Option<Status> {
        if code == Code::Unimplemented { Some(self.not_served()) } else { of_transport(code, message) }
    }
}

/// The refusal of messages to this path that are not in protobuf.
pub(in crate::rpc) fn form_not_served(path: &str, listener: Listener) -> Status {
    let path = path.trim_start_matches('/');
    Refusal::new(
        RefusalCode::Unimplemented,
        "NOT_SERVED_HERE",
        "Messages are served in protobuf alone. Send them as application/grpc or application/grpc+proto.",
    )
    .with("service", path.split('/').next().unwrap_or(path))
    .with("listener", listener.name())
    .into()
}

/// The refusal of the reach that only watchers could report.
pub(in crate::rpc) fn watchers_not_served(listener: Listener) -> Status {
    Refusal::new(
        RefusalCode::Unimplemented,
        "NOT_SERVED_HERE",
        "Watchers are not served by this version, so nothing can wait for them. Wait for REACH_REPLICAS.",
    )
    .with("service", "jeton.v1.RevocationService")
    .with("listener", listener.name())
    .into()
}

/// The catalogue's status for a message that tonic could not read; `None` to leave tonic's.
#[must_use]
pub(in crate::rpc) fn of_transport(code: Code, message: &str) -> Option<Status> {
    match code {
        Code::Internal | Code::Unknown => Some(unreadable().into()),
        Code::OutOfRange => Some(too_large(message)),
        Code::Ok
        | Code::Cancelled
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Unimplemented
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => None,
    }
}

/// A message that is longer than allowed. tonic's text contains both lengths.
fn too_large(message: &str) -> Status {
    let mut numbers = message.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    let (size, max_size) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    Invalid::MessageTooLarge { size, max_size }.into()
}

/// The caller has stopped waiting for the answer.
pub(in crate::rpc) fn deadline_passed() -> Status {
    Refusal::new(
        RefusalCode::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "The deadline passed before the answer. What was asked may have been done: to repeat a revocation is safe.",
    )
    .into()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn e1_a_message_that_is_too_long_says_how_long_it_may_be() {
        let status =
            too_large("Error, decoded message length too large: found 300 bytes, the limit is: 200 bytes");
        let info = status.get_details_error_info().unwrap();
        let of = |key: &str| info.metadata.get(key).map(String::as_str);
        assert_eq!((of("size"), of("maxSize")), (Some("300"), Some("200")));
    }

    #[test]
    fn e1_a_path_of_any_form_is_refused_in_one_line() {
        for path in ["/", "/x", "//", "/a/b/c", "/eyJ/x", "/%0A/x", "/jeton.v1.AdminService/"] {
            let uri: Uri = path.parse().unwrap();
            let status = Called::of(&uri, &HeaderMap::new(), Listener::Public).not_served();
            assert_eq!(status.code(), Code::Unimplemented);
            assert!(!status.message().contains("eyJ") && !status.message().contains('\n'), "{status:?}");
            assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_SERVED_HERE");
        }
    }
}
