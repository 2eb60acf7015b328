//! Renews the lease, for this replica and for every call that waits for one. A replica that cannot renew answers from
//! memory until its lease has ended, and no longer.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    replica::FeedHandle,
    state::{LEASE_MS, Roots},
    store::{OwnConnection, Renewal, ReplicaIdentity, StoreError},
};
use jeton_state::clock::{Clock, Moment};
use jeton_token::{Revision, new_uuid_v7};

/// The interval of renewals that succeed: two may fail before the lease ends.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// The pause after a failed renewal: so soon is the replica back after the database.
const RENEW_AGAIN: Duration = Duration::from_millis(100);
/// A renewal whose head is not applied within this time is worth nothing.
const ADOPT_WITHIN: Duration = Duration::from_millis(LEASE_MS.unsigned_abs());
/// The most calls that may wait for one renewal: more than a replica can have in flight.
const WAITERS_MAX: usize = 65_536;

/// A handle to ask for a renewal.
#[derive(Clone)]
pub struct LeaseHandle {
    join: mpsc::Sender<oneshot::Sender<bool>>,
}

impl LeaseHandle {
    /// Waits for one renewal that is sent after this call, together with all others that wait. True: it was adopted, so
    /// the root is whole up to the log's head of after the call.
    pub async fn join(&self) -> bool {
        let (done, renewed) = oneshot::channel();
        self.join.try_send(done).is_ok() && renewed.await.unwrap_or(false)
    }
}

/// The id under which this replica is registered, if it is; its row tells the applied revision.
#[derive(Clone, Default)]
pub struct Registered(Arc<Mutex<Known>>);

/// A registration, and whether there ever was one.
#[derive(Debug, Default)]
struct Known {
    id: Option<Uuid>,
    has_been: bool,
}

