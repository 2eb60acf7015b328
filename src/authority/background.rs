//! Work that goes on even if its caller goes away: a statement that was sent to the database is not cancelled.

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::TaskTracker;

use crate::authority::Error;

/// The runtime that does such work, and all work that is not finished.
#[derive(Clone, Debug)]
pub struct Background {
    runtime: Handle,
    work: TaskTracker,
}

impl Background {
    /// Works on this runtime.
    #[must_use]
    pub fn on(runtime: Handle) -> Self {
        Self { runtime, work: TaskTracker::new() }
    }

    /// Starts the work.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.work.spawn_on(work, &self.runtime)
    }

    /// Starts the work of a call, and waits for its result. The work goes on even if the caller goes away.
    pub fn detached<T, W>(&self, work: W) -> impl Future<Output = Result<T, Error>> + use<T, W>
    where
        T: Send + 'static,
        W: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let work = self.spawn(work);
        async move {
            work.await.unwrap_or_else(|_| Err(Error::Internal("a task ended before its answer".to_owned())))
        }
    }

    /// Waits until all of it is finished; no more may be started.
    pub async fn done(&self) {
        self.work.close();
        self.work.wait().await;
    }
}
