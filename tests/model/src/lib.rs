//! An explicit-state model of revocation in jeton: the protocol's rules by name, the promise that they keep, and its
//! break without each. `README.md` tells where the code keeps them.

#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::struct_excessive_bools,
    missing_docs,
    reason = "counters of a few steps, and places that the model itself made; it fails by panicking"
)]

mod carrying;
pub mod check;
pub mod configurations;
mod locking;
mod log;
mod minting;
pub mod rule;
