//! The HTTP doors. The only code that knows axum.

mod ops;

pub use ops::{OpsState, serve_ops};
