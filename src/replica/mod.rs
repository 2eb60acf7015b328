//! The tasks that keep the state true: the log's feed, the flusher that appends to it, the lease that lets
//! this replica answer, the barrier that waits for the others', and the housekeeping behind.

mod barrier;
mod epoch;
mod feed;
mod fleet;
mod flusher;
mod housekeeping;
mod keys;
mod lease;
mod load;

pub use barrier::{Barrier, Propagation, Reach};
pub use epoch::{EpochKnown, await_log};
pub use feed::{Feed, FeedHandle, Following};
pub use fleet::{Fleet, FleetHandle};
pub use flusher::{Flusher, QueueFull};
pub use housekeeping::Housekeeping;
pub use keys::{KeyError, Keys, VERIFY_AFTER_RETIREMENT_S};
pub use lease::{Lease, LeaseHandle, Registered};
pub use load::{LoadError, Loader};
