//! Whether somebody still waits for an answer, and since when: nothing is concluded from what somebody presented who has
//! gone since, or who came before others that were answered meanwhile.

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::clock::Clock;

/// A caller, as seen by work that may outlast the call.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Boot clock, microseconds.
    arrived_us: i64,
    gone: CancellationToken,
}

impl Presence {
    /// Of a caller whose call arrived then (boot clock, microseconds), and who waits for as long as the guard is kept.
    #[must_use]
    pub fn since(arrived_us: i64) -> (Self, DropGuard) {
        let gone = CancellationToken::new();
        (Self { arrived_us, gone: gone.clone() }, gone.drop_guard())
    }

    /// Waits until the caller has gone.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Whether the caller has gone.
    pub(super) fn has_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// How long the caller has waited, microseconds.
    pub(super) fn waited_us(&self, clock: &Clock) -> i64 {
        clock.boot_us().saturating_sub(self.arrived_us)
    }
}
