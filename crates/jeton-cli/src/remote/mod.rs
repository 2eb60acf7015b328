//! The server: its address, the credential for it, and why it cannot be reached.

pub(crate) mod connect;
pub(crate) mod contexts;
pub(crate) mod credential_command;
pub(crate) mod endpoint;
pub(crate) mod failover;
pub(crate) mod failures;
pub(crate) mod handshake;
pub(crate) mod methods;
pub(crate) mod pages;
pub(crate) mod patience;
pub(crate) mod source;
pub(crate) mod tls;
pub(crate) mod tls_words;
