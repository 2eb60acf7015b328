//! What goes on behind: partitions made ahead and dropped after, sessions that the log revokes
//! marked as such, and entries forgotten once nothing that they hit can be alive.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    observe::Metrics,
    state::{LEASE_OVER_MS, Roots},
    store::{ChainHead, Store, StoreError},
    token::UnixSeconds,
};

/// Between two times that the heads of the audit trail's chains are told: what is cut off behind them is noticed.
const HEADS_EVERY: Duration = Duration::from_mins(1);
/// Between two rounds.
const ROUND: Duration = Duration::from_secs(30);
/// Longer than any mint takes that is not abandoned.
const MINTS_END: Duration = Duration::from_millis(LEASE_OVER_MS.unsigned_abs());
/// Marks that one transaction removes.
const MARKS_MAX: i64 = 500;
/// A process that ends waits so long for the database to take the last uses of API keys.
const LAST_NOTE: Duration = Duration::from_secs(1);

/// Tells in the log how far each chain of audit rows has come: kept where who writes to the database cannot reach it, this
/// shows that nothing was cut off. Answers what was told.
pub fn tell_heads(store: &Store) -> Vec<ChainHead> {
    let heads = store.audit_heads();
    for head in &heads {
        tracing::info!(
            jeton.writer = head.writer,
            jeton.chain = %head.chain,
            jeton.number = head.number,
            jeton.tag = head.tag,
            "head of an audit chain"
        );
    }
    heads
}

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
        let mut heads = interval(HEADS_EVERY);
        let mut rounds = interval(ROUND);
        // The first is due at once.
        rounds.tick().await;
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = heads.tick() => {
                    self.tell_heads();
                    continue;
                }
                _ = rounds.tick() => {}
            }
            // What is cut short by the stop is done again after the next start.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.round() => {}
            }
        }
        // But for this: memory goes with the process.
        let _late = timeout(LAST_NOTE, self.note_uses()).await;
    }

    /// Tells the heads of the audit chains in the log and in metrics.
    fn tell_heads(&self) {
        for head in tell_heads(&self.store) {
            self.metrics.audit_head(head.writer, &head.chain.to_string(), head.number, &head.tag);
        }
    }

    /// One round. A step that fails keeps no other from its work, and is tried again with the next.
    pub async fn round(&self) {
        let now = self.clock.now();
        log("look at the partitions", self.store.notice_parts().await);
        log("make partitions", self.store.make_partitions(now).await);
        log("sweep sessions", self.sweep(false).await);
        log("purge", self.purge().await);
        log("note uses of API keys", self.note_uses().await);
        log("count replicas", self.store.note_fleet_size().await);
        let root = self.roots.current();
        self.metrics.held(root.tokens.len(), root.sessions.len(), root.marks.len());
        if let Some(stray) = log("count stray rows", self.store.rows_in_default_partitions().await) {
            self.metrics.stray(stray);
        }
    }

    /// Writes when API keys were last used, as far as that is news.
    async fn note_uses(&self) -> Result<(), StoreError> {
        let root = self.roots.current();
        let clients = root.clients.load_full();
        let minutes = clients.uses_to_note().filter_map(|(id, last)| Some((id.to_owned(), last.to_note()?)));
        let uses: Vec<(String, i64)> = minutes.collect();
        if uses.is_empty() {
            return Ok(());
        }
        self.store.note_api_key_uses(&uses).await?;
        for (api_key_id, minute) in &uses {
            if let Some((key, _)) = clients.api_key(api_key_id) {
                key.last_use.noted(*minute);
            }
        }
        Ok(())
    }

    async fn sweep(&self, patient: bool) -> Result<(), StoreError> {
        while self.store.sweep_sessions(patient).await? > 0 {}
        Ok(())
    }

    /// Forgets what had ended, by the server's clock and by the database's, when the round began. Not
    /// while they are too far apart, or without a lease: what is purged by a wrong clock is gone.
    async fn purge(&self) -> Result<(), StoreError> {
        let root = self.roots.current();
        if root.clock_skew_ms().is_some() || !root.lease.is_held(self.clock.look()) {
            return Ok(());
        }
        let begun_ms = self.clock.now_ms().saturating_add(root.clock_offset_ms().min(0));
        let begun = UnixSeconds::new(begun_ms.div_euclid(1000));
        root.tokens.forget_expired(begun);
        // Sessions outlive the entries that revoke them. So those entries go only when a pass that
        // waited for every locked row, begun after their end, has found no session left to end.
        let ended = self.store.expired_marks(MARKS_MAX).await?;
        self.sweep(true).await?;
        root.sessions.forget_expired(begun);
        if !ended.is_empty() {
            // A refresh that spent its token before the pass asks for the marks before it ends.
            sleep(MINTS_END).await;
            self.store.remove_marks(&ended).await?;
        }
        self.store.purge_changes().await?;
        self.store.purge_bare_revocations(begun).await?;
        self.store.drop_partitions(begun.into()).await?;
        Ok(())
    }
}

/// The result of a step, its failure logged. That the database has gone is said by the store.
fn log<T>(step: &str, done: Result<T, StoreError>) -> Option<T> {
    match &done {
        Err(error) if error.is_unreachable() => {
            tracing::debug!(error = %error, jeton.step = step, "housekeeping was cut short");
        }
        Err(error) => tracing::warn!(error = %error, jeton.step = step, "housekeeping was cut short"),
        Ok(_) => {}
    }
    done.ok()
}
