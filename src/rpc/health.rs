//! `grpc.health.v1`: serving while this replica can answer.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures_util::{Stream, stream::unfold};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health as HealthService, HealthServer},
};

use super::Listener;
use crate::authority::{Authority, Error};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);
/// The services that clients ask after, and where each is served. The empty name is the server as a whole. The ops
/// listener, which serves none of them, tells of all.
const SERVICES: [(&str, &[Listener]); 5] = [
    ("", &[Listener::Public, Listener::Admin, Listener::Ops]),
    ("jeton.v1.TokenService", &[Listener::Public, Listener::Admin, Listener::Ops]),
    ("jeton.v1.DiscoveryService", &[Listener::Public, Listener::Ops]),
    ("envoy.service.auth.v3.Authorization", &[Listener::Public, Listener::Ops]),
    ("jeton.v1.AdminService", &[Listener::Admin, Listener::Ops]),
];

/// Whether a canary that was revoked here was dead on the other replicas that answered, at the latest probe that said so;
/// unknown where nobody probes.
const PROMISE: &str = "jeton.promise";
/// Whether all of them answered the latest probe.
const PROBE: &str = "jeton.probe";
/// Whether this replica follows the epoch of the log: not while it has failed to carry over what it holds.
const EPOCH: &str = "jeton.epoch";

/// The health service, on every listener.
#[derive(Clone)]
pub struct Health {
    condition: watch::Sender<Condition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Condition {
    ready: bool,
    /// Whether this replica follows the epoch of the log.
    follows: bool,
    /// Whether the promise held at the latest probe that said so.
    held: Option<bool>,
    /// Whether all of the other replicas answered the latest probe.
    answered: Option<bool>,
    /// Nothing more is told.
    over: bool,
}

impl Default for Health {
    fn default() -> Self {
        Self { condition: watch::Sender::new(Condition::default()) }
    }
}

impl Health {
    pub(super) fn service(&self, listener: Listener) -> HealthServer<HealthRpc> {
        HealthServer::new(HealthRpc { condition: self.condition.subscribe(), listener })
    }

    /// What came of a probe of the other replicas: whether the promise held, as far as it could be seen, and whether all
    /// answered.
    pub fn set_probed(&self, held: Option<bool>, answered: bool) {
        self.set(|condition| {
            condition.held = held.or(condition.held);
            condition.answered = Some(answered);
        });
    }

    /// Says whether this replica can answer now.
    pub fn tell(&self, authority: &Authority) {
        let readiness = authority.readiness();
        self.set(|condition| {
            condition.ready = readiness.is_ready();
            condition.follows = readiness.epoch;
        });
    }

    fn set(&self, change: impl FnOnce(&mut Condition)) {
        self.condition.send_if_modified(|condition| {
            let before = *condition;
            change(condition);
            *condition != before
        });
    }
}

impl Condition {
    /// Of the service with this name; `None`: there is none on this listener.
    fn of(self, name: &str, listener: Listener) -> Option<ServingStatus> {
        let good = if name == PROMISE {
            self.held?
        } else if name == PROBE {
            self.answered?
        } else if name == EPOCH {
            self.follows
        } else {
            let (_, listeners) = SERVICES.iter().find(|(service, _)| *service == name)?;
            listeners.contains(&listener).then_some(self.ready)?
        };
        Some(if good { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

/// The service of one listener.
pub(super) struct HealthRpc {
    condition: watch::Receiver<Condition>,
    listener: Listener,
}

#[tonic::async_trait]
impl HealthService for HealthRpc {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        let condition = *self.condition.borrow();
        let status = condition.of(&name, self.listener);
        let status = status.ok_or(Error::NotFound { resource_type: "service", name })?;
        Ok(Response::new(HealthCheckResponse { status: status.into() }))
    }

    /// A name that is not known now may be later: it is watched like any other.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let watch = Watch {
            condition: self.condition.clone(),
            listener: self.listener,
            name: known_name(&request.into_inner().service),
            last: None,
        };
        Ok(Response::new(Box::pin(unfold(watch, Watch::next))))
    }
}

/// The name as it stands here: what a caller sent is not kept for as long as it watches.
fn known_name(name: &str) -> Option<&'static str> {
    let names = SERVICES.iter().map(|(service, _)| *service).chain([PROMISE, PROBE, EPOCH]);
    names.into_iter().find(|known| *known == name)
}

struct Watch {
    condition: watch::Receiver<Condition>,
    listener: Listener,
    /// `None`: nothing that there could ever be.
    name: Option<&'static str>,
    last: Option<ServingStatus>,
}

impl Watch {
    /// The next change.
    async fn next(mut self) -> Option<(Result<HealthCheckResponse, Status>, Self)> {
        loop {
            let condition = *self.condition.borrow_and_update();
            let status = self.name.and_then(|name| condition.of(name, self.listener));
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if self.last != Some(status) {
                self.last = Some(status);
                return Some((Ok(HealthCheckResponse { status: status.into() }), self));
            }
            if condition.over || self.condition.changed().await.is_err() {
                return None;
            }
        }
    }
}

/// Keeps the health service true until told to stop; from `leaving` on, it says that nothing is served.
pub async fn watch_readiness(
    health: Health,
    authority: Arc<Authority>,
    leaving: CancellationToken,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = leaving.cancelled() => break,
            () = sleep(LOOK) => {}
        }
        health.tell(&authority);
    }
    health.set(|condition| condition.ready = false);
    stop.cancelled().await;
    // Those who watch hear the last of it, and their streams end.
    health.set(|condition| condition.over = true);
}
