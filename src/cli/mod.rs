//! The client verbs: one file each. They use gRPC and can do nothing that a user's own client cannot. Scripts rely on
//! flags, files, exit codes and JSON.

mod audit;
mod capacity;
mod client;
mod client_key;
mod client_set;
mod connect;
mod context;
mod credential;
mod doctor;
mod doctor_certificates;
mod doctor_fleet;
mod doctor_keys;
mod doctor_ready;
mod doctor_rows;
mod exit;
mod inspect;
mod issue;
mod json;
mod key;
mod live;
mod output;
mod policy;
mod policy_set;
mod quoted;
mod refresh;
mod replica;
mod revoke;
mod revoke_report;
mod session;
mod time;
mod tls;
mod tls_words;
mod token_input;
mod validate;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use self::output::Output;
pub use self::{
    audit::AuditCommand,
    client::ClientAdminCommand,
    exit::{Exit, Failure},
    key::KeyClientCommand,
    output::{Color, Format, keep_from_others},
    time::parse_duration,
};

/// Flags that every client verb takes.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// The context to use; without one, ./.jeton/dev.json if it exists
    #[arg(long, global = true, env = "JETON_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// The public listener: https://host:port, or http:// on loopback or within a mesh
    #[arg(long, global = true, env = "JETON_ENDPOINT", value_name = "URL")]
    pub endpoint: Option<String>,
    /// The admin listener, a URL of the same form
    #[arg(long, global = true, env = "JETON_ADMIN_ENDPOINT", value_name = "URL")]
    pub admin_endpoint: Option<String>,
    /// The file that holds the API key
    #[arg(long, global = true, env = "JETON_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// The authorities of the server's certificate: PEM [default: those of the system]
    #[arg(long, global = true, env = "JETON_TLS_CA", value_name = "FILE")]
    pub tls_ca: Option<PathBuf>,
    /// A client certificate, in place of an API key: PEM
    #[arg(
        long,
        visible_alias = "client-cert",
        global = true,
        env = "JETON_CLIENT_CERT",
        value_name = "FILE"
    )]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the client certificate: PEM
    #[arg(long, visible_alias = "client-key", global = true, env = "JETON_CLIENT_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// The form of the answer [default: table, unless the verb says otherwise]
    #[arg(long, global = true, value_name = "FORMAT")]
    pub output: Option<Format>,
    /// The longest wait for an answer [default: 10s]
    #[arg(long, global = true, value_name = "DURATION", value_parser = time::parse_duration)]
    pub timeout: Option<SignedDuration>,
    /// Never ask; fail instead
    #[arg(long, global = true)]
    pub no_input: bool,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
}

/// The environment of the process. The verbs read nothing else of it.
#[derive(Debug)]
pub struct Environment {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// The directory in which `.jeton/dev.json` is looked for.
    pub current_dir: PathBuf,
    /// The wall clock.
    pub now: fn() -> Timestamp,
}

/// The client verbs.
#[derive(Debug, clap::Subcommand)]
pub enum ClientCommand {
    /// Mint a token
    Issue(issue::IssueArgs),
    /// Spend a refresh token for its successor and a new access token
    Refresh(refresh::RefreshArgs),
    /// Judge a token; exit 3 unless it is ACTIVE
    Validate(validate::ValidateArgs),
    /// Show the claims of a token, offline
    Inspect(inspect::InspectArgs),
    /// Revoke a token, a session, or all of a subject, client or key
    Revoke(revoke::RevokeArgs),
    /// Sessions
    #[command(subcommand)]
    Session(session::SessionCommand),
    /// Policies
    #[command(subcommand)]
    Policy(policy::PolicyCommand),
    /// Signing keys: listed among the verbs on the database
    #[command(skip)]
    Key(key::KeyClientCommand),
    /// Clients: listed with the verb on the database.
    #[command(skip)]
    Client(ClientAdminCommand),
    /// The audit trail: listed with the verb on the database.
    #[command(skip)]
    Audit(audit::AuditCommand),
    /// The servers on one database
    #[command(subcommand)]
    Replica(replica::ReplicaCommand),
    /// Check server, certificates, clocks, keys, prober, database and leases; exit 3 when a check fails
    Doctor(doctor_ready::DoctorArgs),
    /// Plan for a load, offline: replicas, Postgres and the first bottleneck, from measured figures
    Capacity(capacity::CapacityArgs),
    /// Named deployments: endpoints and credential
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// The version of this program
    Version,
}

/// The context that a verb runs in.
#[derive(Debug)]
pub struct Cli<'a> {
    /// The flags of all verbs.
    pub globals: &'a GlobalArgs,
    /// The environment.
    pub env: &'a Environment,
    /// The destination of data.
    pub output: Output,
}

/// Runs one verb to its end, and prints its result or failure.
pub async fn run(command: ClientCommand, globals: &GlobalArgs, env: &Environment) -> Exit {
    let output = Output::new(globals.output, globals.color, env.no_color);
    let cli = Cli { globals, env, output };
    dispatch(&cli, command).await.unwrap_or_else(|failure| output::fail(&failure))
}

async fn dispatch(cli: &Cli<'_>, command: ClientCommand) -> Result<Exit, Failure> {
    match command {
        ClientCommand::Issue(args) => issue::run(cli, args).await,
        ClientCommand::Refresh(args) => refresh::run(cli, args).await,
        ClientCommand::Validate(args) => validate::run(cli, args).await,
        ClientCommand::Inspect(args) => inspect::run(cli, args).await,
        ClientCommand::Revoke(args) => revoke::run(cli, args).await,
        ClientCommand::Session(command) => session::run(cli, command).await,
        ClientCommand::Policy(command) => policy::run(cli, command).await,
        ClientCommand::Key(command) => key::run(cli, command).await,
        ClientCommand::Client(command) => client::run(cli, command).await,
        ClientCommand::Audit(command) => audit::run(cli, command).await,
        ClientCommand::Replica(command) => replica::run(cli, command).await,
        ClientCommand::Doctor(args) => doctor::run(cli, &args).await,
        ClientCommand::Capacity(args) => capacity::run(cli, &args),
        ClientCommand::Context(command) => context::run(cli, command),
        ClientCommand::Version => version(cli),
    }
}

fn version(cli: &Cli<'_>) -> Result<Exit, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    let text = if cli.output.wants_json()? {
        json::of_own(&serde_json::json!({ "version": version }))?
    } else {
        format!("jeton {version}")
    };
    output::data(&text)?;
    Ok(Exit::Done)
}
