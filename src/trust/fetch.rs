//! Fetches a document of a trusted issuer: its key set, or what names it. Issuers are registered by administrators, but a
//! host that they name may turn hostile, or be pointed elsewhere: so a fetch is small, short and goes to no address within.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, StatusCode, Uri,
    header::{ACCEPT, HOST, LOCATION, USER_AGENT},
    uri::Scheme,
};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    client::conn::http1,
    rt::{Read, Write},
};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use crate::trust::address::is_public;

/// The greatest length of a document, bytes.
pub const DOCUMENT_BYTES_MAX: usize = 256 * 1024;
/// A fetch takes no longer, redirects included.
const FETCH_TIME: Duration = Duration::from_secs(5);
/// Redirects to other paths of one host that are followed.
const REDIRECTS_MAX: usize = 3;

/// The reason why a document could not be fetched, as a sentence that follows the URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Not a URL that is fetched from.
    #[error("is not https://, nor http:// of this machine")]
    Url,
    /// The name is not known.
    #[error("has a host without an address")]
    NoAddress,
    /// The host is within.
    #[error("leads to {0}, which is no public address; allow_private_addresses permits it")]
    Private(IpAddr),
    /// No connection, or it broke.
    #[error("cannot be reached: {0}")]
    Broken(String),
    /// It took too long.
    #[error("did not answer within 5 s")]
    Late,
    /// Another status than 200.
    #[error("answers {0}")]
    Status(u16),
    /// It leads to another host, or on and on.
    #[error("redirects to another host, or more than 3 times")]
    Redirect,
    /// The document is too long.
    #[error("answers more than 256 KiB, or breaks off")]
    TooLong,
}

/// Fetches documents. Clones share its roots of trust.
#[derive(Clone)]
pub struct Fetcher {
    tls: Arc<ClientConfig>,
}

impl Fetcher {
    /// A fetcher that trusts the authorities of the system.
    ///
    /// # Errors
    /// The process cannot use its cryptography.
    pub fn new() -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        // Certificates that cannot be read are left out, as other programs do.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        Ok(Self { tls: Arc::new(config.with_root_certificates(roots).with_no_client_auth()) })
    }

    /// The document at a URL. `private`: the host may have an address of a private network, or of this machine.
    pub async fn fetch(&self, url: &str, private: bool) -> Result<Vec<u8>, FetchError> {
        timeout(FETCH_TIME, self.follow(url, private)).await.unwrap_or(Err(FetchError::Late))
    }

    async fn follow(&self, url: &str, private: bool) -> Result<Vec<u8>, FetchError> {
        let mut place = Place::parse(url)?;
        for _ in 0..=REDIRECTS_MAX {
            match self.once(&place, private).await? {
                Answer::Document(document) => return Ok(document),
                Answer::Elsewhere(path) => place.path = path,
            }
        }
        Err(FetchError::Redirect)
    }

    async fn once(&self, place: &Place, private: bool) -> Result<Answer, FetchError> {
        let stream = place.connect(private).await?;
        if !place.is_tls {
            return ask(TokioIo::new(stream), place).await;
        }
        let name = ServerName::try_from(place.host.clone()).map_err(|_| FetchError::Url)?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await.map_err(broken)?;
        ask(TokioIo::new(stream), place).await
    }
}

enum Answer {
    Document(Vec<u8>),
    /// Another path of the same host.
    Elsewhere(String),
}

/// A URL that may be fetched from.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    is_tls: bool,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
    path: String,
}

