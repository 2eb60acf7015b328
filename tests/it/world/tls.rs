//! A client's TLS, and a world whose listeners use TLS.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jeton::proto::v1 as pb;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::ServerName,
    version::{TLS12, TLS13},
};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use super::{
    Api, Authority, Http, HttpAnswer, Leaf, Server, ServerOptions, World, api_key, certificates::SERVER_NAME,
    http_request, own_address,
};

/// Connects with TLS: from an address of its own each, since what fails too often from one is told so (C5).
#[derive(Clone)]
pub struct Dialer(Arc<ClientConfig>);

impl Dialer {
    /// One that trusts this authority, shows this certificate, and speaks these protocols above.
    pub fn new(trusts: &Authority, shows: Option<&Leaf>, alpn: &[&str]) -> Self {
        Self::with_versions(trusts, shows, alpn, &[&TLS13, &TLS12])
    }

    pub fn with_versions(
        trusts: &Authority,
        shows: Option<&Leaf>,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(trusts.der()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            Some(leaf) => builder.with_client_auth_cert(leaf.chain(), leaf.key()).unwrap(),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }

    /// With TLS 1.3 the server's refusal of a certificate comes only with its first answer.
    pub async fn dial(&self, address: &str) -> io::Result<TlsStream<TcpStream>> {
        let stream = open(address).await;
        TlsConnector::from(Arc::clone(&self.0))
            .connect(ServerName::try_from(SERVER_NAME).unwrap(), stream)
            .await
    }

    /// For HTTP/1.1.
    pub async fn http(&self, address: &str) -> Http {
        Http::over(self.dial(address).await.unwrap())
    }

    /// One request over HTTP/1.1.
    pub async fn ask(&self, address: &str, request: &str) -> HttpAnswer {
        self.try_ask(address, request).await.unwrap()
    }

    /// The same; an error where there is no connection to be had.
    pub async fn try_ask(&self, address: &str, request: &str) -> io::Result<HttpAnswer> {
        let mut connection = Http::over(self.dial(address).await?);
        connection.try_write(request).await?;
        connection.try_read(request.starts_with("HEAD")).await
    }

    pub async fn get(&self, address: &str, path: &str) -> HttpAnswer {
        self.ask(address, &http_request("GET", path, &[], "")).await
    }
}

/// A connection without TLS, from an address of its own.
pub async fn open(address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((own_address(), 0).into()).unwrap();
    socket.connect(address.parse().unwrap()).await.unwrap()
}

/// A world whose public and admin listeners use TLS and know the clients' authority.
pub struct Secure {
    pub world: World,
    /// Signs for the servers.
    pub servers: Authority,
    /// Signs for the clients.
    pub clients: Authority,
    /// The directory of the server's files: `server.pem`, `server.key`, `clients.pem`.
    pub files: tempfile::TempDir,
}

impl Secure {
    pub async fn start() -> Self {
        Self::start_with(|_, _| Vec::new()).await
    }

    /// A world with further options, from the directory of its files and the authority of the servers.
    pub async fn start_with(more: impl FnOnce(&Path, &Authority) -> Vec<String>) -> Self {
        let files = tempfile::tempdir().unwrap();
        let (servers, clients) = (Authority::new("servers"), Authority::new("clients"));
        servers.server().write(files.path(), "server");
        clients.write(files.path(), "clients.pem");
        let more = more(files.path(), &servers);
        let arguments = tls_arguments(files.path()).into_iter().chain(more).collect();
        let options = ServerOptions { tls: true, arguments, ..ServerOptions::default() };
        let world = World::start_with(options).await;
        Self { world, servers, clients, files }
    }

    /// One more server on the same database, with the same certificate.
    pub async fn another(&self, directory: &Path) -> Server {
        let arguments = tls_arguments(self.files.path());
        let options = ServerOptions { tls: true, arguments, ..ServerOptions::default() };
        Server::start(&self.world.database.url, directory, &options).await
    }

    pub fn public(&self) -> &str {
        &self.world.server.ready.public
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    /// A channel of gRPC that shows this certificate.
    pub fn channel(&self, address: &str, shows: Option<&Leaf>) -> Channel {
        let tls = ClientTlsConfig::new().domain_name(SERVER_NAME);
        let tls = tls.ca_certificate(tonic::transport::Certificate::from_pem(self.servers.pem()));
        let tls = match shows {
            Some(leaf) => tls.identity(leaf.identity()),
            None => tls,
        };
        let endpoint = Endpoint::new(format!("https://{address}")).unwrap().tls_config(tls).unwrap();
        endpoint.local_address(Some(own_address().into())).connect_lazy()
    }

    /// The API as whom this certificate names, with this API key unless it is empty.
    pub fn api_showing(&self, shows: Option<&Leaf>, api_key: &str) -> Api {
        let ready = &self.world.server.ready;
        Api::over(self.channel(&ready.public, shows), self.channel(&ready.admin, shows), api_key)
    }

    /// The API as whom this certificate names.
    pub fn api_of(&self, leaf: &Leaf) -> Api {
        self.api_showing(Some(leaf), "")
    }

    /// The API as one of the clients of every world, by its API key.
    pub fn api(&self, client_id: &str) -> Api {
        self.api_showing(None, &api_key(client_id))
    }

    /// Over HTTP/1.1, showing this certificate.
    pub fn dialer(&self, shows: Option<&Leaf>) -> Dialer {
        Dialer::new(&self.servers, shows, &["http/1.1"])
    }

    /// Registers a client that may issue and validate for anything, and is known by this URI.
    pub async fn register(&self, client_id: &str, uri: &str) {
        let client = pb::Client {
            client_id: client_id.to_owned(),
            permissions: vec![pb::Permission::Issue.into(), pb::Permission::Validate.into()],
            audiences: vec!["*".to_owned()],
            subjects: vec!["*".to_owned()],
            certificate_uris: vec![uri.to_owned()],
            ..Default::default()
        };
        let request = pb::CreateClientRequest { client: Some(client) };
        self.api("admin").admin.create_client(request).await.unwrap();
    }

    /// Disables a client, or enables it again.
    pub async fn set_disabled(&self, client_id: &str, disabled: bool) {
        let client = pb::Client { client_id: client_id.to_owned(), disabled, ..Default::default() };
        let update_mask = Some(prost_types::FieldMask { paths: vec!["disabled".to_owned()] });
        let request = pb::UpdateClientRequest { client: Some(client), update_mask };
        self.api("admin").admin.update_client(request).await.unwrap();
    }

    /// The log line with this message; `None`: not yet.
    pub fn logged(&self, message: &str) -> Option<serde_json::Value> {
        let log = self.world.server.logged();
        let line = log.lines().find(|line| line.contains(message))?;
        Some(serde_json::from_str(line).unwrap())
    }
}

/// The options of a server for its files.
fn tls_arguments(files: &Path) -> Vec<String> {
    let named = [("--tls-cert", "server.pem"), ("--tls-key", "server.key"), ("--client-ca", "clients.pem")];
    named
        .into_iter()
        .flat_map(|(flag, name)| [flag.to_owned(), files.join(name).display().to_string()])
        .collect()
}
