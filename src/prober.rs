//! Tests the promise again and again as a client would: revokes a canary on this replica, and checks that it is dead on
//! all others.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use futures_util::future::join_all;
use jeton_client::{Client, Code, IssueRequest, JetonError, Secret, ValidateRequest, Verdict};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    observe::Metrics,
    proto::v1 as pb,
    rpc::Health,
    store::{CANARY, ReplicaRow, Store},
};

/// The life of a canary: far longer than a probe takes, and no longer in the denylist than needed.
const CANARY_TTL: Duration = Duration::from_mins(1);
/// Longer than a Revoke waits for a replica that does not answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of the prober.
pub struct ProberSettings {
    /// Between two probes.
    pub every: Duration,
    /// The file of the API key of a client that may issue, validate and revoke canaries.
    pub api_key_file: PathBuf,
    /// The file of the authorities of the replicas' certificates; `None`: those of the system.
    pub ca_file: Option<PathBuf>,
}

/// The task.
pub struct Prober {
    settings: ProberSettings,
    /// The URL of this replica's own public listener.
    own: String,
    store: Store,
    metrics: Arc<Metrics>,
    health: Health,
    clients: HashMap<String, Client>,
}

/// The answer of one replica about a canary whose revocation had been answered.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Seen {
    Dead,
    /// The promise is broken.
    Alive,
    /// It did not answer, for this reason.
    Unanswered(String),
}

impl Seen {
    fn name(&self) -> &'static str {
        match self {
            Self::Dead => "dead",
            Self::Alive => "alive",
            Self::Unanswered(_) => "unanswered",
        }
    }
}

/// The reason why a probe failed.
#[derive(Debug, thiserror::Error)]
enum ProbeError {
    #[error("the replicas could not be listed: {0}")]
    Store(#[from] crate::store::StoreError),
    #[error("{0}")]
    Call(#[from] JetonError),
    #[error("the canary was not revoked everywhere")]
    Incomplete,
}

impl ProbeError {
    /// Returns whether the database is away, which the store has logged.
    fn is_away(&self) -> bool {
        match self {
            Self::Store(error) => error.is_unreachable(),
            Self::Call(error) => error.code() == Code::Unavailable,
            Self::Incomplete => false,
        }
    }
}

impl Prober {
    /// The prober of the replica at `own`.
    #[must_use]
    pub fn new(
        settings: ProberSettings,
        own: String,
        store: Store,
        metrics: Arc<Metrics>,
        health: Health,
    ) -> Self {
        Self { settings, own, store, metrics, health, clients: HashMap::new() }
    }

    /// Probes until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(self.settings.every) => {}
            }
            let (held, answered) = tokio::select! {
                () = stop.cancelled() => return,
                probed = self.probe() => self.report(probed),
            };
            self.health.set_probed(held, answered);
        }
    }

    /// Reports whether the promise held, as far as it could be seen, and whether all replicas answered.
    fn report(&self, probed: Result<Vec<(String, Seen)>, ProbeError>) -> (Option<bool>, bool) {
        let seen = match probed {
            Ok(seen) => seen,
            Err(error) => {
                if error.is_away() {
                    tracing::debug!(error = %error, "a probe of the replicas failed");
                } else {
                    tracing::warn!(error = %error, "a probe of the replicas failed");
                }
                self.metrics.probed("failed");
                return (None, false);
            }
        };
        for (replica, seen) in &seen {
            self.metrics.probed(seen.name());
            match seen {
                Seen::Dead => {}
                Seen::Alive => tracing::error!(
                    jeton.other = replica,
                    "a revoked canary was ACTIVE on another replica: immediate revocation does not hold"
                ),
                Seen::Unanswered(cause) => {
                    tracing::warn!(jeton.other = replica, error = cause, "a replica did not answer a probe");
                }
            }
        }
        let none = |is: fn(&Seen) -> bool| !seen.iter().any(|(_, seen)| is(seen));
        (Some(none(|seen| matches!(seen, Seen::Alive))), none(|seen| matches!(seen, Seen::Unanswered(_))))
    }

    /// Follows one canary from its making to its end. Returns each other replica with its answer.
    async fn probe(&mut self) -> Result<Vec<(String, Seen)>, ProbeError> {
        let own = self.own.clone();
        let others: Vec<ReplicaRow> = self.store.replicas().await?;
        let others = others.into_iter().filter(|row| !row.identity.address.is_empty());
        let others: Vec<_> = others.map(|row| row.identity).filter(|it| it.address != own).collect();
        self.clients.retain(|address, _| *address == own || others.iter().any(|it| it.address == *address));
        let here = self.client(&own)?;
        let canary = IssueRequest {
            subject: CANARY.to_owned(),
            audiences: vec![CANARY.to_owned()],
            ttl: Some(CANARY_TTL),
            ..Default::default()
        };
        let token = here.issue(canary).await?.access_token;
        let mut asked = Vec::new();
        for identity in others {
            asked.push((identity.name, self.client(&identity.address)?));
        }
        // Live before, so that "dead" means something; and each connection is warm.
        let judge = |client: Client| {
            let request = validate(token.clone());
            async move { client.validate(request).await }
        };
        let asked = join_all(asked.into_iter().map(|(name, client)| {
            let judged = judge(client.clone());
            async move {
                let (active, cause) = match judged.await {
                    Ok(verdict) => (verdict.is_active(), String::new()),
                    Err(error) => (false, error.to_string()),
                };
                (name, client, active, cause)
            }
        }))
        .await;
        let started = Instant::now();
        let reason = pb::RevocationReason::Unspecified;
        let revoked = here.revoke_token(&token, reason, "").await?;
        self.metrics.probe_revoked(started.elapsed().as_secs_f64());
        if !revoked.propagation.is_some_and(|propagation| propagation.complete) {
            return Err(ProbeError::Incomplete);
        }
        Ok(join_all(asked.into_iter().map(|(name, client, active, cause)| {
            let judged = judge(client);
            async move {
                let seen = match judged.await {
                    Ok(verdict) if verdict.is_active() => Seen::Alive,
                    Ok(verdict) if active && is_revoked(&verdict) => Seen::Dead,
                    Ok(_) => Seen::Unanswered(cause),
                    Err(error) => Seen::Unanswered(error.to_string()),
                };
                (name, seen)
            }
        }))
        .await)
    }

    /// The client of one replica. Files are read again when they change.
    fn client(&mut self, address: &str) -> Result<Client, JetonError> {
        if let Some(client) = self.clients.get(address) {
            return Ok(client.clone());
        }
        // Between replicas a mesh may encrypt.
        let mut builder =
            Client::builder(address).api_key_file(&self.settings.api_key_file).allow_plaintext();
        if let Some(ca) = &self.settings.ca_file {
            builder = builder.ca_file(ca);
        }
        let client = builder.build()?.within(CALL_TIMEOUT);
        self.clients.insert(address.to_owned(), client.clone());
        Ok(client)
    }
}

fn validate(token: Secret) -> ValidateRequest {
    ValidateRequest { token, audiences: vec![CANARY.to_owned()], ..Default::default() }
}

fn is_revoked(verdict: &Verdict) -> bool {
    verdict.status == pb::TokenStatus::Revoked
}
