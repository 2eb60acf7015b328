//! TLS of the connections to jeton.

use std::{path::Path, sync::Arc};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

use crate::JetonError;

/// The configuration with an authority of one's own, or those of the system; and with a client certificate and its key,
/// if there are such.
pub(crate) fn config(
    ca: Option<(&[u8], &Path)>,
    pair: Option<(Vec<u8>, Vec<u8>, &Path, &Path)>,
) -> Result<Arc<ClientConfig>, JetonError> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some((pem, path)) => {
            for certificate in certificates(pem, path)? {
                roots.add(certificate).map_err(|error| {
                    let message = format!("A certificate in {} cannot be used: {error}.", path.display());
                    JetonError::credential_invalid(Some(path), message)
                })?;
            }
        }
        // What the system cannot read, it does not trust.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let failed = |error: &dyn std::fmt::Display| {
        JetonError::credential_invalid(None, format!("TLS cannot be set up: {error}."))
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots);
    let mut config = match pair {
        None => builder.with_no_client_auth(),
        Some((certificate, key, certificate_path, key_path)) => {
            let chain = certificates(&certificate, certificate_path)?;
            let unusable = || {
                let message = format!(
                    "The certificate {} and the key {} cannot be used together. Give both in PEM.",
                    certificate_path.display(),
                    key_path.display()
                );
                JetonError::credential_invalid(Some(certificate_path), message)
            };
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| unusable())?;
            builder.with_client_auth_cert(chain, key).map_err(|_| unusable())?
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, JetonError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
        let message = format!("The file {} holds no certificate in PEM.", path.display());
        JetonError::credential_invalid(Some(path), message)
    })
}

/// The thumbprint of a certificate in DER form: `x5t#S256` of RFC 8705.
#[must_use]
pub fn thumbprint(der: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, der))
}
