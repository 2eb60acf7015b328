//! The codes of gRPC.

/// A code of gRPC.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "they are those of gRPC")]
pub enum Code {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

/// Each code with tonic's, and its name in gRPC's definitions.
const CODES: [(Code, tonic::Code, &str); 17] = [
    (Code::Ok, tonic::Code::Ok, "OK"),
    (Code::Cancelled, tonic::Code::Cancelled, "CANCELLED"),
    (Code::Unknown, tonic::Code::Unknown, "UNKNOWN"),
    (Code::InvalidArgument, tonic::Code::InvalidArgument, "INVALID_ARGUMENT"),
    (Code::DeadlineExceeded, tonic::Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
    (Code::NotFound, tonic::Code::NotFound, "NOT_FOUND"),
    (Code::AlreadyExists, tonic::Code::AlreadyExists, "ALREADY_EXISTS"),
    (Code::PermissionDenied, tonic::Code::PermissionDenied, "PERMISSION_DENIED"),
    (Code::ResourceExhausted, tonic::Code::ResourceExhausted, "RESOURCE_EXHAUSTED"),
    (Code::FailedPrecondition, tonic::Code::FailedPrecondition, "FAILED_PRECONDITION"),
    (Code::Aborted, tonic::Code::Aborted, "ABORTED"),
    (Code::OutOfRange, tonic::Code::OutOfRange, "OUT_OF_RANGE"),
    (Code::Unimplemented, tonic::Code::Unimplemented, "UNIMPLEMENTED"),
    (Code::Internal, tonic::Code::Internal, "INTERNAL"),
    (Code::Unavailable, tonic::Code::Unavailable, "UNAVAILABLE"),
    (Code::DataLoss, tonic::Code::DataLoss, "DATA_LOSS"),
    (Code::Unauthenticated, tonic::Code::Unauthenticated, "UNAUTHENTICATED"),
];

impl Code {
    /// Its name in gRPC's definitions, as `INVALID_ARGUMENT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        CODES.iter().find(|(code, ..)| *code == self).map_or("UNKNOWN", |(.., name)| name)
    }
}

impl From<tonic::Code> for Code {
    fn from(given: tonic::Code) -> Self {
        CODES.iter().find(|(_, code, _)| *code == given).map_or(Self::Unknown, |(code, ..)| *code)
    }
}

impl From<Code> for tonic::Code {
    fn from(given: Code) -> Self {
        CODES.iter().find(|(code, ..)| *code == given).map_or(Self::Unknown, |(_, code, _)| *code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_number_and_its_name() {
        for (number, (code, theirs, name)) in (0..).zip(CODES) {
            assert_eq!((tonic::Code::from_i32(number), Code::from(theirs)), (theirs, code));
            assert_eq!((tonic::Code::from(code), code.name()), (theirs, name));
        }
    }
}
