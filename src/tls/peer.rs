//! The peer of a connection: its address and its certificate (SPIFFE X.509-SVID).

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use x509_cert::{
    Certificate,
    der::Decode as _,
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, name::GeneralName},
    spki::ObjectIdentifier,
};

use jeton_io::certificate::Validity;

use jeton_token::{SpiffeId, Thumbprint, UnixSeconds};

/// `id-kp-clientAuth` (RFC 5280 section 4.2.1.12).
const CLIENT_AUTH: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.2");

/// The other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address; behind a proxy, that of the proxy.
    pub address: IpAddr,
    /// The certificate that it proved to hold, if that names a client.
    pub certificate: Option<PeerCertificate>,
}

/// A certificate whose chain and possession were proven, and that names a workload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerCertificate {
    /// Its one URI.
    pub uri: SpiffeId,
    /// SHA-256 of the certificate.
    pub thumbprint: Thumbprint,
    /// The end of its validity: a connection may outlive it.
    pub not_after: UnixSeconds,
}

/// The reason why a certificate with a good chain names no client.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    /// Not DER, or an extension occurs twice.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// X.509-SVID section 4.1.
    #[error("it is the certificate of an authority, not of a workload")]
    Authority,
    /// X.509-SVID section 4.3.
    #[error("its key usage is not that of a workload: digitalSignature, neither keyCertSign nor cRLSign")]
    KeyUsage,
    /// X.509-SVID section 4.4.
    #[error("its extended key usage does not include clientAuth")]
    NotForClients,
    /// X.509-SVID section 2.
    #[error("it has not exactly one URI among its subject alternative names")]
    NotOneUri,
    /// SPIFFE-ID section 2.
    #[error("its URI is not a SPIFFE ID in normal form")]
    NotSpiffe,
    /// RFC 5280 section 4.2.1.3.
    #[error("an authority between it and the root may not sign certificates")]
    MaySignNothing,
}

impl PeerCertificate {
    /// Reads the certificates that a peer presented: its own, whose chain and key were verified already, and those up
    /// to the root.
    pub fn read(shown: &[CertificateDer<'_>]) -> Result<Self, Unusable> {
        let (der, above) = shown.split_first().ok_or(Unusable::Unreadable)?;
        above.iter().try_for_each(may_sign)?;
        let certificate = Certificate::from_der(der).map_err(|_| Unusable::Unreadable)?;
        let facts = certificate.tbs_certificate();
        let constraints = facts.get_extension::<BasicConstraints>().map_err(|_| Unusable::Unreadable)?;
        if constraints.is_some_and(|(_, constraints)| constraints.ca) {
            return Err(Unusable::Authority);
        }
        let usage = facts.get_extension::<KeyUsage>().map_err(|_| Unusable::Unreadable)?;
        let (_, usage) = usage.ok_or(Unusable::KeyUsage)?;
        if !usage.digital_signature() || usage.key_cert_sign() || usage.crl_sign() {
            return Err(Unusable::KeyUsage);
        }
        let purposes = facts.get_extension::<ExtendedKeyUsage>().map_err(|_| Unusable::Unreadable)?;
        if !purposes.is_some_and(|(_, purposes)| purposes.0.contains(&CLIENT_AUTH)) {
            return Err(Unusable::NotForClients);
        }
        let names = facts.get_extension::<SubjectAltName>().map_err(|_| Unusable::Unreadable)?;
        let (_, names) = names.ok_or(Unusable::NotOneUri)?;
        let mut uris = names.0.iter().filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) => Some(uri),
            GeneralName::OtherName(_)
            | GeneralName::Rfc822Name(_)
            | GeneralName::DnsName(_)
            | GeneralName::DirectoryName(_)
            | GeneralName::EdiPartyName(_)
            | GeneralName::IpAddress(_)
            | GeneralName::RegisteredId(_) => None,
        });
        let (Some(uri), None) = (uris.next(), uris.next()) else { return Err(Unusable::NotOneUri) };
        Ok(Self {
            uri: SpiffeId::parse(uri.as_str()).map_err(|_| Unusable::NotSpiffe)?,
            thumbprint: Thumbprint::of_certificate(der),
            not_after: Validity::of(&certificate).not_after,
        })
    }
}

/// The verifier of the chain does not check the key usage of authorities.
fn may_sign(authority: &CertificateDer<'_>) -> Result<(), Unusable> {
    let certificate = Certificate::from_der(authority).map_err(|_| Unusable::Unreadable)?;
    let facts = certificate.tbs_certificate();
    let constraints = facts.get_extension::<BasicConstraints>().map_err(|_| Unusable::Unreadable)?;
    let usage = facts.get_extension::<KeyUsage>().map_err(|_| Unusable::Unreadable)?;
    // A certificate that is not an authority's leads nowhere, and was not followed.
    let is_authority = constraints.is_some_and(|(_, constraints)| constraints.ca);
    let may = usage.is_none_or(|(_, usage)| usage.key_cert_sign());
    if is_authority && !may { Err(Unusable::MaySignNothing) } else { Ok(()) }
}

/// Returns whether a certificate is an authority's, as far as it can be read.
pub(super) fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
}
