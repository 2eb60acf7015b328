//! The server: a function of listeners and a shutdown.

mod ending;
mod opening;
mod settings;

use std::{io::Write as _, num::NonZero, sync::Arc};

use anyhow::Context;
use serde::Serialize;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    authority::{Authority, KnownKeys, LOOKS_MAX, Quota, Rates},
    http,
    mint::MasterKey,
    observe::{Metrics, Sampled},
    prober::Prober,
    process::raise_descriptors,
    replica::{
        Agreement, Auditor, Barrier, Feed, Fleet, Flusher, Following, Housekeeping, Keys, LeaseRenewer,
        Loader, Refresher, Refusals, Registered, Rotation, Schedule, agree, await_log,
    },
    rpc::{self, Health},
    state::{Roots, Status, VerifiedCache},
    store::{OwnConnection, ReplicaIdentity, SharedSettings, Store, StoreError, Task},
    tls::ServerTls,
    trust::{Fetcher, IssuerKeys, KeysKeeper},
};
use jeton_state::clock::Clock;

use crate::serve::ending::{TimeToEnd, end};
pub use settings::{Access, Bounds, Leave, Settings};

use crate::serve::opening::{Ends, Opening, Starting, WaitsFor, limits, open};

/// The sockets to serve on.
pub struct Listeners {
    /// For every service but `AdminService`.
    pub public: TcpListener,
    /// For people.
    pub admin: TcpListener,
    /// For probes.
    pub ops: TcpListener,
}

/// The content of the ready file.
#[derive(Debug, Serialize)]
struct Ready {
    public: String,
    admin: String,
    ops: String,
    issuer: String,
    replica: String,
    pid: u32,
}

/// Serves until `stop`, then drains: calls in flight are answered.
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
    let ready_file = settings.ready_file.clone();
    let health = Health::default();
    let opening = Opening {
        threads: settings.threads,
        beside: settings.beside,
        tls: load_tls(&settings)?,
        health: health.clone(),
        limits: limits(raise_descriptors(), &settings.access),
    };
    let leave = settings.leave.clone();
    let prober = settings.prober.take();
    let drain_timeout = settings.bounds.drain_timeout;
    let tasks = CancellationToken::new();
    let scheme = if settings.access.tls.is_some() { "https" } else { "http" };
    let address = settings.advertise.clone().unwrap_or_else(|| format!("{scheme}://{}", ready.public));
    // A start may wait long, for the database or an operator: probes are answered meanwhile.
    let waits_for = Arc::default();
    let starting = Starting::open(&listeners.ops, &opening.limits, Arc::clone(&waits_for))?;
    let started = tokio::select! {
        () = stop.cancelled() => None,
        started = Box::pin(start(settings, ready.issuer.clone(), address.clone(), &tasks, &waits_for)) => {
            Some(started?)
        }
    };
    starting.end().await;
    let Some((authority, mut behind)) = started else { return Ok(()) };
    for tls in opening.tls.iter().flatten() {
        let refusals = authority.refusals.clone();
        tls.on_refused(move |address| {
            refusals.count_stranger(address, "CALLER_UNAUTHENTICATED", "a bad certificate");
        });
    }
    let ends = Ends { asked: stop.clone(), ..Ends::default() };
    let serving = open(listeners, &authority, opening, &ends).await?;
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
        // A task that ends by itself has panicked: the state that it kept true may be wrong.
        _ended = behind.join_next() => true,
        // A serving thread is gone.
        () = ends.listeners.cancelled() => true,
    };
    if failed {
        tracing::error!("a task behind the server has ended");
        stop.cancel();
    }
    tracing::info!("draining");
    let time = TimeToEnd::from_now(drain_timeout);
    if let Some(file) = &ready_file {
        // Gone already, or not ours to remove: either way it does not say that this server is ready.
        let _ = std::fs::remove_file(file);
    }
    let delay = if failed { None } else { Some(&leave) };
    end(serving, &ends, (delay, time), &authority.store, (&tasks, behind)).await;
    tracing::info!("ended");
    anyhow::ensure!(!failed, "a task behind the server ended: see the log");
    Ok(())
}

