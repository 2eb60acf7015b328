//! Certificates: those of the listeners, read again when their files change, and those of callers. Knows neither
//! clients nor requests.

mod peer;
mod server;

pub use peer::{Peer, PeerCertificate, Unusable};
pub use server::{ServerTls, ShownChain, TlsError, TlsFiles};
