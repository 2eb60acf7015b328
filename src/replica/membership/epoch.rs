//! The passage from one epoch of the log to the next: if the log may have lost its end, the replicas write back from
//! memory what the tables lack.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use tokio::time::sleep;

use crate::{
    replica::{LoadError, Loader, keys::opening::SYSTEM},
    state::{LEASE_OVER_MS, Lock, LostPolicy, Restriction, Root, TrustedIssuer},
    store::{Head, NewAudit, OwnConnection, ReplicaRow, SeenBefore, Store, StoreError, Task},
};
use jeton_state::clock::{BootMillis, Clock};
use jeton_token::{EPOCH_END, Revision, UnixSeconds, new_uuid_v7};

/// The pause between two looks at a log that may not be read yet.
const LOG_AGAIN: Duration = Duration::from_millis(200);
/// The most entries of one transaction.
const REAPPEND_MAX: usize = 1_000;
/// Tries of comparing clients and policies if other replicas were faster: one of them succeeds each time.
const RESTRICT_TRIES_MAX: u32 = 16;

/// Facts about the epoch in force: since when it is known, and whether some replica has known it for as long as a lease
/// can last. Until then the replicas' rows may not show which of them still hold a lease of the epoch before.
#[derive(Clone, Debug, Default)]
pub struct EpochKnown(Arc<Mutex<Known>>);

#[derive(Clone, Copy, Debug, Default)]
struct Known {
    epoch: i64,
    since: Option<BootMillis>,
    settled: i64,
    /// This replica failed to carry over its state into an epoch that it should follow.
    blocked: bool,
}

impl EpochKnown {
    /// Records the head, as read at `now`.
    pub(in crate::replica) fn saw(&self, head: &Head, now: BootMillis) {
        let mut known = self.known();
        let epoch = head.revision.epoch();
        if known.since.is_none() || epoch > known.epoch {
            *known = Known { epoch, since: Some(now), ..*known };
        }
        known.settled = known.settled.max(head.settled_epoch);
    }

    /// Records whether this replica has passed into the epoch. Returns whether that changed.
    fn set_blocked(&self, blocked: bool) -> bool {
        let mut known = self.known();
        std::mem::replace(&mut known.blocked, blocked) != blocked
    }

    /// Returns whether this replica follows the epoch of the log, as far as it knows. False while it has failed to
    /// carry over its state: then it holds changes that the tables may lack, and answers nothing.
    #[must_use]
    pub fn is_followed(&self) -> bool {
        !self.known().blocked
    }

    /// The largest epoch ever known here.
    pub(in crate::replica) fn latest(&self) -> i64 {
        self.known().epoch
    }

    /// Returns whether acknowledgements of this epoch are complete.
    pub(in crate::replica) fn is_settled(&self, epoch: i64, now: BootMillis) -> bool {
        let known = *self.known();
        known.epoch == epoch && (known.settled == epoch || known.for_long(now))
    }