/// The certificates of the public and of the admin listener.
fn load_tls(settings: &Settings) -> anyhow::Result<[Option<Arc<ServerTls>>; 2]> {
    let Some([public, admin]) = settings.access.tls.clone() else { return Ok([None, None]) };
    let load = |listener, files| {
        let loaded = ServerTls::load(listener, files, Arc::clone(&settings.clock));
        loaded.map(|tls| Some(Arc::new(tls))).with_context(|| format!("the {listener} listener has no TLS"))
    };
    Ok([load("public", public)?, load("admin", admin)?])
}

/// Shows what the memory begins with.
fn show_held(metrics: &Metrics, roots: &Roots, high_water: NonZero<u32>) {
    metrics.set_high_water(high_water.get());
    let root = roots.current();
    metrics.held(root.tokens.len(), root.sessions.len(), root.marks.len());
}

/// Begins to read the keys of trusted issuers.
fn keep_issuer_keys(
    roots: &Arc<Roots>,
    behind: &mut JoinSet<()>,
    tasks: &CancellationToken,
) -> anyhow::Result<IssuerKeys> {
    let fetcher = Fetcher::new().context("nothing can be fetched from trusted issuers")?;
    let (keeper, issuer_keys) = KeysKeeper::new(fetcher, Arc::clone(roots));
    behind.spawn(keeper.run(tasks.clone()));
    Ok(issuer_keys)
}

/// Starts the authority and its tasks. Refuses settings that it cannot serve with before it writes anything.
async fn start(
    settings: Settings,
    issuer: String,
    address: String,
    tasks: &CancellationToken,
    waits_for: &WaitsFor,
) -> anyhow::Result<(Arc<Authority>, JoinSet<()>)> {
    let clock = settings.clock;
    let identity = ReplicaIdentity {
        name: settings.replica.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        address,
        settings: shared(&issuer, &settings.master_key, settings.schedule),
    };
    let keys = Keys::new(settings.master_key, Arc::clone(&clock)).or_previous(settings.previous_master_key);
    let store = Store::new(&settings.database_url)?.sealed(keys.row_seal());
    let store = if settings.allow_fsync_off { store } else { store.requiring_fsync() };
    make_fit(&store, &keys, &identity, &clock, waits_for).await?;
    let metrics = Metrics::register(&crate::edge::METHODS, &http::ROUTES, &Status::ALL.map(Status::name));
    let loader = Loader::new(keys.clone(), Arc::clone(&clock));
    let (registered, refusals) = (Registered::default(), Refusals::default());
    let agreement = Agreement { store: store.clone(), registered: registered.clone(), own: identity.clone() };
    let Following { feed, handle, roots, epoch } =
        Feed::start(store.clone(), loader, Arc::clone(&clock), Arc::clone(&metrics), registered.clone())
            .await?;
    // Every task's connection is opened before it is needed: later the database may have none left.
    let tasks_with_one = [Task::Flusher, Task::Lease, Task::Fleet, Task::Audit];
    let [appends, renews, looks, audits] = connections(&store, tasks_with_one).await?;
    let (flusher, flushing) = Flusher::start(appends, handle.clone(), Arc::clone(&roots));
    let (refresher, refreshing) = Refresher::start(&store).await?;
    let (auditor, auditing) = Auditor::start(audits);
    let (lease, renewals) = LeaseRenewer::new(
        Arc::clone(&roots),
        Arc::clone(&clock),
        renews,
        handle.clone(),
        identity,
        registered.clone(),
    );
    let (fleet, others) = Fleet::new(Arc::clone(&clock), looks, registered, epoch.clone());
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
    show_held(&metrics, &roots, settings.bounds.high_water);
    let mut behind = JoinSet::new();
    behind.spawn(feed.run(tasks.clone()));
    behind.spawn(lease.run(tasks.clone()));
    behind.spawn(fleet.run(tasks.clone()));
    behind.spawn(housekeeping.run(tasks.clone()));
    behind.spawn(rotation.run(tasks.clone()));
    let issuer_keys = keep_issuer_keys(&roots, &mut behind, tasks)?;
    behind.spawn(refusals.clone().run(
        auditor.clone(),
        Arc::clone(&roots),
        Arc::clone(&clock),
        tasks.clone(),
    ));
    let ending = tasks.clone();
    behind.spawn(async move {
        // Their queues end with the last handle, which calls that were given up may still hold.
        tokio::select! {
            () = ending.cancelled() => {}
            _ended = flushing => {}
            _ended = refreshing => {}
            _ended = auditing => {}
        }
    });
    let authority = Authority {
        issuer,
        barrier: Barrier::new(Arc::clone(&clock), handle, others, epoch.clone(), settings.replica.clone()),
        epoch,
        replica: settings.replica,
        clock,
        roots,
        lease: renewals,
        flusher,
        refresher,
        auditor,
        refusals,
        store,
        keys,
        cache: VerifiedCache::of_mib(settings.bounds.token_cache_mib).encoding(rpc::ENCODE_CUSTOM),
        known_keys: KnownKeys::default(),
        issuer_keys,
        rates: Rates::new(settings.access.client_rate),
        bare_quota: Quota::of_bare_revocations(settings.bounds.bare_jti_quota),
        session_quota: Quota::of_sessions(settings.bounds.sessions_per_client),
        looks: Semaphore::new(LOOKS_MAX),
        texts: [Semaphore::new(1), Semaphore::new(1)],
        // An incident is logged line by line; a flood by its beginning, and by the number of lines left out.
        revocation_lines: Sampled::new(50, 1),
        refusal_lines: Sampled::new(1, 10),
        metrics,
    };
    // The first renewal: a server that is called is ready to answer. If it fails, the first call tries again.
    authority.lease.join().await;
    agreement.settle(&mut behind, tasks).await?;
    Ok((Arc::new(authority), behind))
}

