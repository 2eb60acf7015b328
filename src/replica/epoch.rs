//! From one epoch of the log to the next: where the log may have lost its end, whoever holds state in
//! memory brings back what the tables lack.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use super::{LoadError, Loader, keys::SYSTEM};
use crate::{
    clock::{BootMillis, Clock},
    state::{Entry, LEASE_OVER_MS, Mark, MarkKind, Reason, Root},
    store::{Head, NewAudit, OwnConnection, PolicyWrite, Store, StoreError, Task},
    token::{EPOCH_END, UnixSeconds, new_uuid_v7},
};

/// Between two looks at a log that may not be read yet.
const LOG_AGAIN: Duration = Duration::from_millis(200);
/// Entries of one transaction.
const REAPPEND_MAX: usize = 1_000;

/// What is known of the epoch in force: since when, and whether somebody has known it for as long as a
/// lease can last. Until then the rows of the replicas may not show who still holds one of the epoch
/// before.
#[derive(Clone, Debug, Default)]
pub struct EpochKnown(Arc<Mutex<Known>>);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    epoch: i64,
    since: Option<BootMillis>,
    settled: i64,
}

impl EpochKnown {
    /// Takes note of what the head says, read at `now`.
    pub(super) fn saw(&self, head: &Head, now: BootMillis) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = head.revision.epoch();
        if known.since.is_none() || epoch > known.epoch {
            *known = Known { epoch, since: Some(now), settled: known.settled };
        }
        known.settled = known.settled.max(head.settled_epoch);
    }

    /// The largest epoch ever known here.
    pub(super) fn latest(&self) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).epoch
    }

    /// Whether acknowledgements of this epoch say all.
    pub(super) fn is_settled(&self, epoch: i64, now: BootMillis) -> bool {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.epoch == epoch && (known.settled == epoch || known.for_long(now))
    }

    /// The epoch, where it has been known for long enough and the log does not say so.
    pub(super) fn to_settle(&self, now: BootMillis) -> Option<i64> {
        let known = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (known.settled != known.epoch && known.for_long(now)).then_some(known.epoch)
    }
}

impl Known {
    fn for_long(&self, now: BootMillis) -> bool {
        self.since.is_some_and(|since| now.since_ms(since) >= LEASE_OVER_MS)
    }
}

/// Waits, without state, until the log may be read: until the database is the one, on the timeline, that it
/// was written in, and its epoch is settled. What the tables have lost, those that hold it have written back
/// by then. An epoch that nobody settles counts once every registration has stood still for as long as a
/// lease can last: nobody is left who holds anything.
pub async fn await_log(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    let mut connection = store.connection_of(Task::Feed);
    let mut before = HashMap::new();
    let mut still_since = clock.boot();
    let mut said = false;
    loop {
        let head = connection.head().await?;
        let replicas = connection.fleet().await?.replicas;
        let now = clock.boot();
        let beats: HashMap<_, _> = replicas.iter().map(|row| (row.id, row.beat)).collect();
        if beats.iter().any(|(id, beat)| before.get(id) != Some(beat)) {
            still_since = now;
        }
        before = beats;
        let settled = head.settled_epoch == head.revision.epoch();
        if head.same_log && (settled || now.since_ms(still_since) >= LEASE_OVER_MS) {
            return Ok(());
        }
        if !said && !head.same_log {
            tracing::warn!(
                "{}: waiting for a replica that holds its state, or for `jeton epoch bump`",
                StoreError::ForeignLog
            );
            said = true;
        }
        sleep(LOG_AGAIN).await;
    }
}

/// The means to change from one epoch to the next.
pub(super) struct Epochs {
    pub(super) store: Store,
    pub(super) clock: Arc<Clock>,
    pub(super) known: EpochKnown,
}

impl Epochs {
    /// Begins a new epoch in place of the one that `head` says, unless another replica was faster.
    pub(super) async fn begin(
        &self,
        connection: &mut OwnConnection,
        head: &Head,
        why: &str,
    ) -> Result<(), LoadError> {
        let stored = head.revision.epoch();
        let next = stored.max(self.known.latest()).saturating_add(1);
        if next >= EPOCH_END {
            tracing::error!(jeton.epoch = next, "there are no more epochs");
            return Err(LoadError::EpochsExhausted);
        }
        let audit = NewAudit { note: why.to_owned(), ..self.audit("BeginEpoch") };
        if connection.begin_epoch(stored, next, &audit).await? {
            tracing::warn!(jeton.epoch = next, jeton.why = why, "a new epoch of the log has begun");
        }
        Ok(())
    }

    /// A root of the epoch in force, and in the log whatever `old` holds that the tables lack.
    pub(super) async fn carry_over(
        &self,
        connection: &mut OwnConnection,
        loader: &Loader,
        old: &Root,
    ) -> Result<Arc<Root>, LoadError> {
        let new = loader.root(connection).await?;
        tracing::warn!(
            jeton.from_epoch = old.applied().epoch(),
            jeton.to_epoch = new.applied().epoch(),
            "the log is in another epoch: what is in memory is compared with the tables"
        );
        let now = UnixSeconds::new(self.clock.now_s());
        let mut lost = old.lost_in(&new, now);
        let (old_keys, new_keys) = (old.keys.load(), new.keys.load());
        lost.extend(old_keys.revoked_but_not_in(&new_keys).map(|key_id| {
            Entry::Mark(Mark {
                kind: MarkKind::Key,
                target: key_id.to_owned(),
                audience: String::new(),
                position: old.applied(),
                cutoff: UnixSeconds::new(0),
                reason: Reason::Compromised,
                expire_time: now.saturating_add(super::VERIFY_AFTER_RETIREMENT_S),
            })
        }));
        for entries in lost.chunks(REAPPEND_MAX) {
            connection.reappend(entries, &self.audit("ReappendRevocations")).await?;
        }
        if !lost.is_empty() {
            tracing::warn!(
                jeton.entries = lost.len(),
                "the tables had lost revocations: they are there again"
            );
        }
        self.restrict(connection, old, &new).await?;
        Ok(new)
    }

    /// Of clients and policies that differ, the stricter wins.
    async fn restrict(
        &self,
        connection: &mut OwnConnection,
        old: &Root,
        new: &Root,
    ) -> Result<(), LoadError> {
        for restriction in old.clients.load().restrictions(&new.clients.load(), old.applied()) {
            tracing::warn!(
                jeton.client_id = restriction.client_id,
                jeton.disabled = restriction.disable,
                jeton.api_keys = restriction.api_key_ids.len(),
                "the tables gave back to a client what had been taken from it: it is taken again"
            );
            connection.restrict_client(&restriction, &self.audit("RestrictClient")).await?;
        }
        for policy in old.policies.load().stricter_than(&new.policies.load(), old.applied()) {
            let written =
                self.store.put_policy(&policy, policy.revision, &self.audit("UpdatePolicy")).await?;
            // Another replica was faster: it holds what we hold, or more.
            if let PolicyWrite::Written(..) = written {
                tracing::warn!(
                    jeton.audience = policy.audience,
                    jeton.client_id = policy.client_id,
                    "the tables had a laxer policy: the stricter of both holds"
                );
            }
        }
        Ok(())
    }

    fn audit(&self, action: &'static str) -> NewAudit {
        NewAudit::new(new_uuid_v7(self.clock.now_ms()), SYSTEM, action)
    }
}
