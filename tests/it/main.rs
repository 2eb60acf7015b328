//! jeton as its users meet it: the real server on a real Postgres, over the wire. The name of a
//! test that checks a rule of `docs/internals/behaviour.md` begins with the rule's number.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::similar_names,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "a test fails by panicking, and looks at the clock and the environment as a user does"
)]

mod attacks;
mod clients;
mod database;
mod edges;
mod endpoints;
mod errors;
mod immediate;
mod issue;
mod issuers;
mod keys;
mod listeners;
mod operate;
mod reference;
mod refresh;
mod revoke;
mod sources;
mod validate;
#[allow(dead_code, unused_imports, reason = "a world holds more than today's tests look at")]
mod world;
