//! Appends to the log: what arrives while the last batch commits goes into the next one.

use std::time::Duration;

use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep},
};

use super::FeedHandle;
use crate::store::{Appended, NewRevocation, Store, StoreError};

/// Items of one batch: one transaction of a few milliseconds.
const BATCH_MAX: usize = 1_000;
/// Items that may wait: beyond it a caller is told to come back, rather than to wait for nothing.
const QUEUE_MAX: usize = 20_000;
/// How long a batch is sent again while the database is out of reach. A batch whose commit is
/// unknown is settled by the next one that gets through, since it acts only once.
const RESEND_FOR: Duration = Duration::from_secs(5);
/// Between two tries.
const RESEND_PAUSE: Duration = Duration::from_millis(50);

type Reply = oneshot::Sender<Result<Appended, StoreError>>;

/// The queue is full.
#[derive(Clone, Copy, Debug)]
pub struct QueueFull;

/// What the one appending task of a replica is reached by.
#[derive(Clone)]
pub struct Flusher {
    queue: mpsc::Sender<(NewRevocation, Reply)>,
}

impl Flusher {
    /// Starts the task. It ends when the last handle is dropped, with its queue empty.
    #[must_use]
    pub fn start(store: Store, feed: FeedHandle) -> (Self, tokio::task::JoinHandle<()>) {
        let (queue, items) = mpsc::channel(QUEUE_MAX);
        (Self { queue }, tokio::spawn(run(store, feed, items)))
    }

    /// Appends one item. Durable when it returns `Ok`; unknown when the database is out of reach.
    pub async fn append(&self, item: NewRevocation) -> Result<Result<Appended, StoreError>, QueueFull> {
        let (reply, done) = oneshot::channel();
        self.queue.try_send((item, reply)).map_err(|_| QueueFull)?;
        // The task answers every item; it can only be gone when the process ends.
        Ok(done.await.unwrap_or(Err(StoreError::Closed)))
    }
}

async fn run(store: Store, feed: FeedHandle, mut items: mpsc::Receiver<(NewRevocation, Reply)>) {
    let mut arrived = Vec::new();
    while items.recv_many(&mut arrived, BATCH_MAX).await > 0 {
        let (batch, replies): (Vec<_>, Vec<_>) = arrived.drain(..).unzip();
        match append(&store, &batch).await {
            Ok(appended) => {
                feed.poke();
                for reply in replies {
                    // Whoever went away is revoked all the same.
                    let _gone = reply.send(Ok(appended));
                }
            }
            // One bad item must not fail its neighbours.
            Err(StoreError::Statement(_)) if batch.len() > 1 => {
                for (item, reply) in batch.into_iter().zip(replies) {
                    let _gone = reply.send(append(&store, &[item]).await);
                }
                feed.poke();
            }
            Err(error) => {
                for reply in replies {
                    let _gone = reply.send(Err(error.again()));
                }
            }
        }
    }
}

/// Sends a batch until it is known to be committed, or for as long as anybody would wait.
async fn append(store: &Store, batch: &[NewRevocation]) -> Result<Appended, StoreError> {
    let started = Instant::now();
    loop {
        match store.append(batch).await {
            Err(error) if error.is_unreachable() && started.elapsed() < RESEND_FOR => {
                sleep(RESEND_PAUSE).await;
            }
            done => return done,
        }
    }
}
