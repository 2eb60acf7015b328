//! Appends to the log. Group commit: items that arrive while a batch commits form the next batch.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    time::{Instant, sleep, timeout_at},
};

use crate::{
    replica::FeedHandle,
    state::Roots,
    store::{Appended, NewRevocation, OwnConnection, StoreError},
};

/// The most items of one batch: a transaction of a few milliseconds.
const BATCH_MAX: usize = 1_000;
/// The number of items that make a batch worth while: its fixed costs (a commit, and a read and an acknowledgement on
/// each replica) are small beside theirs.
const BATCH_WORTH: usize = 64;
/// The interval between a batch and a following small one, if there are several callers. A lone caller waits for
/// nothing.
const BATCH_EVERY: Duration = Duration::from_millis(4);
/// The most items that may wait: with more, callers are refused, rather than wait for nothing.
const QUEUE_MAX: usize = 20_000;
/// The time for which a batch is sent again while the database is out of reach, or until the epoch has begun that it
/// needs. A batch acts only once, so sending it again settles whether it was committed.
const RESEND_FOR: Duration = Duration::from_secs(5);
/// The interval of checking an idle connection.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// The pause between two tries.
const RESEND_PAUSE: Duration = Duration::from_millis(50);

type Reply = oneshot::Sender<Result<Appended, StoreError>>;

/// The queue is full.
#[derive(Clone, Copy, Debug)]
pub struct QueueFull;

/// A handle of the one appending task of a replica.
#[derive(Clone)]
pub struct Flusher {
    queue: mpsc::Sender<(NewRevocation, Reply)>,
    can_append: Arc<AtomicBool>,
}

impl Flusher {
    /// Starts the task. It ends when the last handle is dropped, with its queue empty.
    #[must_use]
    pub fn start(
        connection: OwnConnection,
        feed: FeedHandle,
        roots: Arc<Roots>,
    ) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, items) = mpsc::channel(QUEUE_MAX);
        let can_append = Arc::new(AtomicBool::new(true));
        let log = Log { connection, feed, roots, can_append: Arc::clone(&can_append) };
        (Self { queue, can_append }, tokio::spawn(run(log, items)))
    }

    /// Returns whether it was connected at the latest check or append.
    #[must_use]
    pub fn can_append(&self) -> bool {
        self.can_append.load(Ordering::Relaxed)
    }

    /// Appends one item. Durable if it returns `Ok`; unknown if the database is out of reach.
    pub async fn append(&self, item: NewRevocation) -> Result<Result<Appended, StoreError>, QueueFull> {
        let (reply, done) = oneshot::channel();
        match self.queue.try_send((item, reply)) {
            Err(TrySendError::Full(_)) => return Err(QueueFull),
            Err(TrySendError::Closed(_)) => return Ok(Err(StoreError::Closed)),
            Ok(()) => {}
        }
        // The task answers every item; it can only be gone when the process ends.
        Ok(done.await.unwrap_or(Err(StoreError::Closed)))
    }
}

async fn run(mut log: Log, items: mpsc::Receiver<(NewRevocation, Reply)>) {
    let mut waiting = Waiting { items, arrived: VecDeque::new(), next: Instant::now() };
    loop {
        let batch = tokio::select! {
            biased;
            batch = waiting.batch() => batch,
            () = sleep(KEEP_EVERY) => {
                log.keep().await;
                continue;
            }
        };
        let Some((batch, replies)) = batch else { return };
        match log.append(&batch).await {
            Ok(appended) => {
                log.feed.appended(appended, &batch);
                for reply in replies {
                    // The item is revoked even if its caller has gone.
                    let _gone = reply.send(Ok(appended));
                }
            }
            // One bad item must not fail its neighbours.
            Err(StoreError::Statement(_)) if batch.len() > 1 => {
                log.one_by_one(batch, replies).await;
                log.feed.poke();
            }
            Err(error) => {
                // It is not known whether it was committed.
                log.feed.poke();
                for reply in replies {
                    let _gone = reply.send(Err(error.again()));
                }
            }
        }
    }
}

