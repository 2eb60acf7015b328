//! What a revocation tells people: the plan before it, and one line after it that is fit for an incident channel.

use std::time::Duration;

use super::{
    Cli,
    exit::{Exit, Failure},
    output,
    revoke::Target,
    session, time,
};
use crate::proto::v1::{Propagation, RevocationOutcome, RevokeResponse};

/// More of the sample than this only scrolls the count away.
const SAMPLES_ASKED_ABOUT: usize = 10;

/// The exit code of an answer.
pub fn exit(response: &RevokeResponse, dry_run: bool) -> Exit {
    match response.outcome() {
        RevocationOutcome::Unspecified => Exit::Error,
        RevocationOutcome::Foreign => Exit::Negative,
        RevocationOutcome::WouldRevoke => Exit::Done,
        RevocationOutcome::Revoked
        | RevocationOutcome::AlreadyRevoked
        | RevocationOutcome::AlreadyExpired => {
            let complete = response.propagation.as_ref().is_some_and(|propagation| propagation.complete);
            if complete || dry_run { Exit::Done } else { Exit::Incomplete }
        }
    }
}

/// The plan as data: `--dry-run`.
pub fn print_plan(target: &Target, response: &RevokeResponse) -> Result<(), Failure> {
    if !response.sample_sessions.is_empty() {
        session::table(&response.sample_sessions)?;
    }
    output::data(&plan(target, response))?;
    output::talk("Nothing was changed (--dry-run).");
    Ok(())
}

/// The plan as talk: before the question.
pub fn talk_plan(target: &Target, response: &RevokeResponse) {
    for sample in response.sample_sessions.iter().take(SAMPLES_ASKED_ABOUT) {
        let line = format!(
            "  session {} of {}, by {}, for {}, last used {}",
            sample.session_id,
            sample.subject,
            sample.client_id,
            sample.audiences.join(" "),
            time::show(sample.refresh_time.as_ref().or(sample.create_time.as_ref())),
        );
        output::talk(&output::escape(&line));
    }
    output::talk(&plan(target, response));
}

fn plan(target: &Target, response: &RevokeResponse) -> String {
    let name = target.describe();
    match response.outcome() {
        RevocationOutcome::Unspecified => format!("what revoking {name} would do is not known"),
        RevocationOutcome::Foreign => {
            format!("{name} cannot be verified as one of this issuer: it would not be revoked")
        }
        RevocationOutcome::AlreadyRevoked => format!("{name} is revoked already"),
        RevocationOutcome::AlreadyExpired => format!("{name} has expired already"),
        RevocationOutcome::Revoked | RevocationOutcome::WouldRevoke if target.is_key() => {
            format!("would end every token signed by {name}; sessions live on, with tokens of another key")
        }
        RevocationOutcome::Revoked | RevocationOutcome::WouldRevoke if target.is_wide() => {
            let sessions = if response.affected_sessions == 1 { "session" } else { "sessions" };
            format!("would end {} live {sessions} and every token of {name}", response.affected_sessions)
        }
        RevocationOutcome::Revoked | RevocationOutcome::WouldRevoke => format!("would revoke {name}"),
    }
}

/// The last line, and who lags behind.
pub fn print_result(
    cli: &Cli<'_>,
    target: &Target,
    response: &RevokeResponse,
    elapsed: Duration,
) -> Result<(), Failure> {
    output::data(&result(target, response, elapsed))?;
    let propagation = response.propagation.as_ref();
    if exit(response, false) == Exit::Incomplete {
        let laggards: Vec<_> = propagation
            .iter()
            .flat_map(|propagation| &propagation.laggards)
            .map(|name| output::escape(name))
            .collect();
        let who = if laggards.is_empty() { String::new() } else { format!(" by {}", laggards.join(", ")) };
        let warning = cli.output.paint("warning", output::Tone::Doubtful);
        output::talk(&format!(
            "{warning}: it is durable, but not applied yet{who}. Run the same again to wait for the rest."
        ));
    }
    Ok(())
}

fn result(target: &Target, response: &RevokeResponse, elapsed: Duration) -> String {
    let name = target.describe();
    let done = match response.outcome() {
        RevocationOutcome::Foreign => {
            return format!(
                "not revoked: {name} cannot be verified as one of this issuer, nothing was recorded"
            );
        }
        RevocationOutcome::Unspecified | RevocationOutcome::WouldRevoke => {
            return format!("not known whether {name} is revoked: the server answered an unknown outcome");
        }
        RevocationOutcome::Revoked => "revoked",
        RevocationOutcome::AlreadyRevoked => "already revoked",
        RevocationOutcome::AlreadyExpired => "already expired, and revoked:",
    };
    let at = time::show_time_of_day(response.revoke_time.as_ref());
    let revision = output::escape(&response.revision);
    let reach = response.propagation.as_ref().map(reach).unwrap_or_default();
    format!("{done} {name} at {at}, revision {revision}{reach} in {} ms", elapsed.as_millis())
}

fn reach(propagation: &Propagation) -> String {
    let Propagation { applied_replicas, replicas, applied_watchers, watchers, .. } = propagation;
    let watched =
        if *watchers > 0 { format!(", {applied_watchers}/{watchers} watchers") } else { String::new() };
    format!(", {applied_replicas}/{replicas} replicas{watched}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(outcome: RevocationOutcome, complete: bool) -> RevokeResponse {
        RevokeResponse {
            outcome: outcome.into(),
            revoke_time: Some(prost_types::Timestamp { seconds: 8_047, nanos: 412_000_000 }),
            revision: "1.8841".into(),
            propagation: Some(Propagation {
                complete,
                applied_replicas: 1,
                replicas: 1,
                ..Propagation::default()
            }),
            ..RevokeResponse::default()
        }
    }

    #[test]
    fn the_last_line_is_fit_for_an_incident_channel() {
        let line = result(
            &Target::of_subject("svc:billing"),
            &response(RevocationOutcome::Revoked, true),
            Duration::from_micros(4_300),
        );
        assert_eq!(
            line,
            "revoked subject svc:billing at 02:14:07.412Z, revision 1.8841, 1/1 replicas in 4 ms"
        );
    }

    #[test]
    fn codes_are_those_of_the_contract() {
        let code = |outcome, complete| exit(&response(outcome, complete), false).code();
        assert_eq!(code(RevocationOutcome::Revoked, true), 0);
        assert_eq!(code(RevocationOutcome::AlreadyRevoked, true), 0);
        assert_eq!(code(RevocationOutcome::AlreadyExpired, true), 0);
        assert_eq!(code(RevocationOutcome::Revoked, false), 7);
        assert_eq!(code(RevocationOutcome::Foreign, true), 3);
    }
}
