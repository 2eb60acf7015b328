//! Generated from `proto/` by `build.rs`: the messages of jeton's API and its client stubs.

pub mod json;
mod redacted;

/// `jeton.v1`: messages and clients.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::wildcard_enum_match_arm,
    clippy::allow_attributes_without_reason,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "generated code"
)]
pub mod v1 {
    tonic::include_proto!("jeton.v1");
}

/// The descriptor set of jeton's API, with comments and options, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("jeton.fds");
