//! Follows the log: woken by its notifications, polling behind them. Applies what was appended,
//! then says so; and proves the root fresh as of the moment before each read.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{LoadError, Loader};
use crate::{
    clock::Clock,
    observe::Metrics,
    state::{Root, Roots},
    store::{Head, LogConnection, Store, StoreError},
    token::Revision,
};

/// Polled this often when nothing is heard: far below the freshness that it proves.
const POLL: Duration = Duration::from_millis(100);
/// Between two tries to listen again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// Calls that may wait for one read: more than a replica can have in flight.
const WAITERS_MAX: usize = 65_536;

/// Asks of the feed.
#[derive(Clone)]
pub struct FeedHandle {
    poke: Arc<Notify>,
    join: mpsc::Sender<oneshot::Sender<bool>>,
    applied: watch::Receiver<Revision>,
}

impl FeedHandle {
    /// Reads the log soon.
    pub fn poke(&self) {
        self.poke.notify_one();
    }

    /// Waits for one read of the log that is sent after this call, together with everybody who
    /// waits. False: it failed.
    pub async fn join(&self) -> bool {
        let (done, read) = oneshot::channel();
        self.join.try_send(done).is_ok() && read.await.unwrap_or(false)
    }

    /// Waits until everything up to `revision` is applied.
    pub async fn applied(&self, revision: Revision) {
        let mut applied = self.applied.clone();
        if *applied.borrow_and_update() >= revision {
            return;
        }
        self.poke();
        // An error means that the feed has ended: then nobody answers from its state any more, and
        // whoever waits here runs into the deadline around it.
        if applied.wait_for(|applied| *applied >= revision).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// The task.
pub struct Feed {
    roots: Arc<Roots>,
    loader: Loader,
    store: Store,
    clock: Arc<Clock>,
    metrics: Arc<Metrics>,
    log: LogConnection,
    poke: Arc<Notify>,
    joiners: mpsc::Receiver<oneshot::Sender<bool>>,
    applied: watch::Sender<Revision>,
    failing: bool,
}

impl Feed {
    /// Loads the first root and proves it fresh.
    pub async fn start(
        store: Store,
        loader: Loader,
        clock: Arc<Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<(Self, FeedHandle, Arc<Roots>), LoadError> {
        let mut log = store.log_connection();
        let roots = Arc::new(Roots::new(loader.root(&mut log).await?));
        let poke = Arc::new(Notify::new());
        let (join, joiners) = mpsc::channel(WAITERS_MAX);
        let (applied, follow) = watch::channel(roots.current().applied());
        let handle = FeedHandle { poke: Arc::clone(&poke), join, applied: follow };
        let mut feed = Self {
            roots: Arc::clone(&roots),
            loader,
            store,
            clock,
            metrics,
            log,
            poke,
            joiners,
            applied,
            failing: false,
        };
        feed.read().await?;
        Ok((feed, handle, roots))
    }

    /// Follows until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let listening = tokio::spawn(listen(self.store.clone(), Arc::clone(&self.poke), stop.clone()));
        let mut next = Instant::now();
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.poke.notified() => {}
                Some(joiner) = self.joiners.recv() => waiting.push(joiner),
                () = sleep_until(next) => {}
            }
            // Everybody who came before the read is sent shares it.
            while let Ok(joiner) = self.joiners.try_recv() {
                waiting.push(joiner);
            }
            let read = self.read().await;
            let good = read.is_ok();
            self.report(&read);
            for joiner in waiting {
                // Whoever went away meanwhile does not wait for an answer.
                let _gone = joiner.send(good);
            }
            next = Instant::now().checked_add(POLL).unwrap_or(next);
        }
        self.roots.current().retire();
        // It ends by the same token; a panic of its own was logged by the hook.
        let _ended = listening.await;
    }

    async fn read(&mut self) -> Result<(), LoadError> {
        let sent = self.clock.boot();
        let wall_ms = self.clock.now_ms();
        let head = self.log.head().await?;
        let offset_ms = offset_ms(head, wall_ms, self.clock.now_ms());
        let mut root = self.roots.current();
        if head.revision < root.applied() {
            // The database has forgotten what this replica knows: a restore. Nothing is proven by it.
            return Err(StoreError::ForeignLog.into());
        }
        if root.applied() < head.floor {
            root = self.load_anew().await?;
        } else if head.revision > root.applied() {
            let entries = self.log.entries(root.applied(), head.revision).await?;
            self.loader.apply(&root, entries).await?;
        }
        // Only now: whoever sees `applied` finds everything up to it.
        root.publish(head.revision);
        root.prove_fresh(sent, offset_ms);
        self.applied.send_replace(root.applied());
        self.metrics.log_read(root.applied());
        Ok(())
    }

    async fn load_anew(&mut self) -> Result<Arc<Root>, LoadError> {
        tracing::warn!("the log was purged past what this replica had read: loading anew");
        let root = Arc::new(self.loader.root(&mut self.log).await?);
        self.roots.swap(Arc::clone(&root));
        Ok(root)
    }

    /// Logs a change from good to bad and back, once each.
    fn report(&mut self, read: &Result<(), LoadError>) {
        match read {
            Ok(()) if self.failing => tracing::info!("the log is read again"),
            Err(error) if !self.failing => {
                tracing::error!(error = %error, "the log cannot be read: this replica answers for 2.7 s more");
            }
            _ => {}
        }
        self.failing = read.is_err();
    }
}

/// Database clock minus the wall clock that judges and mints, which never goes back: after a step
/// forward and back it stays ahead, and the skew with it, until the process starts anew. Counted
/// against the wall clock in the middle of the statement.
fn offset_ms(head: Head, before_ms: i64, after_ms: i64) -> i64 {
    let middle = before_ms.saturating_add(after_ms.saturating_sub(before_ms).div_euclid(2));
    head.database_time_ms.saturating_sub(middle)
}

/// Turns notifications into pokes. What it misses, polling finds.
async fn listen(store: Store, poke: Arc<Notify>, stop: CancellationToken) {
    let listening = async {
        loop {
            if let Ok(mut wakeups) = store.wakeups().await {
                while wakeups.next().await.is_ok() {
                    poke.notify_one();
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
