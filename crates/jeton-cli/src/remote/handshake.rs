//! Looks at the certificate that a server presents, as a client sees it.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, ProtocolVersion, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use jeton_io::{certificate::Validity, files};

/// The TLS facts of a server whose chain and name were verified.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TlsLook {
    /// The validity of its certificate.
    pub validity: Validity,
    /// `1.3` or `1.2`.
    pub version: &'static str,
}

/// The reason why a look failed.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A file of ours.
    #[error("{0} holds no certificate in PEM form")]
    File(String),
    /// The name.
    #[error("{0} is no name of a server")]
    Name(String),
    /// The connection, or the server's certificate.
    #[error("{0}")]
    Handshake(#[from] std::io::Error),
    /// No certificate in the answer.
    #[error("the server shows no certificate that can be read")]
    Unreadable,
    /// The library refuses.
    #[error("{0}")]
    Tls(#[from] rustls::Error),
}

/// Connects to `authority` (`host:port`) with the authorities in a file, or those of the system, and looks.
pub async fn look(host: &str, authority: &str, ca: Option<&Path>) -> Result<TlsLook, LookError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| LookError::Name(host.to_owned()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(ca)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(authority).await?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let (_, session) = stream.get_ref();
    let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or(LookError::Unreadable)?;
    Ok(TlsLook {
        validity: Validity::of_der(leaf).ok_or(LookError::Unreadable)?,
        version: if session.protocol_version() == Some(ProtocolVersion::TLSv1_3) { "1.3" } else { "1.2" },
    })
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, LookError> {
    let mut roots = RootCertStore::empty();
    let authorities = match ca {
        Some(file) => {
            let unreadable = || LookError::File(file.display().to_string());
            let pem = files::read_pem(file).map_err(|_| unreadable())?;
            CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|_| unreadable())?
        }
        None => rustls_native_certs::load_native_certs().certs,
    };
    // Certificates that are not an authority's are left out; without any, no server is trusted.
    let _counts = roots.add_parsable_certificates(authorities);
    Ok(roots)
}
