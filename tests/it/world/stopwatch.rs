//! How long something takes, on a machine that may stand still meanwhile.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use tokio_util::{sync::CancellationToken, sync::DropGuard};

const STEP: Duration = Duration::from_millis(100);

/// Counts from its start in two ways. The clock says how long something took at least. Steps say how long it took at
/// most: each is a pause of this process, so that a stall of the whole machine is one step, however long it lasts.
pub struct Stopwatch {
    begin: Instant,
    steps: Arc<AtomicU32>,
    _counting: DropGuard,
}

impl Stopwatch {
    pub fn start() -> Self {
        let (steps, stop) = (Arc::new(AtomicU32::new(0)), CancellationToken::new());
        let (count, stopped) = (Arc::clone(&steps), stop.clone());
        tokio::spawn(stopped.run_until_cancelled_owned(async move {
            loop {
                tokio::time::sleep(STEP).await;
                count.fetch_add(1, Ordering::Relaxed);
            }
        }));
        Self { begin: Instant::now(), steps, _counting: stop.drop_guard() }
    }

    /// By the clock: for lower bounds.
    pub fn by_the_clock(&self) -> Duration {
        self.begin.elapsed()
    }

    /// By its steps: for upper bounds.
    pub fn by_steps(&self) -> Duration {
        STEP * self.steps.load(Ordering::Relaxed)
    }
}
