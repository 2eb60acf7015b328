//! Follows the log: woken by its notifications, and polling as well. Applies new entries, publishes that, and only then
//! acknowledges.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    observe::Metrics,
    replica::{
        EpochKnown, LoadError, Loader, Registered,
        log::{own_batch::OwnBatch, read_size::ReadSize},
        membership::epoch::{Epochs, await_log},
    },
    state::{Clients, Root, Roots},
    store::{Appended, Head, LogRead, NewRevocation, OwnConnection, Store, StoreError, Task},
};
use jeton_state::clock::{BootMillis, Clock};
use jeton_token::Revision;

/// The interval of polling: far below the length of a lease.
const POLL: Duration = Duration::from_millis(100);
/// A replica whose latest read is older does not register; it polls ten times as often.
const KEEPS_UP_MS: i64 = 1_000;
/// The longest time that a call which waits for a lease waits for one read.
const KEEP_UP_WITHIN: Duration = Duration::from_secs(1);
/// The pause between two tries to listen.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// A notification comes within a tenth of a millisecond.
const HEARD_WITHIN: Duration = Duration::from_millis(5);
/// The most of this replica's own batches that wait to be applied: further ones are read from the log.
const OWN_MAX: usize = 16;

/// A handle of the feed.
#[derive(Clone)]
pub struct FeedHandle {
    poke: Arc<Notify>,
    own: mpsc::Sender<OwnBatch>,
    own_backend: OwnBackend,
    lost_in: LostIn,
    applied: watch::Receiver<Revision>,
    read: watch::Receiver<LatestRead>,
}

/// The result of the latest read of the log.
#[derive(Clone, Copy)]
struct LatestRead {
    sent: BootMillis,
    good: bool,
    /// The epoch of this replica's state.
    epoch: i64,
    /// The head of the log, as it was read.
    head: Revision,
}

/// The epoch in which an append has shown that the log has lost its end; 0: none.
type LostIn = Arc<AtomicI64>;

/// The database process that appends for this replica: its notifications tell nothing new here. 0: not known.
type OwnBackend = Arc<AtomicU32>;

impl FeedHandle {
    /// Hands over a batch that this replica has just appended.
    pub(in crate::replica) fn appended(&self, appended: Appended, batch: &[NewRevocation]) {
        self.own_backend.store(appended.backend, Ordering::Relaxed);
        let handed = OwnBatch::of(appended, batch).is_some_and(|own| self.own.try_send(own).is_ok());
        if !handed {
            self.poke();
        }
    }

    /// Records that the log of this epoch has lost its end, by an append. The head may have reached its former position
    /// again.
    pub(in crate::replica) fn has_lost_its_end(&self, epoch: i64) {
        self.lost_in.store(epoch, Ordering::Release);
        self.poke();
    }

    /// Makes the feed read the log soon.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Returns whether the log can be read: recently, or by the next read.
    pub async fn keeps_up(&self, now: BootMillis) -> bool {
        let mut read = self.read.clone();
        let latest = *read.borrow_and_update();
        if latest.good && now.since_ms(latest.sent) <= KEEPS_UP_MS {
            return true;
        }
        self.poke();
        timeout(KEEP_UP_WITHIN, read.changed()).await.is_ok() && read.borrow().good
    }

