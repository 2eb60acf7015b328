//! `AdminService`: wire ↔ domain.

pub(in crate::rpc) mod bulk;
pub(in crate::rpc) mod clients;
pub(in crate::rpc) mod explain;
pub(in crate::rpc) mod issuers;
pub(in crate::rpc) mod keys;
pub(in crate::rpc) mod locks;
pub(in crate::rpc) mod policies;
pub(in crate::rpc) mod service;
