//! The time of token sources and guards: that of the machine, which goes on during suspend, or one that a test sets.

use std::{sync::Arc, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use tokio::{sync::watch, time::Instant};

/// A timer stands still during suspend, where the clock does not: so long at most it is relied on.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// A monotonic clock. Its zero is arbitrary.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// That of the machine.
    Machine,
    /// Stands still until a test moves it.
    Manual(Arc<watch::Sender<Duration>>),
}

impl Clock {
    /// The time since the zero of the clock.
    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::Machine => boot(),
            Self::Manual(time) => *time.borrow(),
        }
    }

    /// Waits until this time.
    pub(crate) async fn sleep_until(&self, at: Duration) {
        match self {
            Self::Machine => loop {
                let left = at.saturating_sub(boot());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
            },
            Self::Manual(time) => {
                // The sender lives as long as this clock.
                let mut moved = time.subscribe();
                drop(moved.wait_for(|now| *now >= at).await);
            }
        }
    }
}

fn boot() -> Duration {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let id = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let id = ClockId::Monotonic;
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The end of a call that may take this long from now.
pub(crate) fn deadline_in(time: Duration) -> Instant {
    const FAR: Duration = Duration::from_hours(24 * 365);
    let now = Instant::now();
    now.checked_add(time.min(FAR)).unwrap_or(now)
}
