//! Work that goes on whatever becomes of its caller: what was sent to the database is not cancelled.

use tokio::{runtime::Handle, task::JoinHandle};
use tokio_util::task::TaskTracker;

/// Where such work is done, and all of it that is not done yet.
#[derive(Clone, Debug)]
pub struct Background {
    runtime: Handle,
    work: TaskTracker,
}

impl Background {
    /// On this runtime.
    #[must_use]
    pub fn on(runtime: Handle) -> Self {
        Self { runtime, work: TaskTracker::new() }
    }

    /// Does it.
    pub fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.work.spawn_on(work, &self.runtime)
    }

    /// Waits until all of it has been done; no more is to be begun.
    pub async fn done(&self) {
        self.work.close();
        self.work.wait().await;
    }
}
