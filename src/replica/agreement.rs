//! What all replicas of a database should have in common, held against each other through the database.

use crate::store::{ReplicaIdentity, ReplicaRow, Store, StoreError};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Disagreement {
    /// A token would be good on one replica and not on another.
    #[error(
        "replica {replica} on this database has the issuer {theirs}, and this one {own}: tokens of one would be refused \
         by the other. Give all replicas one --issuer, or end the others first"
    )]
    Issuer {
        /// Whose.
        replica: String,
        /// Its issuer.
        theirs: String,
        /// This one's.
        own: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Refuses an issuer that is not that of the replicas that run, and warns of all else in which they differ.
pub async fn agree(store: &Store, own: &ReplicaIdentity) -> Result<(), Disagreement> {
    let others = store.replicas().await?;
    let running = others.iter().filter(|other| other.is_fresh && !other.identity.settings.issuer.is_empty());
    for other in running {
        let theirs = &other.identity.settings;
        if theirs.issuer != own.settings.issuer {
            return Err(Disagreement::Issuer {
                replica: other.identity.name.clone(),
                theirs: theirs.issuer.clone(),
                own: own.settings.issuer.clone(),
            });
        }
        warn(own, other);
    }
    Ok(())
}

fn warn(own: &ReplicaIdentity, other: &ReplicaRow) {
    let (ours, theirs) = (&own.settings, &other.identity.settings);
    let replica = &other.identity.name;
    if theirs.master_key != ours.master_key {
        tracing::warn!(jeton.other = replica, "another replica has another master key: give all of them one");
    }
    if (theirs.rotate_every_s, theirs.publish_ahead_s) != (ours.rotate_every_s, ours.publish_ahead_s) {
        tracing::warn!(
            jeton.other = replica,
            jeton.rotate_every_s = theirs.rotate_every_s,
            jeton.publish_ahead_s = theirs.publish_ahead_s,
            "another replica rotates keys at other times: give all of them the same"
        );
    }
    if other.identity.version != own.version {
        tracing::warn!(
            jeton.other = replica,
            jeton.version = other.identity.version,
            "another replica is of another version: let this be so for the time of an update alone"
        );
    }
}
