//! `jeton revocation`: what is in force.

use crate::term::escape::escape;
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
    verbs::{past::After, revoke::target::NamedTarget},
};
use jeton_proto::v1::{ListRevocationsRequest, ListRevocationsResponse, Revocation};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum RevocationCommand {
    /// List the revocations in force, newest first
    List(ListArgs),
}

/// Flags of `list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only those of subjects, clients, audiences and keys
    #[arg(long)]
    wide: bool,
    /// Only those from here on: 2h, or an RFC 3339 time
    #[arg(long, value_name = "TIME")]
    after: Option<String>,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: RevocationCommand) -> Result<Exit, Failure> {
    let RevocationCommand::List(args) = command;
    let as_json = cli.output.wants_json()?;
    let after = After::of(cli, args.after.as_deref())?;
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut all = ListRevocationsResponse::default();
    let next_page_token = pages::up_to(limit, async |page_size, page_token| {
        let request = ListRevocationsRequest { wide_only: args.wide, page_size, page_token };
        let page = connection.call(request).await?;
        let is_last = page.revocations.last().is_some_and(|it| after.ends_before(it.revoke_time.as_ref()));
        let mut revocations = std::mem::take(&mut all.revocations);
        let shown = page.revocations.iter().filter(|it| after.shows(it.revoke_time.as_ref()));
        revocations.extend(shown.cloned());
        let next = if is_last { String::new() } else { page.next_page_token.clone() };
        all = ListRevocationsResponse { revocations, ..page };
        Ok((all.revocations.len(), next))
    })
    .await?;
    all.next_page_token = next_page_token;
    if as_json {
        cli.output.json(&all, false)?;
        return Ok(Exit::Done);
    }
    output::table(
        &["REVOKED", "WHAT", "REASON", "UNTIL", "REVISION"],
        all.revocations.iter().map(row).collect(),
    )?;
    output::talk(&format!(
        "In force: {} of tokens, {} of sessions, {} wide.",
        all.token_count, all.session_count, all.wide_count
    ));
    if !all.next_page_token.is_empty() {
        output::talk("There are more. Give a larger --limit.");
    }
    Ok(Exit::Done)
}

fn row(revocation: &Revocation) -> Vec<String> {
    let target = revocation.target.as_ref();
    let named = target.and_then(|target| target.kind.clone()).map(NamedTarget::new);
    let mut what = named.map_or_else(String::new, |named| named.describe());
    if let Some(audience) = target.map(|target| &target.audience).filter(|audience| !audience.is_empty()) {
        what.push_str(" for audience ");
        what.push_str(&escape(audience));
    }
    if let Some(cutoff) = target.and_then(|target| target.issue_cutoff_time.as_ref()) {
        what.push_str(", issued before ");
        what.push_str(&time::show(Some(cutoff)));
    }
    vec![
        time::show(revocation.revoke_time.as_ref()),
        what,
        revocation.reason().as_str_name().trim_start_matches("REVOCATION_REASON_").to_owned(),
        time::show(revocation.expire_time.as_ref()),
        revocation.revision.clone(),
    ]
}
