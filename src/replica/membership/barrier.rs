//! Waits until every replica that may answer from memory has applied a revision.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::{
    replica::{EpochKnown, FeedHandle, FleetHandle},
    state::LEASE_OVER_MS,
};
use jeton_state::clock::{BootMillis, Clock};
use jeton_token::Revision;

/// A database that does not answer within this time tells nothing about the log.
const CONFIRM_WITHIN: Duration = Duration::from_secs(5);

/// How far a revocation must have travelled before the answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reach {
    /// Durable, and applied on the answering replica.
    Local,
    /// Applied on every replica that may still answer from memory.
    #[default]
    Replicas,
}

/// The replicas that have applied a revocation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Propagation {
    /// Every replica within the reach has applied it, or can hold no lease from before it.
    pub complete: bool,
    /// Replicas that have applied it.
    pub applied_replicas: u32,
    /// Replicas that are registered.
    pub replicas: u32,
    /// Names of those that have not applied it, worst first; at most 20.
    pub laggards: Vec<String>,
}

/// The log is, or may be, in another epoch than the awaited change, and may have lost it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochOver;

/// The barrier of this replica.
#[derive(Clone)]
pub struct Barrier {
    clock: Arc<Clock>,
    feed: FeedHandle,
    fleet: FleetHandle,
    epoch: EpochKnown,
    replica: String,
}

impl Barrier {
    /// Waits for this replica's feed and for the others that `others` sees.
    #[must_use]
    pub fn new(
        clock: Arc<Clock>,
        feed: FeedHandle,
        fleet: FleetHandle,
        epoch: EpochKnown,
        replica: String,
    ) -> Self {
        Self { clock, feed, fleet, epoch, replica }
    }

    /// Waits for the committed `revision`, at most `limit` and at most as long as a lease lasts and a read of the log
    /// takes. Fails if the log has passed into another epoch: it may have lost changes of the one before.
    pub async fn wait(
        &self,
        revision: Revision,
        reach: Reach,
        limit: Option<Duration>,
    ) -> Result<Propagation, EpochOver> {
        let committed = self.clock.boot();
        let mut others = match reach {
            Reach::Local => None,
            Reach::Replicas => self.fleet.follow(revision, committed),
        };
        let done = async {
            tokio::join!(self.here(revision, committed), async {
                match &mut others {
                    // Even if a look takes long.
                    Some(others) => tokio::select! {
                        () = complete(others) => {}
                        () = self.over(committed) => {}
                    },
                    None if reach == Reach::Local => {}
                    // Too many wait for answers of their own.
                    None => self.over(committed).await,
                }
            });
            // Acknowledgements are of the revision's epoch. Time has passed in every epoch.
            if self.has_passed(committed) {
                self.confirm(revision).await?;
            }
            Ok(())
        };
        let done = timeout(limit.unwrap_or(Duration::MAX), done).await;
        if done == Ok(Err(EpochOver)) || self.epoch.latest() > revision.epoch() {
            return Err(EpochOver);
        }
        let seen = others.map(|others| others.borrow().clone()).unwrap_or_default();
        Ok(self.all(done.is_ok(), self.feed.has_applied(revision), seen))
    }

    /// Waits for a read of the log, sent from now on, that still shows `revision`.
    async fn confirm(&self, revision: Revision) -> Result<(), EpochOver> {
        let read = timeout(CONFIRM_WITHIN, self.feed.holds(revision, self.clock.boot())).await;
        if read == Ok(true) { Ok(()) } else { Err(EpochOver) }
    }

    fn has_passed(&self, committed: BootMillis) -> bool {
        self.clock.boot().since_ms(committed) >= LEASE_OVER_MS
    }

    /// Counts this replica together with the others.
    fn all(&self, complete: bool, own: bool, others: Propagation) -> Propagation {
        let mut laggards = others.laggards;
        if !own {
            laggards.insert(0, self.replica.clone());
        }
        Propagation {
            complete,
            applied_replicas: others.applied_replicas.saturating_add(u32::from(own)),
            replicas: others.replicas.saturating_add(1),
            laggards,
        }
    }

    /// Waits until this replica has applied it, or can hold no lease from before.
    async fn here(&self, revision: Revision, committed: BootMillis) {
        tokio::select! {
            () = self.feed.heard(revision) => {}
            () = self.over(committed) => {}
        }
    }

    /// Waits until no lease can be left whose renewal did not see this commit.
    async fn over(&self, committed: BootMillis) {
        loop {
            let left_ms = LEASE_OVER_MS.saturating_sub(self.clock.boot().since_ms(committed));
            match u64::try_from(left_ms) {
                Ok(left_ms) if left_ms > 0 => sleep(Duration::from_millis(left_ms)).await,
                _ => return,
            }
        }
    }
}

/// Waits for the look that finds it complete. If the task is gone, the process ends soon.
async fn complete(others: &mut watch::Receiver<Propagation>) {
    if others.wait_for(|seen| seen.complete).await.is_err() {
        std::future::pending::<()>().await;
    }
}
