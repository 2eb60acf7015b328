//! `jeton explain`: what something is, whether it is in force, and what ended it, when, by whom.

use std::path::PathBuf;

use clap::{ArgGroup, builder::NonEmptyStringValueParser as NonEmpty};
use jiff::Timestamp;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        ids,
        output::{self, Tone},
        time, token_input,
    },
    verbs::{lock, revoke::target::NamedTarget, session_show},
};
use jeton_proto::v1::{
    ExplainRequest, ExplainResponse, Explanation, Session,
    explain_request::Question,
    explanation::{Cause, Kind, State},
};
use jeton_token::{may_hold_credential, pasted};

/// Flags.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").multiple(false))]
pub struct ExplainArgs {
    /// The id of a token or a session; or `-` to read a token from standard input, as without anything
    #[arg(value_name = "ID|-", group = "what")]
    id: Option<String>,
    /// Read the token from this file; a refresh token means its session
    #[arg(long, value_name = "FILE", group = "what")]
    token_file: Option<PathBuf>,
    /// A token, by its jti
    #[arg(long, value_name = "JTI", group = "what", value_parser = ids::jti)]
    jti: Option<String>,
    /// A session
    #[arg(long, value_name = "ID", group = "what", value_parser = ids::session)]
    session: Option<String>,
    /// A subject: the revocations of it, and its live sessions
    #[arg(long, group = "what", value_parser = NonEmpty::new())]
    subject: Option<String>,
}

/// Runs it.
pub async fn run(cli: &Cli<'_>, args: ExplainArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let question = question(cli, args).await?;
    let is_no_token = matches!(&question, Question::Token(text) if !may_hold_credential(text));
    let answer = ask(cli, question).await?;
    if as_json {
        cli.output.json(&answer, false)?;
    } else if answer.explanations.is_empty() && is_no_token {
        output::data("No token is in this text. For a name: jeton explain --subject NAME")?;
    } else {
        print(cli, &answer)?;
    }
    // Nothing that is known of it is an answer like that of a session that is not on record.
    let is_known = answer.explanations.iter().any(|it| it.state() != State::Unknown);
    Ok(if is_known { Exit::Done } else { Exit::Negative })
}

/// Asks the server.
pub async fn ask(cli: &Cli<'_>, question: Question) -> Result<ExplainResponse, Failure> {
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = ExplainRequest { question: Some(question) };
    connection.call(request).await
}

async fn question(cli: &Cli<'_>, args: ExplainArgs) -> Result<Question, Failure> {
    let token = match args {
        ExplainArgs { jti: Some(jti), .. } => return Ok(Question::Jti(jti)),
        ExplainArgs { session: Some(session), .. } => return Ok(Question::SessionId(session)),
        ExplainArgs { subject: Some(subject), .. } => return Ok(Question::Subject(subject)),
        ExplainArgs { token_file: Some(path), .. } => token_input::from_file(&path)?,
        ExplainArgs { id: Some(id), .. } if token_input::is_token_text(&id) => {
            let text = "token text on the command line is read by others. Pipe it in, or give --token-file.";
            return Err(Failure::Usage(text.to_owned()));
        }
        ExplainArgs { id: Some(id), .. } if id != "-" => return id_or_usage(&id).map(Question::Id),
        _ => token_input::from_stdin(cli, "Token").await?,
    };
    Ok(Question::Token(token_input::expose(&token)))
}

/// An id in any spelling.
fn id_or_usage(text: &str) -> Result<String, Failure> {
    match pasted::uuid_in_any_form(text) {
        Some(id) => Ok(id.to_string()),
        None => Err(Failure::Usage(format!(
            "ID is the UUID of a token or a session, and this is none{}. Give one, a token by a pipe or --token-file, or \
             --subject.",
            ids::hint(text)
        ))),
    }
}

/// Prints every explanation in words.
pub fn print(cli: &Cli<'_>, answer: &ExplainResponse) -> Result<(), Failure> {
    if !answer.readable_jti.is_empty() {
        output::data("This text cannot be verified as a token of this issuer. The jti in it can be read:")?;
    } else if answer.explanations.is_empty() {
        output::data(
            "This text cannot be verified as a token of this issuer, and no jti can be read in it.",
        )?;
    }
    for explanation in &answer.explanations {
        one(cli, explanation)?;
    }
    if answer.actors_withheld {
        output::talk("Who did it, and with which note, is shown to clients with PERMISSION_ADMIN_READ.");
    }
    Ok(())
}

fn one(cli: &Cli<'_>, explanation: &Explanation) -> Result<(), Failure> {
    let now = (cli.env.now)();
    let (name, tone) = match explanation.state() {
        State::Live => ("LIVE", Tone::Good),
        State::Revoked => ("REVOKED", Tone::Bad),
        State::Expired => ("EXPIRED", Tone::Doubtful),
        State::Unknown => ("UNKNOWN", Tone::Doubtful),
        State::Unspecified => ("", Tone::Doubtful),
    };
    let what = title(explanation);
    if name.is_empty() {
        output::data(&what)?;
    } else {
        output::data(&format!("{what}: {}", cli.output.paint(name, tone)))?;
    }
    output::facts(&facts(explanation, now))?;
    for cause in &explanation.causes {
        output::data(&self::cause(explanation, cause))?;
    }
    for lock in &explanation.locks {
        output::data(&lock::told(lock, now))?;
    }
    if explanation.state() == State::Unknown {
        output::data(
            "No row is kept for a token, so its jti alone does not tell whether it was minted here, whose it is, or \
             whether a revocation of its subject, client or key hits it. Its text would.",
        )?;
    }
    if !explanation.sample_sessions.is_empty() {
        session_show::table(&explanation.sample_sessions)?;
    }
    if let Some(ends) = how_to_end(explanation) {
        output::data(&ends)?;
    }
    Ok(())
}

