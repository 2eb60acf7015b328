//! `jeton session`: the sessions of a subject or a client.

use jiff::SignedDuration;

use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Identity, Listener},
        pages,
    },
    term::{
        exit::{Exit, Failure},
        ids, output, time,
    },
    verbs::{
        explain,
        past::After,
        revoke::{
            self,
            args::{Reason, RevokeArgs, WaitFor},
        },
        session_show::{table, talk_similar},
    },
};
use jeton_proto::v1::{ListSessionsRequest, ListSessionsResponse, explain_request::Question};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum SessionCommand {
    /// List sessions, newest first
    List(ListArgs),
    /// Tell all that is known about one session
    Show(ShowArgs),
    /// Revoke one session: the same as `jeton revoke --session`
    Revoke(RevokeSessionArgs),
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The session
    #[arg(value_name = "ID", value_parser = ids::session)]
    session: String,
}

/// Flags of `revoke`.
#[derive(Debug, clap::Args)]
pub struct RevokeSessionArgs {
    /// The session
    #[arg(value_name = "ID", value_parser = ids::session)]
    session: String,
    /// The reason
    #[arg(long)]
    reason: Option<Reason>,
    /// An incident number or note
    #[arg(long)]
    note: Option<String>,
    /// Show what would happen, change nothing
    #[arg(long)]
    dry_run: bool,
    /// How far the revocation must have travelled before the answer [default: replicas]
    #[arg(long, value_name = "REACH")]
    wait_for: Option<WaitFor>,
    /// The longest wait for that; if it ends first, the exit code is 7
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    wait: Option<SignedDuration>,
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whose").required(true).multiple(true))]
pub struct ListArgs {
    /// Sessions of this subject
    #[arg(long, group = "whose")]
    subject: Option<String>,
    /// Sessions that this client opened
    #[arg(long, group = "whose")]
    client: Option<String>,
    /// Only those that were opened from here on: 2h, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// Include ended sessions
    #[arg(long)]
    show_ended: bool,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: SessionCommand) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    match command {
        SessionCommand::List(args) => list(cli, args, as_json).await,
        SessionCommand::Show(args) => {
            let answer = explain::ask(cli, Question::SessionId(args.session)).await?;
            if as_json {
                cli.output.json(&answer, false)?;
            } else {
                explain::print(cli, &answer)?;
            }
            Ok(Exit::Done)
        }
        SessionCommand::Revoke(args) => {
            let RevokeSessionArgs { session, reason, note, dry_run, wait_for, wait } = args;
            let session = Some(session);
            let same = RevokeArgs { session, reason, note, dry_run, wait_for, wait, ..RevokeArgs::default() };
            revoke::run(cli, same).await
        }
    }
}

async fn list(cli: &Cli<'_>, args: ListArgs, as_json: bool) -> Result<Exit, Failure> {
    let after = After::of(cli, args.after.as_deref())?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut all = ListSessionsResponse::default();
    all.next_page_token = pages::up_to(limit, async |page_size, page_token| {
        let request = ListSessionsRequest {
            subject: args.subject.clone().unwrap_or_default(),
            client_id: args.client.clone().unwrap_or_default(),
            show_ended: args.show_ended,
            page_size,
            page_token,
        };
        let page = connection.call(request).await?;
        let is_last = page.sessions.last().is_some_and(|it| after.ends_before(it.create_time.as_ref()));
        let shown = page.sessions.into_iter().filter(|it| after.shows(it.create_time.as_ref()));
        all.sessions.extend(shown);
        all.similar_subjects = page.similar_subjects;
        Ok((all.sessions.len(), if is_last { String::new() } else { page.next_page_token }))
    })
    .await?;
    if as_json {
        cli.output.json(&all, false)?;
    } else {
        table(&all.sessions)?;
        talk_similar(&all.similar_subjects);
        if !all.next_page_token.is_empty() {
            output::talk("There are more. Give a larger --limit.");
        }
    }
    Ok(Exit::Done)
}
