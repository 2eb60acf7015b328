//! Connections of one task each, beside the pool: no other statements delay theirs.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, timeout};

use crate::store::{
    ACQUIRE_TIMEOUT, IDLE_TRUSTED, NewAudit, Seal, Store, StoreError,
    audit::chain::{Act, Chain},
    connection::connect::{Connector, Setting},
};

/// The time to read one of the small tables.
pub(in crate::store) const TABLE_TIMEOUT: Duration = Duration::from_secs(10);
/// An idle connection that does not answer within this time is given up.
const PING_WITHIN: Duration = Duration::from_secs(1);
/// One plan, made once: planning the large statement of each append would cost as much as running it. Postgres gives up
/// a statement that waits for a lock shortly before jeton does.
const PLANNED_ONCE: [Setting; 3] =
    [("plan_cache_mode", "force_generic_plan"), ("jit", "off"), ("lock_timeout", "2500ms")];
/// The same; and reads go through an index, whatever part of the tables the planner expects.
const BY_INDEX: [Setting; 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("jit", "off"),
    ("lock_timeout", "1500ms"),
];
/// For statements on a row or two.
const LITTLE: [Setting; 1] = [("lock_timeout", "1500ms")];
/// The batched statements of sessions look up a few rows, each by its key, whatever the planner knows of new tables.
const BY_KEY: [Setting; 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// The tasks that have a connection of their own, with the `application_name` in Postgres.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Reads the log, and acknowledges it.
    Feed,
    /// Appends to the log.
    Flusher,
    /// Renews the lease.
    Lease,
    /// Looks at the other replicas.
    Fleet,
    /// Spends refresh tokens.
    Refresh,
    /// Writes acts that are not in the log.
    Audit,
}

impl Task {
    fn settings(self) -> &'static [Setting] {
        match self {
            Self::Feed => &BY_INDEX,
            Self::Flusher => &PLANNED_ONCE,
            Self::Refresh => &BY_KEY,
            Self::Lease | Self::Fleet | Self::Audit => &LITTLE,
        }
    }

    fn name(self) -> &'static str {
        self.application_name().trim_start_matches("jeton ")
    }

    fn application_name(self) -> &'static str {
        match self {
            Self::Feed => "jeton feed",
            Self::Flusher => "jeton flusher",
            Self::Lease => "jeton lease",
            Self::Fleet => "jeton fleet",
            Self::Refresh => "jeton refresh",
            Self::Audit => "jeton audit",
        }
    }
}

/// A connection of one task, which is dropped, with everything in flight, on any doubt.
pub struct OwnConnection {
    connector: Connector,
    connection: Option<PgConnection>,
    used: Instant,
    /// Its id in the outage.
    id: u32,
    seal: Option<Arc<Seal>>,
    /// The chain of the audit rows that this task writes.
    chain: Option<Chain>,
}

impl Store {
    /// A connection for one task. Connects when it is opened, or first used.
    #[must_use]
    pub fn connection_of(&self, task: Task) -> OwnConnection {
        let connector = self.connector.of(task.application_name(), task.settings());
        let id = connector.outage.id();
        let seal = self.seal.clone();
        let chain = seal.as_ref().map(|seal| Chain::new(Arc::clone(&seal.chains), task.name()));
        OwnConnection { connector, connection: None, used: Instant::now(), id, seal, chain }
    }
}

impl OwnConnection {
    /// Connects, unless it is connected: so that a connection is there when it is needed.
    pub async fn open(&mut self) -> Result<(), StoreError> {
        if self.connection.is_none() {
            let opened = self.connector.open().await;
            self.note(&opened);
            self.connection = Some(opened?);
            self.used = Instant::now();
        }
        Ok(())
    }

    /// Makes sure that it is connected while it is idle. False: it is not.
    pub async fn keep(&mut self) -> bool {
        if let Some(mut rested) = self.connection.take()
            && (self.used.elapsed() <= IDLE_TRUSTED
                || matches!(timeout(PING_WITHIN, rested.ping()).await, Ok(Ok(()))))
        {
            self.connection = Some(rested);
            return true;
        }
        let opened = timeout(ACQUIRE_TIMEOUT, self.connector.open_once()).await;
        let opened = opened.unwrap_or_else(|_| Err(StoreError::Late));
        self.note(&opened);
        self.connection = opened.ok();
        self.used = Instant::now();
        self.connection.is_some()
    }

    /// The chain of this task's audit rows.
    pub(in crate::store) fn chain(&mut self) -> Result<&mut Chain, StoreError> {
        self.chain.as_mut().ok_or(StoreError::NoMasterKey)
    }

    /// Does an act with its audit row, in one statement that writes both or neither. `statement` gets the row's
    /// columns.
    pub(in crate::store) async fn act<T>(
        &mut self,
        limit: Duration,
        audit: &NewAudit,
        statement: impl AsyncFnOnce(&mut PgConnection, Value) -> Result<T, StoreError>,
        written: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        let act = Act::of(audit, "OK", 0);
        let columns = act.json(&self.chain()?.link(std::slice::from_ref(&act)));
        let done = self.run(limit, async |connection| statement(connection, columns).await).await;
        self.chain()?.settle(&done, written);
        done
    }

    pub(in crate::store) fn seal(&self) -> Result<Arc<Seal>, StoreError> {
        self.seal.clone().ok_or(StoreError::NoMasterKey)
    }

    /// Does some work within a time limit.
    pub(in crate::store) async fn run<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Taken out while in use: a failure, a timeout or a cancelled call leaves no connection.
        let taken = self.connection.take();
        let connector = &self.connector;
        let done = timeout(limit, async move {
            let mut connection = match taken {
                Some(connection) => connection,
                None => connector.open_once().await?,
            };
            let result = work(&mut connection).await?;
            Ok::<_, StoreError>((connection, result))
        })
        .await;
        let done = match done {
            Ok(Ok((connection, result))) => {
                self.connection = Some(connection);
                Ok(result)
            }
            Ok(Err(error)) => Err(self.connector.here(error)),
            Err(_) => Err(StoreError::Late),
        };
        self.used = Instant::now();
        self.note(&done);
        done
    }

    /// The same for work that is sent only once, because the result of a statement whose connection broke is unknown:
    /// it avoids a connection that broke while it was idle, and waits for a database that is starting.
    pub(in crate::store) async fn run_once<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if self.used.elapsed() > IDLE_TRUSTED
            && let Some(mut rested) = self.connection.take()
            && matches!(timeout(ACQUIRE_TIMEOUT, rested.ping()).await, Ok(Ok(())))
        {
            self.connection = Some(rested);
        }
        self.open().await?;
        self.run(limit, work).await
    }

    fn note<T>(&self, done: &Result<T, StoreError>) {
        self.connector.outage.note(self.id, self.connector.name, done);
    }
}

impl Drop for OwnConnection {
    fn drop(&mut self) {
        self.connector.outage.forget(self.id);
    }
}
