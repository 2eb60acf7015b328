//! Postgres: the only SQL. One file per table; row types do not leave the function that reads them.

mod audit;
mod connection;
mod error;
mod log;
mod partition;
mod registry;
mod resident;
mod sessions;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    migrate::{Migrate, Migrator},
};
use tokio::time::timeout;

use crate::state::Reason;
use crate::store::connection::{address::Address, connect::Connector, pool::Pool};

use crate::store::error::is_cancelled;
pub use audit::{
    chain::ChainHead,
    rows::{AuditFilter, AuditRow, AuditedAct, CANARY, NewAudit},
};
pub use connection::own::{OwnConnection, Task};
pub use log::append::{AppendTarget, Appended, NewRevocation};
pub use log::bulk::{BulkChunk, Counts, NewBulkChunk};
pub use registry::{
    client::NewClient,
    client_admin::{ApiKeyRow, ClientRow, ClientWrite},
};
pub use sessions::bare::BareRevocations;

pub use audit::trail::{KnownHead, TrailChecked};
pub use error::{Away, StoreError, Unfit};
pub use log::{
    entries::{Head, LogEntries, LogRead, Wakeups},
    held::{Held, HeldBy, Hit},
    in_force::InForce,
    mark::ExpiredMark,
    replica::{FleetRows, Renewal, ReplicaIdentity, ReplicaRow, SharedSettings},
};
pub use registry::{
    issuer::{ISSUERS_MAX, IssuerRow, IssuerWrite},
    key::{KeyRows, NewSigningKey, SigningKeyRow},
    key_life::KeyTimes,
    mac_key::MacKeyRow,
    policy::PolicyWrite,
    seal::{Forged, Seal, SeenBefore},
};
pub use resident::Residents;
pub use sessions::{
    refresh::{Advance, Presented, Presenter},
    session::{NewSession, SessionFilter, SessionRow},
};

use crate::store::audit::chain::{Act, SpareChains};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// The time for which a call waits for a connection before it reports that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// The same for a verb on the database: an operator has typed it, perhaps while the machine or the database is short of
/// time.
const PATIENT_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection that has been idle for longer is checked before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);
/// No statement of a call takes longer, unless the database has gone away silently.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);

/// A migration, and whether the database has it.
#[derive(Debug)]
pub struct MigrationStatus {
    /// Its number.
    pub version: i64,
    /// Its description.
    pub description: String,
    /// It has been applied.
    pub applied: bool,
}

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    connector: Connector,
    seal: Option<Arc<Seal>>,
    /// Chains for the acts that use the pool.
    acts: Option<Arc<SpareChains>>,
}

impl Store {
    /// A store on this database. It does not connect yet: only `url` can be wrong.
    pub fn new(url: &str) -> Result<Self, StoreError> {
        Self::waiting(url, ACQUIRE_TIMEOUT)
    }

    /// The same for a verb on the database, which waits longer for a connection.
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

    /// The store with the means to make and check the MACs of rows. Without them, clients and keys cannot be read.
    #[must_use]
    pub fn sealed(self, seal: Arc<Seal>) -> Self {
        let acts = Arc::new(SpareChains::new(Arc::clone(&seal.chains), "acts"));
        Self { seal: Some(seal), acts: Some(acts), ..self }
    }

    /// The heads of this process's audit chains that were not reported yet.
    #[must_use]
    pub fn audit_heads(&self) -> Vec<ChainHead> {
        self.seal.as_ref().map_or_else(Vec::new, |seal| seal.chains.news())
    }

    /// Does an act with its audit row, in one statement. `statement` gets the row's columns, and returns whether it
    /// wrote them.
    async fn act<T>(
        &self,
        audit: &NewAudit,
        statement: impl AsyncFnOnce(&mut PgConnection, Value) -> Result<T, StoreError>,
        written: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        self.act_for(audit, Reason::Unspecified, statement, written).await
    }

    /// The same for an act that has a reason.
    async fn act_for<T>(
        &self,
        audit: &NewAudit,
        reason: Reason,
        statement: impl AsyncFnOnce(&mut PgConnection, Value) -> Result<T, StoreError>,
        written: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        let acts = self.acts.as_ref().ok_or(StoreError::NoMasterKey)?;
        let mut chain = acts.take();
        let act = Act::of(audit, "OK", reason.number());
        let columns = act.json(&chain.link(std::slice::from_ref(&act)));
        let done = self.run(async |connection| statement(connection, columns).await).await;
        chain.settle(&done, written);
        acts.give_back(chain);
        done
    }

    /// Begins the passage into another epoch, whose tables may have lost the latest state of each row. Returns the rows
    /// that had been seen.
    #[must_use]
    pub fn begin_pass(&self) -> SeenBefore {
        self.seal.as_ref().map_or_else(SeenBefore::default, |seal| seal.begin_pass())
    }

    /// Ends the passage.
    pub fn end_pass(&self) {
        if let Some(seal) = &self.seal {
            seal.end_pass();
        }
    }

    /// Gives up the passage: the replica is still in the epoch before.
    pub fn give_up_pass(&self) {
        if let Some(seal) = &self.seal {
            seal.give_up_pass();
        }
    }

    fn seal(&self) -> Result<Arc<Seal>, StoreError> {
        self.seal.clone().ok_or(StoreError::NoMasterKey)
    }

    /// Does some work on a connection of the pool, within a time limit. If the limit passes, the connection is closed
    /// with everything in flight: a host that vanished sends nothing.
    async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // On the heap once it begins: a call that may run a statement is moved several times before, and most calls run
        // none.
        Box::pin(async {
            let mut pooled = self.pool.acquire().await?;
            let done = timeout(STATEMENT_TIMEOUT, work(pooled.connection())).await;
            let done = done.unwrap_or_else(|_| Err(StoreError::Late));
            // A connection on which something failed is closed: its state is unknown.
            if done.is_ok() {
                pooled.give_back();
            }
            let done = done.map_err(|error| self.connector.here(error));
            self.pool.note(&done);
            done
        })
        .await
    }

    /// Reads on a connection of the pool. `None`: it took longer than `within`, and Postgres has given it up, too, so
    /// that no unwanted work continues there. Only for reads, which acknowledge nothing.
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

    /// The open connections, and the idle ones among them.
    #[must_use]
    pub fn connections(&self) -> (u32, usize) {
        self.pool.connections()
    }

    /// Applies missing migrations, and makes the partitions for the first rows.
    pub async fn migrate(&self, now: Timestamp) -> Result<(), StoreError> {
        let mut pooled = self.pool.acquire().await?;
        pooled.wait_for_locks().await?;
        MIGRATIONS.run(pooled.connection()).await?;
        self.make_partitions(now).await?;
        Ok(())
    }

    /// Every migration that this version knows, and whether the database has it. Fails if the database has one that
    /// this version does not know, or one with another text.
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
