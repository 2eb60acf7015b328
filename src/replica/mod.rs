//! The tasks that keep the state true: the log's feed, the flusher that appends to it, the lease that lets this replica
//! answer, the barrier that waits for the other replicas, the refresher of sessions, the rotation of keys, and the
//! housekeeping.

mod auditor;
mod housekeeping;
mod keys;
mod log;
mod membership;
mod refresher;
mod refusals;

pub use auditor::Auditor;
pub use housekeeping::{Housekeeping, tell_heads};
pub use keys::{
    change::Resealed,
    opening::{Keys, MAC_AFTER_RETIREMENT_S, StoredKeyError, VERIFY_AFTER_RETIREMENT_S, life},
    rotation::{Rotation, Schedule},
};
pub use log::{
    feed::{Feed, FeedHandle, Following},
    flusher::{Flusher, QueueFull},
    load::{LoadError, Loader},
};
pub use membership::{
    agreement::{Agreement, Disagreement, agree},
    barrier::{Barrier, EpochOver, Propagation, Reach},
    epoch::{EpochKnown, await_log},
    everywhere::{await_everywhere, await_no_lease},
    fleet::{Fleet, FleetHandle},
    lease::{LeaseHandle, LeaseRenewer, Registered},
};
pub use refresher::Refresher;
pub use refusals::Refusals;
