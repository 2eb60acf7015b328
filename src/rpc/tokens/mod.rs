//! `TokenService` and Envoy's `ext_authz`: wire ↔ domain.

pub(in crate::rpc) mod batch;
pub(in crate::rpc) mod ext_authz;
pub(in crate::rpc) mod judging;
pub(in crate::rpc) mod request;
pub(in crate::rpc) mod service;
pub(in crate::rpc) mod streaming;
pub(in crate::rpc) mod verdict;
