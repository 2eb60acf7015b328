//! Parts of tests and benches that know nothing of jeton: a link to a database that breaks on demand, frames of HTTP/2, a
//! terminal, addresses, and waits for a condition.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::must_use_candidate,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

pub mod http2;
mod link;
mod loopback;
mod terminal;
mod wait;

pub use link::{ALL, AUDIT, FEED, FLEET, FLUSHER, LEASE, LISTEN, Link, POOL, REFRESH};
pub use loopback::own_address;
pub use terminal::Terminal;
pub use wait::{PATIENCE, until, until_within};
