//! Connections of one task each, beside the pool: nobody else's statements are in its way.

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep, timeout};

use super::{ACQUIRE_TIMEOUT, IDLE_TRUSTED, Store, StoreError};

/// To read one of the small tables whole.
pub(super) const TABLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries to connect, where that is worth waiting for.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);
/// One plan, made once: to plan the large statements of each append anew would cost as much as to run them.
const PLANNED_ONCE: [(&str, &str); 2] = [("plan_cache_mode", "force_generic_plan"), ("jit", "off")];
/// Likewise; and what is read is the end of an index, however much of the tables the planner takes that for.
const BY_INDEX: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off"), ("jit", "off")];
/// The batched statements of sessions look up a few rows, each by its key, whatever the planner knows of tables
/// that have just been made.
const BY_KEY: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// The tasks that have a connection of their own. Postgres shows the name as `application_name`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Task {
    /// Reads the log, and says what has been applied.
    Feed,
    /// Appends to the log.
    Flusher,
    /// Renews the lease.
    Lease,
    /// Looks at the other replicas.
    Fleet,
    /// Spends refresh tokens.
    Refresh,
}

impl Task {
    fn application_name(self) -> &'static str {
        match self {
            Self::Feed => "jeton feed",
            Self::Flusher => "jeton flusher",
            Self::Lease => "jeton lease",
            Self::Fleet => "jeton fleet",
            Self::Refresh => "jeton refresh",
        }
    }
}

/// A connection of its own, which is dropped, with whatever is in flight, on any doubt.
pub struct OwnConnection {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    used: Instant,
}

impl Store {
    /// A connection for one task. Connects when it is first used.
    #[must_use]
    pub fn connection_of(&self, task: Task) -> OwnConnection {
        let options = self.options.clone().application_name(task.application_name());
        let options = match task {
            Task::Feed => options.options(BY_INDEX),
            Task::Flusher => options.options(PLANNED_ONCE),
            Task::Refresh => options.options(BY_KEY),
            Task::Lease | Task::Fleet => options,
        };
        OwnConnection { options, connection: None, used: Instant::now() }
    }
}

impl OwnConnection {
    /// Does some work within a time.
    pub(super) async fn run<T>(
        &mut self,
        limit: Duration,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        // Taken out while in use: a failure, a timeout or a cancelled call leaves none behind.
        let taken = self.connection.take();
        let options = &self.options;
        let done = tokio::time::timeout(limit, async move {
            let mut connection = match taken {
                Some(connection) => connection,
                None => PgConnection::connect_with(options).await?,
            };
            let result = work(&mut connection).await?;
            Ok::<_, StoreError>((connection, result))
        })
        .await;
        match done {
            Ok(Ok((connection, result))) => {
                self.connection = Some(connection);
                Ok(result)
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(StoreError::Late),
        }
    }
    /// Likewise what is sent only once, since nobody knows what a statement did whose connection broke: not
    /// over a connection that broke while it rested, and once a database is there that is starting.
    pub(super) async fn run_once<T>(
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
        if self.connection.is_none() {
            self.connection = Some(self.connect().await?);
        }
        let done = self.run(limit, work).await;
        self.used = Instant::now();
        done
    }

    /// Tries for as long as a call waits for a connection.
    async fn connect(&self) -> Result<PgConnection, StoreError> {
        let connecting = async {
            loop {
                match PgConnection::connect_with(&self.options).await.map_err(StoreError::from) {
                    Err(error) if error.is_unreachable() => sleep(CONNECT_PAUSE).await,
                    done => return done,
                }
            }
        };
        timeout(ACQUIRE_TIMEOUT, connecting).await.unwrap_or_else(|_| Err(StoreError::Late))
    }
}
