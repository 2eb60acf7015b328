//! The server: a function of listeners and a shutdown.

use std::{num::NonZero, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use serde::Serialize;
use tokio::{
    net::TcpListener,
    runtime::Handle,
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    authority::Authority,
    clock::Clock,
    http::{OpsState, serve_ops},
    observe::{self, Exporter, Metrics},
    prober::{Prober, ProberSettings},
    replica::{
        Barrier, Feed, Fleet, Flusher, Following, Housekeeping, Keys, Lease, Loader, Registered, Rotation,
        Schedule, await_log,
    },
    rpc::{self, DoorLayer, Health, Listener, METHODS, watch_readiness},
    state::{Status, VerifiedCache},
    store::{ReplicaIdentity, Store, Task},
    token::MasterKey,
};

/// What ends after the calls in flight have, or were cut off.
const END: Duration = Duration::from_secs(3);

/// The sockets to serve on.
pub struct Listeners {
    /// For every service.
    pub public: TcpListener,
    /// For people.
    pub admin: TcpListener,
    /// For probes.
    pub ops: TcpListener,
}

/// What a server is.
pub struct Settings {
    /// Where everything is kept.
    pub database_url: String,
    /// Opens the keys.
    pub master_key: MasterKey,
    /// Opens those that it sealed, too.
    pub previous_master_key: Option<MasterKey>,
    /// When keys are rotated.
    pub schedule: Schedule,
    /// `iss` of every token; by default where the public listener is.
    pub issuer: Option<String>,
    /// Shown to operators.
    pub replica: String,
    /// Written whole once every listener answers.
    pub ready_file: Option<PathBuf>,
    /// URL under which other replicas reach the public listener; by default where it is bound.
    pub advertise: Option<String>,
    /// Probes the other replicas.
    pub prober: Option<ProberSettings>,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// Threads behind the public listener.
    pub threads: NonZero<usize>,
    /// Services beside jeton's own on the public listener, behind the same door.
    pub beside: fn(rpc::Routes) -> rpc::Routes,
}

/// What the ready file says.
#[derive(Debug, Serialize)]
struct Ready {
    public: String,
    admin: String,
    ops: String,
    issuer: String,
    replica: String,
    pid: u32,
}

/// Serves until told to stop, then drains: what was called is answered.
pub async fn serve(
    listeners: Listeners,
    mut settings: Settings,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let ready = Ready {
        public: listeners.public.local_addr()?.to_string(),
        admin: listeners.admin.local_addr()?.to_string(),
        ops: listeners.ops.local_addr()?.to_string(),
        issuer: settings.issuer.clone().map_or_else(
            || Ok(format!("http://{}", listeners.public.local_addr()?)),
            Ok::<_, anyhow::Error>,
        )?,
        replica: settings.replica.clone(),
        pid: std::process::id(),
    };
    let exporter = observe::exporter().context("the metrics cannot be set up")?;
    let ready_file = settings.ready_file.clone();
    let (threads, beside) = (settings.threads, settings.beside);
    let prober = settings.prober.take();
    let tasks = CancellationToken::new();
    let address = settings.advertise.clone().unwrap_or_else(|| format!("http://{}", ready.public));
    let started = tokio::select! {
        () = stop.cancelled() => None,
        started = Box::pin(start(settings, ready.issuer.clone(), address.clone(), &tasks)) => Some(started?),
    };
    let Some((authority, mut behind)) = started else { return Ok(()) };
    let health = Health::default();
    let serving = open(listeners, &authority, threads, beside, exporter, &health, &stop)?;
    if let Some(settings) = prober {
        let (store, metrics) = (authority.store.clone(), Arc::clone(&authority.metrics));
        behind.spawn(Prober::new(settings, address, store, metrics, health).run(stop.child_token()));
    }
    if let Some(file) = &ready_file {
        write_ready(file, &ready).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    tracing::info!(
        jeton.public = ready.public,
        jeton.admin = ready.admin,
        jeton.ops = ready.ops,
        jeton.issuer = ready.issuer,
        "serving"
    );

    let failed = tokio::select! {
        biased;
        () = stop.cancelled() => false,
        // A task that ends by itself has panicked: what it kept true is true no more.
        _ended = behind.join_next() => true,
    };
    if failed {
        tracing::error!("a task behind the server has ended");
        stop.cancel();
    }
    tracing::info!("draining");
    if timeout(rpc::DRAIN.saturating_add(END), serving.ended()).await.is_err() {
        tracing::warn!("a listener did not end in time");
    }
    if let Some(file) = &ready_file {
        // Gone already, or not ours to remove: either way nobody is told that we are ready.
        let _ = std::fs::remove_file(file);
    }
    let store = authority.store.clone();
    tasks.cancel();
    let ended = async {
        // Ended by the token; a panic was logged where it happened.
        while behind.join_next().await.is_some() {}
        store.close().await;
    };
    if timeout(END, ended).await.is_err() {
        // A database that hangs must not keep us: it notices that we are gone.
        tracing::warn!("the database did not let go in time");
    }
    tracing::info!("ended");
    anyhow::ensure!(!failed, "a task behind the server ended: see the log");
    Ok(())
}

/// The authority, with the tasks behind it. Refuses what it cannot serve before it writes anything.
async fn start(
    settings: Settings,
    issuer: String,
    address: String,
    tasks: &CancellationToken,
) -> anyhow::Result<(Arc<Authority>, JoinSet<()>)> {
    let clock = settings.clock;
    let store = Store::new(&settings.database_url)?;
    store.check_schema().await?;
    await_log(&store, &clock).await?;
    let keys = Keys::new(settings.master_key, Arc::clone(&clock)).or_previous(settings.previous_master_key);
    // Opens every key: a wrong master key ends here, with nothing written.
    keys.ring(&store).await?;
    store.make_partitions(clock.now()).await?;
    keys.ensure(&store).await?;
    let metrics = Metrics::register(&METHODS, &Status::ALL.map(Status::name));
    let loader = Loader::new(keys.clone(), Arc::clone(&clock));
    let registered = Registered::default();
    let Following { feed, handle, roots, epoch } =
        Feed::start(store.clone(), loader, Arc::clone(&clock), Arc::clone(&metrics), registered.clone())
            .await?;
    let (flusher, flushing) =
        Flusher::start(store.connection_of(Task::Flusher), handle.clone(), Arc::clone(&roots));
    let identity = ReplicaIdentity {
        name: settings.replica.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address,
    };
    let (lease, renewals) = Lease::new(
        Arc::clone(&roots),
        Arc::clone(&clock),
        store.connection_of(Task::Lease),
        handle.clone(),
        identity,
        registered.clone(),
    );
    let (fleet, others) = Fleet::new(Arc::clone(&clock), store.connection_of(Task::Fleet), registered, epoch);
    let housekeeping = Housekeeping {
        store: store.clone(),
        roots: Arc::clone(&roots),
        clock: Arc::clone(&clock),
        metrics: Arc::clone(&metrics),
    };
    let rotation = Rotation {
        store: store.clone(),
        roots: Arc::clone(&roots),
        clock: Arc::clone(&clock),
        keys: keys.clone(),
        schedule: settings.schedule,
        metrics: Arc::clone(&metrics),
    };
    let root = roots.current();
    metrics.held(root.tokens.len(), root.sessions.len(), root.marks.len(), 0);
    let mut behind = JoinSet::new();
    behind.spawn(feed.run(tasks.clone()));
    behind.spawn(lease.run(tasks.clone()));
    behind.spawn(fleet.run(tasks.clone()));
    behind.spawn(housekeeping.run(tasks.clone()));
    behind.spawn(rotation.run(tasks.clone()));
    let ending = tasks.clone();
    behind.spawn(async move {
        // Its queue ends with the last handle to it, which calls that were given up may still hold.
        tokio::select! {
            () = ending.cancelled() => {}
            _ended = flushing => {}
        }
    });
    let authority = Authority {
        issuer,
        barrier: Barrier::new(Arc::clone(&clock), handle, others, settings.replica.clone()),
        replica: settings.replica,
        clock,
        roots,
        lease: renewals,
        flusher,
        store,
        keys,
        cache: VerifiedCache::default(),
        metrics,
    };
    // The first renewal: whoever is called is ready to answer. Where it fails, the first call tries again.
    authority.lease.join().await;
    Ok((Arc::new(authority), behind))
}

/// Everything that serves.
struct Open {
    rpc: [rpc::Serving; 2],
    ops: JoinHandle<()>,
    health: JoinHandle<()>,
}

impl Open {
    async fn ended(self) {
        let [public, admin] = self.rpc;
        public.ended().await;
        admin.ended().await;
        for task in [self.ops, self.health] {
            let _ended = task.await;
        }
    }
}

fn open(
    listeners: Listeners,
    authority: &Arc<Authority>,
    threads: NonZero<usize>,
    beside: fn(rpc::Routes) -> rpc::Routes,
    exporter: Exporter,
    health: &Health,
    stop: &CancellationToken,
) -> anyhow::Result<Open> {
    let background = Handle::current();
    let door = DoorLayer::new(Arc::clone(authority));
    let public = beside(rpc::routes(authority, &background, Listener::Public, health, stop));
    let admin = rpc::routes(authority, &background, Listener::Admin, health, stop);
    let rpc = [
        rpc::serve("public", listeners.public, &public, &door, threads, stop)?,
        // People do not need every core.
        rpc::serve("admin", listeners.admin, &admin, &door, NonZero::<usize>::MIN, stop)?,
    ];
    let state = OpsState { authority: Arc::clone(authority), exporter, draining: stop.clone() };
    let ops_stop = stop.clone();
    let ops = tokio::spawn(async move {
        if let Err(error) = serve_ops(listeners.ops, state, ops_stop).await {
            tracing::error!(error = %error, "the ops listener ended");
        }
    });
    let health = tokio::spawn(watch_readiness(health.clone(), Arc::clone(authority), stop.clone()));
    Ok(Open { rpc, ops, health })
}

/// Written beside and renamed: whoever sees the file sees all of it.
fn write_ready(file: &std::path::Path, ready: &Ready) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, serde_json::to_vec_pretty(ready)?)?;
    std::fs::rename(&beside, file)?;
    Ok(())
}
