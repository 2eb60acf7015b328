//! Builds a root from the tables, or reads again the part of it that changed.

use std::sync::Arc;

use super::Keys;
use crate::{
    clock::Clock,
    state::{KeyRing, Policies, Root},
    store::{LogEntries, OwnConnection, StoreError},
    token::Revision,
};

/// Why a root could not be built.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An epoch more than revisions can count.
    #[error("there are no more epochs: the log must be moved to another issuer")]
    EpochsExhausted,
    /// Other replicas have written clients and policies again and again while this one compared them.
    #[error("clients and policies changed each time that they were compared")]
    Outrun,
}

impl LoadError {
    /// Whether the database is away, and nothing else is wrong.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_unreachable())
    }
}

/// Reads what a replica holds.
pub struct Loader {
    keys: Keys,
    clock: Arc<Clock>,
}

impl Loader {
    /// With these means to open keys.
    #[must_use]
    pub fn new(keys: Keys, clock: Arc<Clock>) -> Self {
        Self { keys, clock }
    }

    /// A whole new root, without a lease. All of it is read on one connection: another could be to another
    /// server.
    pub async fn root(&self, connection: &mut OwnConnection) -> Result<Arc<Root>, LoadError> {
        // The log first: a change that is made meanwhile has a revision above it and is read again.
        let head = connection.head().await?;
        if !head.same_log {
            return Err(StoreError::ForeignLog.into());
        }
        let policies = connection.policies().await?.into_iter().collect::<Policies>();
        let clients = connection.clients().await?;
        let keys = self.keys(connection).await?;
        let root = Arc::new(Root::new(Revision::ZERO, policies, clients, keys));
        root.tokens.reserve(connection.revocations_about().await?);
        let filled = Arc::clone(&root);
        connection.load(self.clock.now(), move |entries| filled.apply_all(entries)).await?;
        root.lease.publish(head.revision);
        Ok(root)
    }

    /// Applies what was appended: first the entries, then the tables that changed.
    pub async fn apply(
        &self,
        connection: &mut OwnConnection,
        root: &Root,
        read: LogEntries,
    ) -> Result<(), LoadError> {
        root.apply_all(read.entries);
        if read.policies {
            root.policies.store(Arc::new(connection.policies().await?.into_iter().collect()));
        }
        if read.clients {
            let read = connection.clients().await?;
            root.clients.store(Arc::new(read.with_last_uses_of(&root.clients.load())));
        }
        if read.keys {
            root.keys.store(Arc::new(self.keys(connection).await?));
        }
        Ok(())
    }

    /// Every key, as the tables have it now.
    pub(super) async fn keys(&self, connection: &mut OwnConnection) -> Result<KeyRing, LoadError> {
        Ok(self.keys.open(&connection.keys().await?))
    }
}
