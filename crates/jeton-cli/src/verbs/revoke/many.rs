//! Revoking many targets: what was found is said first, then it is confirmed, sent and reported.

use std::time::Duration;

use jeton_client::Code;
use serde_json::json;
use tokio::time::Instant;
use uuid::Uuid;

use crate::term::{escape::escape, quoted::shell_word};
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Identity, Listener},
        endpoint::Endpoints,
    },
    scan::{Targets, Token},
    term::{
        exit::{Exit, Failure},
        json as own_json, output, time, token_input,
    },
    verbs::{
        propagation,
        revoke::args::RevokeArgs,
        revoke::bulk::{self, Broken, Job, Outcome},
        revoke::each::{self, EACH_MAX},
        revoke::found::{self as found_words, Counts},
        revoke::gather::{Batch, Origin, bulk_id, fingerprint_of},
        revoke::keys::{self, LeakedKey},
    },
};
use jeton_proto::v1::GetServerInfoRequest;

/// Everything that the report is made of.
struct Done<'a> {
    counts: Counts,
    keys: Vec<LeakedKey>,
    foreign: Vec<(Token, String)>,
    targets: &'a Targets,
    id: Uuid,
    outcome: Option<Outcome>,
    elapsed: Duration,
    /// What could not be read to its end.
    cut: Vec<String>,
}

/// Revokes them.
pub async fn run(cli: &Cli<'_>, args: &RevokeArgs, batch: Batch, as_json: bool) -> Result<Exit, Failure> {
    check(args)?;
    let Batch { mut found, started_ms, origin, cut } = batch;
    let many = found.targets();
    if many > 1 && !args.yes && !args.dry_run && !token_input::can_ask(cli) {
        output::talk(&found_words::line(&Counts::of(&found, &[]), &[]));
        return Err(Failure::Usage(format!(
            "these are {many} targets, and nobody can be asked. Give --yes, or --dry-run to look first."
        )));
    }
    let foreign = found.take_foreign(issuer(cli).await.as_deref());
    let keys = keys::ask(cli, &found).await;
    let counts = Counts::of(&found, &foreign);
    output::talk(&escape(&found_words::line(&counts, &keys)));
    for line in found_words::advice(&counts) {
        output::talk(&line);
    }
    for source in &cut {
        output::talk(&format!("warning: {}", escape(source)));
    }
    let targets = found.into_targets();
    let id = id(args, started_ms, &targets)?;
    if targets.len() > 1 && !args.yes && !args.dry_run {
        confirm(targets.len()).await?;
    }
    let start = Instant::now();
    let job = Job { cli, args, targets: &targets, id, resume: resume(cli, args, &origin, id) };
    let outcome = if targets.len() == 0 { None } else { Some(revoke(&job).await?) };
    let elapsed = start.elapsed();
    let done = Done { counts, keys, foreign, targets: &targets, id, outcome, elapsed, cut };
    if !as_json {
        print(&done, args.dry_run)?;
    }
    let left = keys::end(cli, &done.keys, !args.dry_run && !args.yes).await?;
    if as_json {
        print_json(&done, &left, args.dry_run)?;
    }
    Ok(exit(&done, &left, args.dry_run))
}

/// Refuses what a revocation of many does not have.
fn check(args: &RevokeArgs) -> Result<(), Failure> {
    let one_only = args.wait_for.is_some() || args.wait.is_some() || args.max_affected.is_some();
    if one_only
        || args.audience.is_some()
        || args.before.is_some()
        || args.after.is_some()
        || args.lock.is_some()
    {
        return Err(Failure::Usage(
            "--wait-for, --wait, --max-affected, --audience, --before, --after and --lock are for one target, and these are many. \
             Leave them out."
                .into(),
        ));
    }
    Ok(())
}

/// The server's issuer, by which foreign tokens are told; not known if it cannot be asked.
async fn issuer(cli: &Cli<'_>) -> Option<String> {
    let connection = connect::open(cli, Listener::Public, Identity::Anonymous).await.ok()?;
    Some(connection.call(GetServerInfoRequest {}).await.ok()?.issuer)
}

/// The id of the whole. One that is given must be of these targets.
fn id(args: &RevokeArgs, started_ms: i64, targets: &Targets) -> Result<Uuid, Failure> {
    let fingerprint = targets.fingerprint();
    match args.resume {
        None => Ok(bulk_id(started_ms, fingerprint)),
        Some(id) if fingerprint_of(id) == fingerprint => Ok(id),
        Some(id) => Err(Failure::Usage(format!(
            "this is not the input of {id}: nothing was revoked. Give the same input, or leave --resume out: what is \
             revoked already stays so."
        ))),
    }
}