impl Registered {
    /// The id.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        self.known().id
    }

    /// Returns whether this replica has ever been registered: until then no other has waited for it, and it has
    /// answered nothing.
    pub(in crate::replica) fn has_been(&self) -> bool {
        self.known().has_been
    }

    fn set(&self, id: Option<Uuid>) {
        let mut known = self.known();
        known.has_been |= id.is_some();
        known.id = id;
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A registration of this replica.
#[derive(Clone, Copy)]
struct Registration {
    id: Uuid,
    epoch: i64,
    beat: i64,
}

/// The task.
pub struct LeaseRenewer {
    roots: Arc<Roots>,
    clock: Arc<Clock>,
    connection: OwnConnection,
    feed: FeedHandle,
    identity: ReplicaIdentity,
    registered: Registered,
    registration: Option<Registration>,
    joiners: mpsc::Receiver<oneshot::Sender<bool>>,
    failing: bool,
}

impl LeaseRenewer {
    /// Not registered yet.
    #[must_use]
    pub fn new(
        roots: Arc<Roots>,
        clock: Arc<Clock>,
        connection: OwnConnection,
        feed: FeedHandle,
        identity: ReplicaIdentity,
        registered: Registered,
    ) -> (Self, LeaseHandle) {
        let (join, joiners) = mpsc::channel(WAITERS_MAX);
        let lease = Self {
            roots,
            clock,
            connection,
            feed,
            identity,
            registered,
            registration: None,
            joiners,
            failing: false,
        };
        (lease, LeaseHandle { join })
    }

    /// Renews until `stop`; then ends the lease, and leaves: no other waits for a replica that has left.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut next = Instant::now();
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(joiner) = self.joiners.recv() => waiting.push(joiner),
                () = sleep_until(next) => {}
            }
            // All that came before the renewal is sent share it.
            while let Ok(joiner) = self.joiners.try_recv() {
                waiting.push(joiner);
            }
            let sent = Instant::now();
            let renewed = self.renew(&stop).await;
            let good = matches!(renewed, Ok(true));
            self.report(&renewed);
            for joiner in waiting {
                // A caller that went away does not wait for an answer.
                let _gone = joiner.send(good);
            }
            next = if good { sent.checked_add(RENEW_EVERY) } else { Instant::now().checked_add(RENEW_AGAIN) }
                .unwrap_or(sent);
        }
        self.leave().await;
    }

    /// One renewal, adopted when its head is applied. False: it was not adopted.
    async fn renew(&mut self, stop: &CancellationToken) -> Result<bool, StoreError> {
        let Some((head, sent)) = self.ask().await? else { return Ok(false) };
        let adopted = tokio::select! {
            // The feed ends at the same time: it reads no more.
            () = stop.cancelled() => return Ok(false),
            adopted = timeout(ADOPT_WITHIN, self.feed.applied(head)) => adopted,
        };
        if adopted.is_err() {
            // No revocation should wait, again and again, for a replica that renews but does not read.
            tracing::warn!("this replica does not keep up with the log: it leaves until it does");
            self.withdraw().await?;
            return Ok(false);
        }
        Ok(self.roots.current().adopt(head, sent))
    }

    /// Sends one renewal. Returns the head that it saw, and the time when it was sent. A registration that is gone is
    /// made again, once: the state in memory is as good as before.
    async fn ask(&mut self) -> Result<Option<(Revision, Moment)>, StoreError> {
        for _ in 0..2 {
            let Some(registration) = self.register().await? else { return Ok(None) };
            match self.ask_as(registration).await? {
                (Renewal::Renewed { head, same_log: true }, sent, published)
                    if head >= published && head.epoch() == registration.epoch =>
                {
                    return Ok(Some((head, sent)));
                }
                // The log is another, or has lost its end: the feed checks.
                (Renewal::Renewed { .. }, ..) => {
                    self.feed.poke();
                    return Ok(None);
                }
                // No other replica waits for this one any more.
                (Renewal::Gone, ..) => {
                    self.roots.current().lease.drop_now();
                    tracing::warn!("this replica's registration was gone: it registers again");
                    self.forget();
                }
            }
        }
        Ok(None)
    }

    /// One renewal, the time when it was sent, and the revision that this replica had published before.
    async fn ask_as(
        &mut self,
        registration: Registration,
    ) -> Result<(Renewal, Moment, Revision), StoreError> {
        let beat = registration.beat.saturating_add(1);
        self.registration = Some(Registration { beat, ..registration });
        let root = self.roots.current();
        let published = root.applied();
        // Before it is sent, never from the reply: changes that it does not see are committed after this look.
        let sent = self.clock.look();
        let renewal =
            self.connection.renew(registration.id, registration.epoch, beat, root.clock_offset_ms()).await?;
        Ok((renewal, sent, published))
    }

    /// The registration, made now if there is none for the current epoch. Committed before the first renewal is sent.
    async fn register(&mut self) -> Result<Option<Registration>, StoreError> {
        let applied = self.roots.current().applied();
        if let Some(registration) = self.registration.filter(|it| it.epoch == applied.epoch()) {
            return Ok(Some(registration));
        }
        if !self.feed.keeps_up(self.clock.boot()).await {
            return Ok(None);
        }
        // The former row is removed when the new one is written.
        let former = self.registration.map(|it| it.id);
        self.registered.set(None);
        // Never an id that was used before: a late renewal of an earlier one must not count for this.
        let id = new_uuid_v7(self.clock.now_ms());
        if !self.connection.register(id, former, &self.identity, applied).await? {
            self.feed.poke();
            return Ok(None);
        }
        let registration = Registration { id, epoch: applied.epoch(), beat: 0 };
        self.registration = Some(registration);
        self.registered.set(Some(id));
        // The revision that was applied meanwhile is acknowledged under the new id.
        self.feed.poke();
        Ok(Some(registration))
    }

    fn forget(&mut self) {
        self.registration = None;
        self.registered.set(None);
    }

    /// The lease ends first; only then the row is removed.
    async fn withdraw(&mut self) -> Result<(), StoreError> {
        self.roots.current().lease.drop_now();
        if let Some(registration) = self.registration {
            self.connection.leave(registration.id).await?;
        }
        self.forget();
        Ok(())
    }

    /// The same, for good.
    async fn leave(&mut self) {
        self.roots.close();
        if let Err(error) = self.withdraw().await {
            tracing::warn!(error = %error, "this replica could not leave: revocations wait for its lease once");
        }
    }

    /// Logs a change from good to bad and back, once each. The store logs that the database is away.
    fn report(&mut self, renewed: &Result<bool, StoreError>) {
        match renewed {
            Ok(true) if self.failing => tracing::info!("the lease is renewed again"),
            Ok(false) if !self.failing => {
                tracing::warn!("the lease is not renewed: this replica has not read what others have");
                self.failing = true;
            }
            Err(error) if !self.failing && !error.is_unreachable() => {
                tracing::error!(error = %error, "the lease is not renewed: this replica answers for 2.7 s more at most");
                self.failing = true;
            }
            _ => {}
        }
        self.failing &= !matches!(renewed, Ok(true));
    }
}
