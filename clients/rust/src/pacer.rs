//! Spares busy clients a system call for each deadline.
//!
//! A timer that is due earlier than all others wakes the thread of the runtime that waits for them. With one call after the
//! other each deadline is such a timer, and to be woken costs more than the rest of the client. So as long as calls come
//! one after the other, one timer is always nearer than their deadlines.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

const TICK: Duration = Duration::from_millis(50);

/// Notices that calls come one after the other.
#[derive(Clone)]
pub(crate) struct Pacer(Arc<Pace>);

struct Pace {
    begun: Instant,
    /// When the latest call began, milliseconds after `begun`.
    latest_ms: AtomicU64,
    is_running: AtomicBool,
}

impl Pacer {
    pub(crate) fn new() -> Self {
        let (begun, latest_ms, is_running) = (Instant::now(), u64::MAX.into(), false.into());
        Self(Arc::new(Pace { begun, latest_ms, is_running }))
    }

    /// Notes a call. The second one within a moment begins a task, which ends a moment after the last one, or when the
    /// client is closed.
    pub(crate) fn note(&self, closed: &CancellationToken) {
        let now = self.0.now_ms();
        let before = self.0.latest_ms.swap(now, Ordering::Relaxed);
        let is_busy = before != u64::MAX && now.saturating_sub(before) < tick_ms();
        if is_busy
            && !self.0.is_running.load(Ordering::Relaxed)
            && !self.0.is_running.swap(true, Ordering::AcqRel)
        {
            let (pace, closed) = (Arc::clone(&self.0), closed.clone());
            tokio::spawn(async move {
                tokio::select! {
                    () = closed.cancelled() => {}
                    () = pace.run() => {}
                }
                pace.is_running.store(false, Ordering::Release);
            });
        }
    }
}

impl Pace {
    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis().try_into().unwrap_or(u64::MAX)
    }

    async fn run(&self) {
        while self.now_ms().saturating_sub(self.latest_ms.load(Ordering::Relaxed)) < tick_ms() {
            sleep(TICK).await;
        }
    }
}

fn tick_ms() -> u64 {
    TICK.as_millis().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_task_ends_a_moment_after_the_last_call() {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let (pacer, closed) = (Pacer::new(), CancellationToken::new());
        pacer.note(&closed);
        assert_eq!(tasks(), 0, "one call is none after another");
        while tasks() == 0 {
            pacer.note(&closed);
        }
        pacer.note(&closed);
        assert_eq!(tasks(), 1);
        while tasks() > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
}
