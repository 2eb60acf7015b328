//! Connections of one task each, beside the pool: nobody else's statements are in its way.

use std::time::Duration;

use sqlx::{Connection, PgConnection, postgres::PgConnectOptions};

use super::{Store, StoreError};

/// To read one of the small tables whole.
pub(super) const TABLE_TIMEOUT: Duration = Duration::from_secs(10);

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
}

impl Task {
    fn application_name(self) -> &'static str {
        match self {
            Self::Feed => "jeton feed",
            Self::Flusher => "jeton flusher",
            Self::Lease => "jeton lease",
            Self::Fleet => "jeton fleet",
        }
    }
}

/// A connection of its own, which is dropped, with whatever is in flight, on any doubt.
pub struct OwnConnection {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Store {
    /// A connection for one task. Connects when it is first used.
    #[must_use]
    pub fn connection_of(&self, task: Task) -> OwnConnection {
        let options = self.options.clone().application_name(task.application_name());
        OwnConnection { options, connection: None }
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
            Err(_) => Err(StoreError::Unreachable(sqlx::Error::PoolTimedOut)),
        }
    }
}
