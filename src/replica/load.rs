//! Builds a root from the tables, or reads again the part of it that changed.

use std::sync::Arc;

use super::{KeyError, Keys};
use crate::{
    clock::Clock,
    state::{Policies, Root},
    store::{LogConnection, LogEntries, Store, StoreError},
    token::Revision,
};

/// Why a root could not be built.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The keys in it.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// Reads what a replica holds.
pub struct Loader {
    store: Store,
    keys: Keys,
    clock: Arc<Clock>,
}

impl Loader {
    /// From this database, with these means to open keys.
    #[must_use]
    pub fn new(store: Store, keys: Keys, clock: Arc<Clock>) -> Self {
        Self { store, keys, clock }
    }

    /// A whole new root. It is not fresh until the log has been read once more.
    pub async fn root(&self, log: &mut LogConnection) -> Result<Root, LoadError> {
        // The log first: a change that is made meanwhile has a revision above it and is read again.
        let head = log.head().await?;
        let policies = self.store.policies().await?.into_iter().collect::<Policies>();
        let clients = self.store.clients().await?;
        let keys = self.keys.ring(&self.store).await?;
        let root = Root::new(Revision::ZERO, policies, clients, keys);
        log.load(self.clock.now(), |entry| root.apply(entry)).await?;
        root.publish(head.revision);
        Ok(root)
    }

    /// Applies what was appended: first the entries, then the tables that changed.
    pub async fn apply(&self, root: &Root, read: LogEntries) -> Result<(), LoadError> {
        for entry in read.entries {
            root.apply(entry);
        }
        if read.policies {
            root.policies.store(Arc::new(self.store.policies().await?.into_iter().collect()));
        }
        if read.clients {
            root.clients.store(Arc::new(self.store.clients().await?));
        }
        if read.keys {
            root.keys.store(Arc::new(self.keys.ring(&self.store).await?));
        }
        Ok(())
    }
}
