//! `jeton dev`: a private Postgres, keys, two clients and servers, in one command.
//!
//! Nothing here serves, and nothing here uses SQL: it starts the processes that do, and ends them in the right order.

mod addresses;
mod fleet;
mod home;
mod process;
mod server;

use crate::dev::addresses::Held;
pub use addresses::Listen;
pub use process::die_with_parent;

use std::io::Write as _;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jeton_postgres::{Cluster, ClusterOptions, stop_leftover};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::dev::{fleet::DevReplicas, home::Home};

/// The two clients of a development server, and whether they administer it.
const CLIENTS: [(&str, bool); 2] = [("dev-service", false), (ADMIN, true)];
const ADMIN: &str = "dev-admin";
/// The interval of checking servers and Postgres.
const WATCH: Duration = Duration::from_millis(500);

/// The options of `jeton dev`.
#[derive(Clone, Debug)]
pub struct DevOptions {
    /// The directory for everything that is kept.
    pub data_dir: PathBuf,
    /// The listeners of the first server; a port of 0 is chosen here.
    pub listen: Listen,
    /// The number of servers.
    pub replicas: NonZero<u8>,
    /// A database of the user's own, in place of the private cluster.
    pub database_url: Option<String>,
    /// Deletes everything first.
    pub fresh: bool,
    /// The directory of Postgres' programs, if it is given.
    pub postgres_binaries: Option<PathBuf>,
}

/// A client that must be registered, with this API key.
#[derive(Clone, Debug)]
pub struct DevClient {
    /// Its name.
    pub client_id: &'static str,
    /// The whole text of its key.
    pub api_key: SecretString,
    /// It may do everything; otherwise what a service may.
    pub admin: bool,
}

/// The work on the database before the server starts: migrate it, and make sure of the clients and a key.
#[derive(Clone, Debug)]
pub struct PrepareRequest {
    /// The database.
    pub database_url: String,
    /// The file of the master key.
    pub master_key_file: PathBuf,
    /// The clients to register.
    pub clients: Vec<DevClient>,
}

/// Runs until a signal, or the end of the last server or of Postgres; the latter two are errors.
///
/// Poll it on the main thread (`block_on`): to the kernel, the end of the thread that started a server is the end of
/// its parent.
pub async fn run(
    options: DevOptions,
    prepare: impl AsyncFnOnce(PrepareRequest) -> anyhow::Result<()>,
    generate_api_key: fn() -> String,
) -> anyhow::Result<()> {
    if options.fresh && options.database_url.is_some() {
        bail!(
            "--fresh does not empty a database that is yours: do that yourself, or leave --database-url out"
        );
    }
    options.listen.check_loopback()?;
    let mut signals = Signals::new()?;
    let home = Home::open(&options.data_dir)?;
    // The servers first: they log off from their database.
    fleet::end_leftovers(&home)?;
    stop_leftover(&home.cluster(), options.postgres_binaries.as_deref())?;
    if options.fresh {
        home.empty()?;
    }
    let (listen, held) = options.listen.choose_ports()?;
    let master_key_file = home.master_key_file()?;
    let clients = home.clients(&CLIENTS, generate_api_key)?;

    let mut cluster = match options.database_url {
        Some(_) => None,
        None => Some(start_cluster(&home, options.postgres_binaries)?),
    };
    let database_url = match (options.database_url, &cluster) {
        (Some(url), _) => url,
        (None, Some(cluster)) => cluster.url("postgres"),
        (None, None) => bail!("there is no database"),
    };
    let mut run = Run {
        home,
        listen,
        held: Some(held),
        replicas: options.replicas,
        request: PrepareRequest { database_url, master_key_file, clients },
        fleet: DevReplicas::default(),
    };
    let outcome = run.serve(&mut cluster, prepare, &mut signals).await;
    let stopped = run.fleet.stop(&mut signals).await;
    run.home.forget_servers();
    let outcome = outcome.and(stopped);
    let stopped = cluster.map_or(Ok(()), Cluster::stop);
    outcome.and(stopped)
}

fn start_cluster(home: &Home, binaries: Option<PathBuf>) -> anyhow::Result<Cluster> {
    let directory = home.cluster();
    let is_new = directory.read_link().is_err();
    let options = ClusterOptions { directory, kept: true, binaries, settings: Vec::new() };
    let cluster = Cluster::start(&options)?;
    if let Some(elsewhere) = options.directory.read_link().ok().filter(|_| is_new) {
        say(&format!(
            "Postgres does not run as root, and whom it runs as cannot reach {}: its files go to {}.",
            options.directory.display(),
            elsewhere.display()
        ));
    }
    Ok(cluster)
}

/// The state from a database that answers to the end of the servers.
struct Run {
    home: Home,
    listen: Listen,
    /// Held until the first server has its ports.
    held: Option<Held>,
    replicas: NonZero<u8>,
    request: PrepareRequest,
    fleet: DevReplicas,
}

impl Run {
    /// Prepares the database, starts the servers, and returns when they are to end.
    async fn serve(
        &mut self,
        cluster: &mut Option<Cluster>,
        prepare: impl AsyncFnOnce(PrepareRequest) -> anyhow::Result<()>,
        signals: &mut Signals,
    ) -> anyhow::Result<()> {
        tokio::select! {
            biased;
            () = signals.next() => return Ok(()),
            prepared = prepare(self.request.clone()) => prepared.context("cannot prepare the database")?,
        }
        tokio::select! {
            () = signals.next() => Ok(()),
            ended = self.watch(cluster) => ended,
        }
    }

