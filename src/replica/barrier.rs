//! Waits until everybody who may answer from memory has applied a revision. With one replica that
//! is this one.

use std::time::Duration;

use tokio::time::timeout;

use super::FeedHandle;
use crate::token::Revision;

/// How long it waits when nobody says: longer than any replica can be behind.
const WAIT: Duration = Duration::from_secs(10);

/// How far a revocation must have travelled before it is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reach {
    /// Durable, and applied on the answering replica.
    Local,
    /// Applied on every replica that may still answer from memory.
    #[default]
    Replicas,
    /// Applied by every watcher that may still answer from memory, too.
    Watchers,
}

/// Who has applied a revocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Propagation {
    /// Everybody in the reach asked for.
    pub complete: bool,
    /// Replicas that have applied it.
    pub applied_replicas: u32,
    /// Replicas that may answer from memory.
    pub replicas: u32,
    /// Names of those that have not.
    pub laggards: Vec<String>,
}

/// The barrier of this replica.
#[derive(Clone)]
pub struct Barrier {
    feed: FeedHandle,
    replica: String,
}

impl Barrier {
    /// Over this replica's feed.
    #[must_use]
    pub fn new(feed: FeedHandle, replica: String) -> Self {
        Self { feed, replica }
    }

    /// Waits for `revision`, at most `limit`. `reach` makes no difference while there is one replica
    /// and no watcher.
    pub async fn wait(&self, revision: Revision, _reach: Reach, limit: Option<Duration>) -> Propagation {
        let complete = timeout(limit.unwrap_or(WAIT), self.feed.applied(revision)).await.is_ok();
        Propagation {
            complete,
            applied_replicas: u32::from(complete),
            replicas: 1,
            laggards: if complete { Vec::new() } else { vec![self.replica.clone()] },
        }
    }
}
