//! Clients, policies and keys, and the MACs of their rows.

pub(in crate::store) mod client;
pub(in crate::store) mod client_admin;
pub(in crate::store) mod issuer;
pub(in crate::store) mod key;
pub(in crate::store) mod key_life;
pub(in crate::store) mod mac_key;
pub(in crate::store) mod policy;
pub(in crate::store) mod seal;