    /// Waits for a read that is sent at `now` or later. Returns whether it found `revision` in the log, in its epoch.
    pub async fn holds(&self, revision: Revision, now: BootMillis) -> bool {
        let mut read = self.read.clone();
        // Once: if that read fails, the next one comes by itself.
        self.poke();
        loop {
            let latest = *read.borrow_and_update();
            if latest.good && latest.sent >= now {
                return latest.epoch == revision.epoch() && latest.head >= revision;
            }
            if read.changed().await.is_err() {
                // The feed has ended, and the process ends with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Returns whether everything up to `revision` is applied.
    #[must_use]
    pub fn has_applied(&self, revision: Revision) -> bool {
        *self.applied.borrow() >= revision
    }

    /// Waits until everything up to `revision` is applied, and reads the log for that.
    pub async fn applied(&self, revision: Revision) {
        let applied = self.applied.clone();
        if *applied.borrow() < revision {
            self.poke();
        }
        wait_for(applied, revision).await;
    }

    /// The same for a change that this replica appended, for which a read will come. Reads the log only if the
    /// notification seems to be missed.
    pub async fn heard(&self, revision: Revision) {
        if timeout(HEARD_WITHIN, wait_for(self.applied.clone(), revision)).await.is_err() {
            self.applied(revision).await;
        }
    }
}

/// An error means that the feed has ended: then nothing is answered from its state any more, and waiters run into their
/// deadline.
async fn wait_for(mut applied: watch::Receiver<Revision>, revision: Revision) {
    if applied.wait_for(|applied| *applied >= revision).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The task.
pub struct Feed {
    roots: Arc<Roots>,
    loader: Loader,
    store: Store,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    connection: OwnConnection,
    read_size: ReadSize,
    epochs: Epochs,
    registered: Registered,
    /// The latest acknowledgement: the registration and the revision.
    acknowledged: Option<(Uuid, Revision)>,
    poke: Arc<Notify>,
    own: mpsc::Receiver<OwnBatch>,
    own_backend: OwnBackend,
    lost_in: LostIn,
    applied: watch::Sender<Revision>,
    read: watch::Sender<LatestRead>,
    failing: bool,
}

/// The parts of a feed that has read the log once.
pub struct Following {
    /// The task.
    pub feed: Feed,
    /// Its handle.
    pub handle: FeedHandle,
    /// The roots that it writes to.
    pub roots: Arc<Roots>,
    /// The epoch that it has seen.
    pub epoch: EpochKnown,
}

impl Feed {
    /// Loads the first root, of an epoch that may be read, and reads entries that were appended meanwhile. Until it is
    /// registered, a replica does not pass into another epoch with its state: it would count as one that has carried
    /// over.
    pub async fn start(
        store: Store,
        loader: Loader,
        clock: Arc<Clock>,
        metrics: Arc<Metrics>,
        registered: Registered,
    ) -> Result<Following, LoadError> {
        let mut connection = store.connection_of(Task::Feed);
        let roots = Arc::new(Roots::new(first_root(&store, &loader, &clock, &mut connection).await?));
        let poke = Arc::new(Notify::new());
        let (applied, follow) = watch::channel(roots.current().applied());
        let (read, latest) = watch::channel(LatestRead {
            sent: BootMillis::NEVER,
            good: false,
            epoch: 0,
            head: Revision::ZERO,
        });
        let (hand_over, own) = mpsc::channel(OWN_MAX);
        let (own_backend, lost_in) = (OwnBackend::default(), LostIn::default());
        let handle = FeedHandle {
            poke: Arc::clone(&poke),
            own: hand_over,
            own_backend: Arc::clone(&own_backend),
            lost_in: Arc::clone(&lost_in),
            applied: follow,
            read: latest,
        };
        let epoch = EpochKnown::default();
        let epochs = Epochs { store: store.clone(), clock: Arc::clone(&clock), known: epoch.clone() };
        let mut feed = Self {
            roots: Arc::clone(&roots),
            loader,
            store,
            clock,
            metrics,
            connection,
            read_size: ReadSize::default(),
            epochs,
            registered,
            acknowledged: None,
            poke,
            own,
            own_backend,
            lost_in,
            applied,
            read,
            failing: false,
        };
        feed.read().await?;
        Ok(Following { feed, handle, roots, epoch })
    }

    /// Follows the log until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let (poke, own_backend) = (Arc::clone(&self.poke), Arc::clone(&self.own_backend));
        let listening = tokio::spawn(listen(self.store.clone(), poke, own_backend, stop.clone()));
        let mut poll = Instant::now();
        loop {
            let own = tokio::select! {
                () = stop.cancelled() => break,
                Some(own) = self.own.recv() => Some(own),
                () = self.poke.notified() => None,
                () = sleep_until(poll) => None,
            };
            if own.is_some_and(|own| self.apply_own(own)) {
                continue;
            }
            let read = self.read().await;
            self.report(&read);
            poll = Instant::now().checked_add(POLL).unwrap_or(poll);
        }
        // It ends by the same token; a panic was logged by the hook.
        let _ended = listening.await;
    }

    async fn read(&mut self) -> Result<(), LoadError> {
        let sent = self.clock.boot();
        let read = self.advance().await;
        let epoch = self.roots.current().applied().epoch();
        let head = read.as_ref().copied().unwrap_or(Revision::ZERO);
        self.read.send_replace(LatestRead { sent, good: read.is_ok(), epoch, head });
        read.map(|_| ())
    }

    /// Applies and publishes the batch, and returns whether all of it is in memory now, because it was next or was read
    /// meanwhile. No acknowledgement is due: replicas wait for a revision that this one has to read, and that read
    /// acknowledges this one, too.
    fn apply_own(&self, own: OwnBatch) -> bool {
        let root = self.roots.current();
        if root.applied() >= own.revision {
            return true;
        }
        if root.applied() != own.after {
            return false;
        }
        root.apply_all(own.entries);
        root.lease.publish(own.revision);
        self.applied.send_replace(own.revision);
        self.metrics.log_read(own.revision);
        true
    }

    /// Reads the log, and brings the root to its head. Returns the head.
    async fn advance(&mut self) -> Result<Revision, LoadError> {
        let root = self.roots.current();
        // Before the statement is sent: a head below this was not read too early, but is behind.
        let published = root.applied();
        // The wall clock that judges and mints never goes back: after a step forward and back it stays ahead, and the
        // skew with it, until the process restarts.
        let wall_ms = self.clock.now_ms();
        let LogRead { head, upto, entries } = self.read_after(published).await?;
        root.set_database_time_ms(head.database_time_ms, wall_ms, self.clock.now_ms());
        self.metrics.clock_offset(root.clock_offset_ms());
        self.epochs.known.saw(&head, self.clock.boot());
        let has_lost = self.lost_in.load(Ordering::Acquire) == published.epoch();
        if !head.same_log
            || has_lost
            || head.revision < published
            || head.revision.epoch() > published.epoch()
        {
            root.lease.drop_now();
            if self.registered.has_been() {
                self.change_epoch(&head, &root, has_lost).await?;
            } else {
                let root = first_root(&self.store, &self.loader, &self.clock, &mut self.connection).await?;
                self.swap(root);
            }
        } else if published < head.floor {
            tracing::warn!("the log was purged past what this replica had read: loading all tables again");
            let root = self.loader.root(&mut self.connection).await?;
            self.swap(root);
        } else if head.revision > published {
            self.loader.apply(&mut self.connection, &root, entries).await?;
            // Only now: a reader that sees `applied` finds everything up to it.
            root.lease.publish(upto);
            if upto < head.revision {
                self.poke.notify_one();
            }
        }
        self.epochs.follows();
        let root = self.roots.current();
        self.applied.send_replace(root.applied());
        self.acknowledge(root.applied()).await?;
        self.metrics.log_read(root.applied());
        if let Some(epoch) = self.epochs.known.to_settle(self.clock.boot()) {
            self.connection.settle_epoch(epoch).await?;
        }
        Ok(head.revision)
    }

    /// Reads as much of the log as can be read in time.
    async fn read_after(&mut self, published: Revision) -> Result<LogRead, StoreError> {
        let sent = self.clock.boot();
        let read = self.connection.read(published, self.read_size.entries()).await;
        match &read {
            Err(StoreError::Late) => self.read_size.was_late(),
            Ok(read) if read.upto < read.head.revision => {
                self.read_size.was_filled(self.clock.boot().since_ms(sent));
            }
            Ok(_) | Err(_) => {}
        }
        read
    }

    /// Puts a root of the log's epoch in force, after everything that the tables had lost is in the log again. If that
    /// fails, the old root stays, without a lease, and the next read tries again.
    async fn change_epoch(&mut self, head: &Head, old: &Root, has_lost: bool) -> Result<(), LoadError> {
        let new = self.epochs.pass(&mut self.connection, &self.loader, (head, has_lost), old).await?;
        self.swap(new);
        // Entries that were appended just now are read next.
        self.poke.notify_one();
        Ok(())
    }

    fn swap(&self, root: Arc<Root>) {
        let old = self.roots.current();
        root.set_clocks_of(&old);
        let clients = Clients::clone(&root.issuing.clients.load());
        root.issuing.clients.store(Arc::new(clients.with_last_uses_of(&old.issuing.clients.load())));
        self.roots.swap(root);
    }

    /// Acknowledges the applied and published revision under the current registration.
    async fn acknowledge(&mut self, applied: Revision) -> Result<(), StoreError> {
        let Some(id) = self.registered.id() else { return Ok(()) };
        if self.acknowledged != Some((id, applied)) {
            self.connection.acknowledge(id, applied).await?;
            self.acknowledged = Some((id, applied));
        }
        Ok(())
    }

    /// Logs a change from good to bad and back, once each. The store logs that the database is away.
    fn report(&mut self, read: &Result<(), LoadError>) {
        match read {
            Ok(()) if self.failing => tracing::info!("the log is read again"),
            // The reason that keeps it from the epoch of the log is logged where it is found.
            Err(error) if !self.failing && !error.is_away() && self.epochs.known.is_followed() => {
                tracing::error!(error = %error, "the log cannot be read: this replica answers until its lease ends");
                self.failing = true;
            }
            _ => {}
        }
        self.failing &= read.is_err();
    }
}

/// The first root of a replica without state: of an epoch that may be read, and that still continues when the root is
/// loaded.
async fn first_root(
    store: &Store,
    loader: &Loader,
    clock: &Clock,
    connection: &mut OwnConnection,
) -> Result<Arc<Root>, LoadError> {
    loop {
        let epoch = await_log(store, clock, &OnceLock::new()).await?;
        let root = match loader.root(connection).await {
            Err(LoadError::Store(StoreError::ForeignLog)) => continue,
            root => root?,
        };
        let head = connection.head().await?;
        let goes_on = head.same_log && head.holds(root.applied());
        if goes_on && root.applied().epoch() == epoch {
            return Ok(root);
        }
    }
}

/// Turns notifications into reads, except for those of this replica's own appends. Missed ones are found by polling.
async fn listen(store: Store, poke: Arc<Notify>, own_backend: OwnBackend, stop: CancellationToken) {
    let listening = async {
        loop {
            if let Ok(mut wakeups) = store.wakeups().await {
                while let Ok(backend) = wakeups.next().await {
                    if backend.is_none_or(|backend| backend != own_backend.load(Ordering::Relaxed)) {
                        poke.notify_one();
                    }
                }
            }
            sleep(LISTEN_AGAIN).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listening => {}
    }
}
