//! The TLS of one listener: its files, and the configuration made from them. When the files change, they are read
//! again; if they cannot be used, the old configuration stays in use.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jeton_io::{certificate::Validity, files};
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
    version::{TLS12, TLS13},
};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use x509_cert::{Certificate, der::Decode as _};

use crate::{
    observe::{Metrics, Sampled},
    tls::{Unusable, peer::is_authority},
};
use jeton_state::clock::Clock;
use jeton_token::{UnixSeconds, sha256};

const ENCRYPTED: &[u8] = b"ENCRYPTED";
/// The interval of looking at the files.
const LOOK: Duration = Duration::from_secs(1);

/// The certificate files of a listener: PEM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsFiles {
    /// Its own certificate, with the chain to an authority that clients trust.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
    /// The authorities of clients' certificates; without them no client can present one.
    pub client_ca: Option<PathBuf>,
}

/// The reason why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The error.
        error: io::Error,
    },
    /// A file has the wrong content.
    #[error("{} holds no {what} in PEM form", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// The content that it should have.
        what: &'static str,
    },
    /// The certificate is not valid now.
    #[error("the certificate in {} is good from {not_before} to {not_after} only", file.display())]
    NotNow {
        /// The file.
        file: PathBuf,
        /// The beginning of its validity.
        not_before: jiff::Timestamp,
        /// The end of its validity.
        not_after: jiff::Timestamp,
    },
    /// The key is that of another certificate.
    #[error("the private key in {} is not that of the certificate in {}", key.display(), certificate.display())]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// The key cannot be read in its form.
    #[error(
        "the private key in {} is encrypted: decrypt it with `openssl pkey -in FILE -out OTHER` into a file that only \
         jeton can read", .0.display()
    )]
    Encrypted(PathBuf),
    /// Certificate and key cannot be used together.
    #[error("certificate and key cannot be used: {0}")]
    Pair(String),
    /// The clients' authorities cannot be used.
    #[error("the authorities in {} cannot be used: {error}", file.display())]
    Authorities {
        /// The file.
        file: PathBuf,
        /// The error.
        error: VerifierBuilderError,
    },
}

/// The configuration made from the files.
struct Loaded {
    config: Arc<ServerConfig>,
    /// Verifies clients' certificates.
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    /// The digest of their authorities.
    authorities: [u8; 32],
    /// The number of times that the authorities have changed.
    generation: u64,
}

/// The certificates that a client presented, and the generation of authorities under which they were last good.
#[derive(Debug)]
pub struct ShownChain {
    chain: Vec<CertificateDer<'static>>,
    generation: AtomicU64,
}

impl ShownChain {
    /// The chain as it was presented in a handshake that began in this generation of the authorities.
    #[must_use]
    pub fn of(shown: &[CertificateDer<'_>], generation: u64) -> Self {
        let chain = shown.iter().map(|certificate| certificate.clone().into_owned()).collect();
        Self { chain, generation: AtomicU64::new(generation) }
    }
}

/// The TLS of one listener.
pub struct ServerTls {
    listener: &'static str,
    files: TlsFiles,
    clock: Arc<Clock>,
    /// The digest of the files that were read first.
    loaded: [u8; 32],
    current: ArcSwap<Loaded>,
    /// The end of validity of the certificate in use.
    not_after: ArcSwap<UnixSeconds>,
    /// Log lines about refused certificates, by the few reasons that there are.
    refusal_lines: Mutex<HashMap<String, Sampled>>,
    /// Called with the address of each client whose certificate is refused.
    refusals: OnceLock<OnRefused>,
}

type OnRefused = Box<dyn Fn(IpAddr) + Send + Sync>;

impl ServerTls {
    /// Reads the files for the listener of this name.
    pub fn load(listener: &'static str, files: TlsFiles, clock: Arc<Clock>) -> Result<Self, TlsError> {
        let loaded = digest(&files);
        let material = read(&files)?;
        material.warn_of_authority(&files);
        let (loaded_now, not_after) = material.configure(&files, clock.now_s(), None)?;
        Ok(Self {
            loaded,
            listener,
            files,
            clock,
            current: ArcSwap::from_pointee(loaded_now),
            not_after: ArcSwap::from_pointee(not_after),
            refusal_lines: Mutex::default(),
            refusals: OnceLock::new(),
        })
    }

    /// Sets the function that is called with the address of each client whose certificate is refused. Once.
    pub fn on_refused(&self, told: impl Fn(IpAddr) + Send + Sync + 'static) {
        // A second one would be our mistake, and changes nothing.
        let _set = self.refusals.set(Box::new(told));
    }