async fn confirm(count: usize) -> Result<(), Failure> {
    let question = format!("This cannot be undone. Type {count} to revoke them: ");
    if token_input::answer(&question).await?.trim() == count.to_string() {
        return Ok(());
    }
    Err(Failure::Usage("that is not the number: nothing was revoked. Run it again to revoke them.".into()))
}

/// All at once on the admin listener. A few go one by one if that is out of reach.
async fn revoke(job: &Job<'_>) -> Result<Outcome, Failure> {
    let is_few = job.targets.len() <= EACH_MAX && job.args.resume.is_none();
    if job.targets.len() == 1 {
        return each::run(job).await;
    }
    match bulk::run(job).await {
        Ok(outcome) => Ok(outcome),
        Err(Broken { failure, started: false }) if is_few && is_out_of_reach(&failure) => {
            each::run(job).await
        }
        Err(Broken { failure, .. }) => Err(failure),
    }
}

fn is_out_of_reach(failure: &Failure) -> bool {
    match failure {
        Failure::Usage(_) | Failure::Unreachable(_) => true,
        Failure::Refused(refusal) => matches!(refusal.code, Code::PermissionDenied | Code::Unimplemented),
        Failure::Local(_) | Failure::Interrupted | Failure::BadValue { .. } => false,
    }
}

/// The command that goes on with it.
fn resume(cli: &Cli<'_>, args: &RevokeArgs, origin: &Origin, id: Uuid) -> String {
    let mut words = vec!["jeton".to_owned(), "revoke".to_owned()];
    let mut again = "";
    match origin {
        Origin::Files(files) => {
            words.push("--from".to_owned());
            words.extend(files.iter().map(|file| shell_word(&file.display().to_string())));
            if files.iter().any(|file| file.as_os_str() == "-") {
                again = ", with the same input";
            }
        }
        Origin::Given => again = ", with the same text",
    }
    let mut flag = |name: &str, value: Option<String>| {
        words.extend(value.into_iter().flat_map(|value| [name.to_owned(), shell_word(&value)]));
    };
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let globals = cli.globals;
    flag("--resume", Some(id.to_string()));
    let reason = args.reason.and_then(|reason| clap::ValueEnum::to_possible_value(&reason));
    flag("--reason", reason.map(|reason| reason.get_name().to_owned()));
    flag("--note", args.note.clone());
    flag("--context", globals.context.clone());
    let urls = |endpoints: &Option<Endpoints>| endpoints.as_ref().map(|them| them.urls().join(","));
    flag("--endpoint", urls(&globals.endpoint));
    flag("--admin-endpoint", urls(&globals.admin_endpoint));
    flag("--api-key-file", path(&globals.api_key_file));
    flag("--tls-ca", path(&globals.tls_ca));
    flag("--tls-cert", path(&globals.tls_cert));
    flag("--tls-key", path(&globals.tls_key));
    flag("--retry", globals.retry.map(time::show_signed));
    if args.force {
        words.push("--force".to_owned());
    }
    words.push("--yes".to_owned());
    format!("Go on with this command{again}: {}", words.join(" "))
}

fn print(done: &Done<'_>, dry_run: bool) -> Result<(), Failure> {
    let Some(outcome) = &done.outcome else {
        let what = if done.keys.is_empty() { "nothing of this issuer" } else { "nothing but API keys" };
        return output::data(&format!("not revoked: {what} was found that can be revoked"));
    };
    for failure in &outcome.failures {
        let reason = if failure.reason.is_empty() { String::new() } else { format!(" ({})", failure.reason) };
        output::data(&escape(&format!("not revoked: {}: {}{reason}", failure.target, failure.message)))?;
    }
    let named = i64::try_from(outcome.failures.len()).unwrap_or(i64::MAX);
    if outcome.count("FAILED") > named {
        let more = outcome.count("FAILED").saturating_sub(named);
        output::data(&format!(
            "not revoked: {more} more, of chunks that were committed before or beyond the list"
        ))?;
    }
    if dry_run {
        output::data(&result(done, outcome, "would revoke", "WOULD_REVOKE"))?;
        output::talk("Nothing was changed (--dry-run).");
        return Ok(());
    }
    output::data(&result(done, outcome, "revoked", "REVOKED"))?;
    if outcome.propagation.as_ref().is_some_and(|propagation| !propagation.complete) {
        output::talk(
            "warning: it is durable, but not applied everywhere yet. The same command again is safe, and waits for the rest.",
        );
    }
    Ok(())
}

