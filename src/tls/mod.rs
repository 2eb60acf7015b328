//! Certificates: the listeners' own, read anew when their files change, and those of who connects.
//! Knows neither clients nor requests.

mod client;
mod peer;
mod server;
mod words;

pub use client::{LookError, TlsLook, Validity, look, validity};
pub use peer::{Peer, PeerCertificate, Unusable};
pub use server::{ServerTls, ShownChain, TlsError, TlsFiles};
pub use words::Untrusted;
