//! Revoking one target: a token, an id, a session, or everything of a subject, client or key.

use std::time::Duration;

use jiff::{Timestamp, Unit};
use tokio::time::Instant;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener, in_doubt},
    term::{
        exit::{Exit, Failure},
        output, time, token_input,
    },
    verbs::{
        live::{self, Live},
        past::{self, After},
        revoke::args::{RevokeArgs, WaitFor, to_wire_reach, to_wire_reason},
        revoke::report,
        revoke::target::NamedTarget,
    },
};
use jeton_proto::v1::{RevocationTarget, RevokeRequest, RevokeResponse, revocation_target::Kind};

/// The server's wait if `--wait` is not given, for the deadline.
const DEFAULT_WAIT: Duration = Duration::from_secs(10);
/// What to do about a revocation whose answer was lost.
const IN_DOUBT: &str =
    "Whether the revocation is in force is not known: run the same command again, which is safe.";
/// What a filter of the preview does not do.
const AFTER_LIMITS_NOTHING: &str = "--after filters the sample sessions that are shown, and nothing else: older ones are counted, and revoked, too.";
/// The deadline is later than the wait, so that an incomplete revocation is answered, not cut off.
const WAIT_MARGIN: Duration = Duration::from_secs(5);

/// Revokes it.
pub async fn run(cli: &Cli<'_>, args: &RevokeArgs, kind: Kind, as_json: bool) -> Result<Exit, Failure> {
    let target = NamedTarget::new(kind);
    check(cli, args, &target)?;
    let cutoff = past::instant(cli, "--before", args.before.as_deref())?.map(whole_second).transpose()?;
    let after = After::of(cli, args.after.as_deref())?;
    let request = RevokeRequest {
        target: Some(RevocationTarget {
            kind: Some(target.kind.clone()),
            issue_cutoff_time: cutoff.map(time::to_wire_timestamp),
            audience: if matches!(target.kind, Kind::AllForAudience(_)) {
                String::new()
            } else {
                args.audience.clone().unwrap_or_default()
            },
        }),
        reason: to_wire_reason(args.reason).into(),
        note: args.note.clone().unwrap_or_default(),
        validate_only: args.dry_run,
        max_affected_sessions: args.max_affected,
        wait_for: to_wire_reach(args.wait_for).into(),
        wait_timeout: args.wait.map(time::to_wire_duration),
        lock_ttl: args.lock.map(time::to_wire_duration),
    };
    // An emergency waits for nothing: the data for the live line is fetched at the same time.
    let listener = if target.is_wide() { Listener::Admin } else { Listener::Public };
    let seen = !args.dry_run && args.wait_for != Some(WaitFor::Local);
    let ask = || seen.then(|| Live::ask(cli, listener)).flatten();
    let mut live = ask();
    let connection = connect::open(cli, listener, Identity::Required).await?;
    let connection =
        if cli.globals.timeout.is_some() { connection } else { connection.with_timeout(deadline(args)) };
    if target.is_wide() && !args.yes && !args.dry_run {
        confirm(&connection, &request, &target, after).await?;
        // A person may think for so long that the log moves on.
        live = ask();
    }
    let start = Instant::now();
    let mut response = live::beside(live, call(&connection, request)).await?;
    let elapsed = start.elapsed();
    if args.dry_run && after.is_set() {
        output::talk(AFTER_LIMITS_NOTHING);
        show_only(&mut response, after);
    }
    if as_json {
        cli.output.json(&response, false)?;
    } else if args.dry_run {
        if let Some(lock) = args.lock {
            output::talk(&format!("It would be locked as well, for {}.", time::show_signed(lock)));
        }
        report::print_plan(&target, &response)?;
    } else {
        report::print_result(cli, &target, &response, elapsed, args.wait_for == Some(WaitFor::Local))?;
        report::talk_rest(cli, &target, &response);
    }
    Ok(report::exit(&response, args.dry_run))
}

/// Sends one revocation.
pub async fn call(connection: &Connection, request: RevokeRequest) -> Result<RevokeResponse, Failure> {
    let is_only_looked_at = request.validate_only;
    let answer = connection.call(request).await;
    answer.map_err(|failure| if is_only_looked_at { failure } else { in_doubt(failure, IN_DOUBT) })
}

/// Leaves out the sessions of a preview that are not to be shown.
fn show_only(response: &mut RevokeResponse, after: After) {
    response.sample_sessions.retain(|session| after.shows(session.create_time.as_ref()));
}

/// Refuses what can be refused without a server, before anything is sent.
fn check(cli: &Cli<'_>, args: &RevokeArgs, target: &NamedTarget) -> Result<(), Failure> {
    let usage = |text: &str| Err(Failure::Usage(text.to_owned()));
    let narrows = args.audience.is_some() || args.before.is_some();
    if narrows && (target.is_key() || !target.is_wide()) {
        return usage(
            "--audience and --before narrow a subject or a client, and --before an audience; nothing else. Leave them out.",
        );
    }
    if args.after.is_some() && !target.is_wide() {
        return usage("--after filters the preview of a wide revocation, and this has none. Leave it out.");
    }
    if args.after.is_some() && args.yes && !args.dry_run {
        return usage(
            "--after filters the preview, and never limits what is revoked: nothing was revoked. Leave it out, or give \
             --dry-run to look first.",
        );
    }
    let locks = matches!(target.kind, Kind::Subject(_) | Kind::ClientId(_)) && args.audience.is_none();
    if args.lock.is_some() && !locks {
        let text = if target.is_wide() && args.audience.is_some() {
            "--lock locks a subject or a client, for every audience. Leave it or --audience out."
        } else {
            "--lock locks a subject or a client, and this is neither. Leave it out; afterwards: jeton lock subject NAME."
        };
        return usage(text);
    }
    if !target.is_wide() {
        return Ok(());
    }
    if args.reason.is_none() {
        return usage(
            "a subject, client, audience or key is not revoked without a reason. Give one, as in --reason leaked.",
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
    after: After,
) -> Result<(), Failure> {
    let mut preview = call(connection, RevokeRequest { validate_only: true, ..request.clone() }).await?;
    if after.is_set() {
        output::talk(AFTER_LIMITS_NOTHING);
        show_only(&mut preview, after);
    }
    report::talk_plan(target, &preview);
    let question = format!("This cannot be undone. Type {} to revoke it: ", escape(target.name()));
    let typed = token_input::answer(&question).await?;
    // A name that is shown escaped can only be typed escaped.
    if typed == target.name() || typed == escape(target.name()) {
        return Ok(());
    }
    Err(Failure::Usage("that is not the name: nothing was revoked. Run it again to revoke it.".into()))
}

/// A cutoff in whole seconds, like the times of tokens.
fn whole_second(instant: Timestamp) -> Result<Timestamp, Failure> {
    let round = jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Floor);
    instant.round(round).map_err(|_| Failure::Usage(format!("--before: {instant} is out of range.")))
}

fn deadline(args: &RevokeArgs) -> Duration {
    let wait = args.wait.and_then(|wait| Duration::try_from(wait).ok());
    wait.unwrap_or(DEFAULT_WAIT).saturating_add(WAIT_MARGIN)
}
