//! What goes on behind: partitions made ahead and dropped after, sessions that the log revokes
//! marked as such, and entries forgotten once nothing that they hit can be alive.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    observe::Metrics,
    state::Roots,
    store::{Store, StoreError},
    token::UnixSeconds,
};

/// Between two rounds.
const ROUND: Duration = Duration::from_secs(30);
/// Marks that one transaction removes.
const MARKS_MAX: i64 = 500;

/// The task.
pub struct Housekeeping {
    /// The database.
    pub store: Store,
    /// What is in memory.
    pub roots: Arc<Roots>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What it measures.
    pub metrics: Arc<Metrics>,
}

impl Housekeeping {
    /// Keeps house until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(ROUND) => {}
            }
            if let Err(error) = self.round().await {
                // The next round tries again; entries that stay too long harm nobody.
                tracing::warn!(error = %error, "housekeeping was cut short");
            }
        }
    }

    /// One round.
    pub async fn round(&self) -> Result<(), StoreError> {
        let begun = UnixSeconds::from_timestamp(self.clock.now());
        self.store.make_partitions(self.clock.now()).await?;
        while self.store.sweep_sessions(false).await? > 0 {}
        self.purge(begun).await?;
        let root = self.roots.current();
        let stray = self.store.rows_in_default_partitions().await?;
        self.metrics.held(root.tokens.len(), root.sessions.len(), root.marks.len(), stray);
        Ok(())
    }

    /// Forgets what had ended when the round began.
    async fn purge(&self, begun: UnixSeconds) -> Result<(), StoreError> {
        let root = self.roots.current();
        root.tokens.forget_expired(begun);
        // Sessions outlive the entries that revoke them. So those entries go only when a pass that
        // waited for every locked row, begun after their end, has found no session left to end.
        let ended = self.store.expired_marks(MARKS_MAX).await?;
        while self.store.sweep_sessions(true).await? > 0 {}
        root.sessions.forget_expired(begun);
        if !ended.is_empty() {
            self.store.remove_marks(&ended).await?;
        }
        self.store.purge_changes().await?;
        self.store.drop_partitions(begun.into()).await?;
        Ok(())
    }
}