impl Place {
    fn parse(url: &str) -> Result<Self, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::Url)?;
        let authority = uri.authority().ok_or(FetchError::Url)?;
        let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let is_clear = uri.scheme() == Some(&Scheme::HTTP) && is_this_machine(&host);
        if !(is_tls || is_clear) || authority.as_str().contains('@') || host.is_empty() {
            return Err(FetchError::Url);
        }
        let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Ok(Self { is_tls, host, port, path })
    }

    async fn connect(&self, private: bool) -> Result<TcpStream, FetchError> {
        let found: Vec<SocketAddr> =
            lookup_host((self.host.as_str(), self.port)).await.map_err(|_| FetchError::NoAddress)?.collect();
        // One address within is enough: a name that has both serves to get at the second.
        let within = found.iter().map(SocketAddr::ip).find(|address| !self.may_go_to(*address, private));
        if let Some(address) = within {
            return Err(FetchError::Private(address));
        }
        let mut failed = FetchError::NoAddress;
        for address in found {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = broken(error),
            }
        }
        Err(failed)
    }

    fn may_go_to(&self, address: IpAddr, private: bool) -> bool {
        is_public(address) || private || (!self.is_tls && address.is_loopback())
    }

    /// The path that a redirect names, if it is one of the same host.
    fn elsewhere(&self, location: Option<&HeaderValue>) -> Result<String, FetchError> {
        let location = location.and_then(|value| value.to_str().ok()).ok_or(FetchError::Redirect)?;
        if location.starts_with('/') && !location.starts_with("//") {
            return Ok(location.to_owned());
        }
        let there = Self::parse(location).map_err(|_| FetchError::Redirect)?;
        let same = (there.is_tls, &there.host, there.port) == (self.is_tls, &self.host, self.port);
        if same { Ok(there.path) } else { Err(FetchError::Redirect) }
    }

    fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn broken(error: impl std::fmt::Display) -> FetchError {
    FetchError::Broken(error.to_string())
}

async fn ask<T>(stream: T, place: &Place) -> Result<Answer, FetchError>
where
    T: Read + Write + Send + Unpin + 'static,
{
    let (mut send, connection) = http1::handshake(stream).await.map_err(broken)?;
    let request = Request::builder()
        .method(Method::GET)
        .uri(&place.path)
        .header(HOST, place.authority())
        .header(ACCEPT, "application/jwk-set+json, application/json")
        .header(USER_AGENT, concat!("jeton/", env!("CARGO_PKG_VERSION")))
        .body(Empty::<Bytes>::new())
        .map_err(|_| FetchError::Url)?;
    let answer = async {
        let answer = send.send_request(request).await.map_err(broken)?;
        let status = answer.status();
        if status.is_redirection() {
            return place.elsewhere(answer.headers().get(LOCATION)).map(Answer::Elsewhere);
        }
        if status != StatusCode::OK {
            return Err(FetchError::Status(status.as_u16()));
        }
        let body = Limited::new(answer.into_body(), DOCUMENT_BYTES_MAX).collect().await;
        let body = body.map_err(|_| FetchError::TooLong)?;
        Ok(Answer::Document(body.to_bytes().into()))
    };
    tokio::pin!(answer);
    tokio::pin!(connection);
    // The connection ends with the answer: nothing is left behind.
    tokio::select! {
        answer = &mut answer => answer,
        ended = &mut connection => match ended {
            Ok(()) => answer.await,
            Err(error) => Err(broken(error)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o9_keys_are_fetched_over_https_or_from_this_machine() {
        for good in [
            "https://a.example",
            "https://a.example:8443/x?y",
            "http://127.0.0.1:1/x",
            "http://[::1]/",
            "http://localhost",
        ] {
            assert!(Place::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "http://a.example",
            "http://10.0.0.1/",
            "ftp://a",
            "file:///etc/passwd",
            "https://u@a.example",
            "http://127.0.0.1.example/",
            "https://",
        ] {
            assert_eq!(Place::parse(bad), Err(FetchError::Url), "{bad}");
        }
    }

    #[test]
    fn o9_a_redirect_stays_on_its_host() -> Result<(), FetchError> {
        let place = Place::parse("https://a.example/keys")?;
        let to = |location: &'static str| place.elsewhere(Some(&HeaderValue::from_static(location)));
        assert_eq!(to("/other?x"), Ok("/other?x".to_owned()));
        assert_eq!(to("https://a.example:443/y"), Ok("/y".to_owned()));
        for bad in
            ["//b.example/", "https://b.example/", "http://a.example/", "https://a.example:8443/", "keys", ""]
        {
            assert_eq!(to(bad), Err(FetchError::Redirect), "{bad}");
        }
        assert_eq!(place.elsewhere(None), Err(FetchError::Redirect));
        Ok(())
    }

    #[test]
    fn o9_a_private_address_needs_a_permission() -> Result<(), FetchError> {
        let (tls, clear) = (Place::parse("https://a.example")?, Place::parse("http://127.0.0.1")?);
        let within = IpAddr::from([10, 0, 0, 1]);
        let here = IpAddr::from([127, 0, 0, 1]);
        assert!(!tls.may_go_to(within, false) && tls.may_go_to(within, true) && !tls.may_go_to(here, false));
        assert!(clear.may_go_to(here, false) && !clear.may_go_to(within, false));
        Ok(())
    }
}
