//! Generated from `proto/` by `build.rs`: the wire types. They are used by `rpc`, `cli` and the prober only.

/// `jeton.v1`: messages, servers and clients.
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

/// `envoy.service.auth.v3`: the part of Envoy's external authorization protocol that jeton uses.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::as_conversions,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod envoy {
    tonic::include_proto!("envoy.service.auth.v3");
}

/// The descriptor set of jeton's own API, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = tonic::include_file_descriptor_set!("jeton.fds");