/// Refuses a database that cannot be served from, then makes what is missing in it.
async fn make_fit(
    store: &Store,
    keys: &Keys,
    identity: &ReplicaIdentity,
    clock: &Clock,
    waits_for: &WaitsFor,
) -> anyhow::Result<()> {
    // To a role that may not see the schema, the schema would look absent.
    store.check_rights().await?;
    store.check_schema().await?;
    await_log(store, clock, waits_for).await?;
    // Opens every key: a wrong master key fails here, with nothing written.
    keys.all(store).await?;
    keys.check_clients(store).await?;
    agree(store, identity).await?;
    store.make_partitions(clock.now()).await?;
    keys.ensure(store).await?;
    Ok(())
}

/// Opens the connections of tasks.
async fn connections<const N: usize>(
    store: &Store,
    tasks: [Task; N],
) -> Result<[OwnConnection; N], StoreError> {
    let mut connections = tasks.map(|task| store.connection_of(task));
    for connection in &mut connections {
        connection.open().await?;
    }
    Ok(connections)
}

/// The settings that all replicas should share.
fn shared(issuer: &str, master_key: &MasterKey, schedule: Schedule) -> SharedSettings {
    SharedSettings {
        issuer: issuer.to_owned(),
        master_key: master_key.fingerprint(),
        rotate_every_s: schedule.every_s(),
        publish_ahead_s: schedule.ahead_s(),
    }
}

/// Written beside and renamed, so the file is always complete. A link under the temporary name is not followed.
fn write_ready(file: &std::path::Path, ready: &Ready) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.new", ready.pid));
    // Left by another process that had this number, or placed there to be followed.
    let _absent = std::fs::remove_file(&beside);
    let mut new = std::fs::File::create_new(&beside)?;
    new.write_all(&serde_json::to_vec_pretty(ready)?)?;
    std::fs::rename(&beside, file)?;
    Ok(())
}
