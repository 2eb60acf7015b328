//! Refusals as statuses (E1): one `ErrorInfo`, `BadRequest` for fields, `RetryInfo` if a retry helps.

mod transport;

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    authority::{Error, Invalid},
    edge::{self, Refusal},
};

pub(super) use transport::{Called, deadline_passed, form_not_served, of_transport, watchers_not_served};

const DOMAIN: &str = "jeton.v1";

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let metadata: HashMap<String, String> =
            refusal.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut details = ErrorDetails::with_error_info(refusal.reason, DOMAIN, metadata);
        if let Some((field, description)) = refusal.field {
            details.add_bad_request_violation(field, description);
        }
        if refusal.retry.is_some() {
            details.set_retry_info(refusal.retry);
        }
        Self::with_error_details(code(refusal.code), refusal.message, details)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Refusal::from(error).into()
    }
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        Error::from(invalid).into()
    }
}

fn code(code: edge::Code) -> Code {
    match code {
        edge::Code::InvalidArgument => Code::InvalidArgument,
        edge::Code::Unauthenticated => Code::Unauthenticated,
        edge::Code::PermissionDenied => Code::PermissionDenied,
        edge::Code::NotFound => Code::NotFound,
        edge::Code::AlreadyExists => Code::AlreadyExists,
        edge::Code::FailedPrecondition => Code::FailedPrecondition,
        edge::Code::Aborted => Code::Aborted,
        edge::Code::ResourceExhausted => Code::ResourceExhausted,
        edge::Code::Unavailable => Code::Unavailable,
        edge::Code::Unimplemented => Code::Unimplemented,
        edge::Code::DeadlineExceeded => Code::DeadlineExceeded,
        edge::Code::Internal => Code::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e1_a_defect_has_its_reason() {
        let status = Status::from(Error::Internal("select secret".to_owned()));
        assert_eq!(status.code(), Code::Internal);
        assert!(!status.message().contains("secret"));
        assert!(status.get_details_error_info().is_some_and(|info| info.reason == "INTERNAL"));
    }
}