fn title(explanation: &Explanation) -> String {
    let session = explanation.session.as_ref().map_or("", |session| session.session_id.as_str());
    match explanation.kind() {
        Kind::Unspecified => "something that this program does not know".to_owned(),
        Kind::Token => format!("token {}", escape(&explanation.jti)),
        Kind::Session => format!("session {}", escape(session)),
        Kind::Subject => {
            let sessions = if explanation.live_sessions == 1 { "session" } else { "sessions" };
            let subject = escape(&explanation.subject);
            format!("subject {subject}: {} live {sessions}", explanation.live_sessions)
        }
    }
}

fn facts(explanation: &Explanation, now: Timestamp) -> Vec<(&'static str, String)> {
    if explanation.kind() == Kind::Subject {
        return Vec::new();
    }
    let expires = time::show_with_distance(explanation.expire_time.as_ref(), now);
    let is_over =
        explanation.expire_time.as_ref().and_then(time::from_wire_timestamp).is_some_and(|end| end <= now);
    let mut facts = vec![
        ("subject", explanation.subject.clone()),
        ("client", explanation.client_id.clone()),
        ("audiences", explanation.audiences.join(" ")),
        ("scopes", explanation.scopes.join(" ")),
        ("key", explanation.key_id.clone()),
        ("issued", time::show_with_distance(explanation.issue_time.as_ref(), now)),
        (if is_over { "expired" } else { "expires" }, expires),
    ];
    if let Some(session) = &explanation.session {
        facts.extend(session_facts(explanation.kind(), session, now));
    }
    facts
}

fn session_facts(kind: Kind, session: &Session, now: Timestamp) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if kind == Kind::Token {
        facts.push(("session", session.session_id.clone()));
    }
    let refreshed = time::show_with_distance(session.refresh_time.as_ref(), now);
    facts.push(("refreshed", format!("{refreshed}, {} times", session.refresh_count)));
    facts.push(("ends if idle", time::show_with_distance(session.idle_expire_time.as_ref(), now)));
    facts
}

/// `revoked at 2026-01-31T09:15:00Z by client on-call, as subject svc:billing (LEAKED), note INC-1, revision 1.8841 on 3/3
/// replicas`
fn cause(explanation: &Explanation, cause: &Cause) -> String {
    let act = cause.audit_event.as_ref();
    let by = act.map_or_else(String::new, |act| match act.action.as_str() {
        "Revoke" => format!(" by {}", escape(&act.actor)),
        action => format!(" by {} ({})", escape(&act.actor), escape(action)),
    });
    let reason = match cause.reason().as_str_name().trim_start_matches("REVOCATION_REASON_") {
        "UNSPECIFIED" => String::new(),
        reason => format!(" ({reason})"),
    };
    let note = act.map(|act| &act.note).filter(|note| !note.is_empty());
    let note = note.map_or_else(String::new, |note| format!(", note {}", escape(note)));
    let reach =
        act.map_or_else(String::new, |act| format!(" on {}/{} replicas", act.applied_replicas, act.replicas));
    format!(
        "revoked at {}{by}{}{reason}{note}, revision {}{reach}",
        time::show(cause.revoke_time.as_ref()),
        hit(explanation, cause),
        escape(&cause.revision)
    )
}

/// The target of a revocation, if it is not just what is explained: `, as subject svc:billing for audience orders`.
fn hit(explanation: &Explanation, cause: &Cause) -> String {
    let Some(target) = &cause.target else { return String::new() };
    let named = target.kind.clone().map(NamedTarget::new).filter(|named| named.name() != explanation.jti);
    let named = named.map_or_else(String::new, |named| format!(", as {}", named.describe()));
    let audience = match target.audience.as_str() {
        "" => String::new(),
        audience => format!(" for audience {}", escape(audience)),
    };
    let cutoff = match &target.issue_cutoff_time {
        None => String::new(),
        cutoff => format!(", issued before {}", time::show(cutoff.as_ref())),
    };
    format!("{named}{audience}{cutoff}")
}

/// The command that ends what is not ended.
fn how_to_end(explanation: &Explanation) -> Option<String> {
    if matches!(explanation.state(), State::Revoked | State::Expired) {
        return None;
    }
    let session = explanation.session.as_ref().map(|session| session.session_id.as_str());
    let command = match (explanation.kind(), session) {
        (Kind::Token, Some(session)) => {
            let (jti, session) = (escape(&explanation.jti), escape(session));
            return Some(format!(
                "To end this token: jeton revoke {jti}. To end its session with all its tokens: jeton revoke --session {session}"
            ));
        }
        (Kind::Token, None) if explanation.state() == State::Unknown => {
            return Some(format!(
                "If it may be of a token that leaked, revoke it: jeton revoke {}. That is recorded even if there is none.",
                escape(&explanation.jti)
            ));
        }
        (Kind::Token, None) => format!("jeton revoke {}", escape(&explanation.jti)),
        (Kind::Session, Some(session)) => format!("jeton revoke --session {}", escape(session)),
        (Kind::Subject, _) => {
            format!("jeton revoke --subject {} --reason leaked", escape(&explanation.subject))
        }
        (Kind::Unspecified | Kind::Session, _) => return None,
    };
    Some(format!("To end it: {command}"))
}
