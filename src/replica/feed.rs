//! Follows the log: woken by its notifications, polling behind them. Applies what was appended,
//! publishes that, and only then acknowledges it.

use std::{
    sync::{
        Arc,
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

use super::{
    EpochKnown, LoadError, Loader, Registered,
    epoch::{Epochs, await_log},
    own_batch::OwnBatch,
    read_size::ReadSize,
};
use crate::{
    clock::{BootMillis, Clock},
    observe::Metrics,
    state::{Clients, Root, Roots},
    store::{Appended, Head, LogRead, NewRevocation, OwnConnection, Store, StoreError, Task},
    token::Revision,
};

/// Polled this often when nothing is heard: far below what a lease lasts.
const POLL: Duration = Duration::from_millis(100);
/// A replica whose latest read is older registers for nothing: it is polled ten times as often.
const KEEPS_UP_MS: i64 = 1_000;
/// A call that waits for a lease waits no longer for one read.
const KEEP_UP_WITHIN: Duration = Duration::from_secs(1);
/// Between two tries to listen again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// A notification comes within a tenth of a millisecond.
const HEARD_WITHIN: Duration = Duration::from_millis(5);
/// Batches of this replica's own that may wait to be applied: more of them are read.
const OWN_MAX: usize = 16;

/// Asks of the feed.
#[derive(Clone)]
pub struct FeedHandle {
    poke: Arc<Notify>,
    own: mpsc::Sender<OwnBatch>,
    own_backend: OwnBackend,
    lost_in: LostIn,
    applied: watch::Receiver<Revision>,
    read: watch::Receiver<LatestRead>,
}

/// What came of the latest read of the log.
#[derive(Clone, Copy)]
struct LatestRead {
    sent: BootMillis,
    good: bool,
    /// Of what this replica holds.
    epoch: i64,
    /// Of the log, as it was read.
    head: Revision,
}

/// The epoch in which an append has shown that the log has lost its end. 0: none has.
type LostIn = Arc<AtomicI64>;

/// The process of the database that appends for this replica: what it says was appended is known here. 0: not known.
type OwnBackend = Arc<AtomicU32>;

impl FeedHandle {
    /// Hands over what this replica has just appended.
    pub(super) fn appended(&self, appended: Appended, batch: &[NewRevocation]) {
        self.own_backend.store(appended.backend, Ordering::Relaxed);
        let handed = OwnBatch::of(appended, batch).is_some_and(|own| self.own.try_send(own).is_ok());
        if !handed {
            self.poke();
        }
    }

    /// An append has shown that the log of this epoch has lost its end, also where the head has come to where it was.
    pub(super) fn has_lost_its_end(&self, epoch: i64) {
        self.lost_in.store(epoch, Ordering::Release);
        self.poke();
    }

    /// Reads the log soon.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Whether the log can be read: was a moment ago, or is by the next read.
    pub async fn keeps_up(&self, now: BootMillis) -> bool {
        let mut read = self.read.clone();
        let latest = *read.borrow_and_update();
        if latest.good && now.since_ms(latest.sent) <= KEEPS_UP_MS {
            return true;
        }
        self.poke();
        timeout(KEEP_UP_WITHIN, read.changed()).await.is_ok() && read.borrow().good
    }

    /// Waits for a read that is sent at `now` or later: whether it has found `revision` in the log, in its epoch.
    pub async fn holds(&self, revision: Revision, now: BootMillis) -> bool {
        let mut read = self.read.clone();
        // Once: where that read fails, the next one comes by itself.
        self.poke();
        loop {
            let latest = *read.borrow_and_update();
            if latest.good && latest.sent >= now {
                return latest.epoch == revision.epoch() && latest.head >= revision;
            }
            if read.changed().await.is_err() {
                // The feed has ended, and this process ends with it.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether everything up to `revision` is applied.
    #[must_use]
    pub fn has_applied(&self, revision: Revision) -> bool {
        *self.applied.borrow() >= revision
    }

    /// Waits until everything up to `revision` is applied: reads for it.
    pub async fn applied(&self, revision: Revision) {
        let applied = self.applied.clone();
        if *applied.borrow() < revision {
            self.poke();
        }
        wait_for(applied, revision).await;
    }

    /// Waits likewise for what was appended by this replica, and will be read for that: reads for it where it seems to
    /// have been missed.
    pub async fn heard(&self, revision: Revision) {
        if timeout(HEARD_WITHIN, wait_for(self.applied.clone(), revision)).await.is_err() {
            self.applied(revision).await;
        }
    }
}

/// An error means that the feed has ended: then nobody answers from its state any more, and whoever waits here runs into
/// the deadline around it.
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
    /// What the log was told last: under which registration, up to where.
    acknowledged: Option<(Uuid, Revision)>,
    poke: Arc<Notify>,
    own: mpsc::Receiver<OwnBatch>,
    own_backend: OwnBackend,
    lost_in: LostIn,
    applied: watch::Sender<Revision>,
    read: watch::Sender<LatestRead>,
    failing: bool,
}

/// What a feed that has read the log once gives to the others.
pub struct Following {
    /// The task.
    pub feed: Feed,
    /// Asks of it.
    pub handle: FeedHandle,
    /// What it writes to.
    pub roots: Arc<Roots>,
    /// The epoch that it has seen.
    pub epoch: EpochKnown,
}

impl Feed {
    /// Loads the first root, of an epoch that may be read, and reads what was appended meanwhile. Until it is registered, a
    /// replica comes to no other epoch with what it has read: it would pass for one who had carried over.
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

    /// Follows until told to stop.
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
        // It ends by the same token; a panic of its own was logged by the hook.
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

    /// Whether all of it is in memory now: it was next, or has been read meanwhile. It is applied, then published. No
    /// acknowledgement is due: who waits for this replica waits for a revision that it has to read, and the next read
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

    /// Reads the log, and brings the root to its head, which it answers.
    async fn advance(&mut self) -> Result<Revision, LoadError> {
        let root = self.roots.current();
        // Before the statement is sent: a head below it was not read too early, but is behind.
        let published = root.applied();
        // The wall clock that judges and mints, which never goes back: after a step forward and back it stays ahead, and
        // the skew with it, until the process starts anew.
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
            // Only now: whoever sees `applied` finds everything up to it.
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

    /// Puts a root of the log's epoch in force, with what the tables had lost in the log again. Where
    /// that fails, the old one stays, without a lease, and it is tried again.
    async fn change_epoch(&mut self, head: &Head, old: &Root, has_lost: bool) -> Result<(), LoadError> {
        let new = self.epochs.pass(&mut self.connection, &self.loader, (head, has_lost), old).await?;
        self.swap(new);
        // What was appended just now is read next.
        self.poke.notify_one();
        Ok(())
    }

    fn swap(&self, root: Arc<Root>) {
        let old = self.roots.current();
        root.set_clocks_of(&old);
        let clients = Clients::clone(&root.clients.load());
        root.clients.store(Arc::new(clients.with_last_uses_of(&old.clients.load())));
        self.roots.swap(root);
    }

    /// Says what has been applied and published, under the registration in force.
    async fn acknowledge(&mut self, applied: Revision) -> Result<(), StoreError> {
        let Some(id) = self.registered.id() else { return Ok(()) };
        if self.acknowledged != Some((id, applied)) {
            self.connection.acknowledge(id, applied).await?;
            self.acknowledged = Some((id, applied));
        }
        Ok(())
    }

    /// Logs a change from good to bad and back, once each. That the database has gone is said by the store.
    fn report(&mut self, read: &Result<(), LoadError>) {
        match read {
            Ok(()) if self.failing => tracing::info!("the log is read again"),
            // What keeps it from the epoch of the log is said where it is found.
            Err(error) if !self.failing && !error.is_away() && self.epochs.known.is_followed() => {
                tracing::error!(error = %error, "the log cannot be read: this replica answers until its lease ends");
                self.failing = true;
            }
            _ => {}
        }
        self.failing &= read.is_err();
    }
}

/// A root of one who holds nothing yet: of an epoch that may be read, and that goes on by the time that it is there.
async fn first_root(
    store: &Store,
    loader: &Loader,
    clock: &Clock,
    connection: &mut OwnConnection,
) -> Result<Arc<Root>, LoadError> {
    loop {
        let epoch = await_log(store, clock).await?;
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

/// Turns notifications into pokes, but for those of this replica itself. What it misses, polling finds.
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
