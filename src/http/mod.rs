//! The HTTP doors. The only code that knows axum.

mod ops;

use axum::Router;

pub use ops::{OpsState, keep_up, ops};

/// A listener without doors.
pub fn none() -> Router {
    Router::new()
}
