//! Flags, environment and file → typed values. Wrong values are refused at the start, in one sentence.

mod audit;
mod blank;
mod client;
mod complete;
mod database;
mod dev;
mod epoch;
mod examples;
mod given;
mod help;
mod issuer;
mod key;
pub mod manual;
mod places;
mod read;
mod suggest;
mod tls;
mod token_text;
mod value;

use std::{
    collections::BTreeSet, net::SocketAddr, num::NonZero, path::PathBuf, sync::Arc,
    thread::available_parallelism, time::Duration,
};

use anyhow::Context;
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use jeton_cli::{ClientCommand, GlobalArgs, parse_duration};
use jeton_io::files;
use jiff::SignedDuration;
use serde::Deserialize;

pub use help::EXIT_CODES;
pub use key::{ImportArgs, ImportState, KeyCommand, ResealArgs};
pub use read::read_master_key;

use crate::{
    listen::Network,
    observe::check_filter,
    serve::{Access, Bounds, Leave, Settings},
    tls::TlsFiles,
};
use jeton_state::clock::Clock;
use jeton_token::text;

use crate::args::{
    issuer::check_issuer,
    places::Places,
    read::{host_name, prober, read_file},
    value::address,
};
pub use audit::{AuditVerb, VerifyArgs};
pub use client::{BootstrapArgs, ClientVerb};
pub use complete::{Shell, Wanted, wanted};
pub use database::{DatabaseArgs, MigrateCommand};
pub use dev::DevArgs;
pub use epoch::{BumpArgs, EpochCommand};
pub use value::{command, secret_in_environment, unknown_variables, variable_of, variables};

/// The longest drain: an operator does not wait longer for a server to end.
const DRAIN_TIMEOUT_MAX: Duration = Duration::from_hours(1);
/// Balancers look every few seconds.
const DRAIN_DELAY: SignedDuration = SignedDuration::from_secs(5);

/// A token authority for fleets of services: short-lived JWTs, revoked at once.
#[derive(Parser, Debug)]
#[command(name = "jeton", version, propagate_version = true, max_term_width = 100)]
pub struct CommandLine {
    /// Flags of the client verbs.
    #[command(flatten)]
    pub globals: GlobalArgs,
    /// The verb.
    #[command(subcommand)]
    pub command: Command,
}

impl CommandLine {
    /// Parses words; the refusal offers nothing that does the opposite.
    pub fn parse_words(command: clap::Command, words: &[std::ffi::OsString]) -> Result<Self, clap::Error> {
        let matches = command.try_get_matches_from(words);
        matches.and_then(|matches| Self::read(&matches)).map_err(suggest::without_opposites)
    }

    /// The parsed command line, with the source of each value.
    pub fn read(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut cli = Self::from_arg_matches(matches)?;
        // The settings of a server have rules of their own, which say more.
        if !matches!(cli.command, Command::CompleteValues { .. } | Command::Serve(_)) {
            let mut command = Self::command();
            command.build();
            given::check_each(&command, matches, &|given| {
                blank::refuse_empty(given).and_then(|()| token_text::refuse(given))
            })?;
        }
        if let (Command::Serve(args), Some((_, given))) = (&mut cli.command, matches.subcommand()) {
            args.places = Places::of(given);
        }
        Ok(cli)
    }
}

