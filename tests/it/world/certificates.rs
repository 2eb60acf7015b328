//! Certificates for a test: authorities, and good or bad certificates that they sign.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use jeton_token::Thumbprint;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tonic::transport::Identity;

/// The name of every server, beside its address on loopback.
pub const SERVER_NAME: &str = "jeton.test";
/// The default validity of a certificate.
const LIFE: Duration = Duration::from_hours(24 * 90);
/// No clock is so far behind.
const BACKDATED: Duration = Duration::from_hours(1);

/// Signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// The chain to the root, itself included: empty for a root.
    above: Vec<Certificate>,
}

/// A certificate with its key, and what leads to the root.
pub struct Leaf {
    certificate: Certificate,
    above: Vec<Certificate>,
    key: KeyPair,
}

/// Parameters with this validity, without a name.
pub fn parameters(life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.not_before = (SystemTime::now() - BACKDATED).into();
    params.not_after = (SystemTime::now() + life).into();
    params.distinguished_name.push(DnType::CommonName, "test");
    params
}

/// The parameters of a workload, as X.509-SVID requires.
pub fn workload(uri: &str) -> CertificateParams {
    let mut params = parameters(LIFE);
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// The parameters of a server, with this validity.
pub fn server(life: Duration) -> CertificateParams {
    let mut params = parameters(life);
    params.subject_alt_names = vec![
        SanType::DnsName(SERVER_NAME.try_into().unwrap()),
        SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    ];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params
}

/// The parameters of an authority.
pub fn authority(name: &str) -> CertificateParams {
    let mut params = parameters(LIFE);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

impl Authority {
    /// A root of this name.
    pub fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(authority(name), KeyPair::generate().unwrap()).unwrap();
        Self { issuer, above: Vec::new() }
    }

    /// One below this, whether or not its parameters let it sign.
    pub fn below(&self, params: CertificateParams) -> Self {
        let issuer = CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), &self.issuer).unwrap();
        let certificate: &Certificate = issuer.as_ref();
        let above = [certificate.clone()].into_iter().chain(self.above.iter().cloned()).collect();
        Self { issuer, above }
    }

    /// Signs.
    pub fn sign(&self, params: &CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { certificate, above: self.above.clone(), key }
    }

    /// A server's, good for so long.
    pub fn server_for(&self, life: Duration) -> Leaf {
        self.sign(&server(life))
    }

    /// A server's that was good until a minute ago.
    pub fn ended_server(&self) -> Leaf {
        let mut params = server(LIFE);
        params.not_after = (SystemTime::now() - Duration::from_mins(1)).into();
        self.sign(&params)
    }

    /// A server's.
    pub fn server(&self) -> Leaf {
        self.server_for(LIFE)
    }

    /// A workload's.
    pub fn client(&self, uri: &str) -> Leaf {
        self.sign(&workload(uri))
    }

    /// A workload's, good for so long.
    pub fn client_for(&self, uri: &str, life: Duration) -> Leaf {
        let mut params = workload(uri);
        params.not_after = (SystemTime::now() + life).into();
        self.sign(&params)
    }

    pub fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Written to a file of this name.
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(name);
        std::fs::write(&path, self.pem()).unwrap();
        path
    }
}

impl Leaf {
    /// One that signed itself.
    pub fn of_itself(params: &CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), above: Vec::new(), key }
    }

    fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        [&self.certificate].into_iter().chain(&self.above)
    }

    /// The certificate, then what leads to the root.
    pub fn pem(&self) -> String {
        self.certificates().map(Certificate::pem).collect()
    }

    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.certificates().map(|certificate| certificate.der().clone()).collect()
    }

    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    pub fn thumbprint(&self) -> String {
        Thumbprint::of_certificate(self.certificate.der()).to_string()
    }

    /// As generated stubs show it.
    pub fn identity(&self) -> Identity {
        Identity::from_pem(self.pem(), self.key_pem())
    }

    /// Writes certificate and key to files of these names: as an operator does, one after the other.
    pub fn write(&self, directory: &Path, name: &str) -> [PathBuf; 2] {
        let paths = [directory.join(format!("{name}.pem")), directory.join(format!("{name}.key"))];
        std::fs::write(&paths[0], self.pem()).unwrap();
        std::fs::write(&paths[1], self.key_pem()).unwrap();
        paths
    }
}
