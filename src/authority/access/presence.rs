//! Tells whether a caller still waits for its answer, and since when. Nothing is concluded from what a caller presented
//! that has gone away, or that came before others which were answered meanwhile.

use tokio_util::sync::{CancellationToken, DropGuard};

use jeton_state::clock::Clock;

/// A caller, as seen by work that may outlast the call.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Boot clock, microseconds.
    arrived_us: i64,
    gone: CancellationToken,
}

impl Presence {
    /// The caller of a call that arrived then (boot clock, microseconds). The caller waits as long as the guard is
    /// held.
    #[must_use]
    pub fn since(arrived_us: i64) -> (Self, DropGuard) {
        let gone = CancellationToken::new();
        (Self { arrived_us, gone: gone.clone() }, gone.drop_guard())
    }

    /// Waits until the caller has gone.
    pub(in crate::authority) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Returns whether the caller has gone.
    pub(in crate::authority) fn has_gone(&self) -> bool {
        self.gone.is_cancelled()
    }

    /// The time that the caller has waited, microseconds.
    pub(in crate::authority) fn waited_us(&self, clock: &Clock) -> i64 {
        clock.boot_us().saturating_sub(self.arrived_us)
    }
}
