//! A world for a test: a database of its own in the run's one cluster, a server process of its own
//! on ports of its own, and clients to call it with.

mod bouncer;
mod caller;
mod certificates;
mod chance;
mod client;
mod cluster;
mod fleet;
mod forge;
pub mod frames;
mod history;
mod http;
mod inprocess;
mod look;
mod machine;
mod patience;
mod postgres;
mod raw;
mod server;
mod shell;
mod stream;
mod tls;

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path, sync::OnceLock};

use jeton::{
    mint::MasterKey,
    state::{Client, Permission},
    store::{NewAudit, NewClient, Seal, Store},
};
use jeton_state::clock::Clock;
use jeton_token::{ApiKey, Revision, new_uuid_v7};
use tempfile::TempDir;
use tonic::Code;

pub use jeton_testkit::{
    ALL, AUDIT, FEED, FLEET, FLUSHER, LEASE, LISTEN, Link, PATIENCE, POOL, REFRESH, Terminal, own_address,
    until, until_within,
};

pub use bouncer::Bouncer;
pub use caller::{Asking, Caller};
pub use certificates::{Authority, Leaf, authority, parameters, server, workload};
pub use chance::Chance;
pub use client::{
    Api, ErrorFacts, Refused, channel, issue_request, policy, revoke_request, seconds, validate_request,
};
pub use cluster::{AS_HERE, AS_JETON, Database, register_clients};
pub use fleet::{Fleet, Replica};
pub use forge::{Forge, foreign_key, pem};
pub use history::{Act, Answer, Call, History, Target, Token};
pub use http::{Http, HttpAnswer, Wire, basic, http, http_request, post_form};
pub use inprocess::InProcess;
pub use machine::{Stopwatch, steady};
pub use patience::{Patience, is_for_now};
pub use postgres::Postgres;
pub use raw::{Raw, RawAnswer, frame, framed};
pub use server::{Ready, Server, ServerOptions};
pub use shell::{Said, Shell};
pub use stream::Stream;
pub use tls::{Dialer, Secure, open};

type Registration = (&'static str, &'static [Permission], &'static [&'static str], &'static [&'static str]);

/// The clients of every world, with their rights.
pub const CLIENTS: [Registration; 7] = [
    ("admin", &Permission::ALL, &["*"], &["*"]),
    ("service", &[Permission::Issue, Permission::Validate], &["*"], &["*"]),
    ("other", &[Permission::Issue, Permission::Validate], &["*"], &["*"]),
    ("narrow", &[Permission::Issue, Permission::Validate], &["api"], &["user:*", "svc:billing"]),
    ("validator", &[Permission::Validate], &["api"], &[]),
    ("reader", &[Permission::AdminRead], &[], &[]),
    ("nobody", &[], &[], &[]),
];

/// The API key of a client that stands in every world.
pub fn api_key(client_id: &str) -> String {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| CLIENTS.iter().map(|_| ApiKey::generate().expose().to_owned()).collect());
    let place = CLIENTS.iter().position(|(id, ..)| *id == client_id).expect("a client of every world");
    keys[place].clone()
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, text: &str) {
    let mut file =
        fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// The text of the master key of every world.
pub fn master_key_text() -> String {
    static KEY: OnceLock<String> = OnceLock::new();
    KEY.get_or_init(|| MasterKey::generate().unwrap().to_text().to_string()).clone()
}

/// One server on one database.
pub struct World {
    pub database: Database,
    pub server: Server,
    /// A directory for a test's files; holds the master key file.
    pub directory: TempDir,
}

impl World {
    /// A world that serves.
    pub async fn start() -> Self {
        Self::start_with(ServerOptions::default()).await
    }

    /// A world whose server has these options.
    pub async fn start_with(options: ServerOptions) -> Self {
        let database = Database::create().await;
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(&database.url, directory.path(), &options).await;
        Self { database, server, directory }
    }

    /// A world whose server reaches its database through a link.
    pub async fn behind_link() -> (Self, Link) {
        let database = Database::create().await;
        let link = Link::start(&database.url).await;
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(&link.url, directory.path(), &ServerOptions::default()).await;
        (Self { database, server, directory }, link)
    }

    /// The API as one of the clients of every world.
    #[expect(clippy::unused_async, reason = "connecting takes a runtime")]
    pub async fn api(&self, client_id: &str) -> Api {
        Api::connect(&self.server.ready, &api_key(client_id))
    }

    /// The API with whatever text as its credential.
    #[expect(clippy::unused_async, reason = "connecting takes a runtime")]
    pub async fn api_with_key(&self, api_key: &str) -> Api {
        Api::connect(&self.server.ready, api_key)
    }

    /// The database, as the server sees it.
    pub fn store(&self) -> Store {
        store(&self.database.url)
    }

    /// The means to make tokens that this issuer would not.
    pub async fn forge(&self) -> Forge {
        Forge::open(&self.store(), &self.server.ready.issuer).await
    }

    /// Registers one more client, and gives its API key.
    pub async fn register(
        &self,
        client_id: &str,
        permissions: &[Permission],
        audiences: &[&str],
        subjects: &[&str],
    ) -> String {
        let key = ApiKey::generate();
        register(&self.store(), client_id, permissions, audiences, subjects, &key).await;
        let api = self.api_with_key(key.expose()).await;
        // In effect when the log's feed has it: a call by it is not unauthenticated any more.
        until("the client is known", async || {
            let refused = api.clone().validate("x", &["api"]).await.err();
            // Nor one of too many that were, nor refused for now.
            !refused.is_some_and(|status| {
                patience::is_for_now(&status)
                    || [Code::Unauthenticated, Code::ResourceExhausted].contains(&status.code())
            })
        })
        .await;
        key.expose().to_owned()
    }

    /// Ends the server at once, as a crash does, and starts another on the same database and ports.
    pub async fn crash_and_restart(&mut self) {
        self.server.kill();
        self.server =
            Server::start(&self.database.url, self.directory.path(), &self.server.same_ports()).await;
    }
}

/// A database, with the master key of every world.
pub fn store(url: &str) -> Store {
    let master = MasterKey::parse(&master_key_text()).unwrap();
    Store::patient(url).unwrap().sealed(Seal::new(&master, []))
}

pub async fn register(
    store: &Store,
    client_id: &str,
    permissions: &[Permission],
    audiences: &[&str],
    subjects: &[&str],
    key: &ApiKey,
) {
    let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
    let new = NewClient::new(
        Client {
            client_id: client_id.to_owned(),
            revision: Revision::ZERO,
            permissions: permissions.to_vec(),
            audiences: texts(audiences),
            certificate_uris: Vec::new(),
            subjects: texts(subjects),
            own_subject: String::new(),
            disabled: false,
        },
        key,
    );
    let audit = NewAudit::new(new_uuid_v7(Clock::system().now_ms()), "test", "PutClient");
    store.put_client(&new, &audit).await.unwrap();
}

/// Seconds since the epoch.
pub fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}
