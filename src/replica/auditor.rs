//! Writes audit rows of acts that are no appends to the log: those that arrive while some are written go together next.

use tokio::{
    sync::{
        mpsc::{self, error::TrySendError},
        oneshot,
    },
    task::JoinHandle,
};

use super::QueueFull;
use crate::store::{AuditedAct, OwnConnection, StoreError};

/// Rows of one statement.
const BATCH_MAX: usize = 256;
/// Acts that may wait: beyond it a caller is told to come back.
const QUEUE_MAX: usize = 20_000;

type Reply = oneshot::Sender<Result<(), StoreError>>;

/// What the one auditing task of a replica is reached by.
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

    /// Audits an act. Durable when it returns `Ok`; unknown when the database is out of reach.
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
        // It may have rested for long: one that broke meanwhile must not fail what it is given next.
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