    /// The epoch, if it has been known for long enough and the log does not say so yet.
    pub(in crate::replica) fn to_settle(&self, now: BootMillis) -> Option<i64> {
        let known = *self.known();
        (known.settled != known.epoch && known.for_long(now)).then_some(known.epoch)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn for_long(&self, now: BootMillis) -> bool {
        self.since.is_some_and(|since| now.since_ms(since) >= LEASE_OVER_MS)
    }
}

/// Waits, without state, until the log may be read: until the database is the one, on the timeline, in which the log
/// was written; a replica has carried over its state into the epoch, or an operator has begun it; and no replica is
/// left that may hold more: each earlier registration has come into the epoch, or has stood still for as long as a
/// lease can last. Returns the epoch. `told` learns what is waited for, once that takes long.
pub async fn await_log(
    store: &Store,
    clock: &Clock,
    told: &OnceLock<&'static str>,
) -> Result<i64, StoreError> {
    store.notice_parts().await?;
    let mut connection = store.connection_of(Task::Feed);
    let mut before = HashMap::new();
    let mut still_since = clock.boot();
    let mut waits = (None, clock.boot());
    loop {
        let head = connection.head().await?;
        let replicas = connection.fleet().await?.replicas;
        let now = clock.boot();
        let beats: HashMap<_, _> = replicas.iter().map(|row| (row.id, row.beat)).collect();
        if beats.iter().any(|(id, beat)| before.get(id) != Some(beat)) {
            still_since = now;
        }
        before = beats;
        let Some(waiting) = Waiting::of(&head, &replicas, now.since_ms(still_since)) else {
            return Ok(head.revision.epoch());
        };
        let waiting = Some(waiting);
        if waits.0 != waiting {
            waits = (waiting, now);
        } else if let Some(waiting) = &waiting
            && now.since_ms(waits.1) >= LEASE_OVER_MS
        {
            waiting.say();
            // Probes keep what was waited for first; the log has each condition.
            let _known = told.set(waiting.words());
            waits.1 = BootMillis::new(i64::MAX);
        }
        sleep(LOG_AGAIN).await;
    }
}

/// The condition that a server without state waits for.
#[derive(PartialEq, Eq)]
enum Waiting {
    /// The log was written elsewhere.
    Elsewhere,
    /// No replica has carried over into the epoch what the tables may lack.
    NotCarriedOver(i64),
    /// These have not come into the epoch.
    Behind(i64, Vec<String>),
}

impl Waiting {
    /// `None` if nothing is to be waited for. `still_ms`: the time for which no registration has been renewed.
    fn of(head: &Head, replicas: &[ReplicaRow], still_ms: i64) -> Option<Self> {
        let epoch = head.revision.epoch();
        if !head.same_log {
            return Some(Self::Elsewhere);
        }
        if head.carried_epoch != epoch {
            return Some(Self::NotCarriedOver(epoch));
        }
        let behind = replicas.iter().filter(|row| row.epoch < epoch).map(|row| row.identity.name.clone());
        let behind: Vec<_> = behind.collect();
        let all_are_there = behind.is_empty() && head.settled_epoch == epoch;
        (!all_are_there && still_ms < LEASE_OVER_MS).then_some(Self::Behind(epoch, behind))
    }

    /// What an operator does.
    fn words(&self) -> &'static str {
        match self {
            Self::Elsewhere => {
                "the log was written in another database: start a replica that holds its state, or run `jeton epoch bump`"
            }
            Self::NotCarriedOver(_) => {
                "the log has lost its end: start a replica that holds it, or run `jeton epoch bump`"
            }
            Self::Behind(..) => "replicas have not come into this epoch of the log: it waits for them",
        }
    }

    fn say(&self) {
        match self {
            Self::Elsewhere => tracing::warn!(
                "{}: waiting for a replica that holds its state, or for `jeton epoch bump`",
                StoreError::ForeignLog
            ),
            Self::NotCarriedOver(epoch) => tracing::error!(
                jeton.epoch = epoch,
                "the log has lost its end, and no replica has carried over its state: revocations may be missing. \
                 Waiting for a replica that holds them, or for `jeton epoch bump`"
            ),
            Self::Behind(epoch, replicas) => tracing::warn!(
                jeton.epoch = epoch,
                jeton.replicas = replicas.join(" "),
                "waiting for replicas that have not carried over their state into this epoch of the log"
            ),
        }
    }
}

/// The means to pass from one epoch to the next.
pub(in crate::replica) struct Epochs {
    pub(in crate::replica) store: Store,
    pub(in crate::replica) clock: Arc<Clock>,
    pub(in crate::replica) known: EpochKnown,
}

impl Epochs {
    /// Passes into the epoch of the log if that of `old` is over. If the log has lost its end, by its head or by other
    /// evidence, it first begins a new epoch. Returns a root of the epoch; everything in `old` that the tables lacked
    /// is in the log again. Until this has succeeded, readiness reports the failure: a restart would lose what this
    /// replica alone may hold.
    pub(in crate::replica) async fn pass(
        &self,
        connection: &mut OwnConnection,
        loader: &Loader,
        head: (&Head, bool),
        old: &Root,
    ) -> Result<Arc<Root>, LoadError> {
        let passed = self.try_to_pass(connection, loader, head, old).await;
        // A database that is away is no fault of the state that is carried over.
        let is_away = passed.as_ref().is_err_and(LoadError::is_away);
        let changed = !is_away && self.known.set_blocked(passed.is_err());
        match &passed {
            Err(error) if changed => tracing::error!(
                error = %error,
                jeton.from_epoch = old.applied().epoch(),
                "this replica cannot carry over its state into the new epoch of the log: it answers nothing, and tries \
                 again. Do not restart it: revocations that it alone holds would be lost"
            ),
            Ok(_) if changed => tracing::info!("the state of this replica is carried over"),
            _ => {}
        }
        passed
    }

