//! The report of a revocation for people: the plan before it, and one line after it that is fit for an incident
//! channel.

use std::time::Duration;

use jiff::SignedDuration;

use crate::term::{escape::escape, quoted::shell_word};
use crate::{
    invocation::Cli,
    term::{
        exit::{Exit, Failure},
        output, time,
    },
    verbs::{
        lock,
        propagation::{missing, reach, took},
        revoke::target::NamedTarget,
        session_show,
    },
};
use jeton_proto::v1::{RevocationOutcome, RevocationReason, RevokeResponse, revocation_target::Kind};
use jeton_token::{LIFETIME_CAP_S, may_hold_credential};

/// The most sessions shown before the question: more would scroll the count away.
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

/// Prints the plan as data: `--dry-run`.
pub fn print_plan(target: &NamedTarget, response: &RevokeResponse) -> Result<(), Failure> {
    if !response.sample_sessions.is_empty() {
        session_show::table(&response.sample_sessions)?;
    }
    output::data(&plan(target, response))?;
    talk_findings(target, response);
    output::talk("Nothing was changed (--dry-run).");
    Ok(())
}

/// Prints the plan as a message, before the question.
pub fn talk_plan(target: &NamedTarget, response: &RevokeResponse) {
    for sample in response.sample_sessions.iter().take(SAMPLES_ASKED_ABOUT) {
        let line = format!(
            "  session {} of {}, by {}, for {}, last used {}",
            sample.session_id,
            sample.subject,
            sample.client_id,
            sample.audiences.join(" "),
            time::show(sample.refresh_time.as_ref().or(sample.create_time.as_ref())),
        );
        output::talk(&escape(&line));
    }
    output::talk(&plan(target, response));
}

/// The whole target, as the server understood it: `subject svc:billing for audience orders, issued before
/// 2026-01-31T09:00:00Z`.
fn whole(target: &NamedTarget, response: &RevokeResponse) -> String {
    let Some(understood) = &response.target else { return target.describe() };
    let mut name = match (&target.kind, &understood.kind) {
        (Kind::Id(_), Some(Kind::Jti(jti))) => format!("jti {}", escape(jti)),
        (Kind::Id(_), Some(Kind::SessionId(session))) => format!("session {}", escape(session)),
        (Kind::Token(_), Some(Kind::SessionId(session))) => {
            format!("session {} of a refresh token", escape(session))
        }
        _ => target.describe(),
    };
    if !understood.audience.is_empty() {
        name.push_str(" for audience ");
        name.push_str(&escape(&understood.audience));
    }
    if understood.issue_cutoff_time.is_some() {
        name.push_str(", issued before ");
        name.push_str(&time::show(understood.issue_cutoff_time.as_ref()));
    }
    name
}

/// The time and reason of the revocation that holds: ` since 2026-01-31T09:15:00Z (LEAKED)`.
fn since(response: &RevokeResponse) -> String {
    let reason = response.revocation_reason();
    let why = if reason == RevocationReason::Unspecified {
        String::new()
    } else {
        format!(" ({})", reason.as_str_name().trim_start_matches("REVOCATION_REASON_"))
    };
    match &response.revoke_time {
        Some(time) => format!(" since {}{why}", time::show(Some(time))),
        None => why,
    }
}

