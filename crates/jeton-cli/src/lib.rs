//! The client verbs: one file each. They use gRPC and can do nothing that a user's own client cannot. Scripts rely on
//! flags, files, exit codes and JSON.

mod complete;
mod doctor;
mod fields;
mod invocation;
mod remote;
mod scan;
mod term;
mod verbs;

use fields::Given;
use term::{
    json,
    output::{self, Output},
};
use verbs::{
    audit, client, context, explain, inspect, issue, issuer, key, lock, policy, policy::PolicyCommand,
    refresh, replica, revocation, revoke, session, validate, whoami,
};

pub use complete::{KnownNames, known_names};
pub use invocation::{Cli, Environment, GlobalArgs};
pub use remote::endpoint::{Endpoints, EndpointsParser};
pub use term::{
    escape::escape_lines,
    exit::{Exit, Failure},
    output::{Color, Format, keep_from_others},
    private_file::write_new_secret,
    secrets::without_secrets,
    time::parse_duration,
};
pub use verbs::{audit::AuditCommand, client::ClientAdminCommand, key::KeyClientCommand};

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
    /// Revoke whatever leaked: any text or file; or all of a subject, client or key
    Revoke(revoke::args::RevokeArgs),
    /// Tell all that is known about a token, a session or a subject: what it is, and what ended it, when and by whom
    Explain(explain::ExplainArgs),
    /// Lock a subject or a client: nothing is issued for it, for a time
    #[command(subcommand)]
    Lock(lock::LockCommand),
    /// End a lock
    #[command(subcommand)]
    Unlock(lock::UnlockCommand),
    /// Revocations: what is in force
    #[command(subcommand)]
    Revocation(revocation::RevocationCommand),
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
    /// Trusted issuers: whose assertions obtain tokens, and by which rules
    #[command(subcommand)]
    Issuer(issuer::IssuerCommand),
    /// The servers on one database
    #[command(subcommand)]
    Replica(replica::ReplicaCommand),
    /// Check server, certificates, clocks, keys, prober, database and leases; exit 3 when a check fails
    Doctor(doctor::DoctorArgs),
    /// Who I am to the server, what I may do, and until when my credential lasts
    Whoami,
    /// Named deployments: endpoints and credential
    #[command(subcommand)]
    Context(context::ContextCommand),
    /// The version of this program
    Version,
}

/// Runs one verb to its end, and prints its result or failure.
pub async fn run(command: ClientCommand, globals: &GlobalArgs, env: &Environment) -> Exit {
    let output = Output::new(globals.output, globals.color, env.no_color);
    let cli = Cli { globals, env, output };
    let as_json = globals.output == Some(Format::Json);
    let given = given(&command);
    dispatch(&cli, command).await.unwrap_or_else(|failure| output::fail(&given.told(failure), as_json))
}

/// Where the values of a verb come from.
fn given(command: &ClientCommand) -> Given {
    match command {
        ClientCommand::Client(_) => Given::Client,
        ClientCommand::Lock(_) | ClientCommand::Unlock(_) => Given::Name,
        ClientCommand::Policy(PolicyCommand::Explain(_)) => Given::AudienceAndClient,
        ClientCommand::Policy(PolicyCommand::Diff(_) | PolicyCommand::Apply(_)) => Given::PolicyFile,
        ClientCommand::Policy(
            PolicyCommand::List
            | PolicyCommand::Get(_)
            | PolicyCommand::Set(_)
            | PolicyCommand::Delete { .. },
        ) => Given::Audience,
        ClientCommand::Issue(_)
        | ClientCommand::Refresh(_)
        | ClientCommand::Validate(_)
        | ClientCommand::Inspect(_)
        | ClientCommand::Revoke(_)
        | ClientCommand::Explain(_)
        | ClientCommand::Revocation(_)
        | ClientCommand::Session(_)
        | ClientCommand::Key(_)
        | ClientCommand::Audit(_)
        | ClientCommand::Replica(_)
        | ClientCommand::Issuer(_)
        | ClientCommand::Doctor(_)
        | ClientCommand::Whoami
        | ClientCommand::Context(_)
        | ClientCommand::Version => Given::Flags,
    }
}

async fn dispatch(cli: &Cli<'_>, command: ClientCommand) -> Result<Exit, Failure> {
    match command {
        ClientCommand::Issue(args) => issue::run(cli, args).await,
        ClientCommand::Refresh(args) => refresh::run(cli, args).await,
        ClientCommand::Validate(args) => validate::run(cli, args).await,
        ClientCommand::Inspect(args) => inspect::run(cli, args).await,
        ClientCommand::Revoke(args) => revoke::run(cli, args).await,
        ClientCommand::Explain(args) => explain::run(cli, args).await,
        ClientCommand::Lock(command) => lock::run(cli, command).await,
        ClientCommand::Unlock(command) => lock::unlock(cli, command).await,
        ClientCommand::Revocation(command) => revocation::run(cli, command).await,
        ClientCommand::Session(command) => session::run(cli, command).await,
        ClientCommand::Policy(command) => policy::run(cli, command).await,
        ClientCommand::Key(command) => key::run(cli, command).await,
        ClientCommand::Client(command) => client::run(cli, command).await,
        ClientCommand::Audit(command) => audit::run(cli, command).await,
        ClientCommand::Replica(command) => replica::run(cli, command).await,
        ClientCommand::Issuer(command) => issuer::run(cli, command).await,
        ClientCommand::Doctor(args) => doctor::run(cli, &args).await,
        ClientCommand::Whoami => whoami::run(cli).await,
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
