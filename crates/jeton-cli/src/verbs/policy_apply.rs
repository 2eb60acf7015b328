//! `jeton policy diff` and `jeton policy apply`: policies as a file says them. Whatever the file does not name stays,
//! unless it is to be pruned.

use std::path::PathBuf;

use jiff::SignedDuration;
use prost_types::FieldMask;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Connection, Identity, Listener, SAFE_AGAIN},
        pages::{self, PAGE_SIZE},
    },
    term::{
        exit::{Exit, Failure},
        json, output, time,
    },
    verbs::{policy_clients, policy_file, policy_show::rules},
};
use jeton_proto::v1::{DeletePolicyRequest, ListPoliciesRequest, Policy, UpdatePolicyRequest};

/// Flags of `diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The file: TOML, or JSON if its name ends in .json
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: PathBuf,
    /// Count stored policies that the file does not name as differences: `apply --prune` removes them
    #[arg(long)]
    prune: bool,
}

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    #[command(flatten)]
    of: DiffArgs,
    /// Have the server check each change, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// A difference between the file and what is stored.
enum Change {
    /// The policy becomes what the file says. `None`: there is none yet.
    Write(Box<Policy>, Option<Box<Policy>>),
    /// The policy goes.
    Remove(Box<Policy>),
}

/// A difference, for programs.
#[derive(serde::Serialize)]
struct Shown {
    change: &'static str,
    audience: String,
    client: String,
    rules: Vec<ShownRule>,
}

#[derive(serde::Serialize)]
struct ShownRule {
    rule: &'static str,
    stored: String,
    file: String,
}

/// Shows the differences: exit 3 if there are any.
pub async fn diff(cli: &Cli<'_>, args: DiffArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let wanted = policy_file::read(&args.file)?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let (changes, unnamed) = changes(&connection, wanted, args.prune).await?;
    warn_of_unknown_clients(&connection, &changes).await;
    show(&changes, as_json)?;
    if !as_json {
        talk_unnamed(&unnamed);
    }
    Ok(if changes.is_empty() { Exit::Done } else { Exit::Negative })
}

/// Makes what is stored what the file says.
pub async fn apply(cli: &Cli<'_>, args: ApplyArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let wanted = policy_file::read(&args.of.file)?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let (changes, unnamed) = changes(&connection, wanted, args.of.prune).await?;
    // All of them are checked first: of a file with a fault nothing is applied.
    for change in &changes {
        act(&connection, change, true).await.inspect_err(|_| {
            output::talk(&escape(&format!(
                "Nothing was changed. This change is refused: {}.",
                title(change)
            )));
        })?;
    }
    for (done, change) in changes.iter().enumerate().filter(|_| !args.dry_run) {
        act(&connection, change, false).await.inspect_err(|_| {
            let (all, title) = (changes.len(), title(change));
            output::talk(&escape(&format!(
                "{done} of {all} changes were made before this one failed: {title}. The same command again goes on."
            )));
        })?;
    }
    warn_of_unknown_clients(&connection, &changes).await;
    show(&changes, as_json)?;
    if !as_json {
        talk_unnamed(&unnamed);
    }
    let said = match (args.dry_run, changes.is_empty()) {
        (_, true) => "Nothing differs.",
        (true, false) => "Nothing was changed (--dry-run).",
        (false, false) => "In effect on every replica.",
    };
    output::talk(said);
    if !args.dry_run {
        changes.iter().filter_map(|change| lives_on(change, cli)).for_each(|text| output::talk(&text));
    }
    Ok(Exit::Done)
}

async fn warn_of_unknown_clients(connection: &Connection, changes: &[Change]) {
    let written = changes.iter().filter_map(|change| match change {
        Change::Write(policy, _) => Some(policy.client_id.as_str()),
        Change::Remove(_) => None,
    });
    policy_clients::warn_of_unknown(connection, written).await;
}

/// The differences, and the stored policies that the file does not name and that stay.
async fn changes(
    connection: &Connection,
    wanted: Vec<Policy>,
    prune: bool,
) -> Result<(Vec<Change>, Vec<Policy>), Failure> {
    let mut stored = Vec::new();
    pages::each(async |page_token| {
        let request = ListPoliciesRequest { page_size: PAGE_SIZE, page_token };
        let page = connection.call(request).await?;
        stored.extend(page.policies);
        Ok(page.next_page_token)
    })
    .await?;
    let mut changes = Vec::new();
    for policy in wanted {
        let place = stored
            .iter()
            .position(|it| (&it.audience, &it.client_id) == (&policy.audience, &policy.client_id));
        let held = place.map(|place| Box::new(stored.swap_remove(place)));
        if held.as_ref().is_none_or(|held| rules(held) != rules(&policy)) {
            changes.push(Change::Write(Box::new(policy), held));
        }
    }
    stored.sort_by(|a, b| (&a.audience, &a.client_id).cmp(&(&b.audience, &b.client_id)));
    if prune {
        changes.extend(stored.drain(..).map(|policy| Change::Remove(Box::new(policy))));
    }
    Ok((changes, stored))
}

