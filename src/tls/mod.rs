//! Certificates: those of the listeners, read again when their files change, and those of callers. Knows neither
//! clients nor requests.

mod client;
mod peer;
mod server;
mod words;

pub use client::{LookError, TlsLook, Validity, look, validity};
pub use peer::{Peer, PeerCertificate, Unusable};
pub use server::{ServerTls, ShownChain, TlsError, TlsFiles};
pub use words::Untrusted;
