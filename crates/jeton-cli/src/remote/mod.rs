//! The server: its address, the credential for it, and why it cannot be reached.

pub(crate) mod connect;
pub(crate) mod contexts;
pub(crate) mod handshake;
pub(crate) mod pages;
pub(crate) mod tls;
pub(crate) mod tls_words;
