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

use crate::{
    authority::{Authority, Error},
    edge::{ADMIN, DISCOVERY, ENVOY, Listener, TOKENS},
};

/// The pause between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// The services that clients ask for, and the listeners that serve each. The empty name is the server as a whole. The
/// ops listener serves none of them, and reports all.
const SERVICES: [(&str, &[Listener]); 5] = [
    ("", &[Listener::Public, Listener::Admin, Listener::Ops]),
    (TOKENS, &[Listener::Public, Listener::Admin, Listener::Ops]),
    (DISCOVERY, &[Listener::Public, Listener::Ops]),
    (ENVOY, &[Listener::Public, Listener::Ops]),
    (ADMIN, &[Listener::Admin, Listener::Ops]),
];

/// Serving if the canary was dead on all other replicas that answered, at the latest probe that could tell; unknown if
/// nothing probes.
const PROMISE: &str = "jeton.promise";
/// Serving if all other replicas answered the latest probe.
const PROBE: &str = "jeton.probe";
/// Serving if this replica follows the epoch of the log: not while it has failed to carry over its state.
const EPOCH: &str = "jeton.epoch";

/// The health service, on every listener.
#[derive(Clone)]
pub struct Health {
    condition: watch::Sender<Condition>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Condition {
    ready: bool,
    /// This replica follows the epoch of the log.
    follows: bool,
    /// The promise held at the latest probe that could tell.
    held: Option<bool>,
    /// All other replicas answered the latest probe.
    answered: Option<bool>,
    /// The streams of watchers end.
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

    /// Records the result of a probe of the other replicas: whether the promise held, as far as it could be seen, and
    /// whether all answered.
    pub fn set_probed(&self, held: Option<bool>, answered: bool) {
        self.set(|condition| {
            condition.held = held.or(condition.held);
            condition.answered = Some(answered);
        });
    }

    /// Records whether this replica can answer now.
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
    /// The status of the service with this name; `None` if this listener does not know it.
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

/// The health service of one listener.
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

    /// An unknown name is watched like any other: it may be served later.
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

/// The static name that equals `name`: the caller's own text is not kept while it watches.
fn known_name(name: &str) -> Option<&'static str> {
    let names = SERVICES.iter().map(|(service, _)| *service).chain([PROMISE, PROBE, EPOCH]);
    names.into_iter().find(|known| *known == name)
}

struct Watch {
    condition: watch::Receiver<Condition>,
    listener: Listener,
    /// `None` for a name that can never be served.
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

/// Keeps the health service up to date until `stop`; from `leaving` on it reports that nothing is served.
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
    // Watchers get the last status, and their streams end.
    health.set(|condition| condition.over = true);
}
