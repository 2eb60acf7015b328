//! Revoking a few targets one by one, where `BulkRevoke` is out of reach: for a caller without the admin listener, or
//! with the right to revoke its own alone.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{task::JoinSet, time::sleep};

use crate::{
    fields,
    remote::connect::{self, Connection, Identity, Listener},
    term::exit::{Exit, Failure},
    verbs::{
        revoke::args::to_wire_reason,
        revoke::bulk::{Job, NotDone, Outcome, to_wire},
        revoke::found::name,
        revoke::one,
    },
};
use jeton_proto::v1::{RevocationTarget, RevokeRequest, RevokeResponse, revocation_target::Kind};

/// More are not sent one by one.
pub const EACH_MAX: usize = 1_000;
/// Sent at once.
const AT_ONCE: usize = 16;
/// Each is tried so often while the server cannot answer for now.
const TRIES: u32 = 6;
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Revokes each. Fails if the server could not be asked, or refused every one.
pub async fn run(job: &Job<'_>) -> Result<Outcome, Failure> {
    let connection = Arc::new(connect::open(job.cli, Listener::Public, Identity::Required).await?);
    let mut outcome = Outcome::default();
    let mut waiting: VecDeque<_> = (0..job.targets.len()).collect();
    let mut running = JoinSet::new();
    let mut refused = None;
    loop {
        while running.len() < AT_ONCE
            && let Some(index) = waiting.pop_front()
        {
            let Some(target) = job.targets.get(index) else { continue };
            let request = RevokeRequest {
                target: Some(to_wire(&target)),
                reason: to_wire_reason(job.args.reason).into(),
                note: job.args.note.clone().unwrap_or_default(),
                validate_only: job.args.dry_run,
                ..RevokeRequest::default()
            };
            let connection = Arc::clone(&connection);
            running.spawn(async move { (index, patiently(&connection, request).await) });
        }
        let Some(ended) = running.join_next().await else { break };
        let (index, answer) =
            ended.map_err(|error| Failure::Local(format!("a revocation was cut short: {error}.")))?;
        match answer {
            Ok(response) => count(&mut outcome, &response),
            Err(failure) if is_of_the_target(&failure) => {
                *outcome.outcomes.entry("FAILED".into()).or_default() =
                    outcome.count("FAILED").saturating_add(1);
                let target = job.targets.get(index).map(|target| name(&target)).unwrap_or_default();
                outcome.failures.push(not_done(target, &failure));
                refused = Some(failure);
            }
            Err(failure) => return Err(failure),
        }
    }
    match refused {
        Some(failure) if outcome.failures.len() == job.targets.len() => Err(failure),
        _ => Ok(outcome),
    }
}

async fn patiently(connection: &Connection, request: RevokeRequest) -> Result<RevokeResponse, Failure> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match one::call(connection, request.clone()).await {
            Err(failure) if failure.exit() == Exit::Unavailable => {
                sleep(pause).await;
                pause = pause.saturating_mul(2);
            }
            answer => return answer,
        }
    }
    one::call(connection, request).await
}

/// The server's word on this target alone.
fn is_of_the_target(failure: &Failure) -> bool {
    matches!(failure, Failure::Refused(_))
        && matches!(failure.exit(), Exit::Error | Exit::Usage | Exit::Denied | Exit::Negative)
}

fn not_done(target: String, failure: &Failure) -> NotDone {
    let Failure::Refused(refusal) = failure else {
        return NotDone::alone(target, String::new(), String::new());
    };
    NotDone::alone(target, refusal.reason.clone(), fields::of_target(&refusal.message).to_owned())
}

fn count(outcome: &mut Outcome, response: &RevokeResponse) {
    let name = response.outcome().as_str_name().trim_start_matches("REVOCATION_OUTCOME_").to_owned();
    let add = |count: &mut i64| *count = count.saturating_add(1);
    add(outcome.outcomes.entry(name).or_default());
    if let Some(RevocationTarget { kind: Some(kind), .. }) = &response.target {
        let kind = if matches!(kind, Kind::SessionId(_)) { "session" } else { "token" };
        add(outcome.kinds.entry(kind.to_owned()).or_default());
    }
    outcome.revision.clone_from(&response.revision);
    // The worst of them speaks for all.
    let is_worse = |known: &jeton_proto::v1::Propagation| known.complete;
    if response.propagation.is_some() && outcome.propagation.as_ref().is_none_or(is_worse) {
        outcome.propagation.clone_from(&response.propagation);
    }
}
