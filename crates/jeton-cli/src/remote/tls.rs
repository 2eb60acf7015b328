//! The trusted authorities and the client's certificate: from flags, then the context.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use jeton_client::ClientBuilder;
use serde::{Deserialize, Serialize};

use crate::{
    invocation::GlobalArgs,
    term::{exit::Failure, token_input},
};

/// Files of a client's TLS: PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Files {
    /// The authorities of the server's certificate.
    #[serde(rename = "tls_ca", skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The client's certificate.
    #[serde(rename = "tls_cert", skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The private key of that certificate.
    #[serde(rename = "tls_key", skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Files {
    /// The files that the flags name.
    pub fn given(globals: &GlobalArgs) -> Result<Self, Failure> {
        if globals.tls_cert.is_some() != globals.tls_key.is_some() {
            return Err(Failure::Usage("--tls-cert and --tls-key go together. Give both, or none.".into()));
        }
        Ok(Self {
            ca: globals.tls_ca.clone(),
            certificate: globals.tls_cert.clone(),
            key: globals.tls_key.clone(),
        })
    }

    /// These files; those that are missing are taken from `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let (certificate, key) = match (self.certificate, self.key) {
            (None, None) => (other.certificate, other.key),
            pair => pair,
        };
        Self { ca: self.ca.or(other.ca), certificate, key }
    }

    /// The same files with absolute paths.
    #[must_use]
    pub fn absolute(self, directory: &Path) -> Self {
        let absolute = |path: Option<PathBuf>| path.map(|path| directory.join(path));
        Self { ca: absolute(self.ca), certificate: absolute(self.certificate), key: absolute(self.key) }
    }

    /// Returns whether a certificate is presented: then no API key is needed.
    #[must_use]
    pub fn shows_certificate(&self) -> bool {
        self.certificate.is_some()
    }

    /// Gives the files to a client.
    pub fn given_to(&self, builder: ClientBuilder) -> ClientBuilder {
        let builder = self.ca.iter().fold(builder, ClientBuilder::ca_file);
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                token_input::warn_if_open(key, "private key");
                builder.certificate_files(certificate, key)
            }
            _ => builder,
        }
    }
}

/// Returns whether others can read what is sent to this URL.
#[must_use]
pub fn is_exposed(url: &str) -> bool {
    let Some(authority) = url.strip_prefix("http://") else { return false };
    let host = host(authority);
    host != "localhost" && !host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The host of `host:port` or `[address]:port`.
#[must_use]
pub fn host(authority: &str) -> &str {
    let authority = authority.split('/').next().unwrap_or_default();
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plaintext_is_exposed_beyond_loopback() {
        for inside in ["http://127.0.0.1:7070", "http://localhost:7070", "http://[::1]:7070", "https://a:1"] {
            assert!(!is_exposed(inside), "{inside}");
        }
        for outside in ["http://10.0.0.1:7070", "http://jeton:7070", "http://localhost.example:1"] {
            assert!(is_exposed(outside), "{outside}");
        }
    }

    #[test]
    fn a_certificate_comes_with_its_own_key() {
        let of = |name: &str| Files {
            ca: None,
            certificate: Some(format!("{name}.pem").into()),
            key: Some(format!("{name}.key").into()),
        };
        assert_eq!(of("flag").or(of("context")), of("flag"));
        assert_eq!(Files::default().or(of("context")), of("context"));
    }
}