    /// Records that the log can be followed in this replica's epoch.
    pub(in crate::replica) fn follows(&self) {
        self.store.give_up_pass();
        if self.known.set_blocked(false) {
            tracing::info!("the log is followed again");
        }
    }

    async fn try_to_pass(
        &self,
        connection: &mut OwnConnection,
        loader: &Loader,
        (head, has_lost): (&Head, bool),
        old: &Root,
    ) -> Result<Arc<Root>, LoadError> {
        if !head.same_log {
            self.begin(connection, head, "another timeline, system, database or tables").await?;
        } else if head.revision < old.applied()
            || (has_lost && head.revision.epoch() == old.applied().epoch())
        {
            self.begin(connection, head, "the log has lost its end").await?;
        }
        self.carry_over(connection, loader, old).await
    }

    /// Begins a new epoch after the head's, unless another replica was faster.
    async fn begin(&self, connection: &mut OwnConnection, head: &Head, why: &str) -> Result<(), LoadError> {
        let stored = head.revision.epoch();
        let next = stored.max(self.known.latest()).saturating_add(1);
        if next >= EPOCH_END {
            return Err(LoadError::EpochsExhausted);
        }
        let audit = NewAudit { note: why.to_owned(), ..self.audit("BeginEpoch") };
        if connection.begin_epoch(stored, next, &audit).await? {
            tracing::warn!(jeton.epoch = next, jeton.why = why, "a new epoch of the log has begun");
        }
        Ok(())
    }

    /// A root of the epoch in force; everything in `old` that the tables lack is written to the log.
    async fn carry_over(
        &self,
        connection: &mut OwnConnection,
        loader: &Loader,
        old: &Root,
    ) -> Result<Arc<Root>, LoadError> {
        // Changes that the tables have lost were seen here: rows that are older now are not forged.
        let before = self.store.begin_pass();
        let new = loader.root(connection).await?;
        tracing::warn!(
            jeton.from_epoch = old.applied().epoch(),
            jeton.to_epoch = new.applied().epoch(),
            "the log is in another epoch: what is in memory is compared with the tables"
        );
        let now = UnixSeconds::new(self.clock.now_s());
        let lost = old.lost_in(&new, now, now.saturating_add(crate::replica::VERIFY_AFTER_RETIREMENT_S));
        for entries in lost.chunks(REAPPEND_MAX) {
            connection.reappend(entries, &self.audit("ReappendRevocations")).await?;
        }
        if !lost.is_empty() {
            tracing::warn!(
                jeton.entries = lost.len(),
                "the tables had lost revocations: they are there again"
            );
        }
        let lost_locks = old.issuing.locks.lost_in(&new.issuing.locks, old.applied(), now);
        for lock in &lost_locks {
            let (subject, client_id) = lock.subject_or_client();
            let audit = NewAudit {
                subject: subject.map(str::to_owned),
                client_id: client_id.map(str::to_owned),
                ..self.audit("ReappendLock")
            };
            let revision = connection.reappend_lock(lock, &audit).await?;
            new.issuing.locks.apply(&[Lock { revision, ..Lock::clone(lock) }]);
            tracing::warn!(jeton.target = lock.target, "the tables had lost a lock: it is there again");
        }
        let had_seen = |id| before.has_mac_key(id);
        let gone = old.issuing.signers.load().macs_removed_from(
            &new.issuing.signers.load(),
            old.applied(),
            had_seen,
        );
        if !gone.is_empty() {
            connection.remove_mac_keys_again(&gone, &self.audit("RemoveMacKeys")).await?;
            tracing::warn!(
                jeton.keys = gone.len(),
                "the tables had MAC keys that had been removed: the sessions that they opened end again"
            );
        }
        self.restrict(connection, old, &new, &before).await?;
        connection.end_carry_over(new.applied().epoch()).await?;
        self.store.end_pass();
        // The log has them, too. But if it loses its end again before it is read, this root still has them.
        if !lost.is_empty() || !gone.is_empty() {
            loader.keys(connection).await?.store(&new);
        }
        new.apply_all(lost);
        Ok(new)
    }

