//! Certificates: the listeners' own, read anew when their files change, and those of who connects.
//! Knows neither clients nor requests.

mod peer;
mod server;

pub use peer::{Peer, PeerCertificate, Unusable};
pub use server::{ServerTls, TlsError, TlsFiles};
