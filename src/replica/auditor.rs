//! Writes audit rows of acts that are not in the log: rows that arrive while others are written form the next batch.

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
};

use crate::{
    replica::QueueFull,
    store::{AuditedAct, OwnConnection, StoreError},
};

/// The most rows of one statement.
const BATCH_MAX: usize = 256;
/// The most acts that may wait: with more, callers are refused and retry.
const QUEUE_MAX: usize = 20_000;

type Reply = oneshot::Sender<Result<(), StoreError>>;

/// A handle of the one auditing task of a replica.
#[derive(Clone)]
pub struct Auditor {
    queue: mpsc::Sender<(AuditedAct, Reply)>,
}

impl Auditor {
    /// Starts the task. It ends when the last handle is dropped, with its queue empty.
    #[must_use]
    pub fn start(connection: OwnConnection) -> (Self, JoinHandle<()>) {
        let (queue, acts) = mpsc::channel(QUEUE_MAX);
        (Self { queue }, tokio::spawn(run(connection, acts)))
    }

    /// Audits an act. Durable if it returns `Ok`; unknown if the database is out of reach.
    pub async fn audit(&self, act: AuditedAct) -> Result<Result<(), StoreError>, QueueFull> {
        let (reply, done) = oneshot::channel();
        match self.queue.try_send((act, reply)) {
            Err(TrySendError::Full(_)) => return Err(QueueFull),
            Err(TrySendError::Closed(_)) => return Ok(Err(StoreError::Closed)),
            Ok(()) => {}
        }
        // The task answers every act; it can only be gone when the process ends.
        Ok(done.await.unwrap_or(Err(StoreError::Closed)))
    }
}

async fn run(mut connection: OwnConnection, mut acts: mpsc::Receiver<(AuditedAct, Reply)>) {
    let mut batch = Vec::new();
    while acts.recv_many(&mut batch, BATCH_MAX).await > 0 {
        // It may have been idle for long: a connection that broke meanwhile must not fail its next use.
        let _away = connection.keep().await;
        let (rows, replies): (Vec<_>, Vec<_>) = batch.drain(..).unzip();
        match connection.audit(&rows).await {
            // One bad row must not fail its neighbours.
            Err(StoreError::Statement(_)) if rows.len() > 1 => {
                for (row, reply) in rows.iter().zip(replies) {
                    let _gone = reply.send(connection.audit(std::slice::from_ref(row)).await);
                }
            }
            done => {
                for reply in replies {
                    let _gone = reply.send(done.as_ref().map_err(StoreError::again).copied());
                }
            }
        }
    }
}
