//! Postgres: the only SQL. One file per table; rows die in the function that made them.

mod append;
mod audit;
mod bare;
mod change;
mod client;
mod client_admin;
mod connection;
mod copy;
mod epoch;
mod error;
mod key;
mod log;
mod mac_key;
mod mark;
mod partition;
mod policy;
mod refresh;
mod replica;
mod session;

use std::{str::FromStr, time::Duration};

use jiff::Timestamp;
use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::{Migrate, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use tokio::time::timeout;

pub use append::{Appended, NewRevocation, Target};
pub use audit::{AuditFilter, AuditRow, NewAudit};
pub use bare::BareRevocations;
pub use client::NewClient;
pub use client_admin::{ApiKeyRow, ClientRow, ClientWrite};
pub use connection::{OwnConnection, Task};
pub use error::StoreError;
pub use key::{KeyRows, KeyTimes, NewSigningKey, SigningKeyRow};
pub use log::{Head, LogEntries, LogRead, Wakeups};
pub use mac_key::MacKeyRow;
pub use mark::ExpiredMark;
pub use policy::PolicyWrite;
pub use refresh::{Advance, Presented, Presenter};
pub use replica::{FleetRows, Renewal, ReplicaIdentity, ReplicaRow};
pub use session::{NewSession, SessionFilter, SessionRow};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How long a call waits for a connection before it says that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a verb on the database waits for a connection: an operator has typed it, perhaps while the machine or the
/// database is short of time.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that has rested longer is asked whether it is well before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);
/// No statement of a call takes longer, but where the database has gone away without a word.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// A statement costs a fraction of a millisecond; more connections would only queue in Postgres.
const CONNECTIONS_MAX: u32 = 16;

/// A migration, and whether the database has it.
#[derive(Debug)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i64,
    /// What it is about.
    pub description: String,
    /// Whether it has been applied.
    pub applied: bool,
}

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    options: PgConnectOptions,
}

impl Store {
    /// A store on this database. Does not connect yet: `url` is all that can be wrong.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Self::waiting(url, ACQUIRE_TIMEOUT)
    }

    /// The same for a verb on the database, for which no call waits: it waits longer for a connection.
    pub fn patient(url: &str) -> Result<Self, StoreError> {
        Self::waiting(url, PATIENT_TIMEOUT)
    }

    fn waiting(url: &str, acquire_timeout: Duration) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("jeton")
            // An acknowledged revocation is on disk, whatever the database's default.
            .options([("synchronous_commit", "on"), ("statement_timeout", "0"), ("timezone", "UTC")]);
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(acquire_timeout)
            // sqlx would ask a connection at each use whether it is well: a round trip more for every
            // statement (R8). One that was in use a moment ago was asked when it came back.
            .test_before_acquire(false)
            .before_acquire(|connection, meta| {
                Box::pin(async move {
                    if meta.idle_for > IDLE_TRUSTED {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options.clone());
        Ok(Self { pool, options })
    }

    /// Does some work on a connection of the pool, within a time. Where that passes, the connection goes
    /// with whatever is in flight: a host that vanished says nothing.
    async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // On the heap once it begins: a call that may come to a statement is moved several times before, and most come to
        // none.
        Box::pin(async {
            let mut connection = self.pool.acquire().await?;
            if let Ok(done) = timeout(STATEMENT_TIMEOUT, work(&mut connection)).await {
                done
            } else {
                drop(connection.detach());
                Err(StoreError::Late)
            }
        })
        .await
    }

    /// Connections open, and of those idle.
    #[must_use]
    pub fn connections(&self) -> (u32, usize) {
        (self.pool.size(), self.pool.num_idle())
    }

    /// Applies the migrations that are missing, and makes the partitions that the first rows need.
    pub async fn migrate(&self, now: Timestamp) -> Result<(), StoreError> {
        MIGRATIONS.run(&self.pool).await?;
        self.make_partitions(now).await?;
        Ok(())
    }

    /// Every migration that this version knows, and whether the database has it. Fails when the
    /// database has one that this version does not know, or another text of one.
    pub async fn migrations(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let mut connection = self.pool.acquire().await?;
        let exists =
            sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "exists!""#)
                .fetch_one(&mut *connection)
                .await?;
        let applied =
            if exists { connection.list_applied_migrations("_sqlx_migrations").await? } else { Vec::new() };
        for row in &applied {
            let known = MIGRATIONS.iter().find(|migration| migration.version == row.version);
            match known {
                None => return Err(StoreError::NewerSchema { version: row.version }),
                Some(migration) if migration.checksum != row.checksum => {
                    return Err(StoreError::ForeignSchema { version: row.version });
                }
                Some(_) => {}
            }
        }
        Ok(MIGRATIONS
            .iter()
            .map(|migration| MigrationStatus {
                version: migration.version,
                description: migration.description.to_string(),
                applied: applied.iter().any(|row| row.version == migration.version),
            })
            .collect())
    }

    /// Refuses a database whose schema is not exactly this version's. Writes nothing.
    pub async fn check_schema(&self) -> Result<(), StoreError> {
        match self.migrations().await?.iter().find(|migration| !migration.applied) {
            Some(missing) => Err(StoreError::OlderSchema { version: missing.version }),
            None => Ok(()),
        }
    }

    /// Closes every connection, and waits for those in use.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
