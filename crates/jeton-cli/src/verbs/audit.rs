//! `jeton audit`: acts, and the callers that did them.

use std::{collections::HashSet, time::Duration};

use prost::Message as _;
use prost_types::Timestamp;
use tokio::time::sleep;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Connection, Identity, Listener},
        pages,
    },
    term::{
        exit::{Exit, Failure},
        ids, json, output, time,
    },
    verbs::{past, session_show::talk_similar},
};
use jeton_proto::v1::{AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse, RevocationReason};

/// The pause between two looks of `tail`.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// `tail` looks back so far at each look: servers' clocks differ, and rows are committed in another order than they were
/// begun. Seconds.
const LOOK_BACK_S: i64 = 60;
/// The most events of one look of `tail`.
const TAIL_MAX: usize = 10_000;

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// List events, newest first; an event must match all flags
    List(ListArgs),
    /// Show events as they come, until it is interrupted
    Tail(TailArgs),
}

/// What an event must be.
#[derive(Debug, clap::Args)]
pub struct FilterArgs {
    /// Of this subject
    #[arg(long)]
    subject: Option<String>,
    /// Of this token; of a list that was revoked, the row of its chunk
    #[arg(long, value_parser = ids::jti)]
    jti: Option<String>,
    /// Of this session
    #[arg(long, value_name = "ID", value_parser = ids::session)]
    session: Option<String>,
    /// Of this client
    #[arg(long)]
    client: Option<String>,
    /// Of this signing key
    #[arg(long, value_name = "KID", allow_hyphen_values = true, value_parser = ids::key)]
    key: Option<String>,
    /// By this caller
    #[arg(long, value_name = "CLIENT")]
    actor: Option<String>,
    /// Of this kind, by its whole name, such as Revoke
    #[arg(long)]
    action: Option<String>,
    /// With this text in its note
    // The id tells it from the note of a revocation, which may be empty.
    #[arg(long = "note", id = "note_text", value_name = "TEXT")]
    note: Option<String>,
    /// Include the prober's canaries
    #[arg(long)]
    show_canaries: bool,
    /// One event on a line, as JSON
    #[arg(long)]
    json_lines: bool,
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
    /// From here on: 2h, or an RFC 3339 time
    #[arg(long, visible_alias = "after", value_name = "TIME")]
    since: Option<String>,
    /// Up to here: 2h, or an RFC 3339 time
    #[arg(long, visible_alias = "before", value_name = "TIME")]
    until: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub struct TailArgs {
    #[command(flatten)]
    filter: FilterArgs,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: AuditCommand) -> Result<Exit, Failure> {
    match command {
        AuditCommand::List(args) => list(cli, args).await,
        AuditCommand::Tail(args) => tail(cli, &args.filter).await,
    }
}

async fn list(cli: &Cli<'_>, args: ListArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let instant = |flag: &str, text: Option<&str>| {
        past::instant(cli, flag, text).map(|instant| instant.map(time::to_wire_timestamp))
    };
    let request = ListAuditEventsRequest {
        start_time: instant("--since", args.since.as_deref())?,
        end_time: instant("--until", args.until.as_deref())?,
        ..request_of(&args.filter)
    };
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let all = fetch(&connection, &request, limit).await?;
    if args.filter.json_lines {
        return lines(&all.audit_events).map(|()| Exit::Done);
    }
    if as_json {
        cli.output.json(&all, false)?;
        return Ok(Exit::Done);
    }
    output::table(&HEADER, all.audit_events.iter().map(row).collect())?;
    talk_similar(&all.similar_subjects);
    if !all.next_page_token.is_empty() {
        output::talk("There are more. Give a larger --limit.");
    }
    Ok(Exit::Done)
}

