//! Looks at the other replicas: for this replica's barriers, and for registrations that are no longer renewed, which it
//! removes.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    replica::{EpochKnown, Propagation, Registered, membership::alarm::Alarm},
    state::LEASE_OVER_MS,
    store::{FleetRows, OwnConnection, ReplicaRow, StoreError},
};
use jeton_state::clock::{BootMillis, Clock};
use jeton_token::Revision;

/// The pause between the first looks of a barrier: a healthy replica has applied and acknowledged within a few.
const LOOK_SOON: Duration = Duration::from_micros(500);
/// The number of first looks; after them the pause doubles each time.
const LOOKS_SOON: u32 = 10;
/// The longest pause between two looks of a barrier.
const LOOK_EVERY: Duration = Duration::from_millis(64);
/// The pause between two looks while no barrier waits: soon enough to see which replicas have gone.
const WATCH_EVERY: Duration = Duration::from_millis(500);
/// A registration that disappears after its beat has stood still for so long was removed; otherwise it has left.
const DEAD_MS: i64 = 2_000;
/// The most names of replicas in an answer.
const LAGGARDS_MAX: usize = 20;
/// Barriers that may wait at once. Items of one batch share one, so the flusher's queue never needs as many.
const WAITERS_MAX: usize = 65_536;

/// One barrier.
struct Waiter {
    revision: Revision,
    /// The time when its commit was known, or later.
    committed: BootMillis,
    progress: watch::Sender<Propagation>,
    /// The replicas that the latest look found behind, and the time since when.
    behind: Vec<(Uuid, String, BootMillis)>,
    /// The replicas that were removed during the wait.
    removed: Vec<String>,
    next: Instant,
    looks: u32,
    pause: Duration,
}

/// An awaited revision, and the progress that was seen.
type Followed = (Revision, watch::Receiver<Propagation>);

/// The beat of each registration, and the time when a reply first showed it.
type Beats = HashMap<Uuid, (i64, BootMillis)>;

/// A handle to wait for the other replicas.
#[derive(Clone)]
pub struct FleetHandle {
    waiters: mpsc::Sender<Waiter>,
    others: watch::Receiver<Vec<String>>,
    /// The latest awaited revision: the items of a batch share one wait.
    latest: Arc<Mutex<Option<Followed>>>,
}

impl FleetHandle {
    /// The progress of the other replicas towards `revision`, which had been committed by `committed`: complete once
    /// each has applied it, has left, or can hold no lease from before. `None`: too many wait.
    #[must_use]
    pub fn follow(&self, revision: Revision, committed: BootMillis) -> Option<watch::Receiver<Propagation>> {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, seen)) = latest.as_ref().filter(|(followed, _)| *followed == revision) {
            return Some(seen.clone());
        }
        // Nothing is known yet of the replicas of the latest look.
        let others = self.others.borrow();
        let (progress, seen) = watch::channel(Propagation {
            complete: false,
            applied_replicas: 0,
            replicas: count(others.len()),
            laggards: others.iter().take(LAGGARDS_MAX).cloned().collect(),
        });
        let waiter = Waiter {
            revision,
            committed,
            progress,
            behind: Vec::new(),
            removed: Vec::new(),
            // A lone replica needs one look only. No other has applied it yet.
            next: if others.is_empty() { Instant::now() } else { soon() },
            looks: 0,
            pause: LOOK_SOON,
        };
        self.waiters.try_send(waiter).ok()?;
        *latest = Some((revision, seen.clone()));
        Some(seen)
    }
}

/// The task.
pub struct Fleet {
    clock: Arc<Clock>,
    connection: OwnConnection,
    registered: Registered,
    epoch: EpochKnown,
    arriving: mpsc::Receiver<Waiter>,
    waiting: Vec<Waiter>,
    beats: Beats,
    /// Names of the others, at the latest look.
    others: watch::Sender<Vec<String>>,
}

impl Fleet {
    /// No replica was seen yet.
    #[must_use]
    pub fn new(
        clock: Arc<Clock>,
        connection: OwnConnection,
        registered: Registered,
        epoch: EpochKnown,
    ) -> (Self, FleetHandle) {
        let (waiters, arriving) = mpsc::channel(WAITERS_MAX);
        let (others, names) = watch::channel(Vec::new());
        let (waiting, beats) = (Vec::new(), HashMap::new());
        let fleet = Self { clock, connection, registered, epoch, arriving, waiting, beats, others };
        (fleet, FleetHandle { waiters, others: names, latest: Arc::default() })
    }

