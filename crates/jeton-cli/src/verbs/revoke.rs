//! `jeton revoke`: the verb of an emergency. It never waits for a count that was not requested, and never ends more
//! than was meant without a confirmation.

use std::{path::PathBuf, time::Duration};

use clap::{
    ArgGroup, ValueEnum,
    builder::{NonEmptyStringValueParser as NonEmpty, TypedValueParser},
};
use jiff::{SignedDuration, Timestamp, Unit};
use tokio::time::Instant;
use tonic::Code;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        output, time, token_input,
    },
    verbs::{
        live::{self, Live},
        revoke_report as report,
        revoke_target::NamedTarget,
    },
};
use jeton_proto::v1::{
    Reach, RevocationReason, RevocationTarget, RevokeRequest, RevokeResponse, revocation_target::Kind,
    token_service_client::TokenServiceClient,
};
use jeton_token::Thumbprint;

/// The server's wait if `--wait` is not given, for the deadline.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// The deadline is later than the wait, so that an incomplete revocation is answered, not cut off.
const WAIT_MARGIN: Duration = Duration::from_secs(5);

/// Parses a key id. One in sixty-four begins with a hyphen, like a flag: a text that begins with one must be a complete
/// key id.
fn key_id(text: String) -> Result<String, &'static str> {
    if text.starts_with('-') && text.parse::<Thumbprint>().is_err() {
        return Err("not a key id, which is 43 characters of base64url: `jeton key list` has them");
    }
    Ok(text)
}

/// `--reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reason {
    /// The holder signed off.
    Logout,
    /// The token was seen where it must not be.
    Leaked,
    /// The account, client or key is believed compromised.
    Compromised,
    /// The subject or client was disabled or removed.
    Deprovisioned,
    /// Roles or scopes changed.
    PrivilegeChange,
    /// An operator's decision, explained in the note.
    Administrative,
}

/// `--wait-for`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WaitFor {
    /// Durable, and applied on the answering replica.
    Local,
    /// Applied on every replica.
    Replicas,
    /// Applied by every watcher, too; not served yet.
    Watchers,
}

/// Flags.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("target").multiple(false))]
pub struct RevokeArgs {
    /// The jti of a token; or `-` to read a token from standard input, as without any target
    #[arg(value_name = "JTI|-", group = "target")]
    token: Option<String>,
    /// Read the token from this file; a refresh token means its session
    #[arg(long, value_name = "FILE", group = "target")]
    token_file: Option<PathBuf>,
    /// One session
    #[arg(long, value_name = "ID", group = "target", value_parser = NonEmpty::new())]
    session: Option<String>,
    /// Everything of a subject
    #[arg(long, group = "target", value_parser = NonEmpty::new())]
    subject: Option<String>,
    /// Everything that a client obtained
    #[arg(long, group = "target", value_parser = NonEmpty::new())]
    client: Option<String>,
    /// Every token signed by a key
    #[arg(long, value_name = "KID", group = "target", allow_hyphen_values = true, value_parser = NonEmpty::new().try_map(key_id))]
    key: Option<String>,
    /// Of a subject or client: only tokens for this audience
    #[arg(long, value_parser = NonEmpty::new())]
    audience: Option<String>,
    /// Of a subject or client: only tokens issued before; an RFC 3339 time, or "2h ago"
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// The reason; required for a subject, client or key
    #[arg(long)]
    reason: Option<Reason>,
    /// An incident number or note
    #[arg(long)]
    note: Option<String>,
    /// Show what would happen, change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    /// Refuse if more live sessions than this would be hit
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i64).range(0..))]
    max_affected: Option<i64>,
    /// How far the revocation must have travelled before the answer [default: replicas]
    #[arg(long, value_name = "REACH")]
    wait_for: Option<WaitFor>,
    /// The longest wait for that; if it ends first, the exit code is 7
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    wait: Option<SignedDuration>,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: RevokeArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let target = NamedTarget::new(kind(cli, &args).await?);
    check(cli, &args, &target)?;
    let cutoff = args.before.as_deref().map(|before| cutoff(before, (cli.env.now)())).transpose()?;
    let request = RevokeRequest {
        target: Some(RevocationTarget {
            kind: Some(target.kind.clone()),
            issue_cutoff_time: cutoff.map(time::to_wire_timestamp),
            audience: args.audience.clone().unwrap_or_default(),
        }),
        reason: args.reason.map_or(RevocationReason::Unspecified, to_wire_reason).into(),
        note: args.note.clone().unwrap_or_default(),
        validate_only: args.dry_run,
        max_affected_sessions: args.max_affected,
        wait_for: args.wait_for.map_or(Reach::Unspecified, to_wire_reach).into(),
        wait_timeout: args.wait.map(time::to_wire_duration),
    };
    // An emergency waits for nothing: the data for the live line is fetched at the same time.
    let listener = if target.is_wide() { Listener::Admin } else { Listener::Public };
    let seen = !args.dry_run && args.wait_for != Some(WaitFor::Local);
    let ask = || seen.then(|| Live::ask(cli, listener)).flatten();
    let mut live = ask();
    let connection = connect::open(cli, listener, Identity::Required).await?;
    let connection =
        if cli.globals.timeout.is_some() { connection } else { connection.with_timeout(deadline(&args)) };
    if target.is_wide() && !args.yes && !args.dry_run {
        confirm(&connection, &request, &target).await?;
        // A person may think for so long that the log moves on.
        live = ask();
    }
    let start = Instant::now();
    let response = live::beside(live, call(&connection, request)).await?;
    let elapsed = start.elapsed();
    if as_json {
        cli.output.json(&response, false)?;
    } else if args.dry_run {
        report::print_plan(&target, &response)?;
    } else {
        report::print_result(cli, &target, &response, elapsed, args.wait_for == Some(WaitFor::Local))?;
    }
    Ok(report::exit(&response, args.dry_run))
}

