//! The tasks that keep the state true: the log's feed, the flusher that appends to it, the lease that lets this replica
//! answer, the barrier that waits for the other replicas, the refresher of sessions, the rotation of keys, and the
//! housekeeping.

mod agreement;
mod alarm;
mod auditor;
mod barrier;
mod epoch;
mod everywhere;
mod feed;
mod fleet;
mod flusher;
mod housekeeping;
mod key_change;
mod keys;
mod lease;
mod load;
mod own_batch;
mod read_size;
mod refresher;
mod refusals;
mod rotation;

pub use agreement::{Agreement, Disagreement, agree};
pub use auditor::Auditor;
pub use barrier::{Barrier, EpochOver, Propagation, Reach};
pub use epoch::{EpochKnown, await_log};
pub use everywhere::{await_everywhere, await_no_lease};
pub use feed::{Feed, FeedHandle, Following};
pub use fleet::{Fleet, FleetHandle};
pub use flusher::{Flusher, QueueFull};
pub use housekeeping::{Housekeeping, tell_heads};
pub use key_change::Resealed;
pub use keys::{Keys, MAC_AFTER_RETIREMENT_S, StoredKeyError, VERIFY_AFTER_RETIREMENT_S, life};
pub use lease::{LeaseHandle, LeaseRenewer, Registered};
pub use load::{LoadError, Loader};
pub use refresher::Refresher;
pub use refusals::Refusals;
pub use rotation::{Rotation, Schedule};