    /// Records that a client's certificate names no client, although its chain is good.
    pub fn names_no_client(&self, address: IpAddr, why: Unusable) {
        if let Some(left_out) = self.refused(address, why.to_string()) {
            tracing::warn!(
                jeton.listener = self.listener,
                client.address = %address,
                error = %why,
                jeton.left_out = Some(left_out).filter(|left_out| *left_out > 0),
                "a certificate names no client"
            );
        }
    }

    /// Records that a handshake failed, perhaps because of the client's certificate.
    pub fn handshake_failed(&self, address: IpAddr, error: &io::Error) {
        let why = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        let Some(why @ rustls::Error::InvalidCertificate(_)) = why else { return };
        if let Some(left_out) = self.refused(address, String::new()) {
            tracing::warn!(
                jeton.listener = self.listener,
                client.address = %address,
                error = %why,
                jeton.left_out = Some(left_out).filter(|left_out| *left_out > 0),
                "a client's certificate was refused"
            );
        }
    }

    /// Counts a refusal. Returns the number of lines left out before, if it is to be logged.
    fn refused(&self, address: IpAddr, kind: String) -> Option<u64> {
        if let Some(told) = self.refusals.get() {
            told(address);
        }
        let mut lines = self.refusal_lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.entry(kind).or_insert_with(|| Sampled::new(1, 10)).turn(self.clock.now_s())
    }

    /// Returns whether clients can present certificates.
    #[must_use]
    pub fn knows_clients(&self) -> bool {
        self.files.client_ca.is_some()
    }

    /// The configuration for new connections, and its generation of the clients' authorities.
    #[must_use]
    pub fn config(&self) -> (Arc<ServerConfig>, u64) {
        let current = self.current.load();
        (Arc::clone(&current.config), current.generation)
    }

    /// Returns whether a client's certificate would be accepted now: checked again when other authorities are in use,
    /// and not when the server's own certificate is renewed.
    #[must_use]
    pub fn still_takes(&self, shown: &ShownChain) -> bool {
        let current = self.current.load();
        if shown.generation.load(Ordering::Relaxed) == current.generation {
            return true;
        }
        let now = Duration::from_secs(u64::try_from(self.clock.now_s()).unwrap_or_default());
        let takes = shown.chain.split_first().zip(current.verifier.as_ref()).is_some_and(
            |((own, above), verifier)| {
                verifier.verify_client_cert(own, above, UnixTime::since_unix_epoch(now)).is_ok()
            },
        );
        if takes {
            shown.generation.store(current.generation, Ordering::Relaxed);
        }
        takes
    }

    /// Reads the files again when they change, until `stop`.
    pub async fn watch(self: Arc<Self>, metrics: Arc<Metrics>, stop: CancellationToken) {
        let mut used = self.loaded;
        let mut seen = used;
        let mut said = used;
        loop {
            metrics.certificate_end(self.listener, self.not_after.load().get());
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(LOOK) => {}
            }
            let now = digest(&self.files);
            // Files must be unchanged for two looks: certificate and key are not replaced at the same moment.
            if now == seen {
                // Files that cannot be used are tried again, because their time may come, and reported once.
                if now != used && self.reload(now != said) {
                    used = now;
                }
                said = now;
            }
            seen = now;
        }
    }

    /// Returns whether the content of the files is in use now. Logs the reason if it is not, and `complain`.
    fn reload(&self, complain: bool) -> bool {
        let in_use = self.current.load();
        let configured = read(&self.files).and_then(|read| {
            if complain {
                read.warn_of_authority(&self.files);
            }
            read.configure(&self.files, self.clock.now_s(), Some(&**in_use))
        });
        match configured {
            Ok((loaded, not_after)) => {
                self.current.store(Arc::new(loaded));
                self.not_after.store(Arc::new(not_after));
                tracing::info!(
                    jeton.listener = self.listener,
                    tls.not_after = %jiff::Timestamp::from(not_after),
                    "new certificates are in use"
                );
                true
            }
            Err(error) => {
                if complain {
                    tracing::error!(
                        jeton.listener = self.listener,
                        error = %error,
                        "new certificates cannot be used: the old ones stay in use"
                    );
                }
                false
            }
        }
    }
}

/// The content of the files.
struct Material {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: Option<Vec<CertificateDer<'static>>>,
}

fn read(files: &TlsFiles) -> Result<Material, TlsError> {
    Ok(Material {
        chain: certificates(&files.certificate)?,
        key: private_key(&files.key)?,
        authorities: files.client_ca.as_deref().map(certificates).transpose()?,
    })
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = bytes(file)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
        // PKCS#8 says so in the first line, older forms in the second.
        let is_encrypted = pem.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
        if is_encrypted {
            TlsError::Encrypted(file.to_path_buf())
        } else {
            TlsError::Content { file: file.to_path_buf(), what: "private key" }
        }
    })
}

