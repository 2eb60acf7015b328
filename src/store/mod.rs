//! Postgres: the only SQL. One file per table; rows die in the function that made them.

mod address;
mod append;
mod audit;
mod bare;
mod chain;
mod change;
mod checkpoint;
mod client;
mod client_admin;
mod connect;
mod connection;
mod copy;
mod epoch;
mod error;
mod held;
mod key;
mod log;
mod mac_key;
mod mark;
mod outage;
mod partition;
mod policy;
mod pool;
mod refresh;
mod replica;
mod resident;
mod rights;
mod seal;
mod session;
mod trail;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    migrate::{Migrate, Migrator},
};
use tokio::time::timeout;

use address::Address;
use connect::Connector;
use pool::Pool;

pub use append::{AppendTarget, Appended, NewRevocation};
pub use audit::{AuditFilter, AuditRow, AuditedAct, CANARY, NewAudit};
pub use bare::BareRevocations;
pub use chain::ChainHead;
pub use client::NewClient;
pub use client_admin::{ApiKeyRow, ClientRow, ClientWrite};
pub use connection::{OwnConnection, Task};
use error::is_cancelled;

pub use error::{Away, StoreError, Unfit};
pub use held::{Held, Hit};
pub use key::{KeyRows, KeyTimes, NewSigningKey, SigningKeyRow};
pub use log::{Head, LogEntries, LogRead, Wakeups};
pub use mac_key::MacKeyRow;
pub use mark::ExpiredMark;
pub use policy::PolicyWrite;
pub use refresh::{Advance, Presented, Presenter};
pub use replica::{FleetRows, Renewal, ReplicaIdentity, ReplicaRow, SharedSettings};
pub use resident::Residents;
pub use seal::{Forged, Seal, SeenBefore};
pub use session::{NewSession, SessionFilter, SessionRow};
pub use trail::{KnownHead, TrailChecked};

use chain::{Act, SpareChains};

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
    pool: Pool,
    connector: Connector,
    seal: Option<Arc<Seal>>,
    /// Of the acts that go over the pool.
    acts: Option<Arc<SpareChains>>,
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

    fn waiting(url: &str, patience: Duration) -> Result<Self, StoreError> {
        let connector = Connector::new(Address::parse(url)?, "jeton", patience);
        Ok(Self { pool: Pool::new(connector.clone()), connector, seal: None, acts: None })
    }

    /// Refuses a database that does not write through to its disk.
    #[must_use]
    pub fn requiring_fsync(self) -> Self {
        let mut connector = self.connector.clone();
        connector.needs_fsync = true;
        Self { pool: Pool::new(connector.clone()), connector, ..self }
    }

    /// This store, which makes and checks the MACs of rows. Without, there are no clients and no keys to be had.
    #[must_use]
    pub fn sealed(self, seal: Arc<Seal>) -> Self {
        let acts = Arc::new(SpareChains::new(Arc::clone(&seal.chains), "acts"));
        Self { seal: Some(seal), acts: Some(acts), ..self }
    }

    /// The heads of this process's chains of audit rows that were not told yet.
    #[must_use]
    pub fn audit_heads(&self) -> Vec<ChainHead> {
        self.seal.as_ref().map_or_else(Vec::new, |seal| seal.chains.news())
    }

    /// Does an act with its audit row, in one statement. `statement` is given the row's columns, and says whether it wrote
    /// them.
    async fn act<T>(
        &self,
        audit: &NewAudit,
        statement: impl AsyncFnOnce(&mut PgConnection, Value) -> Result<T, StoreError>,
        written: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        let acts = self.acts.as_ref().ok_or(StoreError::NoMasterKey)?;
        let mut chain = acts.take();
        let act = Act::of(audit, "OK", 0);
        let columns = act.json(&chain.link(std::slice::from_ref(&act)));
        let done = self.run(async |connection| statement(connection, columns).await).await;
        chain.settle(&done, written);
        acts.give_back(chain);
        done
    }

    /// Comes to another epoch: its tables may have lost what came last of each row. Answers what had been seen.
    #[must_use]
    pub fn begin_pass(&self) -> SeenBefore {
        self.seal.as_ref().map_or_else(SeenBefore::default, |seal| seal.begin_pass())
    }

    /// Has come to it.
    pub fn end_pass(&self) {
        if let Some(seal) = &self.seal {
            seal.end_pass();
        }
    }

    /// Is in the epoch before still.
    pub fn give_up_pass(&self) {
        if let Some(seal) = &self.seal {
            seal.give_up_pass();
        }
    }

    fn seal(&self) -> Result<Arc<Seal>, StoreError> {
        self.seal.clone().ok_or(StoreError::NoMasterKey)
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
            let mut pooled = self.pool.acquire().await?;
            let done = timeout(STATEMENT_TIMEOUT, work(pooled.connection())).await;
            let done = done.unwrap_or_else(|_| Err(StoreError::Late));
            // One on which something failed is closed: nobody knows what is left on it.
            if done.is_ok() {
                pooled.give_back();
            }
            let done = done.map_err(|error| self.connector.here(error));
            self.pool.note(&done);
            done
        })
        .await
    }

    /// Reads something on a connection of the pool. `None`: it took longer than `within`. Postgres gives up then, too: what
    /// nobody waits for must not go on there. Only for reads, which acknowledge nothing.
    async fn read_within<T>(
        &self,
        within: Duration,
        read: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<Option<T>, StoreError> {
        let limit = format!("begin read only; set local statement_timeout = {}", within.as_millis());
        self.run(async |connection| {
            let mut transaction = connection.begin_with(AssertSqlSafe(limit)).await?;
            let done = match read(&mut transaction).await {
                Err(error) if is_cancelled(&error) => None,
                done => Some(done?),
            };
            transaction.rollback().await?;
            Ok(done)
        })
        .await
    }

    /// Connections open, and of those idle.
    #[must_use]
    pub fn connections(&self) -> (u32, usize) {
        self.pool.connections()
    }

    /// Applies the migrations that are missing, and makes the partitions that the first rows need.
    pub async fn migrate(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut pooled = self.pool.acquire().await?;
        pooled.wait_for_locks().await?;
        MIGRATIONS.run(pooled.connection()).await?;
        self.make_partitions(now).await?;
        Ok(())
    }

    /// Every migration that this version knows, and whether the database has it. Fails when the
    /// database has one that this version does not know, or another text of one.
    pub async fn migrations(&self) -> Result<Vec<MigrationStatus>, StoreError> {
        let applied = self
            .run(async |connection| {
                let exists =
                    sqlx::query_scalar!(r#"select to_regclass('_sqlx_migrations') is not null as "exists!""#)
                        .fetch_one(&mut *connection)
                        .await?;
                Ok(if exists {
                    connection.list_applied_migrations("_sqlx_migrations").await?
                } else {
                    Vec::new()
                })
            })
            .await?;
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