/// Every verb.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Start a server with a database of its own, keys and two clients: to try jeton
    Dev(DevArgs),
    /// Serve
    Serve(Box<ServeArgs>),
    /// Bring the database's schema to this version, or show where it is
    #[command(subcommand)]
    Migrate(MigrateCommand),
    /// Signing keys
    #[command(subcommand)]
    Key(KeyCommand),
    /// Continue after a restore or a move of the database
    #[command(subcommand)]
    Epoch(EpochCommand),
    /// Clients: the callers of jeton and their rights
    #[command(subcommand)]
    Client(Box<ClientVerb>),
    /// The audit trail
    #[command(subcommand)]
    Audit(Box<AuditVerb>),
    /// Print the script by which a shell completes verbs, flags and names
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each verb
    Man {
        /// Write the pages of all verbs to this directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Print what may follow these words: for the scripts of `jeton completion`.
    #[command(hide = true)]
    CompleteValues {
        /// The words after the name of the program; the last one is being typed.
        #[arg(last = true, hide = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// The verbs that call a server.
    #[command(flatten)]
    Remote(ClientCommand),
}

/// Flags of `jeton serve`. Also the keys of its file, in snake case.
#[derive(Args, Deserialize, Debug, Default)]
#[serde(default, deny_unknown_fields)]
pub struct ServeArgs {
    /// The database: <postgres://user:password@host/database?sslmode=verify-full>
    #[arg(long, env = "JETON_DATABASE_URL", hide_env_values = true)]
    database_url: Option<String>,
    /// Serve from a database whose fsync is off, which may lose acknowledged changes: in tests
    #[arg(long, env = "JETON_ALLOW_FSYNC_OFF", num_args = 0..=1, default_missing_value = "true")]
    allow_fsync_off: Option<bool>,
    /// A file with the master key: 32 bytes, as 64 hex digits or base64
    #[arg(long, env = "JETON_MASTER_KEY_FILE")]
    master_key_file: Option<PathBuf>,
    /// A file with another master key, which opens what it has sealed: while keys are moved from one to the other
    #[arg(long, env = "JETON_PREVIOUS_MASTER_KEY_FILE")]
    previous_master_key_file: Option<PathBuf>,
    /// The age at which keys are replaced [default: 30d]
    #[arg(long, env = "JETON_ROTATE_KEYS_EVERY", value_name = "DURATION", value_parser = parse_duration)]
    #[serde(deserialize_with = "key::duration_in_file")]
    rotate_keys_every: Option<SignedDuration>,
    /// The time for which a new key is published before it signs: longer than any verifier keeps a key set [default:
    /// 1h]
    #[arg(long, env = "JETON_PUBLISH_KEYS_AHEAD", value_name = "DURATION", value_parser = parse_duration)]
    #[serde(deserialize_with = "key::duration_in_file")]
    publish_keys_ahead: Option<SignedDuration>,
    /// `iss` of every token: the URL that verifiers know jeton by
    #[arg(long, env = "JETON_ISSUER")]
    issuer: Option<String>,
    /// Public listener; with port 0 the system chooses one
    #[arg(long, env = "JETON_LISTEN", value_parser = address)]
    #[serde(deserialize_with = "value::address_in_file")]
    listen: Option<SocketAddr>,
    /// Admin listener
    #[arg(long, env = "JETON_ADMIN_LISTEN", value_parser = address)]
    #[serde(deserialize_with = "value::address_in_file")]
    admin_listen: Option<SocketAddr>,
    /// Ops listener
    #[arg(long, env = "JETON_OPS_LISTEN", value_parser = address)]
    #[serde(deserialize_with = "value::address_in_file")]
    ops_listen: Option<SocketAddr>,
    /// Certificate of the listeners: PEM, with its chain; read again when it changes
    #[arg(long, env = "JETON_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The private key of that certificate: PEM
    #[arg(long, env = "JETON_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Authorities of clients' certificates: PEM; without it, clients authenticate by API key alone
    #[arg(long, env = "JETON_CLIENT_CA", value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Certificate of the admin listener [default: --tls-cert]
    #[arg(long, env = "JETON_ADMIN_TLS_CERT", value_name = "FILE")]
    admin_tls_cert: Option<PathBuf>,
    /// The private key of that certificate [default: --tls-key]
    #[arg(long, env = "JETON_ADMIN_TLS_KEY", value_name = "FILE")]
    admin_tls_key: Option<PathBuf>,
    /// Authorities of the certificates of callers of the admin listener [default: --client-ca]
    #[arg(long, env = "JETON_ADMIN_CLIENT_CA", value_name = "FILE")]
    admin_client_ca: Option<PathBuf>,
    /// Calls that each client may make per second; a batch, and a message of a stream, is one [default: any number]
    #[arg(long, env = "JETON_CLIENT_RATE", value_name = "CALLS")]
    client_rate: Option<NonZero<u32>>,
    /// Live revocations by bare jti that each client may have [default: 1000000]
    #[arg(long, env = "JETON_BARE_JTI_QUOTA", value_name = "N")]
    bare_jti_quota: Option<NonZero<u32>>,
    /// Live sessions that each client may have [default: 1000000]
    #[arg(long, env = "JETON_SESSIONS_PER_CLIENT", value_name = "N")]
    sessions_per_client: Option<NonZero<u32>>,
    /// Warn when memory holds more revocations than this [default: 5000000]
    #[arg(long, env = "JETON_REVOCATIONS_HIGH_WATER", value_name = "N")]
    revocations_high_water: Option<NonZero<u32>>,
    /// Memory for tokens whose signatures were found good, MiB: about 1400 tokens each [default: 768]
    #[arg(long, env = "JETON_TOKEN_CACHE_MIB", value_name = "MIB")]
    token_cache_mib: Option<NonZero<u32>>,
    /// The longest time from SIGTERM to the end, even with calls in flight or without a database [default: 13s after
    /// --drain-delay]
    #[arg(long, env = "JETON_DRAIN_TIMEOUT", value_name = "DURATION", value_parser = parse_duration)]
    #[serde(deserialize_with = "key::duration_in_file")]
    drain_timeout: Option<SignedDuration>,
    /// Connections that one address may have before they authenticate [default: 256]
    #[arg(long, env = "JETON_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    connections_per_address: Option<NonZero<u16>>,
    /// A balancer or a network of balancers, whose addresses are exempt from that limit: <10.0.0.0/8>; several by
    /// commas
    #[arg(long, env = "JETON_TRUSTED_PROXY", value_name = "CIDR", value_delimiter = ',')]
    #[serde(deserialize_with = "read::networks")]
    trusted_proxy: Vec<Network>,
    /// The time for balancers to see that this server is ending, before it accepts no more connections [default: 5s]
    #[arg(long, env = "JETON_DRAIN_DELAY", value_name = "DURATION", value_parser = parse_duration)]
    #[serde(deserialize_with = "key::duration_in_file")]
    drain_delay: Option<SignedDuration>,
    /// Serve without TLS: behind a mesh, or on loopback
    #[arg(long, env = "JETON_PLAINTEXT", num_args = 0..=1, default_missing_value = "true")]
    plaintext: Option<bool>,
    /// Name of this replica, shown to operators [default: host name and process id]
    #[arg(long, env = "JETON_REPLICA_NAME")]
    replica_name: Option<String>,
    /// The URL under which other replicas reach the public listener [default: where it is bound]
    #[arg(long, env = "JETON_ADVERTISE")]
    advertise: Option<String>,
    /// Revoke a canary here every so many seconds, and check that it is dead on the other replicas [default: never]
    #[arg(long, env = "JETON_PROBE_EVERY", value_name = "SECONDS")]
    probe_every: Option<NonZero<u32>>,
    /// A file with the API key of a client that may issue and validate for subject and audience `jeton-canary`
    #[arg(long, env = "JETON_PROBE_KEY_FILE")]
    probe_key_file: Option<PathBuf>,
    /// The authorities of the other replicas' certificates: PEM [default: those of the system]
    #[arg(long, env = "JETON_PROBE_CA", value_name = "FILE")]
    probe_ca: Option<PathBuf>,
    /// A file that is written when every listener answers, and removed at the end
    #[arg(long, env = "JETON_READY_FILE")]
    ready_file: Option<PathBuf>,
    /// The log filter, as in `RUST_LOG`; other targets keep their default level [default: info,sqlx=warn]
    #[arg(long, env = "JETON_LOG")]
    log: Option<String>,
    /// A TOML file with any of these, in snake case; flags and environment override it
    #[arg(long, env = "JETON_CONFIG")]
    #[serde(skip)]
    config: Option<PathBuf>,
    /// End when this process ends.
    #[arg(long, hide = true)]
    #[serde(skip)]
    parent_pid: Option<u32>,
    #[arg(skip)]
    #[serde(skip)]
    places: Places,
}

/// What flags, environment and file come to.
pub struct ServeConfig {
    /// Public, admin, ops.
    pub listen: [SocketAddr; 3],
    /// The settings of the server.
    pub settings: Settings,
    /// Lines for the log.
    pub warnings: Vec<String>,
    /// The log filter.
    pub log: String,
    /// End when this process ends.
    pub parent_pid: Option<u32>,
}

impl ServeArgs {
    /// The settings: a flag goes before the environment, the file and the default, in this order.
    pub fn resolve(self) -> anyhow::Result<ServeConfig> {
        let mut places = self.places;
        let file = match self.config {
            Some(path) => {
                let (file, text) = read_file(&path)?;
                places = places.with_file(path, text);
                file
            }
            None => Self::default(),
        };
        let tls = tls::files(
            self.plaintext.or(file.plaintext) == Some(true),
            tls::Said {
                certificate: self.tls_cert.or(file.tls_cert),
                key: self.tls_key.or(file.tls_key),
                client_ca: self.client_ca.or(file.client_ca),
            },
            tls::Said {
                certificate: self.admin_tls_cert.or(file.admin_tls_cert),
                key: self.admin_tls_key.or(file.admin_tls_key),
                client_ca: self.admin_client_ca.or(file.admin_client_ca),
            },
            &places,
        )?;
        let need = |value: Option<String>, flag: &str| value.with_context(|| format!("--{flag} is required"));
        let database_url = need(self.database_url.or(file.database_url), "database-url")?;
        let issuer = need(self.issuer.or(file.issuer), "issuer")?;
        check_issuer(&issuer).map_err(|rule| places.refused("issuer", rule))?;
        let master_key_file =
            self.master_key_file.or(file.master_key_file).context("--master-key-file is required")?;
        let replica = match self.replica_name.or(file.replica_name) {
            Some(name) => name,
            None => format!("{}-{}", host_name(), std::process::id()),
        };
        text::check_replica_name(&replica)
            .map_err(|rule| places.refused("replica_name", format_args!("it is {rule}")))?;
        let log = self.log.or(file.log).unwrap_or_default();
        check_filter(&log).map_err(|error| places.refused("log", error))?;
        let previous_master_key_file = self.previous_master_key_file.or(file.previous_master_key_file);
        let probe_key_file = self.probe_key_file.or(file.probe_key_file);
        let master_keys = [Some(&master_key_file), previous_master_key_file.as_ref()];
        let warnings = open_to_others(master_keys, tls.as_ref(), probe_key_file.as_ref());
        let delay = self.drain_delay.or(file.drain_delay).unwrap_or(DRAIN_DELAY);
        let delay =
            Duration::try_from(delay).map_err(|_| places.refused("drain_delay", "it is not negative"))?;
        let drain_timeout = drain_timeout(self.drain_timeout.or(file.drain_timeout), delay)
            .map_err(|rule| places.refused("drain_timeout", rule))?;
        let schedule = key::schedule(
            self.rotate_keys_every.or(file.rotate_keys_every),
            self.publish_keys_ahead.or(file.publish_keys_ahead),
        )
        .map_err(|rule| {
            let [every, ahead] = ["rotate_keys_every", "publish_keys_ahead"].map(|id| places.name(id));
            anyhow::anyhow!("{every} and {ahead} do not fit: {rule}")
        })?;
        let trusted_proxies =
            if self.trusted_proxy.is_empty() { file.trusted_proxy } else { self.trusted_proxy };
        let settings = Settings {
            database_url,
            allow_fsync_off: self.allow_fsync_off.or(file.allow_fsync_off) == Some(true),
            master_key: read_master_key(&master_key_file)?,
            previous_master_key: previous_master_key_file.map(|path| read_master_key(&path)).transpose()?,
            schedule,
            issuer: Some(issuer),
            replica,
            ready_file: self.ready_file.or(file.ready_file),
            advertise: self.advertise.or(file.advertise),
            prober: prober(
                self.probe_every.or(file.probe_every),
                probe_key_file.as_deref(),
                self.probe_ca.or(file.probe_ca).as_deref(),
            )?,
            access: Access {
                tls,
                client_rate: self.client_rate.or(file.client_rate),
                connections_per_address: self.connections_per_address.or(file.connections_per_address),
                trusted_proxies,
            },
            leave: Leave { delay, ..Leave::default() },
            bounds: Bounds::of(
                self.bare_jti_quota.or(file.bare_jti_quota),
                self.sessions_per_client.or(file.sessions_per_client),
                self.revocations_high_water.or(file.revocations_high_water),
                self.token_cache_mib.or(file.token_cache_mib),
                Some(drain_timeout),
            ),
            clock: Arc::new(Clock::system()),
            threads: available_parallelism().unwrap_or(NonZero::<usize>::MIN),
            beside: |routes| routes,
        };
        Ok(ServeConfig {
            listen: [
                self.listen.or(file.listen).unwrap_or(on_loopback(7070)),
                self.admin_listen.or(file.admin_listen).unwrap_or(on_loopback(7071)),
                self.ops_listen.or(file.ops_listen).unwrap_or(on_loopback(7072)),
            ],
            settings,
            warnings,
            log,
            parent_pid: self.parent_pid,
        })
    }
}

fn on_loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A warning for each file with a secret that every user of the machine can read.
fn open_to_others(
    master_keys: [Option<&PathBuf>; 2],
    tls: Option<&[TlsFiles; 2]>,
    probe_key: Option<&PathBuf>,
) -> Vec<String> {
    let tls_keys: BTreeSet<_> = tls.into_iter().flatten().map(|files| &files.key).collect();
    let secrets = (master_keys.into_iter().flatten().map(|path| (path, "master key")))
        .chain(tls_keys.into_iter().map(|path| (path, "private key")))
        .chain(probe_key.map(|path| (path, "API key")));
    secrets.filter_map(|(path, what)| files::open_to_others(path, what)).collect()
}

/// The longest duration of the end, with this drain delay.
fn drain_timeout(asked: Option<SignedDuration>, delay: Duration) -> Result<Duration, &'static str> {
    let Some(asked) = asked else { return Ok(Bounds::drain_timeout_after(delay)) };
    let asked =
        Duration::try_from(asked).ok().filter(|asked| !asked.is_zero() && *asked <= DRAIN_TIMEOUT_MAX);
    asked.ok_or("it is at least 1 ms and at most 1 h")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn an_unknown_key_in_the_file_is_refused() {
        let parsed = toml::from_str::<ServeArgs>("isuer = 'https://a'");
        assert!(parsed.is_err_and(|error| error.message().contains("isuer")));
    }
}