/// The content of a file, without a byte order mark.
fn bytes(file: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, TlsError> {
    let read = files::read_pem(file).map_err(|error| TlsError::File { file: file.to_path_buf(), error })?;
    Ok(zeroize::Zeroizing::new(read))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all = CertificateDer::pem_slice_iter(&bytes(file)?).collect::<Result<Vec<_>, _>>();
    all.ok()
        .filter(|all| !all.is_empty())
        .ok_or_else(|| TlsError::Content { file: file.to_path_buf(), what: "certificate" })
}

impl Material {
    fn configure(
        self,
        files: &TlsFiles,
        now_s: i64,
        in_use: Option<&Loaded>,
    ) -> Result<(Loaded, UnixSeconds), TlsError> {
        let authorities = self.digest_of_authorities();
        let generation = in_use.map_or(0, |in_use| {
            in_use.generation.saturating_add(u64::from(in_use.authorities != authorities))
        });
        let not_after = self.check_time(files, UnixSeconds::new(now_s))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| TlsError::Pair(error.to_string()))?;
        let verifier = match (self.authorities, &files.client_ca) {
            (Some(authorities), Some(file)) => Some(
                verifier(authorities, provider)
                    .map_err(|error| TlsError::Authorities { file: file.clone(), error })?,
            ),
            _ => None,
        };
        let builder = match &verifier {
            Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder.with_single_cert(self.chain, self.key).map_err(|error| {
            if matches!(error, rustls::Error::InconsistentKeys(_)) {
                TlsError::Mismatch { certificate: files.certificate.clone(), key: files.key.clone() }
            } else {
                TlsError::Pair(error.to_string())
            }
        })?;
        // gRPC is HTTP/2; plain HTTP clients get the protocol that they support on the same port (RFC 7301).
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok((Loaded { config: Arc::new(config), verifier, authorities, generation }, not_after))
    }

    fn digest_of_authorities(&self) -> [u8; 32] {
        let each: Vec<_> =
            self.authorities.iter().flatten().map(|authority| sha256(&[authority.as_ref()])).collect();
        sha256(&each.iter().map(<[u8; 32]>::as_slice).collect::<Vec<_>>())
    }

    /// Its own certificate, if it can be read.
    fn leaf(&self) -> Option<Certificate> {
        Certificate::from_der(self.chain.first()?).ok()
    }

    /// Warns of certificates that only some clients accept.
    fn warn_of_authority(&self, files: &TlsFiles) {
        if self.leaf().as_ref().is_some_and(is_authority) {
            tracing::warn!(
                tls.file = %files.certificate.display(),
                "this certificate is that of an authority (CA:TRUE): some clients, jeton's own among them, refuse it. \
                 Make one with `openssl req -x509 -addext basicConstraints=critical,CA:FALSE` and a subjectAltName"
            );
        }
    }

    /// A certificate that no client would accept is refused here, where an operator reads it.
    fn check_time(&self, files: &TlsFiles, now: UnixSeconds) -> Result<UnixSeconds, TlsError> {
        let unreadable = || TlsError::Content { file: files.certificate.clone(), what: "certificate" };
        let leaf = self.leaf().ok_or_else(unreadable)?;
        let Validity { not_before, not_after } = Validity::of(&leaf);
        if now < not_before || now > not_after {
            return Err(TlsError::NotNow {
                file: files.certificate.clone(),
                not_before: not_before.into(),
                not_after: not_after.into(),
            });
        }
        Ok(not_after)
    }
}

/// A client may connect without a certificate, and use an API key. One that presents a certificate of another authority
/// is refused at the handshake.
fn verifier(
    authorities: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut roots = RootCertStore::empty();
    // Certificates that are not an authority's are left out; if there is none at all, that is refused below.
    let _counts = roots.add_parsable_certificates(authorities);
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build()
}

/// A digest of the content of all files; an unreadable file counts as empty.
fn digest(files: &TlsFiles) -> [u8; 32] {
    let read = |file: &PathBuf| zeroize::Zeroizing::new(files::read(file).unwrap_or_default());
    let ca = files.client_ca.as_ref().map(read).unwrap_or_default();
    let (certificate, key) = (read(&files.certificate), read(&files.key));
    // Each file is hashed separately first: so moving content from one file to another is a change.
    sha256(&[&sha256(&[&certificate]), &sha256(&[&key]), &sha256(&[&ca])])
}
