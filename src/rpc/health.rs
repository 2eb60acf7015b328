//! `grpc.health.v1`: serving while this replica can answer.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status};
use tonic_health::{
    ServingStatus,
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_server::{Health as HealthRpc, HealthServer},
    },
    server::{HealthReporter, HealthService},
};

use crate::authority::{Authority, Error, Readiness};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);
/// The services that clients ask after; the empty name is the server as a whole.
const SERVICES: [&str; 4] =
    ["", "jeton.v1.TokenService", "jeton.v1.DiscoveryService", "jeton.v1.AdminService"];

/// Whether a canary that was revoked here was dead on the other replicas that answered, at the latest probe that said so;
/// unknown where nobody probes.
const PROMISE: &str = "jeton.promise";
/// Whether all of them answered the latest probe.
const PROBE: &str = "jeton.probe";

/// Whether this replica follows the epoch of the log: not while it has failed to carry over what it holds.
const EPOCH: &str = "jeton.epoch";

/// The health service, of one state on every listener.
#[derive(Clone)]
pub struct Health {
    reporter: HealthReporter,
}

impl Default for Health {
    fn default() -> Self {
        Self { reporter: HealthReporter::new() }
    }
}

impl Health {
    pub(super) fn service(&self) -> HealthServer<Refusing> {
        HealthServer::new(Refusing(HealthService::from_health_reporter(self.reporter.clone())))
    }

    /// What came of a probe of the other replicas: whether the promise held, as far as it could be seen, and whether all
    /// answered.
    pub async fn set_probed(&self, held: Option<bool>, answered: bool) {
        if let Some(held) = held {
            self.reporter.set_service_status(PROMISE, serving(held)).await;
        }
        self.reporter.set_service_status(PROBE, serving(answered)).await;
    }

    /// Ends the streams of those who watch, after what they were told last.
    async fn forget(&self) {
        for service in SERVICES.into_iter().chain([PROMISE, PROBE, EPOCH]) {
            let mut reporter = self.reporter.clone();
            reporter.clear_service_status(service).await;
        }
    }

    /// Says whether this replica can answer now.
    pub async fn tell(&self, authority: &Authority) -> Readiness {
        let readiness = authority.readiness();
        self.set(readiness.is_ready()).await;
        self.set_epoch(readiness.epoch).await;
        readiness
    }

    async fn set(&self, ready: bool) {
        for service in SERVICES {
            self.reporter.set_service_status(service, serving(ready)).await;
        }
    }

    async fn set_epoch(&self, followed: bool) {
        self.reporter.set_service_status(EPOCH, serving(followed)).await;
    }
}

/// The health service, whose refusals are those of the catalogue.
pub(super) struct Refusing(HealthService);

#[tonic::async_trait]
impl HealthRpc for Refusing {
    type WatchStream = <HealthService as HealthRpc>::WatchStream;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.get_ref().service.clone();
        self.0.check(request).await.map_err(|status| unknown(status, name))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.get_ref().service.clone();
        self.0.watch(request).await.map_err(|status| unknown(status, name))
    }
}

fn unknown(status: Status, name: String) -> Status {
    if status.code() == Code::NotFound {
        Error::NotFound { resource_type: "service", name }.into()
    } else {
        status
    }
}

fn serving(good: bool) -> ServingStatus {
    if good { ServingStatus::Serving } else { ServingStatus::NotServing }
}

/// Keeps the health service true, which has said so much, until told to stop; then says that nothing is served.
pub async fn watch_readiness(
    health: Health,
    mut said: Readiness,
    authority: Arc<Authority>,
    stop: CancellationToken,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(LOOK) => {}
        }
        let now = authority.readiness();
        // Whoever watches hears of changes alone.
        if said.is_ready() != now.is_ready() {
            health.set(now.is_ready()).await;
        }
        if said.epoch != now.epoch {
            health.set_epoch(now.epoch).await;
        }
        said = now;
    }
    health.set(false).await;
    health.forget().await;
}
