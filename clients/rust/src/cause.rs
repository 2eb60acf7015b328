//! What lies under an error.

use std::error::Error;

/// The end of a chain of errors: `transport error` by itself says nothing.
pub(crate) fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
