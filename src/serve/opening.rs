//! The listeners of a server: their services, and the order in which they end.

use std::{
    io,
    num::NonZero,
    os::fd::AsFd as _,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::{net::TcpListener, runtime::Handle, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    authority::{Authority, Background},
    edge::Listener,
    http::{self, EndpointsState, OpsState, StartingOps},
    listen::{self, CONNECTIONS_MAX, Limits, Memory, Network, STRANGERS_PER_ADDRESS_MAX, Serving},
    rpc::{self, AuthLayer, Front, Health, Services, watch_readiness},
    serve::{Access, Listeners},
    tls::ServerTls,
};

/// Descriptors for everything but connections of the listeners: Postgres, which takes up to 26, files, the log.
const KEPT_DESCRIPTORS: usize = 128;
/// The most connections of the ops listener: probes and scrapes are few.
const OPS_CONNECTIONS_MAX: usize = 64;
/// The most connections of the admin listener: people are few, too.
const ADMIN_CONNECTIONS_MAX: usize = 2_000;
/// The time for the requests of probes that came while the server started: their answers take no time, but a peer that
/// sends nothing must not delay readiness.
const LAST_PROBES: Duration = Duration::from_secs(1);
/// Memory for messages that are arriving and answers that are being sent, on the ops listener. Bytes.
const OPS_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The tokens that end parts of a server, in this order.
#[derive(Default)]
pub(super) struct Ends {
    /// Ends readiness.
    pub(super) asked: CancellationToken,
    /// Ends the public and the admin listener.
    pub(super) listeners: CancellationToken,
    /// Ends the ops listener.
    pub(super) probes: CancellationToken,
    /// Ends calls that are still in flight after their time.
    pub(super) calls: CancellationToken,
}

/// Everything that serves.
pub(super) struct Open {
    listeners: Vec<Serving>,
    ops: Serving,
    pub(super) background: Background,
    behind: JoinSet<()>,
}

impl Open {
    /// Waits for the end of the public and the admin listener.
    pub(super) async fn drained(&mut self) {
        for listener in self.listeners.drain(..) {
            listener.ended().await;
        }
    }

    pub(super) async fn ended(mut self) {
        self.ops.ended().await;
        // Ended by the tokens of the listeners.
        while self.behind.join_next().await.is_some() {}
    }
}

/// The parts that the listeners are opened with.
pub(super) struct Opening {
    pub(super) threads: NonZero<usize>,
    pub(super) beside: fn(rpc::Routes) -> rpc::Routes,
    pub(super) tls: [Option<Arc<ServerTls>>; 2],
    pub(super) health: Health,
    /// Limits of the public, the admin and the ops listener.
    pub(super) limits: [Limits; 3],
}

/// What a start waits for, once that takes long.
pub(super) type WaitsFor = OnceLock<&'static str>;

/// The ops listener while a server starts.
pub(super) struct Starting {
    ops: Serving,
    stop: CancellationToken,
    cut_off: CancellationToken,
}

impl Starting {
    /// Answers probes on the listener, which stays the caller's.
    pub(super) fn open(
        listener: &TcpListener,
        [_, _, limits]: &[Limits; 3],
        waits_for: Arc<WaitsFor>,
    ) -> io::Result<Self> {
        let (stop, cut_off) = (CancellationToken::new(), CancellationToken::new());
        let options = listen::Options {
            name: "ops",
            tls: None,
            threads: NonZero::<usize>::MIN,
            memory: Arc::new(Memory::of(OPS_BYTES_MAX, OPS_BYTES_MAX)),
            limits: limits.clone(),
            cut_off: cut_off.clone(),
        };
        let own = std::net::TcpListener::from(listener.as_fd().try_clone_to_owned()?);
        let ops = listen::serve(TcpListener::from_std(own)?, &options, &StartingOps::new(waits_for), &stop)?;
        Ok(Self { ops, stop, cut_off })
    }

    /// Ends its connections. Requests that have been sent are answered first. Connections that have not been accepted
    /// wait for the listener's next user.
    pub(super) async fn end(self) {
        self.stop.cancel();
        let mut ended = pin!(self.ops.ended());
        if timeout(LAST_PROBES, &mut ended).await.is_err() {
            self.cut_off.cancel();
            ended.await;
        }
    }
}

/// Opens the listeners.
pub(super) async fn open(
    listeners: Listeners,
    authority: &Arc<Authority>,
    opening: Opening,
    ends: &Ends,
) -> anyhow::Result<Open> {
    let Opening { threads, beside, tls: [public_tls, admin_tls], health, limits } = opening;
    let Ends { asked, listeners: stop, probes, calls } = ends;
    let background = Background::on(Handle::current());
    let services = |listener| Services::of(listener, authority, &background, &health, stop);
    let auth = |services| AuthLayer::new(Arc::clone(authority), services);
    let mut behind = JoinSet::new();
    for tls in [&public_tls, &admin_tls].into_iter().flatten() {
        behind.spawn(Arc::clone(tls).watch(Arc::clone(&authority.metrics), stop.clone()));
    }
    // Before the ready file tells anybody that this server is ready: probes follow at once.
    health.tell(authority);
    behind.spawn(watch_readiness(health.clone(), Arc::clone(authority), asked.clone(), stop.clone()));
    let state = OpsState { authority: Arc::clone(authority), draining: asked.clone() };
    // People and probes do not need every core.
    let one = NonZero::<usize>::MIN;
    let endpoints = http::endpoints(EndpointsState {
        authority: Arc::clone(authority),
        background: background.clone(),
        certificates: public_tls.as_ref().is_some_and(|tls| tls.knows_clients()),
    });
    let public = Front::new(auth(services(Listener::Public).beside(beside)), endpoints);
    let admin = Front::new(auth(services(Listener::Admin)), http::none());
    let ops = Front::new(auth(services(Listener::Ops)), http::ops(state));
    // Probes have memory of their own, whatever others hold.
    let (memory, probes_memory) = (Arc::default(), Arc::new(Memory::of(OPS_BYTES_MAX, OPS_BYTES_MAX)));
    let options = |name, tls, threads, memory: &Arc<Memory>, limits| listen::Options {
        name,
        tls,
        threads,
        memory: Arc::clone(memory),
        limits,
        cut_off: calls.clone(),
    };
    let [public_limits, admin_limits, ops_limits] = limits;
    let public_options = options("public", public_tls, threads, &memory, public_limits);
    let admin_options = options("admin", admin_tls, one, &memory, admin_limits);
    let ops_options = options("ops", None, one, &probes_memory, ops_limits);
    let serving = vec![
        listen::serve(listeners.public, &public_options, &public, stop)?,
        listen::serve(listeners.admin, &admin_options, &admin, stop)?,
    ];
    let ops = listen::serve(listeners.ops, &ops_options, &ops, probes)?;
    Ok(Open { listeners: serving, ops, background, behind })
}

/// The numbers of connections of the public, the admin and the ops listener, for so many descriptors.
pub(super) fn limits(descriptors: usize, access: &Access) -> [Limits; 3] {
    let left = descriptors.saturating_sub(KEPT_DESCRIPTORS).saturating_sub(OPS_CONNECTIONS_MAX);
    let admin = left.div_euclid(8).min(ADMIN_CONNECTIONS_MAX);
    let public = left.saturating_sub(admin).min(CONNECTIONS_MAX);
    let per_address =
        access.connections_per_address.map_or(STRANGERS_PER_ADDRESS_MAX, |limit| limit.get().into());
    let trusted: Arc<[Network]> = access.trusted_proxies.as_slice().into();
    [public, admin, OPS_CONNECTIONS_MAX]
        .map(|places| Limits::of(places.max(2), per_address, Arc::clone(&trusted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e16_places_are_kept_for_probes_and_for_postgres_however_few_descriptors_there_are() {
        for descriptors in [256, 1_024, 4_096, 65_536, usize::MAX] {
            let limits = limits(descriptors, &Access::default());
            let places: usize = limits.iter().map(|limit| limit.connections).sum();
            assert!(places.saturating_add(KEPT_DESCRIPTORS) <= descriptors, "{descriptors}: {limits:?}");
            assert!(limits.iter().all(|limit| limit.connections >= 8), "{descriptors}: {limits:?}");
            // One address does not get all places of unauthenticated peers, nor do those get all places.
            assert!(limits.iter().all(|limit| limit.strangers_per_address < limit.strangers), "{limits:?}");
            assert!(limits.iter().all(|limit| limit.strangers < limit.connections), "{limits:?}");
        }
    }
}
