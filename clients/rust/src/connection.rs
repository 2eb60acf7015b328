//! The connection to a server.

use std::error::Error;

use secrecy::{ExposeSecret as _, SecretSlice};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

use crate::address::check_address;

/// The certificate by which a client authenticates, and its private key: both PEM.
#[derive(Debug)]
pub struct Identity {
    /// The certificate, and those of the authorities between it and the root.
    pub certificate: Vec<u8>,
    /// The private key.
    pub key: SecretSlice<u8>,
}

/// Whom a client trusts over TLS, and what it presents. Nothing of it is used with a URL that begins with `http://`.
#[derive(Debug, Default)]
pub struct Trust {
    /// The authorities of the server's certificate, PEM; `None`: those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The client's own certificate; `None`: a credential goes with each call.
    pub identity: Option<Identity>,
}

/// The reason why no connection can be attempted.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The text is no address of a server. It is not repeated: it may hold a password.
    #[error("the endpoint is no address of a server: {0}. Write https://host:port.")]
    Address(String),
    /// The certificates or the key cannot be used.
    #[error("the files of TLS cannot be used: {0}.")]
    Trust(String),
}

/// The server at `url`: `https://host[:port]`, or `http://host[:port]` for plaintext, and nothing more. Connects to nothing yet; the caller
/// sets time limits.
pub fn endpoint(url: &str, trust: &Trust) -> Result<Endpoint, ConnectError> {
    check_address(url).map_err(|fault| ConnectError::Address(fault.to_owned()))?;
    let endpoint =
        Endpoint::from_shared(url.to_owned()).map_err(|error| ConnectError::Address(root_cause(&error)))?;
    if !url.starts_with("https://") {
        return Ok(endpoint);
    }
    let config = match &trust.authorities {
        Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let config = match &trust.identity {
        Some(Identity { certificate, key }) => {
            config.identity(tonic::transport::Identity::from_pem(certificate, key.expose_secret()))
        }
        None => config,
    };
    endpoint.tls_config(config).map_err(|error| ConnectError::Trust(root_cause(&error)))
}

/// The end of a chain of errors: `transport error` by itself says nothing.
#[must_use]
pub fn root_cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_no_url_is_refused() {
        for url in ["", "http://", "not a url", "http://a b", "http://h:70700", "http://u:secret@h"] {
            let refused = endpoint(url, &Trust::default()).map(drop).map_err(|error| error.to_string());
            assert!(refused.is_err_and(|text| !text.contains("secret")), "{url:?}");
        }
        assert!(endpoint("http://127.0.0.1:7070", &Trust::default()).is_ok());
    }

    #[test]
    fn what_is_no_certificate_is_refused_where_tls_is_used() {
        let identity = Identity { certificate: b"none".to_vec(), key: b"none".to_vec().into() };
        let trust = Trust { authorities: Some(Vec::new()), identity: Some(identity) };
        assert!(endpoint("http://127.0.0.1:7070", &trust).is_ok(), "plaintext needs none of it");
        assert!(matches!(endpoint("https://127.0.0.1:7070", &trust), Err(ConnectError::Trust(_))));
    }
}