    /// Reports when the servers are ready, then waits for a signal or a failure.
    async fn watch(&mut self, cluster: &mut Option<Cluster>) -> anyhow::Result<()> {
        self.fleet.start(&self.home, &self.request, self.listen, self.replicas).await?;
        self.held = None;
        self.write_dev_json()?;
        self.announce();
        loop {
            tokio::time::sleep(WATCH).await;
            if let Some(cluster) = cluster
                && !cluster.is_running()
            {
                bail!("Postgres ended; its log is {}", cluster.directory().join("log").display());
            }
            self.look_after_servers()?;
        }
    }

    /// An ended server is not restarted: a person who ends a replica wants to see how the others react.
    fn look_after_servers(&mut self) -> anyhow::Result<()> {
        let ended = self.fleet.take_ended()?;
        let Some(((last, status), before)) = ended.split_last() else { return Ok(()) };
        let running = self.fleet.len();
        if running == 0 && self.replicas.get() == 1 {
            bail!("the server ended ({status})");
        }
        let told = if running == 0 { before } else { &ended };
        for (name, status) in told {
            say(&format!(
                "{name} ended ({status}) and is not started again; {running} of {} servers go on.",
                self.replicas
            ));
        }
        if running == 0 {
            bail!("{last}, the last server, ended ({status})");
        }
        self.write_dev_json()
    }

    /// `dev.json`: the first running server, and all of them.
    fn write_dev_json(&self) -> anyhow::Result<()> {
        let Some(first) = self.fleet.first() else { return Ok(()) };
        let clients: serde_json::Map<_, _> = self
            .request
            .clients
            .iter()
            .map(|client| (client.client_id.to_owned(), json!(client.api_key.expose_secret())))
            .collect();
        let mut all = first.ready.0.clone();
        all.insert("servers".into(), self.fleet.ready_files());
        all.insert("database_url".into(), json!(self.request.database_url));
        all.insert("master_key_file".into(), json!(self.request.master_key_file.to_string_lossy()));
        all.insert("clients".into(), clients.into());
        self.home.write_dev_json(&all.into())
    }

    /// Writes the file with the administrator's API key, which programs other than this one read.
    fn admin_key_file(&self) -> Option<PathBuf> {
        let admin = self.request.clients.iter().find(|client| client.client_id == ADMIN)?;
        match self.home.write_admin_key(&admin.api_key) {
            Ok(file) => Some(file),
            Err(error) => {
                say(&format!("{error:#}"));
                None
            }
        }
    }

    /// Prints commands to try next.
    fn announce(&self) {
        let Some(first) = self.fleet.first() else { return };
        let ready = |name| first.ready.text(name);
        say(&format!(
            "\njeton is ready: public {}, admin {}, ops {}",
            ready("public"),
            ready("admin"),
            ready("ops")
        ));
        for other in self.fleet.others() {
            say(&format!("    {} beside it: public {}", other.name, other.ready.text("public")));
        }
        let key_file = self.admin_key_file();
        // By default the client verbs find the key by themselves.
        let (found, key) = match key_file.filter(|_| !self.home.is_default()) {
            None => ("In another terminal, in this directory, as dev-admin:".to_owned(), String::new()),
            Some(file) => (
                format!("Addresses and API keys are in {}. As dev-admin:", self.home.dev_json().display()),
                format!(" --api-key-file {}", quoted(&file.display().to_string())),
            ),
        };
        let at = |public: &str| {
            if key.is_empty() { String::new() } else { format!(" --endpoint http://{public}{key}") }
        };
        let (program, here) = (program_as_typed(), at(ready("public")));
        // A token that one server revokes is dead on another.
        let elsewhere = self.fleet.others().last().map_or_else(
            || here.clone(),
            |other| format!(" --endpoint http://{}{key}", other.ready.text("public")),
        );
        say(&format!(
            "{found}\n\n    \
             {program} issue --subject alice --audience orders --output token{here} > token.txt\n    \
             {program} validate --token-file token.txt --audience orders{elsewhere}\n    \
             {program} revoke --token-file token.txt{here}\n\nCtrl-C ends it; {} keeps its data.",
            self.home.directory().display()
        ));
        if cfg!(debug_assertions) {
            say(
                "This is a debug build, to try jeton out. Who measures its speed says: make run PROFILE=release",
            );
        }
    }
}

/// This program in the shortest form that can be typed here.
fn program_as_typed() -> String {
    let Ok(program) = std::env::current_exe() else { return "jeton".to_owned() };
    let here = std::env::current_dir().unwrap_or_default();
    match program.strip_prefix(here) {
        Ok(below) => Path::new(".").join(below).display().to_string(),
        // It may not be on the PATH of another terminal.
        Err(_) => quoted(&program.display().to_string()),
    }
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

/// The signals to end: Ctrl-C, Ctrl-\, a service manager, a closed terminal.
struct Signals {
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
        }
    }
}

/// Messages go to stderr; a closed stderr is no reason to stop.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
