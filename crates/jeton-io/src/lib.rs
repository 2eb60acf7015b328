//! What the server and the command line read from outside: files up to a length, the validity of a certificate, and the
//! reason why TLS refused one.

pub mod certificate;
pub mod files;
mod untrusted;

pub use untrusted::Untrusted;
