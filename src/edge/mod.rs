//! What every edge shares, whatever it speaks: who calls, what a method needs, and one function for each operation. The
//! edges (`rpc`, `http`) read a message, call the operation, and frame its answer. Knows neither tonic nor axum.
//!
//! The order of the checks is the same for every operation and every edge: lease, credential, permission of the method,
//! rate ([`admit`]); then the size of the message, which the edge reads; then the operation: form, overload (only if the
//! answer would cost a signature), and what the authority finds.

mod admission;
mod answer;
mod authorization;
mod bearer;
mod issue;
mod method;
mod refresh;
mod refusal;
mod revoke;
mod trace;
mod validate;

pub use admission::{Admission, Head, Origin, admit};
pub use answer::Answer;
pub use authorization::Authorization;
pub use bearer::judge_bearer;
pub use issue::issue;
pub use method::{
    ADMIN, BATCH_BYTES_MAX, BULK_BYTES_MAX, DISCOVERY, ENVOY, INTROSPECTION, LONG_MESSAGE_BYTES_MAX,
    Listener, MESSAGE_BYTES_MAX, METHODS, Method, Operation, REVOCATION, SERVICES, Service, TOKEN, TOKENS,
};
pub use refresh::refresh;
pub use refusal::{Code, OVERLOADED, Refusal, quoted};
pub use revoke::revoke;
pub use trace::trace_id;
pub use validate::validate;

use crate::authority::Invalid;
use jeton_token::Thumbprint;

/// The fault of a message that cannot be decoded.
#[must_use]
pub fn unreadable() -> Invalid {
    Invalid::field("message", "a well-formed protobuf message of this method")
}

/// The thumbprint in a text; `None` if the text is empty.
pub fn thumbprint_of(text: &str) -> Result<Option<Thumbprint>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    let rule = "the base64url of a SHA-256: 43 characters, unpadded";
    text.parse().map(Some).map_err(|_| Invalid::field("certificate_thumbprint", rule))
}
