//! Connections that calls share. Calls wait for a place, and errors of connections are reported as they are. Idle
//! connections are closed soon: other replicas may need them.

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{Connection, Executor, PgConnection};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use crate::store::{ACQUIRE_TIMEOUT, IDLE_TRUSTED, StoreError, connection::connect::Connector};

/// A statement takes a fraction of a millisecond; more connections would only queue in Postgres.
const CONNECTIONS_MAX: u32 = 16;
/// A connection that has been idle for longer is closed.
const KEPT: Duration = Duration::from_secs(5);
/// The interval of checking whether a database that failed is back.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The interval of looking for the last connections in use.
const CLOSING: Duration = Duration::from_millis(5);

#[derive(Clone)]
pub(in crate::store) struct Pool(Arc<Inner>);

struct Inner {
    connector: Connector,
    /// One place for each connection in use.
    places: Arc<Semaphore>,
    rested: Mutex<Rested>,
    /// Its id in the outage.
    id: u32,
}

#[derive(Default)]
struct Rested {
    /// Idle connections with the time since when; the one used last is used next.
    connections: Vec<(PgConnection, Instant)>,
    /// A task closes those that have been idle for long enough.
    tended: bool,
    /// A task checks whether the database is back.
    looking: bool,
}

/// A connection in use. Dropped, it is closed with whatever is in flight.
pub(in crate::store) struct Pooled {
    connection: PgConnection,
    pool: Arc<Inner>,
    _place: OwnedSemaphorePermit,
}

impl Pool {
    pub(in crate::store) fn new(connector: Connector) -> Self {
        let id = connector.outage.id();
        // A small number.
        let places = Arc::new(Semaphore::new(usize::try_from(CONNECTIONS_MAX).unwrap_or(usize::MAX)));
        Self(Arc::new(Inner { connector, places, rested: Mutex::default(), id }))
    }

    /// A connection that works. Waits for a place, and for a database that is starting.
    pub(in crate::store) async fn acquire(&self) -> Result<Pooled, StoreError> {
        let place = timeout(self.0.connector.patience, Arc::clone(&self.0.places).acquire_owned()).await;
        let place = place
            .map_err(|_| {
                self.0.connector.here(StoreError::away("all of this server's connections are in use"))
            })?
            .map_err(|_| StoreError::Closed)?;
        let connection = if let Some(connection) = self.rested().await {
            connection
        } else {
            let opened = self.0.connector.open().await;
            self.note(&opened);
            opened?
        };
        Ok(Pooled { connection, pool: Arc::clone(&self.0), _place: place })
    }

    /// An idle connection that works.
    async fn rested(&self) -> Option<PgConnection> {
        loop {
            let (mut connection, since) = self.0.lock(|rested| rested.connections.pop())?;
            if since.elapsed() <= IDLE_TRUSTED
                || matches!(timeout(ACQUIRE_TIMEOUT, connection.ping()).await, Ok(Ok(())))
            {
                return Some(connection);
            }
        }
    }

    /// Records how the database answers.
    pub(in crate::store) fn note<T>(&self, done: &Result<T, StoreError>) {
        let Inner { connector, id, .. } = &*self.0;
        connector.outage.note(*id, connector.name, done);
        let away = matches!(done, Err(StoreError::Unreachable(_) | StoreError::Unfit(_) | StoreError::Late));
        // The pool may be unused for long, so a task must notice that the database is back.
        if away && !self.0.lock(|rested| mem::replace(&mut rested.looking, true)) {
            let pool = Arc::downgrade(&self.0);
            tokio::spawn(async move {
                loop {
                    sleep(LOOK_AGAIN).await;
                    let Some(inner) = pool.upgrade().filter(|inner| !inner.places.is_closed()) else {
                        return;
                    };
                    let opened = timeout(ACQUIRE_TIMEOUT, inner.connector.open_once()).await;
                    if let Ok(Ok(connection)) = opened {
                        inner.lock(|rested| rested.looking = false);
                        inner.connector.outage.forget(inner.id);
                        let _closed = timeout(ACQUIRE_TIMEOUT, connection.close()).await;
                        return;
                    }
                }
            });
        }
    }

    /// The open connections, and the idle ones among them.
    pub(in crate::store) fn connections(&self) -> (u32, usize) {
        let idle = self.0.lock(|rested| rested.connections.len());
        let free = u32::try_from(self.0.places.available_permits()).unwrap_or(CONNECTIONS_MAX);
        let used = CONNECTIONS_MAX.saturating_sub(free);
        (used.saturating_add(u32::try_from(idle).unwrap_or(u32::MAX)), idle)
    }

    /// Gives out no more connections, waits for those in use, and closes all.
    pub(in crate::store) async fn close(&self) {
        self.0.places.close();
        while self.connections().0 > u32::try_from(self.connections().1).unwrap_or(u32::MAX) {
            sleep(CLOSING).await;
        }
        for (connection, _) in self.0.lock(|rested| mem::take(&mut rested.connections)) {
            let _closed = timeout(ACQUIRE_TIMEOUT, connection.close()).await;
        }
    }
}

impl Inner {
    fn lock<T>(&self, with: impl FnOnce(&mut Rested) -> T) -> T {
        with(&mut self.rested.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Closes connections that have been idle for long enough, until none is idle.
    async fn tend(self: Arc<Self>) {
        let pool = Arc::downgrade(&self);
        drop(self);
        loop {
            sleep(KEPT).await;
            let Some(inner) = pool.upgrade() else { return };
            let (long, done) = inner.lock(|rested| {
                let (long, short): (Vec<_>, Vec<_>) = mem::take(&mut rested.connections)
                    .into_iter()
                    .partition(|(_, since)| since.elapsed() >= KEPT);
                rested.connections = short;
                rested.tended = !rested.connections.is_empty();
                (long, rested.connections.is_empty())
            });
            for (connection, _) in long {
                let _closed = timeout(ACQUIRE_TIMEOUT, connection.close()).await;
            }
            if done {
                return;
            }
        }
    }
}

impl Pooled {
    /// The connection.
    pub(in crate::store) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Makes its statements wait for locks without a limit, for an operator who can stop them. The connection is not
    /// given back.
    pub(in crate::store) async fn wait_for_locks(&mut self) -> Result<(), StoreError> {
        self.connection.execute("set lock_timeout = 0").await?;
        Ok(())
    }

    /// Returns it to the pool: nothing is in flight on it.
    pub(in crate::store) fn give_back(self) {
        let Self { connection, pool, _place } = self;
        let untended = pool.lock(|rested| {
            rested.connections.push((connection, Instant::now()));
            !mem::replace(&mut rested.tended, true)
        });
        if untended {
            tokio::spawn(Arc::clone(&pool).tend());
        }
    }
}