/// Items that wait for the next batch.
struct Waiting {
    items: mpsc::Receiver<(NewRevocation, Reply)>,
    arrived: VecDeque<(NewRevocation, Reply)>,
    /// The time when the next batch may begin, even a small one.
    next: Instant,
}

impl Waiting {
    /// The next batch; `None` if no handle is left.
    async fn batch(&mut self) -> Option<(Vec<NewRevocation>, Vec<Reply>)> {
        if self.arrived.is_empty() {
            self.arrived.push_back(self.items.recv().await?);
        }
        // The batch under way leaves enough for the next one: further items wait in the bounded queue.
        while self.arrived.len() < 2 * BATCH_MAX
            && let Ok(item) = self.items.try_recv()
        {
            self.arrived.push_back(item);
        }
        while self.arrived.len() < BATCH_WORTH
            && let Ok(Some(item)) = timeout_at(self.next, self.items.recv()).await
        {
            self.arrived.push_back(item);
        }
        // Half of the waiting items: their callers return while the other half is written, rather than all at once.
        let size = self.arrived.len().div_ceil(2).clamp(BATCH_WORTH, BATCH_MAX).min(self.arrived.len());
        self.next = Instant::now();
        if size > 1 {
            self.next = self.next.checked_add(BATCH_EVERY).unwrap_or(self.next);
        }
        Some(self.arrived.drain(..size).unzip())
    }
}

/// The appending side of the log.
struct Log {
    connection: OwnConnection,
    feed: FeedHandle,
    roots: Arc<Roots>,
    can_append: Arc<AtomicBool>,
}

impl Log {
    /// Stays connected while nothing is appended: later the server may have no connection left.
    async fn keep(&mut self) {
        let kept = self.connection.keep().await;
        self.can_append.store(kept, Ordering::Relaxed);
    }

    /// Appends each item separately. If the database goes away meanwhile, the rest is not tried: they would wait for it
    /// one after the other.
    async fn one_by_one(&mut self, batch: Vec<NewRevocation>, replies: Vec<Reply>) {
        let mut away: Option<StoreError> = None;
        for (item, reply) in batch.into_iter().zip(replies) {
            let done = match &away {
                Some(error) => Err(error.again()),
                None => self.append(&[item]).await,
            };
            if let Err(error) = &done
                && error.is_unreachable()
            {
                away = Some(error.again());
            }
            let _gone = reply.send(done);
        }
    }

    /// Sends a batch until it is known to be committed, or for as long as a caller would wait.
    async fn append(&mut self, batch: &[NewRevocation]) -> Result<Appended, StoreError> {
        let started = Instant::now();
        loop {
            match self.append_once(batch).await {
                Err(error) if error.is_unreachable() && started.elapsed() < RESEND_FOR => {
                    sleep(RESEND_PAUSE).await;
                }
                Err(StoreError::ForeignLog) => self.await_epoch(started).await?,
                done => return done,
            }
        }
    }

    async fn append_once(&mut self, batch: &[NewRevocation]) -> Result<Appended, StoreError> {
        let published = self.roots.current().applied();
        let appended = self.connection.append(batch).await;
        self.can_append.store(!appended.as_ref().is_err_and(StoreError::is_unreachable), Ordering::Relaxed);
        let appended = appended?;
        // The log has lost its end, or this is a primary that was cut off: other replicas may count this revision as
        // applied.
        if appended.revision <= published {
            if appended.revision.epoch() == published.epoch() {
                self.feed.has_lost_its_end(published.epoch());
            }
            return Err(StoreError::ForeignLog);
        }
        Ok(appended)
    }

    /// Waits until the feed has passed into another epoch, as long as a caller would wait. Nothing is sent meanwhile:
    /// it would move the head to where the feed does not see that the log has lost its end.
    async fn await_epoch(&self, started: Instant) -> Result<(), StoreError> {
        let epoch = self.roots.current().applied().epoch();
        self.feed.poke();
        while self.roots.current().applied().epoch() == epoch {
            if started.elapsed() >= RESEND_FOR {
                return Err(StoreError::ForeignLog);
            }
            sleep(RESEND_PAUSE).await;
        }
        Ok(())
    }
}
