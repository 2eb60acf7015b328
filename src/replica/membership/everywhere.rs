//! The barrier for processes without a lease: a server that does not serve yet, a verb on the database, a task.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    state::LEASE_OVER_MS,
    store::{OwnConnection, Store, StoreError, Task},
};
use jeton_state::clock::Clock;
use jeton_token::Revision;

/// The pause between the first looks.
const LOOK_SOON: Duration = Duration::from_millis(2);
/// The longest pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(64);
/// A database that does not answer within this time tells nothing about the log.
const CONFIRM_WITHIN_MS: i64 = 5_000;

/// Waits until every registered replica has applied the committed `revision`, or can hold no lease from before it.
/// Fails if the log may have lost it since: it is in another epoch, or cannot be read.
pub async fn await_everywhere(store: &Store, clock: &Clock, revision: Revision) -> Result<(), StoreError> {
    let committed = clock.boot();
    let mut connection = store.connection_of(Task::Fleet);
    let mut pause = LOOK_SOON;
    while clock.boot().since_ms(committed) < LEASE_OVER_MS {
        // A database that is away tells nothing.
        if have_applied(&mut connection, revision).await.unwrap_or(false) {
            return Ok(());
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LOOK_EVERY);
    }
    confirm(&mut connection, clock, revision).await
}

/// The same for a publication that is in the tables. If the log is in another epoch by now, every replica in that epoch
/// has read the publication there: then the position is the head.
pub(in crate::replica) async fn await_known(
    store: &Store,
    clock: &Clock,
    published: Revision,
) -> Result<(), StoreError> {
    let head = store.connection_of(Task::Fleet).head().await?.revision;
    let revision = if head.epoch() > published.epoch() { head } else { published };
    await_everywhere(store, clock, revision).await
}

/// Waits until no replica, registered or not, can hold a lease from before `revision`; the log must then still hold it.
pub async fn await_no_lease(store: &Store, clock: &Clock, revision: Revision) -> Result<(), StoreError> {
    sleep(Duration::from_millis(LEASE_OVER_MS.unsigned_abs())).await;
    confirm(&mut store.connection_of(Task::Fleet), clock, revision).await
}

/// Returns whether each replica has acknowledged it, in the same epoch. In a new epoch the rows may not show which
/// replicas still hold a lease of the one before.
async fn have_applied(connection: &mut OwnConnection, revision: Revision) -> Result<bool, StoreError> {
    let epoch = revision.epoch();
    if connection.head().await?.settled_epoch != epoch {
        return Ok(false);
    }
    let seen = connection.fleet().await?;
    let same_log = seen.same_log && seen.head.epoch() == epoch && seen.head >= revision;
    let has = |applied: Revision| applied.epoch() == epoch && applied >= revision;
    Ok(same_log && seen.replicas.iter().all(|row| row.epoch == epoch && has(row.applied)))
}

/// Time alone proves nothing about the log: checks that it still holds the revision.
async fn confirm(
    connection: &mut OwnConnection,
    clock: &Clock,
    revision: Revision,
) -> Result<(), StoreError> {
    let began = clock.boot();
    loop {
        match connection.head().await {
            Ok(head) if head.same_log && head.holds(revision) => return Ok(()),
            Ok(_) => return Err(StoreError::MayBeLost),
            Err(error) if !error.is_unreachable() => return Err(error),
            Err(_) if clock.boot().since_ms(began) >= CONFIRM_WITHIN_MS => return Err(StoreError::MayBeLost),
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}
