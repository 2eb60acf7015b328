//! The lease as jeton ships it, compiled here a second time, on loom's atomics.

mod state;

pub use state::Lease;

mod clock {
    pub(crate) use jeton_state::clock::{BootMillis, Moment};
}
