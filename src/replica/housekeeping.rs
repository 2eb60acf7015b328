//! Background work: makes partitions ahead and drops old ones, marks sessions that the log revokes, and forgets entries
//! once no token that they hit can be live.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    observe::Metrics,
    state::{LEASE_OVER_MS, Roots},
    store::{ChainHead, Store, StoreError},
};
use jeton_state::clock::Clock;
use jeton_token::UnixSeconds;

/// The interval of logging the heads of the audit chains: rows that are cut off after them are noticed.
const HEADS_EVERY: Duration = Duration::from_mins(1);
/// The interval of the rounds.
const ROUND: Duration = Duration::from_secs(30);
/// Longer than any mint that is not abandoned.
const MINTS_END: Duration = Duration::from_millis(LEASE_OVER_MS.unsigned_abs());
/// The most marks that one transaction removes.
const MARKS_MAX: i64 = 500;
/// A lock is remembered so long after its end: a replica that stood still learns of an unlock, rather than write the
/// lock back in the next epoch.
const LOCKS_KEPT_S: i64 = 86_400;
/// The time in which an ending process writes the last uses of API keys.
const LAST_NOTE: Duration = Duration::from_secs(1);

/// Logs the head of each audit chain. Kept out of reach of those who can write to the database, the log shows that
/// nothing was cut off. Returns the heads.
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
    /// The state in memory.
    pub roots: Arc<Roots>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl Housekeeping {
    /// Works until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut heads = interval(HEADS_EVERY);
        let mut rounds = interval(ROUND);
        // The first round is due at once.
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
            // A round that is cut short by the stop is repeated after the next start.
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.round() => {}
            }
        }
        // The uses are kept only in memory, which ends with the process.
        let _late = timeout(LAST_NOTE, self.note_uses()).await;
    }

    /// Publishes the heads of the audit chains in the log and in metrics.
    fn tell_heads(&self) {
        for head in tell_heads(&self.store) {
            self.metrics.audit_head(head.writer, &head.chain.to_string(), head.number, &head.tag);
        }
    }

    /// One round. A step that fails does not stop the others, and is tried again in the next round.
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

    /// Writes new last uses of API keys.
    async fn note_uses(&self) -> Result<(), StoreError> {
        let root = self.roots.current();
        let clients = root.issuing.clients.load_full();
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

    /// Forgets entries that had ended when the round began, by the server's clock and by the database's. Not while the
    /// clocks are too far apart, or without a lease: entries that a wrong clock purges are gone.
    async fn purge(&self) -> Result<(), StoreError> {
        let root = self.roots.current();
        if root.clock_skew_ms().is_some() || !root.lease.is_held(self.clock.look()) {
            return Ok(());
        }
        let begun_ms = self.clock.now_ms().saturating_add(root.clock_offset_ms().min(0));
        let begun = UnixSeconds::new(begun_ms.div_euclid(1000));
        root.tokens.forget_expired(begun);
        // Sessions outlive the entries that revoke them. So those entries are removed only if a sweep that waited for
        // every locked row, begun after their end, has found no session left to end.
        let ended = self.store.expired_marks(MARKS_MAX).await?;
        self.sweep(true).await?;
        root.sessions.forget_expired(begun);
        root.issuing.locks.forget_ended(begun.saturating_add(-LOCKS_KEPT_S));
        if !ended.is_empty() {
            // A refresh that spent its token before the sweep checks the marks before it ends.
            sleep(MINTS_END).await;
            self.store.remove_marks(&ended).await?;
        }
        self.store.purge_changes().await?;
        self.store.purge_bare_revocations(begun).await?;
        self.store.purge_bulk_chunks().await?;
        self.store.purge_locks(LOCKS_KEPT_S).await?;
        self.store.drop_partitions(begun.into()).await?;
        Ok(())
    }
}

/// The result of a step; a failure is logged. The store logs that the database is away.
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
