//! `jeton policy`: the rules for tokens of an audience, obtained by a client.

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Identity, Listener, SAFE_AGAIN},
        pages::{self, PAGE_SIZE},
    },
    term::{
        exit::{Exit, Failure},
        output,
    },
    verbs::{
        policy_apply, policy_explain, policy_set,
        policy_show::{PolicyName, rules},
    },
};
use jeton_proto::v1::{
    DeletePolicyRequest, GetPolicyRequest, ListPoliciesRequest, ListPoliciesResponse, Policy,
};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum PolicyCommand {
    /// List stored policies, by audience, then client
    List,
    /// One policy, as stored and as it takes effect
    Get(PolicyName),
    /// Each rule in effect for an audience and a client, and which policy it is from
    Explain(policy_explain::ExplainArgs),
    /// Show how the policies of a file differ from what is stored; exit 3 if they do
    Diff(policy_apply::DiffArgs),
    /// Make what is stored what a file says; nothing is removed without --prune
    Apply(policy_apply::ApplyArgs),
    /// Change the fields that are given, or create the policy
    Set(Box<policy_set::SetArgs>),
    /// Remove a policy: the wider ones apply
    Delete {
        #[command(flatten)]
        name: PolicyName,
        /// Only if the policy still has this etag
        #[arg(long)]
        etag: Option<String>,
    },
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: PolicyCommand) -> Result<Exit, Failure> {
    match command {
        PolicyCommand::List => list(cli).await,
        PolicyCommand::Get(name) => get(cli, name).await,
        PolicyCommand::Explain(args) => policy_explain::run(cli, args).await,
        PolicyCommand::Diff(args) => policy_apply::diff(cli, args).await,
        PolicyCommand::Apply(args) => policy_apply::apply(cli, args).await,
        PolicyCommand::Set(args) => policy_set::run(cli, *args).await,
        PolicyCommand::Delete { name, etag } => delete(cli, name, etag).await,
    }
}

async fn list(cli: &Cli<'_>) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let mut all = ListPoliciesResponse::default();
    pages::each(async |page_token| {
        let request = ListPoliciesRequest { page_size: PAGE_SIZE, page_token };
        let page = connection.call(request).await?;
        all.policies.extend(page.policies);
        Ok(page.next_page_token)
    })
    .await?;
    if as_json {
        cli.output.json(&all, false)?;
    } else {
        let rows = all.policies.iter().map(row).collect();
        let header = [
            "AUDIENCE",
            "CLIENT",
            "DEFAULT TTL",
            "MAX TTL",
            "EXCESS",
            "LEEWAY",
            "IDLE",
            "ABSOLUTE",
            "GRACE",
            "DAILY BOUNDARY",
            "SCOPES",
            "ALGORITHM",
            "ISSUE AUDITED",
            "SESSIONS PER SUBJECT",
        ];
        output::table(&header, rows)?;
    }
    Ok(Exit::Done)
}

fn row(policy: &Policy) -> Vec<String> {
    let name = [policy.audience.clone(), policy.client_id.clone()];
    name.into_iter().chain(rules(policy).map(|(_, value)| value)).collect()
}

async fn get(cli: &Cli<'_>, name: PolicyName) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = GetPolicyRequest { audience: name.audience.clone(), client_id: name.client.clone() };
    let response = connection.call(request).await?;
    if as_json {
        cli.output.json(&response, false)?;
        return Ok(Exit::Done);
    }
    if response.policy.is_none() {
        output::talk("This policy stores nothing of its own: wider ones apply.");
    }
    let stored = response.policy.unwrap_or_default();
    let effective = response.effective_policy.unwrap_or_default();
    let pairs = rules(&stored).into_iter().zip(rules(&effective));
    let mut rows: Vec<_> = pairs.map(|((name, own), (_, real))| vec![name.to_owned(), own, real]).collect();
    rows.push(vec!["etag".into(), stored.etag, String::new()]);
    output::table(&["RULE", "STORED", "IN EFFECT"], rows)?;
    Ok(Exit::Done)
}

async fn delete(cli: &Cli<'_>, name: PolicyName, etag: Option<String>) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = DeletePolicyRequest {
        audience: name.audience.clone(),
        client_id: name.client.clone(),
        etag: etag.unwrap_or_default(),
    };
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        let (audience, client) = (escape(&name.audience), escape(&name.client));
        output::data(&format!("deleted the policy of audience {audience}, client {client}"))?;
    }
    Ok(Exit::Done)
}
