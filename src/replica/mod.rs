//! The tasks that keep the state true: the log's feed, the flusher that appends to it, the barrier
//! that waits for it, and the housekeeping behind.

mod barrier;
mod feed;
mod flusher;
mod housekeeping;
mod keys;
mod load;

pub use barrier::{Barrier, Propagation, Reach};
pub use feed::{Feed, FeedHandle};
pub use flusher::{Flusher, QueueFull};
pub use housekeeping::Housekeeping;
pub use keys::{KeyError, Keys, VERIFY_AFTER_RETIREMENT_S};
pub use load::{LoadError, Loader};
