//! Checks that all replicas of a database have the same settings.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    replica::Registered,
    store::{ReplicaIdentity, ReplicaRow, Store, StoreError},
};

/// Of two servers that meet while they start, the one that stays looks this often whether the other has left,
const LOOKS_MAX: u32 = 30;
/// at this interval.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The longest time in which a server that does not start removes its registration.
const LEAVE: Duration = Duration::from_secs(3);

/// The reason why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum Disagreement {
    /// A token would be good on one replica and not on another.
    #[error(
        "replica {replica} on this database has the issuer {theirs}, and this one {own}: tokens of one would be refused \
         by the other. Give all replicas one --issuer, or end the others first"
    )]
    Issuer {
        /// The other replica.
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

/// Refuses an issuer that differs from that of running replicas, and warns of other differences.
pub async fn agree(store: &Store, own: &ReplicaIdentity) -> Result<(), Disagreement> {
    let others = store.replicas().await?;
    for other in others.iter().filter(|other| other.is_fresh) {
        if has_another_issuer(other, own) {
            return Err(disagreement(other, own));
        }
        if !other.identity.settings.issuer.is_empty() {
            warn(own, other);
        }
    }
    Ok(())
}

/// The check of a registered server against the others.
pub struct Agreement {
    /// The database.
    pub store: Store,
    /// Its registration.
    pub registered: Registered,
    /// Its settings.
    pub own: ReplicaIdentity,
}

impl Agreement {
    /// Checks now, or as soon as possible beside the tasks of a starting server. If the server does not start, its
    /// tasks are ended, so that nobody waits for it.
    pub async fn settle(
        self,
        behind: &mut JoinSet<()>,
        tasks: &CancellationToken,
    ) -> Result<(), Disagreement> {
        match self.look().await {
            Ok(true) => {}
            Ok(false) => {
                behind.spawn(self.hold(tasks.clone()));
            }
            Err(disagreement) => {
                tasks.cancel();
                let ended = async { while behind.join_next().await.is_some() {} };
                let _late = timeout(LEAVE, ended).await;
                return Err(disagreement);
            }
        }
        Ok(())
    }

    /// Checks once. False: the server is not registered yet, or the database is away.
    async fn look(&self) -> Result<bool, Disagreement> {
        let Some(id) = self.registered.id() else { return Ok(false) };
        match agree_as(&self.store, id, &self.own).await {
            Err(Disagreement::Store(error)) if error.is_unreachable() => Ok(false),
            done => done.map(|()| true),
        }
    }

    /// Checks until it succeeds once; ends if another replica has another issuer, or on `stop`.
    async fn hold(self, stop: CancellationToken) {
        let looked = async {
            loop {
                match self.look().await {
                    Ok(true) => return stop.cancelled().await,
                    Ok(false) => sleep(LOOK_AGAIN).await,
                    Err(disagreement) => {
                        return tracing::error!(error = %disagreement, "this server ends");
                    }
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = looked => {}
        }
    }
}

/// Checks again when this server is registered, as `id`. Two servers that started at the same moment did not see each
/// other before. Whatever the other has registered is seen now: so at most one of them stays, and if both look now, one
/// does.
async fn agree_as(store: &Store, id: Uuid, own: &ReplicaIdentity) -> Result<(), Disagreement> {
    for _ in 0..LOOKS_MAX {
        let others = store.replicas().await?;
        let other = others
            .iter()
            .filter(|other| other.is_fresh && other.id != id && has_another_issuer(other, own))
            .min_by_key(|other| other.id);
        match other {
            None => return Ok(()),
            Some(other) if other.id < id => return Err(disagreement(other, own)),
            // The other leaves, unless it had looked before this one was registered.
            Some(_) => sleep(LOOK_AGAIN).await,
        }
    }
    agree(store, own).await
}

fn has_another_issuer(other: &ReplicaRow, own: &ReplicaIdentity) -> bool {
    let theirs = &other.identity.settings.issuer;
    !theirs.is_empty() && *theirs != own.settings.issuer
}

fn disagreement(other: &ReplicaRow, own: &ReplicaIdentity) -> Disagreement {
    Disagreement::Issuer {
        replica: other.identity.name.clone(),
        theirs: other.identity.settings.issuer.clone(),
        own: own.settings.issuer.clone(),
    }
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
            "another replica is of another version: this is good only during an update"
        );
    }
}
