//! The run's one Postgres cluster, and databases in it: each a copy of one that is migrated and
//! knows the clients of every world.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use jeton::store::Store;
use jeton_postgres::ScratchCluster;
use jeton_state::clock::Clock;
use jeton_token::ApiKey;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::sync::OnceCell;

const TEMPLATE: &str = "jeton_template";

/// The part of an update of the head's row by hand that makes it count as jeton's.
pub const AS_JETON: &str = "written_by = pg_current_xact_id()";

/// The same for deleting revocations, dropping partitions, or copying the database.
pub const AS_HERE: &str =
    "place = log_place(), parts = log_parts(null, null), written_by = pg_current_xact_id()";

/// A database of one test.
pub struct Database {
    pub name: String,
    pub url: String,
}

impl Database {
    /// A copy of the template.
    pub async fn create() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = cluster().await;
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        execute(&cluster.url("postgres"), &format!("create database {name} template {TEMPLATE}")).await;
        let database = Self { url: cluster.url(&name), name };
        database.claim_log().await;
        database
    }

    /// Has the log belong to this database, where it is a copy on purpose: else a server waits for an operator.
    pub async fn claim_log(&self) {
        self.execute(&format!("update log_head set {AS_HERE}")).await;
    }

    /// A copy of this database, while nobody is connected. Its log belongs to the original: `claim_log` changes that.
    pub async fn copy(&self) -> Self {
        let (cluster, name) = (cluster().await, format!("{}_copy", self.name));
        execute(&cluster.url("postgres"), &format!("create database {name} template {}", self.name)).await;
        Self { url: cluster.url(&name), name }
    }

    /// Drops it despite connections, and creates an empty one of the same name.
    pub async fn recreate(&self) {
        let (maintenance, name) = (cluster().await.url("postgres"), &self.name);
        execute(&maintenance, &format!("drop database {name} with (force)")).await;
        execute(&maintenance, &format!("create database {name}")).await;
    }

    /// Renames it, while nobody is connected.
    pub async fn rename(&self) -> Self {
        let (cluster, name) = (cluster().await, format!("{}_renamed", self.name));
        execute(&cluster.url("postgres"), &format!("alter database {} rename to {name}", self.name)).await;
        Self { url: cluster.url(&name), name }
    }

    /// A database with nothing in it.
    pub async fn create_empty() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let cluster = cluster().await;
        let name = format!("empty_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        execute(&cluster.url("postgres"), &format!("create database {name}")).await;
        Self { url: cluster.url(&name), name }
    }

    /// The same with another encoding.
    pub async fn create_encoded(encoding: &str) -> Self {
        let (cluster, name) = (cluster().await, format!("empty_{}", encoding.to_lowercase()));
        let create = format!("create database {name} encoding '{encoding}' locale 'C' template template0");
        execute(&cluster.url("postgres"), &create).await;
        Self { url: cluster.url(&name), name }
    }

    /// Runs statements.
    pub async fn execute(&self, sql: &str) {
        execute(&self.url, sql).await;
    }

    /// As an outage does, for this database alone: its connections end, and no other is let in.
    pub async fn cut_off(&self) {
        let Self { name, .. } = self;
        let maintenance = cluster().await.url("postgres");
        execute(&maintenance, &format!("alter database {name} with allow_connections false")).await;
        let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'");
        execute(&maintenance, &end).await;
    }

    /// The end of the outage.
    pub async fn let_in(&self) {
        let maintenance = cluster().await.url("postgres");
        execute(&maintenance, &format!("alter database {} with allow_connections true", self.name)).await;
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        // Text of the test's own.
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap()
    }

    /// A connection of one's own.
    pub async fn connect(&self) -> PgConnection {
        connect(&self.url).await
    }
}

/// The cluster of this run. A guard beside us ends it with us, whatever ends us.
async fn cluster() -> &'static ScratchCluster {
    static CLUSTER: OnceCell<ScratchCluster> = OnceCell::const_new();
    CLUSTER
        .get_or_init(async || {
            let binaries = std::env::var_os("JETON_POSTGRES_BIN");
            let cluster = ScratchCluster::start(binaries.as_ref().map(AsRef::as_ref)).unwrap();
            guard(&cluster);
            make_template(&cluster).await;
            cluster
        })
        .await
}

/// A shell that waits for our end of its input to close, then ends Postgres: statics are not dropped.
fn guard(cluster: &ScratchCluster) {
    let pid = cluster.pid().expect("a cluster that runs");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("cat >/dev/null; kill -INT \"$1\"; while kill -0 \"$1\" 2>/dev/null; do sleep 0.1; done; rm -rf \"$2\"");
    shell.arg("guard").arg(pid.to_string()).arg(cluster.directory());
    // In a group of its own: what ends the run from a terminal is not to end the guard before its work.
    shell.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = shell.spawn().unwrap();
    // Our end of the pipe stays open as long as we live.
    std::mem::forget(child);
}

async fn make_template(cluster: &ScratchCluster) {
    execute(&cluster.url("postgres"), &format!("create database {TEMPLATE}")).await;
    let store = super::store(&cluster.url(TEMPLATE));
    store.migrate(Clock::system().now()).await.unwrap();
    register_clients(&store).await;
    store.close().await;
}

/// Registers the clients of every world.
pub async fn register_clients(store: &Store) {
    for (client_id, permissions, audiences, subjects) in super::CLIENTS {
        let key = ApiKey::parse(&super::api_key(client_id)).unwrap();
        super::register(store, client_id, permissions, audiences, subjects, &key).await;
    }
}

async fn execute(url: &str, sql: &str) {
    let mut connection = connect(url).await;
    // Text of the test's own.
    connection.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    connection.close().await.unwrap();
}

async fn connect(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().unwrap();
    options.connect().await.unwrap()
}