    /// Looks until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut watch = Instant::now();
        let mut alarm = Alarm::default();
        loop {
            let next = self.waiting.iter().map(|waiter| waiter.next).fold(watch, Instant::min);
            tokio::select! {
                () = stop.cancelled() => return,
                Some(waiter) = self.arriving.recv() => self.waiting.push(waiter),
                () = alarm.at(next) => {}
            }
            // A look that is sent from now on comes after the commits of all waiters that have arrived.
            while let Ok(waiter) = self.arriving.try_recv() {
                self.waiting.push(waiter);
            }
            let due = Instant::now();
            if self.waiting.iter().any(|waiter| waiter.next <= due) || watch <= due {
                self.look().await;
                watch = Instant::now().checked_add(WATCH_EVERY).unwrap_or(due);
            }
        }
    }

    async fn look(&mut self) {
        let seen = self.connection.fleet().await;
        let now = self.clock.boot();
        // A database that is away tells nothing: barriers wait until no lease can be left.
        let seen = seen
            .inspect_err(|error| tracing::debug!(error = %error, "the other replicas could not be read"))
            .ok();
        let own = self.registered.id();
        let (epoch, beats) = (&self.epoch, &self.beats);
        self.waiting.retain_mut(|waiter| {
            let propagation = waiter.look(seen.as_ref(), own, epoch, beats, now);
            let complete = propagation.complete;
            let heard = waiter.progress.send(propagation).is_ok();
            waiter.wait_on();
            heard && !complete
        });
        let Some(seen) = seen else { return };
        let others = seen.replicas.iter().filter(|row| Some(row.id) != own);
        self.others.send_replace(others.map(|row| row.identity.name.clone()).collect());
        if let Err(error) = self.reap(&seen.replicas, own, now).await
            && !error.is_unreachable()
        {
            tracing::warn!(error = %error, "a registration that nobody renews could not be removed");
        }
    }

    /// Removes registrations whose beat has stood still for longer than a lease can last, by this clock, counted from
    /// the reply that first showed it.
    async fn reap(
        &mut self,
        rows: &[ReplicaRow],
        own: Option<Uuid>,
        now: BootMillis,
    ) -> Result<(), StoreError> {
        self.beats.retain(|id, _| rows.iter().any(|row| row.id == *id));
        for row in rows.iter().filter(|row| Some(row.id) != own) {
            let first = self.beats.entry(row.id).or_insert((row.beat, now));
            if first.0 != row.beat {
                *first = (row.beat, now);
            } else if now.since_ms(first.1) >= LEASE_OVER_MS && self.connection.reap(row.id, row.beat).await?
            {
                tracing::warn!(
                    jeton.other = row.identity.name,
                    "a replica has not renewed its lease for 3.3 s: its registration was removed"
                );
            }
        }
        Ok(())
    }
}

impl Waiter {
    /// The progress by one look. `seen` was requested after the commit.
    fn look(
        &mut self,
        seen: Option<&FleetRows>,
        own: Option<Uuid>,
        epoch: &EpochKnown,
        beats: &Beats,
        now: BootMillis,
    ) -> Propagation {
        let over = now.since_ms(self.committed) >= LEASE_OVER_MS;
        // A read in another epoch than that of the commit tells nothing.
        let seen = seen.filter(|seen| {
            seen.same_log && seen.head >= self.revision && seen.head.epoch() == self.revision.epoch()
        });
        let Some(seen) = seen else {
            return Propagation { complete: over, ..self.progress.borrow().clone() };
        };
        let others = || seen.replicas.iter().filter(|row| Some(row.id) != own);
        let mut behind: Vec<&ReplicaRow> = others().filter(|row| !self.has_applied(row)).collect();
        behind.sort_by_key(|row| row.applied);
        let stood_still = |id| beats.get(id).is_some_and(|(_, first)| now.since_ms(*first) >= DEAD_MS);
        let removed = self.behind.iter().filter(|(id, _, since)| {
            let waited_for = stood_still(id) || now.since_ms(*since) >= DEAD_MS;
            waited_for && !seen.replicas.iter().any(|row| row.id == *id)
        });
        self.removed.extend(removed.map(|(_, name, _)| name.clone()));
        // A replica that is back under another id counts by that.
        self.removed.retain(|name| !seen.replicas.iter().any(|row| row.identity.name == *name));
        let since =
            |id| self.behind.iter().find(|(known, ..)| *known == id).map_or(now, |(.., since)| *since);
        self.behind = behind.iter().map(|row| (row.id, row.identity.name.clone(), since(row.id))).collect();
        let laggards = self.removed.iter().chain(self.behind.iter().map(|(_, name, _)| name));
        // In a new epoch the rows may not show which replicas still hold a lease of the one before.
        let settled = epoch.is_settled(self.revision.epoch(), now);
        Propagation {
            complete: over || (settled && behind.is_empty()),
            applied_replicas: count(others().count().saturating_sub(behind.len())),
            replicas: count(others().count().saturating_add(self.removed.len())),
            laggards: laggards.take(LAGGARDS_MAX).cloned().collect(),
        }
    }

    /// Only its own acknowledgement counts, in the same epoch.
    fn has_applied(&self, row: &ReplicaRow) -> bool {
        row.epoch == self.revision.epoch()
            && row.applied.epoch() == self.revision.epoch()
            && row.applied >= self.revision
    }

    /// Sets the time of the next look; after ten looks the pause doubles each time.
    fn wait_on(&mut self) {
        let now = Instant::now();
        if self.next <= now {
            self.looks = self.looks.saturating_add(1);
            self.next = now.checked_add(self.pause).unwrap_or(now);
            if self.looks >= LOOKS_SOON {
                self.pause = self.pause.saturating_mul(2).min(LOOK_EVERY);
            }
        }
    }
}

fn soon() -> Instant {
    let now = Instant::now();
    now.checked_add(LOOK_SOON).unwrap_or(now)
}

fn count(replicas: usize) -> u32 {
    u32::try_from(replicas).unwrap_or(u32::MAX)
}
