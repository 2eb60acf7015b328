//! The operations of administrators: clients, keys, policies, locks, and lists.

pub(in crate::authority) mod client;
pub(in crate::authority) mod client_form;
pub(in crate::authority) mod explain;
pub(in crate::authority) mod issuer;
pub(in crate::authority) mod issuer_form;
pub(in crate::authority) mod key;
pub(in crate::authority) mod lists;
pub(in crate::authority) mod lock;
pub(in crate::authority) mod page;
pub(in crate::authority) mod policy;
