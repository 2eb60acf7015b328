//! The server: a function of listeners and a shutdown.

mod ending;
mod opening;

use std::{io::Write as _, num::NonZero, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context;
use serde::Serialize;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    authority::{Authority, KnownKeys, LOOKS_MAX, Quota, Rates},
    clock::Clock,
    http,
    listen::Network,
    observe::{self, Metrics, Sampled},
    prober::{Prober, ProberSettings},
    process::raise_descriptors,
    replica::{
        Agreement, Auditor, Barrier, Feed, Fleet, Flusher, Following, Housekeeping, Keys, LeaseRenewer,
        Loader, Refresher, Refusals, Registered, Rotation, Schedule, agree, await_log,
    },
    rpc::{self, Health, METHODS},
    state::{Status, VerifiedCache},
    store::{OwnConnection, ReplicaIdentity, SharedSettings, Store, StoreError, Task},
    tls::{ServerTls, TlsFiles},
    token::MasterKey,
};

use ending::{DRAIN_TIMEOUT, TimeToEnd, end};
use opening::{Ends, Opening, limits, open};

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
    /// Whether that may be a database that loses what it acknowledged: in tests.
    pub allow_fsync_off: bool,
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
    /// How one may come in.
    pub access: Access,
    /// How it ends.
    pub leave: Leave,
    /// How much may be revoked.
    pub bounds: Bounds,
    /// Threads behind the public listener.
    pub threads: NonZero<usize>,
    /// Services beside jeton's own on the public listener, behind the same auth layer.
    pub beside: fn(rpc::Routes) -> rpc::Routes,
}

/// How one may come in. By default: in plaintext, and as often as one likes.
#[derive(Default)]
pub struct Access {
    /// TLS of the public and of the admin listener; none: plaintext.
    pub tls: Option<[TlsFiles; 2]>,
    /// Calls that each client may make per second; none: any number.
    pub client_rate: Option<NonZero<u32>>,
    /// Connections of one address that have not authenticated; none: as many as usual.
    pub connections_per_address: Option<NonZero<u16>>,
    /// Balancers, for whose addresses that does not hold.
    pub trusted_proxies: Vec<Network>,
}

/// How a server ends. By default at once: for tests.
#[derive(Clone, Debug, Default)]
pub struct Leave {
    /// From when it says that it is not ready until its listeners take no more connections.
    pub delay: Duration,
    /// Cancelled when nobody wants to wait for that.
    pub hurry: CancellationToken,
}

/// How much may be revoked before somebody is told (K11), what memory may hold, and how long the end may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Live revocations by bare jti that a client may have: then it is refused.
    pub bare_jti_quota: NonZero<u32>,
    /// Live sessions that a client may have: then it may open no more.
    pub sessions_per_client: NonZero<u32>,
    /// Revocations that memory may hold: then it is an alert.
    pub high_water: NonZero<u32>,
    /// Memory for tokens that were found good before, MiB.
    pub token_cache_mib: NonZero<u32>,
    /// From the signal to end to the end, whatever is in flight and however the database is.
    pub drain_timeout: Duration,
}

impl Bounds {
    /// A million: a day of twelve per second, and a tenth of what memory is made for.
    const BARE_JTI_QUOTA: NonZero<u32> = match NonZero::new(1_000_000) {
        Some(quota) => quota,
        None => NonZero::<u32>::MIN,
    };
    /// A million: 1.3 GB of rows.
    const SESSIONS_PER_CLIENT: NonZero<u32> = match NonZero::new(1_000_000) {
        Some(quota) => quota,
        None => NonZero::<u32>::MIN,
    };
    /// Half of the ten million that memory is made for: there is time to look.
    const HIGH_WATER: NonZero<u32> = match NonZero::new(5_000_000) {
        Some(limit) => limit,
        None => NonZero::<u32>::MIN,
    };
    /// A million tokens of the usual size. It is taken as tokens come, and given back to nobody.
    const TOKEN_CACHE_MIB: NonZero<u32> = match NonZero::new(768) {
        Some(size) => size,
        None => NonZero::<u32>::MIN,
    };

    /// How long the end may take that begins with this delay, unless something else is said.
    #[must_use]
    pub fn drain_timeout_after(delay: Duration) -> Duration {
        delay.saturating_add(DRAIN_TIMEOUT)
    }

