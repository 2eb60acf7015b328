//! `jeton session`: the sessions of a subject or a client.

use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Identity, Listener},
        pages,
    },
    term::{
        exit::{Exit, Failure},
        output,
    },
    verbs::{
        explain,
        session_show::{table, talk_similar},
    },
};
use jeton_proto::v1::{
    ListSessionsRequest, ListSessionsResponse, admin_service_client::AdminServiceClient,
    explain_request::Question,
};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum SessionCommand {
    /// List sessions, newest first
    List(ListArgs),
    /// Tell all that is known about one session
    Show(ShowArgs),
}

/// Flags of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The session
    #[arg(value_name = "ID", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    session: String,
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
    let args = match command {
        SessionCommand::List(args) => args,
        SessionCommand::Show(args) => {
            let answer = explain::ask(cli, Question::SessionId(args.session)).await?;
            if as_json {
                cli.output.json(&answer, false)?;
            } else {
                explain::print(cli, &answer)?;
            }
            return Ok(Exit::Done);
        }
    };
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut client = AdminServiceClient::new(connection.channel());
    let mut all = ListSessionsResponse::default();
    all.next_page_token = pages::up_to(limit, async |page_size, page_token| {
        let request = ListSessionsRequest {
            subject: args.subject.clone().unwrap_or_default(),
            client_id: args.client.clone().unwrap_or_default(),
            show_ended: args.show_ended,
            page_size,
            page_token,
        };
        let page = connection.call(client.list_sessions(connection.request(request))).await?;
        all.sessions.extend(page.sessions);
        all.similar_subjects = page.similar_subjects;
        Ok((all.sessions.len(), page.next_page_token))
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
