//! `jeton audit`: acts, and the callers that did them.

use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Identity, Listener},
        pages,
    },
    term::{
        exit::{Exit, Failure},
        output, time,
    },
    verbs::session::talk_similar,
};
use jeton_proto::v1::{
    AuditEvent, ListAuditEventsRequest, ListAuditEventsResponse, RevocationReason,
    admin_service_client::AdminServiceClient,
};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum AuditCommand {
    /// List events, newest first; an event must match all flags
    List(ListArgs),
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Of this subject
    #[arg(long)]
    subject: Option<String>,
    /// Of this token
    #[arg(long)]
    jti: Option<String>,
    /// Of this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// By this caller
    #[arg(long, value_name = "CLIENT")]
    actor: Option<String>,
    /// From here on: 2h, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: AuditCommand) -> Result<Exit, Failure> {
    let AuditCommand::List(args) = command;
    let as_json = cli.output.wants_json()?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let start = args.since.as_deref().map(|since| time::parse_since(since, (cli.env.now)())).transpose();
    let start = start.map_err(|error| Failure::Usage(format!("--since: {error}.")))?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut client = AdminServiceClient::new(connection.channel());
    let mut all = ListAuditEventsResponse::default();
    all.next_page_token = pages::up_to(limit, async |page_size, page_token| {
        let request = ListAuditEventsRequest {
            subject: args.subject.clone().unwrap_or_default(),
            jti: args.jti.clone().unwrap_or_default(),
            session_id: args.session.clone().unwrap_or_default(),
            actor: args.actor.clone().unwrap_or_default(),
            start_time: start.map(time::to_wire_timestamp),
            end_time: None,
            page_size,
            page_token,
            ..ListAuditEventsRequest::default()
        };
        let page = connection.call(client.list_audit_events(connection.request(request))).await?;
        all.audit_events.extend(page.audit_events);
        all.similar_subjects = page.similar_subjects;
        Ok((all.audit_events.len(), page.next_page_token))
    })
    .await?;
    if as_json {
        cli.output.json(&all, false)?;
    } else {
        let rows = all.audit_events.iter().map(row).collect();
        let header = [
            "TIME", "ACTOR", "ACTION", "OUTCOME", "SUBJECT", "JTI", "SESSION", "CLIENT", "KEY", "ONLY",
            "REASON", "NOTE",
        ];
        output::table(&header, rows)?;
        talk_similar(&all.similar_subjects);
        if !all.next_page_token.is_empty() {
            output::talk("There are more. Give a larger --limit.");
        }
    }
    Ok(Exit::Done)
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
        event.subject.clone(),
        event.jti.clone(),
        event.session_id.clone(),
        event.client_id.clone(),
        event.key_id.clone(),
        narrowed(event),
        reason.trim_start_matches("REVOCATION_REASON_").to_owned(),
        event.note.clone(),
    ]
}