    /// If clients, policies or trusted issuers differ, the stricter wins: in the tables, and in `new`.
    async fn restrict(
        &self,
        connection: &mut OwnConnection,
        old: &Root,
        new: &Root,
        before: &SeenBefore,
    ) -> Result<(), LoadError> {
        let applied = old.applied();
        // Other replicas do the same at the same time. Changes that were not written are compared again.
        for _ in 0..RESTRICT_TRIES_MAX {
            let (clients, seen) = connection.clients_and_seen(before).await?;
            let stored = connection.stored_policies().await?;
            let (issuers, seen_issuers) = connection.issuers_and_seen(before).await?;
            let given_back =
                old.issuing.issuers.load().given_back(&issuers, applied, &|id| seen_issuers.contains(id));
            let restrictions = old.issuing.clients.load().restrictions(&clients, applied, &seen);
            let lost = old.issuing.policies.load().lost_in(&stored, applied);
            if restrictions.is_empty() && lost.is_empty() && given_back.is_empty() {
                new.issuing.clients.store(Arc::new(clients));
                new.issuing.issuers.store(Arc::new(issuers));
                new.issuing.policies.store(Arc::new(stored.policies));
                return Ok(());
            }
            for restriction in restrictions {
                self.restrict_client(connection, &restriction).await?;
            }
            for lost in lost {
                self.carry_over_policy(connection, &lost).await?;
            }
            for issuer in given_back {
                self.restrict_issuer(connection, &issuer, applied).await?;
            }
        }
        Err(LoadError::Outrun)
    }

    async fn restrict_client(
        &self,
        connection: &mut OwnConnection,
        restriction: &Restriction,
    ) -> Result<(), LoadError> {
        if connection.restrict_client(restriction, &self.audit("RestrictClient")).await? {
            tracing::warn!(
                jeton.client_id = restriction.client.client_id,
                jeton.disabled = restriction.client.disabled,
                jeton.api_keys = restriction.gone_keys.len().saturating_add(restriction.ending_keys.len()),
                "the tables gave rights back to a client: they are taken away again"
            );
        }
        Ok(())
    }

    async fn restrict_issuer(
        &self,
        connection: &mut OwnConnection,
        issuer: &TrustedIssuer,
        applied: Revision,
    ) -> Result<(), LoadError> {
        if connection.restrict_issuer(issuer, applied, &self.audit("RestrictIssuer")).await? {
            tracing::warn!(
                jeton.issuer_id = issuer.issuer_id,
                "the tables gave back a trusted issuer that was changed or removed: it is disabled"
            );
        }
        Ok(())
    }

    async fn carry_over_policy(
        &self,
        connection: &mut OwnConnection,
        lost: &LostPolicy,
    ) -> Result<(), LoadError> {
        let (policy, action, said) = match lost {
            LostPolicy::Write { policy, .. } => {
                (policy, "UpdatePolicy", "the tables had a laxer policy: the stricter of both holds")
            }
            LostPolicy::Remove { policy, .. } => {
                (policy, "DeletePolicy", "the tables had a policy that had been removed: it is removed again")
            }
        };
        if connection.carry_over_policy(lost, &self.audit(action)).await? {
            tracing::warn!(jeton.audience = policy.audience, jeton.client_id = policy.client_id, "{said}");
        }
        Ok(())
    }

    fn audit(&self, action: &'static str) -> NewAudit {
        NewAudit::new(new_uuid_v7(self.clock.now_ms()), SYSTEM, action)
    }
}