/// `revoked 195 of 200 (100 sessions, 95 tokens), 3 already revoked, 2 already expired, revision 1.8841, 3/3 replicas in
/// 4.2 s`.
fn result(done: &Done<'_>, outcome: &Outcome, verb: &str, counted: &str) -> String {
    let kinds: Vec<_> = outcome
        .kinds
        .iter()
        .map(|(kind, count)| format!("{count} {}{}", escape(kind), if *count == 1 { "" } else { "s" }))
        .collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let mut line = format!("{verb} {} of {}{kinds}", outcome.count(counted), done.targets.len());
    for (name, words) in [
        ("ALREADY_REVOKED", "already revoked"),
        ("ALREADY_EXPIRED", "already expired"),
        ("FOREIGN", "that cannot be verified"),
        ("FAILED", "not revoked"),
    ] {
        if outcome.count(name) > 0 {
            line = format!("{line}, {} {words}", outcome.count(name));
        }
    }
    if counted == "REVOKED" {
        line = format!("{line}, revision {}", escape(&outcome.revision));
        if let Some(change) = &outcome.propagation {
            line = format!("{line}, {}", propagation::reach(change));
        }
        line = format!("{line} in {}", propagation::took(done.elapsed));
        if let Some(change) = &outcome.propagation {
            line.push_str(&propagation::missing(change, false));
        }
    }
    line
}

/// What was not done, as JSON: refused targets, API keys that live on, and files that were not read to their end.
fn failures(done: &Done<'_>, left: &[&LeakedKey], dry_run: bool) -> Vec<serde_json::Value> {
    let refused = done.outcome.iter().flat_map(|outcome| &outcome.failures);
    let refused =
        refused.map(|it| json!({ "target": it.target, "reason": it.reason, "message": it.message }));
    let keys = left.iter().filter(|_| !dry_run).map(|key| {
        json!({
            "target": format!("API key {}", key.id),
            "reason": "API_KEY_LIVES_ON",
            "message": keys::lives_on(key),
        })
    });
    let unread = done.cut.iter().map(|cut| json!({ "target": cut, "reason": "NOT_READ", "message": cut }));
    refused.chain(keys).chain(unread).collect()
}

fn print_json(done: &Done<'_>, left: &[&LeakedKey], dry_run: bool) -> Result<(), Failure> {
    let outcome = done.outcome.as_ref();
    let failures = failures(done, left, dry_run);
    let propagation = outcome.and_then(|outcome| outcome.propagation.as_ref()).map(|propagation| {
        json!({
            "complete": propagation.complete,
            "appliedReplicas": propagation.applied_replicas,
            "replicas": propagation.replicas,
            "laggards": propagation.laggards,
        })
    });
    let document = json!({
        "bulkId": outcome.filter(|outcome| outcome.by_bulk).map(|_| done.id.to_string()),
        "found": done.counts,
        "candidates": found_words::candidates(done.targets, &done.keys, &done.foreign),
        "outcomes": outcome.map(|outcome| &outcome.outcomes),
        "kinds": outcome.map(|outcome| &outcome.kinds),
        "failures": failures,
        "revision": outcome.map(|outcome| &outcome.revision),
        "propagation": propagation,
    });
    output::data(&own_json::of_own(&document)?)
}

/// Tokens that say that another issuer made them are no part of what was asked: the first line counts them.
fn exit(done: &Done<'_>, left: &[&LeakedKey], dry_run: bool) -> Exit {
    let is_partly = !done.cut.is_empty() || !dry_run && !left.is_empty();
    let Some(outcome) = &done.outcome else {
        return match (is_partly, done.keys.is_empty()) {
            (true, _) => Exit::Partly,
            (false, true) => Exit::Negative,
            // Every key was ended, or is told by a dry run.
            (false, false) => Exit::Done,
        };
    };
    let foreign = outcome.count("FOREIGN");
    if foreign == i64::try_from(done.targets.len()).unwrap_or(i64::MAX) && !is_partly {
        return Exit::Negative;
    }
    if is_partly || !dry_run && (foreign > 0 || outcome.count("FAILED") > 0) {
        return Exit::Partly;
    }
    match &outcome.propagation {
        Some(propagation) if !propagation.complete && !dry_run => Exit::Incomplete,
        None if !dry_run => Exit::Incomplete,
        _ => Exit::Done,
    }
}
