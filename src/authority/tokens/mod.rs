//! The operations on tokens and sessions: issue, refresh, validate, introspect, revoke.

pub(in crate::authority) mod bulk;
pub(in crate::authority) mod exchange;
pub(in crate::authority) mod findings;
pub(in crate::authority) mod form;
pub(in crate::authority) mod introspect;
pub(in crate::authority) mod issue;
pub(in crate::authority) mod mint;
pub(in crate::authority) mod narrow;
pub(in crate::authority) mod refresh;
pub(in crate::authority) mod refresh_request;
pub(in crate::authority) mod refresh_rules;
pub(in crate::authority) mod resolved;
pub(in crate::authority) mod revocation;
pub(in crate::authority) mod revoke;
pub(in crate::authority) mod target;
pub(in crate::authority) mod target_form;
pub(in crate::authority) mod validate;
pub(in crate::authority) mod wide;
