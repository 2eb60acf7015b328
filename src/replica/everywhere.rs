//! The barrier for whoever is no replica: a server that does not serve yet, a verb on the database, a task.

use std::time::Duration;

use tokio::time::sleep;

use crate::{
    clock::Clock,
    state::LEASE_OVER_MS,
    store::{OwnConnection, Store, StoreError, Task},
    token::Revision,
};

/// Between the first looks.
const LOOK_SOON: Duration = Duration::from_millis(2);
/// The longest pause between two.
const LOOK_EVERY: Duration = Duration::from_millis(64);

/// Waits until every registered replica has applied `revision`, which is committed, or can hold no lease from
/// before it.
pub async fn await_everywhere(store: &Store, clock: &Clock, revision: Revision) {
    let committed = clock.boot();
    let mut connection = store.connection_of(Task::Fleet);
    let mut pause = LOOK_SOON;
    while clock.boot().since_ms(committed) < LEASE_OVER_MS {
        // A database that is away says nothing: then the time alone does.
        if have_applied(&mut connection, revision).await.unwrap_or(false) {
            return;
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LOOK_EVERY);
    }
}

/// Whether each has said so, in the same epoch. In one that has just begun, the rows may not show who still
/// holds a lease of the one before.
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
