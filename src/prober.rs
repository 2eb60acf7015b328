//! Tests the promise again and again as a client would: revokes a canary on this replica, and checks that it is dead on
//! all others.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::future::join_all;
use jeton_client::{Bearer, ConnectError, NotAHeader, Trust, root_cause};
use secrecy::SecretString;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    observe::Metrics,
    proto::{
        v1 as pb,
        v1::{revocation_target::Kind, token_service_client::TokenServiceClient},
    },
    rpc::Health,
    store::{CANARY, ReplicaRow, Store},
};

/// The life of a canary, seconds: far longer than a probe takes, and no longer in the denylist than needed.
const CANARY_TTL_S: i64 = 60;
/// Longer than a Revoke waits for a replica that does not answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The settings of the prober.
pub struct ProberSettings {
    /// Between two probes.
    pub every: Duration,
    /// The API key of a client that may issue, validate and revoke canaries.
    pub api_key: SecretString,
    /// The authorities of the replicas' certificates.
    pub trust: Trust,
}

/// The task.
pub struct Prober {
    settings: ProberSettings,
    /// The URL of this replica's own public listener.
    own: String,
    store: Store,
    metrics: Arc<Metrics>,
    health: Health,
    channels: HashMap<String, Channel>,
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
    #[error("{0:?}: {1}")]
    Call(tonic::Code, String),
    #[error("{0}")]
    Connect(#[from] ConnectError),
    #[error("the API key: {0}")]
    Key(#[from] NotAHeader),
    #[error("the canary was not revoked everywhere")]
    Incomplete,
}

impl ProbeError {
    /// Returns whether the database is away, which the store has logged.
    fn is_away(&self) -> bool {
        match self {
            Self::Store(error) => error.is_unreachable(),
            Self::Call(code, _) => *code == tonic::Code::Unavailable,
            Self::Connect(_) | Self::Key(_) | Self::Incomplete => false,
        }
    }
}

impl From<Status> for ProbeError {
    fn from(status: Status) -> Self {
        Self::Call(status.code(), status.message().to_owned())
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
        Self { settings, own, store, metrics, health, channels: HashMap::new() }
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
        self.channels.retain(|address, _| *address == own || others.iter().any(|it| it.address == *address));
        let issue = pb::IssueRequest {
            subject: CANARY.to_owned(),
            audiences: vec![CANARY.to_owned()],
            expiration: Some(pb::issue_request::Expiration::Ttl(prost_types::Duration {
                seconds: CANARY_TTL_S,
                nanos: 0,
            })),
            ..pb::IssueRequest::default()
        };
        let mut here = self.client(&own)?;
        let token =
            here.issue(self.request(issue)?).await?.into_inner().token.unwrap_or_default().access_token;
        let mut asked = Vec::new();
        for identity in others {
            let client = self.client(&identity.address)?;
            asked.push((
                identity.name,
                client,
                self.request(validate(&token))?,
                self.request(validate(&token))?,
            ));
        }
        // Live before, so that "dead" means something; and each connection is warm.
        let asked = join_all(asked.into_iter().map(|(name, mut client, before, after)| async move {
            let (active, cause) = match client.validate(before).await {
                Ok(said) => (says(&said, pb::TokenStatus::Active), String::new()),
                Err(status) => (false, cause_of(&status)),
            };
            (name, client, after, active, cause)
        }))
        .await;
        let revoke = pb::RevokeRequest {
            target: Some(pb::RevocationTarget { kind: Some(Kind::Token(token)), ..Default::default() }),
            ..pb::RevokeRequest::default()
        };
        let started = Instant::now();
        let revoked = here.revoke(self.request(revoke)?).await?.into_inner();
        self.metrics.probe_revoked(started.elapsed().as_secs_f64());
        if !revoked.propagation.is_some_and(|propagation| propagation.complete) {
            return Err(ProbeError::Incomplete);
        }
        Ok(join_all(asked.into_iter().map(|(name, mut client, after, active, cause)| async move {
            let seen = match client.validate(after).await {
                Ok(said) if says(&said, pb::TokenStatus::Active) => Seen::Alive,
                Ok(said) if active && says(&said, pb::TokenStatus::Revoked) => Seen::Dead,
                Ok(_) => Seen::Unanswered(cause),
                Err(status) => Seen::Unanswered(cause_of(&status)),
            };
            (name, seen)
        }))
        .await)
    }

    fn client(&mut self, address: &str) -> Result<TokenServiceClient<Channel>, ProbeError> {
        if let Some(channel) = self.channels.get(address) {
            return Ok(TokenServiceClient::new(channel.clone()));
        }
        let endpoint = jeton_client::endpoint(address, &self.settings.trust)?;
        let channel = endpoint.timeout(CALL_TIMEOUT).connect_timeout(CALL_TIMEOUT).connect_lazy();
        self.channels.insert(address.to_owned(), channel.clone());
        Ok(TokenServiceClient::new(channel))
    }

    fn request<T>(&self, message: T) -> Result<Request<T>, ProbeError> {
        let mut request = Request::new(message);
        Bearer::new(&self.settings.api_key)?.add_to(&mut request);
        Ok(request)
    }
}

/// The reason why a call failed: of a connection, in the words of the operating system.
fn cause_of(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => root_cause(cause),
        None => format!("{:?}: {}", status.code(), status.message()),
    }
}

fn validate(token: &str) -> pb::ValidateRequest {
    pb::ValidateRequest {
        token: token.to_owned(),
        audiences: vec![CANARY.to_owned()],
        ..pb::ValidateRequest::default()
    }
}

fn says(answer: &Response<pb::ValidateResponse>, status: pb::TokenStatus) -> bool {
    answer.get_ref().verdict.as_ref().is_some_and(|verdict| verdict.status() == status)
}