/// Shows what is new at each look, until it is interrupted.
async fn tail(cli: &Cli<'_>, filter: &FilterArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()? || filter.json_lines;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut seen = HashSet::new();
    let back =
        |now: jiff::Timestamp| Timestamp { seconds: now.as_second().saturating_sub(LOOK_BACK_S), nanos: 0 };
    let mut since = back((cli.env.now)());
    loop {
        let request = ListAuditEventsRequest { start_time: Some(since), ..request_of(filter) };
        let mut found = fetch(&connection, &request, TAIL_MAX).await?.audit_events;
        found.reverse();
        // Only those of this look can come again at the next one.
        let before = std::mem::take(&mut seen);
        for event in found {
            // How many replicas have applied it changes; it is the same event.
            let same = AuditEvent { applied_replicas: 0, replicas: 0, ..event.clone() };
            let bytes = same.encode_to_vec();
            if !before.contains(&bytes) {
                if as_json {
                    lines(std::slice::from_ref(&event))?;
                } else {
                    output::data(&line(&event))?;
                }
            }
            seen.insert(bytes);
        }
        since = back((cli.env.now)());
        sleep(LOOK_EVERY).await;
    }
}

fn request_of(filter: &FilterArgs) -> ListAuditEventsRequest {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    ListAuditEventsRequest {
        subject: text(&filter.subject),
        jti: text(&filter.jti),
        session_id: text(&filter.session),
        client_id: text(&filter.client),
        key_id: text(&filter.key),
        actor: text(&filter.actor),
        action: text(&filter.action),
        note: text(&filter.note),
        show_canaries: filter.show_canaries,
        ..ListAuditEventsRequest::default()
    }
}

async fn fetch(
    connection: &Connection,
    request: &ListAuditEventsRequest,
    limit: usize,
) -> Result<ListAuditEventsResponse, Failure> {
    let mut all = ListAuditEventsResponse::default();
    all.next_page_token = pages::up_to(limit, async |page_size, page_token| {
        let request = ListAuditEventsRequest { page_size, page_token, ..request.clone() };
        let page = connection.call(request).await?;
        all.audit_events.extend(page.audit_events);
        all.similar_subjects = page.similar_subjects;
        Ok((all.audit_events.len(), page.next_page_token))
    })
    .await?;
    Ok(all)
}

/// Prints each event as JSON on a line.
fn lines(events: &[AuditEvent]) -> Result<(), Failure> {
    events.iter().try_for_each(|event| output::data(&json::on_a_line(event)?))
}

const HEADER: [&str; 14] = [
    "TIME", "ACTOR", "ACTION", "OUTCOME", "REPLICAS", "SUBJECT", "JTI", "SESSION", "CLIENT", "KEY", "ONLY",
    "REASON", "NOTE", "TRACE",
];

/// An event on a line for people: its time and its facts, each with its name.
fn line(event: &AuditEvent) -> String {
    let facts = HEADER.iter().zip(row(event)).filter(|(_, fact)| !fact.is_empty());
    let facts = facts.map(|(name, fact)| match *name {
        "TIME" | "ACTION" | "OUTCOME" => fact,
        name => format!("{}={}", name.to_lowercase(), escape(&fact)),
    });
    facts.collect::<Vec<_>>().join(" ")
}

/// The limits of a wide revocation: `orders, before 2026-01-31T09:00:00Z`.
fn narrowed(event: &AuditEvent) -> String {
    let before = event.issue_cutoff_time.as_ref().map(|time| format!("before {}", time::show(Some(time))));
    let audience = Some(event.audience.clone()).filter(|audience| !audience.is_empty());
    audience.into_iter().chain(before).collect::<Vec<_>>().join(", ")
}

fn row(event: &AuditEvent) -> Vec<String> {
    let reason = event.reason();
    let reason = if reason == RevocationReason::Unspecified { "" } else { reason.as_str_name() };
    vec![
        time::show(event.event_time.as_ref()),
        event.actor.clone(),
        event.action.clone(),
        event.outcome.clone(),
        format!("{}/{}", event.applied_replicas, event.replicas),
        event.subject.clone(),
        event.jti.clone(),
        event.session_id.clone(),
        event.client_id.clone(),
        event.key_id.clone(),
        narrowed(event),
        reason.trim_start_matches("REVOCATION_REASON_").to_owned(),
        event.note.clone(),
        event.trace_id.clone(),
    ]
}
