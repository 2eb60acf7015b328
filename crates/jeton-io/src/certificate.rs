//! The validity of certificates (RFC 5280 section 4.1.2.5).

use std::path::Path;

use jeton_token::UnixSeconds;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use x509_cert::{Certificate, der::Decode as _, time::Time};

use crate::files;

/// The validity of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validity {
    /// The first second.
    pub not_before: UnixSeconds,
    /// The last second.
    pub not_after: UnixSeconds,
}

/// A file holds no certificate.
#[derive(Debug, thiserror::Error)]
#[error("{0} holds no certificate in PEM form")]
pub struct NoCertificate(pub String);

impl Validity {
    /// Of a parsed certificate.
    #[must_use]
    pub fn of(certificate: &Certificate) -> Self {
        let validity = certificate.tbs_certificate().validity();
        Self { not_before: unix_seconds(validity.not_before), not_after: unix_seconds(validity.not_after) }
    }

    /// Of a certificate in DER form; `None` if it is none.
    #[must_use]
    pub fn of_der(der: &CertificateDer<'_>) -> Option<Self> {
        Certificate::from_der(der).ok().map(|certificate| Self::of(&certificate))
    }

    /// Of the first certificate of a PEM file.
    pub fn of_file(file: &Path) -> Result<Self, NoCertificate> {
        let none = || NoCertificate(file.display().to_string());
        let pem = files::read_pem(file).map_err(|_| none())?;
        let leaf = CertificateDer::from_pem_slice(&pem).map_err(|_| none())?;
        Self::of_der(&leaf).ok_or_else(none)
    }
}

fn unix_seconds(time: Time) -> UnixSeconds {
    UnixSeconds::new(i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX))
}