fn plan(target: &NamedTarget, response: &RevokeResponse) -> String {
    let name = whole(target, response);
    match response.outcome() {
        RevocationOutcome::Unspecified => format!("the effect of revoking {name} is not known"),
        RevocationOutcome::Foreign => format!("{}: nothing would be revoked", not_ours(target, &name)),
        RevocationOutcome::AlreadyRevoked => format!("{name} is revoked already{}", since(response)),
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

/// Prints the last line, and advice if the revocation is not everywhere. `local`: the other replicas were not waited
/// for.
pub fn print_result(
    cli: &Cli<'_>,
    target: &NamedTarget,
    response: &RevokeResponse,
    elapsed: Duration,
    local: bool,
) -> Result<(), Failure> {
    output::data(&result(target, response, elapsed, local))?;
    talk_findings(target, response);
    if exit(response, false) == Exit::Incomplete {
        let warning = cli.output.paint("warning", output::Tone::Doubtful);
        output::talk(&format!(
            "{warning}: it is durable, but not applied everywhere yet. The same command again is safe, and waits for the rest."
        ));
    }
    Ok(())
}

/// What else the server found out, and what to do about it.
fn talk_findings(target: &NamedTarget, response: &RevokeResponse) {
    let lines = findings(response);
    let holds_one = matches!(&target.kind, Kind::Token(text) if may_hold_credential(text));
    if lines.is_empty() && holds_one && response.outcome() == RevocationOutcome::Foreign {
        output::talk(
            "If a part was lost when it was copied, give all of it. Or end what it belongs to: jeton revoke --subject NAME \
             --reason leaked",
        );
    }
    for line in &lines {
        output::talk(line);
    }
}

fn findings(response: &RevokeResponse) -> Vec<String> {
    let Some(found) = &response.findings else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(time) = &found.unverified_jti_time {
        lines.push(format!(
            "No token is on record by its id: whether there ever was this one cannot be told. By its own time it is of {}.",
            time::show(Some(time))
        ));
    }
    if found.is_live_session {
        lines.push("It is the id of a live session, which goes on. End it by --session.".to_owned());
    }
    if found.no_live_sessions {
        let text = if response.outcome() == RevocationOutcome::WouldRevoke {
            "No live session would be hit. Tokens without a session would be dead, if there are any."
        } else {
            "No live session was hit. Tokens without a session are dead, if there were any."
        };
        lines.push(text.to_owned());
    }
    if !found.similar_subjects.is_empty() {
        let names = found.similar_subjects.iter().map(|name| escape(name)).collect::<Vec<_>>().join(", ");
        lines.push(format!("Subjects of live sessions that are spelled nearly so: {names}"));
    }
    if !found.readable_jti.is_empty() {
        let jti = escape(&found.readable_jti);
        lines.push(format!("Its jti can be read, though nothing vouches for it: jeton revoke {jti}"));
    }
    if !found.api_key_id.is_empty() {
        let (id, client) = (escape(&found.api_key_id), shell_word(&found.api_key_client_id));
        let client = if found.api_key_client_id.is_empty() { "CLIENT".to_owned() } else { client };
        lines.push(format!("It is an API key. End it: jeton client delete-key {client} {id}"));
    }
    if found.sessions_not_looked_for {
        lines.push("The server was too busy to look for sessions: `jeton session list` does.".to_owned());
    }
    lines
}

/// Says what a wide revocation does not reach.
pub fn talk_rest(cli: &Cli<'_>, target: &NamedTarget, response: &RevokeResponse) {
    if !target.is_wide() {
        return;
    }
    let now = (cli.env.now)();
    match &response.lock {
        Some(locked) => {
            if let Some(earlier) = &response.earlier_lock {
                output::talk(&lock::beside(earlier, locked, now));
            }
            let end = time::show_with_distance(locked.end_time.as_ref(), now);
            output::talk(&format!("It is locked until {end}. {}", lock::effect(locked)));
        }
        None => again(target).iter().for_each(|again| output::talk(again)),
    }
    let latest = now.checked_add(SignedDuration::from_secs(LIFETIME_CAP_S)).ok();
    let latest = latest.map(|latest| time::show(Some(&time::to_wire_timestamp(latest))));
    output::talk(&format!(
        "Services that verify by the key set alone, offline, accept these tokens until their exp: at most until {}.",
        latest.unwrap_or_default()
    ));
}

/// What can be issued again at once.
fn again(target: &NamedTarget) -> Option<String> {
    let (name, word) = (escape(target.name()), shell_word(target.name()));
    match &target.kind {
        Kind::Subject(_) => Some(format!(
            "Clients can issue for {name} again at once. To prevent that: jeton lock subject {word}"
        )),
        Kind::ClientId(_) => Some(format!(
            "{name} can issue again at once, by its keys and certificates. To prevent that: jeton lock client {word}"
        )),
        Kind::AllForAudience(_) => Some(format!("Clients can issue for audience {name} again at once.")),
        Kind::IssuerId(_) => Some(format!(
            "Whoever has a token of {name} can obtain a new one at once. To prevent that: jeton issuer update {word} --disable"
        )),
        Kind::Token(_) | Kind::Jti(_) | Kind::SessionId(_) | Kind::Id(_) | Kind::KeyId(_) => None,
    }
}

/// What a text is that the server does not know for a token.
fn not_ours(target: &NamedTarget, name: &str) -> String {
    if matches!(&target.kind, Kind::Token(text) if !may_hold_credential(text)) {
        return "no token, id or API key is in this text".to_owned();
    }
    format!("{name} cannot be verified as one of this issuer")
}

/// The result on one line.
pub fn result(target: &NamedTarget, response: &RevokeResponse, elapsed: Duration, local: bool) -> String {
    let name = whole(target, response);
    let done = match response.outcome() {
        RevocationOutcome::Foreign => {
            return format!("not revoked: {}, nothing was recorded", not_ours(target, &name));
        }
        RevocationOutcome::Unspecified | RevocationOutcome::WouldRevoke => {
            return format!(
                "it is not known whether {name} is revoked: the server answered an unknown outcome"
            );
        }
        RevocationOutcome::Revoked => "revoked",
        RevocationOutcome::AlreadyRevoked => "already revoked",
        RevocationOutcome::AlreadyExpired if response.revoke_time.is_none() => {
            "already expired, nothing was to be revoked:"
        }
        RevocationOutcome::AlreadyExpired => "already expired, and revoked:",
    };
    // A time of today, except for an earlier revocation.
    let at = match &response.revoke_time {
        _ if response.outcome() == RevocationOutcome::AlreadyRevoked => since(response),
        Some(time) => format!(" at {}", time::show_time_of_day(Some(time))),
        None => String::new(),
    };
    let revision = escape(&response.revision);
    let took = took(elapsed);
    let Some(propagation) = &response.propagation else {
        return format!("{done} {name}{at}, revision {revision} in {took}");
    };
    let (reach, missing) = (reach(propagation), missing(propagation, local));
    format!("{done} {name}{at}, revision {revision}, {reach} in {took}{missing}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_proto::v1::{Propagation, RevocationTarget};

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
            &NamedTarget::of_subject("svc:billing"),
            &response(RevocationOutcome::Revoked, true),
            Duration::from_micros(4_300),
            false,
        );
        assert_eq!(
            line,
            "revoked subject svc:billing at 02:14:07.412Z, revision 1.8841, 1/1 replicas in 4 ms"
        );
    }

    #[test]
    fn the_whole_target_is_named_and_what_holds_already() {
        let narrowed = RevokeResponse {
            target: Some(RevocationTarget {
                audience: "orders".into(),
                issue_cutoff_time: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
                ..Default::default()
            }),
            affected_sessions: 2,
            ..response(RevocationOutcome::WouldRevoke, true)
        };
        let target = NamedTarget::of_subject("s");
        assert_eq!(
            plan(&target, &narrowed),
            "would end 2 live sessions and every token of subject s for audience orders, issued before 1970-01-01T00:00:00Z"
        );
        let earlier = RevokeResponse {
            revocation_reason: RevocationReason::Leaked.into(),
            ..response(RevocationOutcome::AlreadyRevoked, true)
        };
        assert_eq!(
            plan(&target, &earlier),
            "subject s is revoked already since 1970-01-01T02:14:07.412Z (LEAKED)"
        );
        let line = result(&target, &earlier, Duration::ZERO, false);
        assert!(
            line.starts_with("already revoked subject s since 1970-01-01T02:14:07.412Z (LEAKED), rev"),
            "{line}"
        );
    }

    #[test]
    fn what_has_expired_for_every_clock_is_not_said_to_be_revoked() {
        let nothing =
            RevokeResponse { revoke_time: None, ..response(RevocationOutcome::AlreadyExpired, true) };
        let line = result(&NamedTarget::of_subject("s"), &nothing, Duration::ZERO, false);
        assert!(
            line.starts_with("already expired, nothing was to be revoked: subject s, revision"),
            "{line}"
        );
        let recorded = response(RevocationOutcome::AlreadyExpired, true);
        let line = result(&NamedTarget::of_subject("s"), &recorded, Duration::ZERO, false);
        assert!(line.starts_with("already expired, and revoked: subject s at 02:14:07.412Z"), "{line}");
    }

    #[test]
    fn who_is_missing_is_named_with_what_that_means() {
        let line = |complete, laggards: &[&str], local| {
            let mut response = response(RevocationOutcome::Revoked, complete);
            response.propagation = Some(Propagation {
                complete,
                applied_replicas: 5,
                replicas: 6,
                laggards: laggards.iter().map(|name| (*name).to_owned()).collect(),
                ..Propagation::default()
            });
            let line = result(&NamedTarget::of_subject("s"), &response, Duration::from_millis(3_310), local);
            line.split_once("1.8841, ").map(|(_, rest)| rest.to_owned()).unwrap_or_default()
        };
        assert_eq!(
            line(true, &["dev-3"], false),
            "5/6 replicas in 3.3 s (dev-3 did not answer and can hold no lease any more)"
        );
        assert_eq!(
            line(false, &["a", "b\u{7}", "c", "d"], false),
            "5/6 replicas in 3.3 s (not yet: a, b\\u{7}, c and 1 more)"
        );
        assert_eq!(line(true, &[], true), "5/6 replicas in 3.3 s (the rest: not waited for)");
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
