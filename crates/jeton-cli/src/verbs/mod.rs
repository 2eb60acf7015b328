//! The verbs: one file each, and beside it the parts that only it uses.

pub(crate) mod audit;
pub(crate) mod client;
pub(crate) mod client_key;
pub(crate) mod client_set;
pub(crate) mod client_show;
pub(crate) mod context;
pub(crate) mod credential;
pub(crate) mod explain;
pub(crate) mod inspect;
pub(crate) mod issue;
pub(crate) mod key;
pub(crate) mod live;
pub(crate) mod policy;
pub(crate) mod policy_apply;
pub(crate) mod policy_explain;
pub(crate) mod policy_file;
pub(crate) mod policy_set;
pub(crate) mod policy_show;
pub(crate) mod refresh;
pub(crate) mod replica;
pub(crate) mod revocation;
pub(crate) mod revoke;
pub(crate) mod revoke_report;
pub(crate) mod revoke_target;
pub(crate) mod session;
pub(crate) mod validate;
