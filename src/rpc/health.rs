//! `grpc.health.v1`: serving while this replica can answer.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::authority::{Authority, Readiness};

/// How often it looks.
const LOOK: Duration = Duration::from_millis(250);
/// The services that clients ask after; the empty name is the server as a whole.
const SERVICES: [&str; 4] =
    ["", "jeton.v1.TokenService", "jeton.v1.DiscoveryService", "jeton.v1.AdminService"];

/// Whether the latest probe of the other replicas was good; unknown where nobody probes.
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
    pub(super) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }

    /// What came of a probe of the other replicas.
    pub async fn set_probed(&self, good: bool) {
        self.reporter.set_service_status(PROBE, serving(good)).await;
    }

    /// Ends the streams of those who watch, after what they were told last.
    async fn forget(&self) {
        for service in SERVICES.into_iter().chain([PROBE, EPOCH]) {
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