async fn call(connection: &Connection, request: RevokeRequest) -> Result<RevokeResponse, Failure> {
    let mut client = TokenServiceClient::new(connection.channel());
    match connection.call(client.revoke(connection.request(request))).await {
        Err(Failure::Refused(status)) if status.code() == Code::NotFound => Err(Failure::Absent(status)),
        answer => answer,
    }
}

async fn kind(cli: &Cli<'_>, args: &RevokeArgs) -> Result<Kind, Failure> {
    let token = match (args.token.as_deref(), &args.token_file) {
        (_, Some(path)) => token_input::from_file(path)?,
        (Some(text), None) if token_input::is_token_text(text) => {
            // Only this verb accepts it: an emergency comes first, and the token dies anyway.
            output::talk("warning: token text on the command line is read by others. Pipe it in next time.");
            token_input::from_argument(text)?
        }
        (Some(jti), None) if jti != "-" => return Ok(Kind::Jti(jti.to_owned())),
        (Some(_), None) => token_input::from_stdin(cli, "Token").await?,
        (None, None) => match args {
            RevokeArgs { session: Some(session), .. } => return Ok(Kind::SessionId(session.clone())),
            RevokeArgs { subject: Some(subject), .. } => return Ok(Kind::Subject(subject.clone())),
            RevokeArgs { client: Some(client), .. } => return Ok(Kind::ClientId(client.clone())),
            RevokeArgs { key: Some(key), .. } => return Ok(Kind::KeyId(key.clone())),
            _ => token_input::from_stdin(cli, "Token").await?,
        },
    };
    Ok(Kind::Token(token_input::expose(&token)))
}

/// Refuses what can be refused without a server, before anything is sent.
fn check(cli: &Cli<'_>, args: &RevokeArgs, target: &NamedTarget) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let narrows = args.audience.is_some() || args.before.is_some();
    if narrows && (target.is_key() || !target.is_wide()) {
        return usage("--audience and --before narrow a subject or a client, nothing else. Leave them out.");
    }
    if !target.is_wide() {
        return Ok(());
    }
    if args.reason.is_none() {
        return usage(
            "a subject, client or key is not revoked without a reason. Give one, as in --reason leaked.",
        );
    }
    if !args.yes && !args.dry_run && !token_input::can_ask(cli) {
        return usage(
            "this ends more than one session, and nobody can be asked. Give --yes, or --dry-run to look first.",
        );
    }
    Ok(())
}

/// Shows what will end, and has the name typed.
async fn confirm(
    connection: &Connection,
    request: &RevokeRequest,
    target: &NamedTarget,
) -> Result<(), Failure> {
    let preview = call(connection, RevokeRequest { validate_only: true, ..request.clone() }).await?;
    report::talk_plan(target, &preview);
    let question = format!("This cannot be undone. Type {} to revoke it: ", escape(target.name()));
    let typed = token_input::answer(&question).await?;
    // A name that is shown escaped can only be typed escaped.
    if typed == target.name() || typed == escape(target.name()) {
        return Ok(());
    }
    Err(Failure::Usage("that is not the name: nothing was revoked. Run it again to revoke it.".into()))
}

/// Parses a cutoff, in whole seconds, like the times of tokens.
fn cutoff(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    let wrong = |error: String| Failure::Usage(format!("--before: {error}."));
    let instant = time::parse_past(text, now).map_err(wrong)?;
    let round = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    instant.round(round).map_err(|_| wrong(format!("{text:?} is out of range")))
}

fn deadline(args: &RevokeArgs) -> Duration {
    let wait = args.wait.and_then(|wait| Duration::try_from(wait).ok());
    wait.unwrap_or(DEFAULT_WAIT).saturating_add(WAIT_MARGIN)
}

fn to_wire_reason(reason: Reason) -> RevocationReason {
    match reason {
        Reason::Logout => RevocationReason::Logout,
        Reason::Leaked => RevocationReason::Leaked,
        Reason::Compromised => RevocationReason::Compromised,
        Reason::Deprovisioned => RevocationReason::Deprovisioned,
        Reason::PrivilegeChange => RevocationReason::PrivilegeChange,
        Reason::Administrative => RevocationReason::Administrative,
    }
}

fn to_wire_reach(reach: WaitFor) -> Reach {
    match reach {
        WaitFor::Local => Reach::Local,
        WaitFor::Replicas => Reach::Replicas,
        WaitFor::Watchers => Reach::Watchers,
    }
}