async fn act(connection: &Connection, change: &Change, dry_run: bool) -> Result<(), Failure> {
    match change {
        Change::Write(policy, held) => {
            // Only what was compared is replaced.
            let etag = held.as_ref().map(|held| held.etag.clone()).unwrap_or_default();
            let request = UpdatePolicyRequest {
                policy: Some(Policy { etag, ..(**policy).clone() }),
                update_mask: Some(FieldMask { paths: vec!["*".to_owned()] }),
                allow_missing: held.is_none(),
                validate_only: dry_run,
            };
            connection.change(request, SAFE_AGAIN).await?;
        }
        Change::Remove(_) if dry_run => {}
        Change::Remove(policy) => {
            let request = DeletePolicyRequest {
                audience: policy.audience.clone(),
                client_id: policy.client_id.clone(),
                etag: policy.etag.clone(),
            };
            connection.change(request, SAFE_AGAIN).await?;
        }
    }
    Ok(())
}

fn show(changes: &[Change], as_json: bool) -> Result<(), Failure> {
    let shown: Vec<Shown> = changes.iter().map(shown).collect();
    if as_json {
        return output::data(&json::of_own(&shown)?);
    }
    for (change, shown) in changes.iter().zip(&shown) {
        output::data(&title(change))?;
        for ShownRule { rule, stored, file } in &shown.rules {
            let text = |text: &str| if text.is_empty() { "(wider)".to_owned() } else { escape(text) };
            output::data(&format!("  {rule}: {} -> {}", text(stored), text(file)))?;
        }
    }
    Ok(())
}

fn title(change: &Change) -> String {
    let (sign, policy) = match change {
        Change::Write(policy, None) => ("+", policy),
        Change::Write(policy, Some(_)) => ("~", policy),
        Change::Remove(policy) => ("-", policy),
    };
    format!("{sign} audience {}, client {}", escape(&policy.audience), escape(&policy.client_id))
}

fn shown(change: &Change) -> Shown {
    let empty = Policy::default();
    let (name, policy, stored, file) = match change {
        Change::Write(policy, None) => ("create", policy, &empty, &**policy),
        Change::Write(policy, Some(held)) => ("update", policy, &**held, &**policy),
        Change::Remove(policy) => ("remove", policy, &**policy, &empty),
    };
    let pairs = rules(stored).into_iter().zip(rules(file)).filter(|(stored, file)| stored != file);
    Shown {
        change: name,
        audience: policy.audience.clone(),
        client: policy.client_id.clone(),
        rules: pairs.map(|((rule, stored), (_, file))| ShownRule { rule, stored, file }).collect(),
    }
}

fn talk_unnamed(unnamed: &[Policy]) {
    if unnamed.is_empty() {
        return;
    }
    let names: Vec<_> = unnamed
        .iter()
        .map(|policy| format!("{} (client {})", escape(&policy.audience), escape(&policy.client_id)))
        .collect();
    output::talk(&format!("Stored, and not in the file: {}. They stay, without --prune.", names.join(", ")));
}

/// After a maximum was lowered: the tokens from before live on.
fn lives_on(change: &Change, cli: &Cli<'_>) -> Option<String> {
    let Change::Write(policy, Some(held)) = change else { return None };
    let seconds = |policy: &Policy| policy.max_ttl.as_ref().map(time::from_wire_duration);
    let (before, after) = (seconds(held)?, seconds(policy)?);
    if after >= before {
        return None;
    }
    let until = (cli.env.now)().checked_add(before).ok()?;
    let until = time::show(Some(&time::to_wire_timestamp(until)));
    Some(format!(
        "Tokens for {} that were issued before live until their exp, at most {} more: until {until}. To end them now: jeton \
         revoke --audience {} --reason privilege-change",
        escape(&policy.audience),
        time::show_duration(Some(&time::to_wire_duration(SignedDuration::from_secs(before.as_secs())))),
        escape(&policy.audience)
    ))
}