    /// As asked for, or by default.
    #[must_use]
    pub fn of(
        bare_jti_quota: Option<NonZero<u32>>,
        sessions_per_client: Option<NonZero<u32>>,
        high_water: Option<NonZero<u32>>,
        token_cache_mib: Option<NonZero<u32>>,
        drain_timeout: Option<Duration>,
    ) -> Self {
        Self {
            bare_jti_quota: bare_jti_quota.unwrap_or(Self::BARE_JTI_QUOTA),
            sessions_per_client: sessions_per_client.unwrap_or(Self::SESSIONS_PER_CLIENT),
            high_water: high_water.unwrap_or(Self::HIGH_WATER),
            token_cache_mib: token_cache_mib.unwrap_or(Self::TOKEN_CACHE_MIB),
            drain_timeout: drain_timeout.unwrap_or(DRAIN_TIMEOUT),
        }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(None, None, None, None, None)
    }
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
    let health = Health::default();
    let opening = Opening {
        threads: settings.threads,
        beside: settings.beside,
        tls: load_tls(&settings)?,
        exporter,
        health: health.clone(),
        limits: limits(raise_descriptors(), &settings.access),
    };
    let leave = settings.leave.clone();
    let prober = settings.prober.take();
    let drain_timeout = settings.bounds.drain_timeout;
    let tasks = CancellationToken::new();
    let scheme = if settings.access.tls.is_some() { "https" } else { "http" };
    let address = settings.advertise.clone().unwrap_or_else(|| format!("{scheme}://{}", ready.public));
    let started = tokio::select! {
        () = stop.cancelled() => None,
        started = Box::pin(start(settings, ready.issuer.clone(), address.clone(), &tasks)) => Some(started?),
    };
    let Some((authority, mut behind)) = started else { return Ok(()) };
    for tls in opening.tls.iter().flatten() {
        let refusals = authority.refusals.clone();
        tls.on_refused(move |address| {
            refusals.count_stranger(address, "CALLER_UNAUTHENTICATED", "a certificate that is not good");
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
        // A task that ends by itself has panicked: what it kept true is true no more.
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
        // Gone already, or not ours to remove: either way nobody is told that we are ready.
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

/// The authority, with the tasks behind it. Refuses what it cannot serve before it writes anything.
async fn start(
    settings: Settings,
    issuer: String,
    address: String,
    tasks: &CancellationToken,
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
    make_fit(&store, &keys, &identity, &clock).await?;
    let metrics = Metrics::register(&METHODS, &http::ROUTES, &Status::ALL.map(Status::name));
    let loader = Loader::new(keys.clone(), Arc::clone(&clock));
    let (registered, refusals) = (Registered::default(), Refusals::default());
    let agreement = Agreement { store: store.clone(), registered: registered.clone(), own: identity.clone() };
    let Following { feed, handle, roots, epoch } =
        Feed::start(store.clone(), loader, Arc::clone(&clock), Arc::clone(&metrics), registered.clone())
            .await?;
    // Every task's connection is had before it is needed: later there may be no room for it.
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
    let root = roots.current();
    metrics.set_high_water(settings.bounds.high_water.get());
    metrics.held(root.tokens.len(), root.sessions.len(), root.marks.len());
    let mut behind = JoinSet::new();
    behind.spawn(feed.run(tasks.clone()));
    behind.spawn(lease.run(tasks.clone()));
    behind.spawn(fleet.run(tasks.clone()));
    behind.spawn(housekeeping.run(tasks.clone()));
    behind.spawn(rotation.run(tasks.clone()));
    behind.spawn(refusals.clone().run(
        auditor.clone(),
        Arc::clone(&roots),
        Arc::clone(&clock),
        tasks.clone(),
    ));
    let ending = tasks.clone();
    behind.spawn(async move {
        // Their queues end with the last handle to them, which calls that were given up may still hold.
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
        cache: VerifiedCache::of_mib(settings.bounds.token_cache_mib).rendering(rpc::RENDER),
        known_keys: KnownKeys::default(),
        rates: Rates::new(settings.access.client_rate),
        bare_quota: Quota::of_bare_revocations(settings.bounds.bare_jti_quota),
        session_quota: Quota::of_sessions(settings.bounds.sessions_per_client),
        looks: Semaphore::new(LOOKS_MAX),
        texts: [Semaphore::new(1), Semaphore::new(1)],
        // An incident is told line by line; a flood by its beginning, and by how much was left out.
        revocation_lines: Sampled::new(50, 1),
        refusal_lines: Sampled::new(1, 10),
        metrics,
    };
    // The first renewal: whoever is called is ready to answer. Where it fails, the first call tries again.
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
) -> anyhow::Result<()> {
    // A role that may not see the schema would be told that there is none.
    store.check_rights().await?;
    store.check_schema().await?;
    await_log(store, clock).await?;
    // Opens every key: a wrong master key ends here, with nothing written.
    keys.ring(store).await?;
    keys.check_clients(store).await?;
    agree(store, identity).await?;
    store.make_partitions(clock.now()).await?;
    keys.ensure(store).await?;
    Ok(())
}

/// Connections of tasks, open.
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

/// What all replicas should have in common.
fn shared(issuer: &str, master_key: &MasterKey, schedule: Schedule) -> SharedSettings {
    SharedSettings {
        issuer: issuer.to_owned(),
        master_key: master_key.fingerprint(),
        rotate_every_s: schedule.every_s(),
        publish_ahead_s: schedule.ahead_s(),
    }
}

/// Written beside and renamed: whoever sees the file sees all of it. What is there under the name beside is not followed.
fn write_ready(file: &std::path::Path, ready: &Ready) -> anyhow::Result<()> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(format!(".{}.new", ready.pid));
    // Left by another process that had this number, or by somebody who waits for us to write there.
    let _absent = std::fs::remove_file(&beside);
    let mut new = std::fs::File::create_new(&beside)?;
    new.write_all(&serde_json::to_vec_pretty(ready)?)?;
    std::fs::rename(&beside, file)?;
    Ok(())
}
