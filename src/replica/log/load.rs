//! Builds a root from the tables, or reads the changed part of it again.

use std::sync::Arc;

use crate::{
    process::others_first,
    replica::Keys,
    state::{Issuing, OpenedKeys, Policies, Root},
    store::{LogEntries, OwnConnection, StoreError},
};
use jeton_state::clock::Clock;
use jeton_token::Revision;

/// The entries that are applied before others have their turn: a tenth of a millisecond.
const ENTRIES_AT_ONCE: usize = 512;

/// The reason why a root could not be built.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The epoch is greater than revisions can express.
    #[error("there are no more epochs: the log must be moved to another issuer")]
    EpochsExhausted,
    /// Other replicas wrote clients and policies each time that this one compared them.
    #[error("clients and policies changed each time that they were compared")]
    Outrun,
}

impl LoadError {
    /// Returns whether the only fault is that the database is away.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_unreachable())
    }
}

/// Reads the state of a replica.
pub struct Loader {
    keys: Keys,
    clock: Arc<Clock>,
}

impl Loader {
    /// Uses these means to open keys.
    #[must_use]
    pub fn new(keys: Keys, clock: Arc<Clock>) -> Self {
        Self { keys, clock }
    }

    /// Builds a whole new root, without a lease. All of it is read on one connection: another one could be to another
    /// server.
    pub async fn root(&self, connection: &mut OwnConnection) -> Result<Arc<Root>, LoadError> {
        // The log first: a change during the load has a later revision, and is read again.
        let head = connection.head().await?;
        if !head.same_log {
            return Err(StoreError::ForeignLog.into());
        }
        let policies = connection.policies().await?.into_iter().collect::<Policies>();
        let clients = connection.clients().await?;
        let issuers = connection.issuers().await?;
        let keys = self.keys(connection).await?;
        let issuing = Issuing::new(policies, clients, issuers, keys.signers);
        issuing.locks.apply(&connection.locks().await?);
        let root = Arc::new(Root::new(Revision::ZERO, keys.ring, issuing));
        root.tokens.reserve(connection.revocations_about().await?);
        let filled = Arc::clone(&root);
        connection.load(self.clock.now(), move |entries| filled.apply_all(entries)).await?;
        root.lease.publish(head.revision);
        Ok(root)
    }

    /// Applies new entries: first the entries themselves, then the changed tables.
    pub async fn apply(
        &self,
        connection: &mut OwnConnection,
        root: &Root,
        read: LogEntries,
    ) -> Result<(), LoadError> {
        let mut entries = read.entries.into_iter();
        root.apply_all(entries.by_ref().take(ENTRIES_AT_ONCE).collect());
        while entries.len() > 0 {
            // A list of thousands must not keep calls waiting.
            others_first().await;
            root.apply_all(entries.by_ref().take(ENTRIES_AT_ONCE).collect());
        }
        root.issuing.locks.apply(&read.locks);
        if read.policies {
            root.issuing.policies.store(Arc::new(connection.policies().await?.into_iter().collect()));
        }
        if read.clients {
            let read = connection.clients().await?;
            root.issuing.clients.store(Arc::new(read.with_last_uses_of(&root.issuing.clients.load())));
        }
        if read.issuers {
            root.issuing.issuers.store(Arc::new(connection.issuers().await?));
        }
        if read.keys {
            self.keys(connection).await?.store(root);
        }
        Ok(())
    }

    /// Every key, as it is in the tables now.
    pub(in crate::replica) async fn keys(
        &self,
        connection: &mut OwnConnection,
    ) -> Result<OpenedKeys, LoadError> {
        Ok(self.keys.open(&connection.keys().await?))
    }
}
