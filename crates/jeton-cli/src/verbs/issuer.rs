//! `jeton issuer`: whose assertions are accepted, and who their bearers are here.

use jiff::SignedDuration;
use prost_types::FieldMask;
use secrecy::ExposeSecret as _;

use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Connection, Identity, Listener, SAFE_AGAIN},
        pages::{self, PAGE_SIZE},
    },
    term::{
        escape::escape,
        exit::{Exit, Failure},
        output, time,
        token_input::TokenArgs,
    },
    verbs::issuer_form::{Source, rule_of},
};
use jeton_proto::v1::{
    ClaimCondition, CreateIssuerRequest, DeleteIssuerRequest, GetIssuerRequest, ListIssuersRequest,
    ListIssuersResponse, MappingRule, TestAssertionRequest, TestAssertionResponse, TrustedIssuer,
    UpdateIssuerRequest, claim_condition::Match, trusted_issuer::KeySource,
};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum IssuerCommand {
    /// List trusted issuers, by their short ids
    List,
    /// One trusted issuer, with its rules, and why its keys cannot be read
    Get {
        /// Its short id
        issuer_id: String,
    },
    /// Trust an issuer: its assertions obtain tokens by its rules
    Create(Box<CreateArgs>),
    /// Change the fields that are given, and no others
    Update(Box<UpdateArgs>),
    /// Trust an issuer no more; what was obtained by its assertions lives on
    Delete(DeleteArgs),
    /// Tell which rule an assertion meets, and why others do not
    Test(TokenArgs),
}

/// Flags of both verbs.
#[derive(Debug, clap::Args)]
pub struct Fields {
    /// A name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    #[command(flatten)]
    source: Source,
    /// An `aud` that its assertions may have; may be repeated. Without one: the issuer of this jeton
    #[arg(long)]
    audience: Vec<String>,
    /// The greatest age of an assertion: 5m; without it 1h
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration)]
    max_age: Option<SignedDuration>,
    /// An accepted algorithm: RS256, PS256, ES256 or EdDSA; may be repeated. Without one: all of these
    #[arg(long)]
    algorithm: Vec<String>,
    /// A rule, as JSON with client, subject and when; may be repeated
    #[arg(long, value_name = "JSON", value_parser = rule_of)]
    rule: Vec<MappingRule>,
}

/// Flags of `create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its short id, which stands in tokens
    issuer_id: String,
    /// `iss` of its assertions; of SPIFFE workloads `spiffe://trust-domain`
    #[arg(long, value_name = "ISS")]
    issuer: String,
    #[command(flatten)]
    fields: Fields,
    /// Its assertions may revoke a subject
    #[arg(long)]
    may_revoke: bool,
    /// Its keys may be fetched from private addresses
    #[arg(long)]
    allow_private_addresses: bool,
    /// Refuse its assertions for now
    #[arg(long)]
    disabled: bool,
}

/// Flags of `update`.
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// Its short id
    issuer_id: String,
    /// The given values replace the present ones.
    #[command(flatten)]
    fields: Fields,
    /// Refuse its assertions from now on; what was obtained by them lives on
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Accept its assertions again
    #[arg(long)]
    enable: bool,
    /// Only if the issuer still has this etag
    #[arg(long)]
    etag: Option<String>,
}

/// Flags of `delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Its short id
    issuer_id: String,
    /// Only if the issuer still has this etag
    #[arg(long)]
    etag: Option<String>,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: IssuerCommand) -> Result<Exit, Failure> {
    match command {
        IssuerCommand::List => list(cli).await,
        IssuerCommand::Get { issuer_id } => get(cli, issuer_id).await,
        IssuerCommand::Create(args) => create(cli, *args).await,
        IssuerCommand::Update(args) => update(cli, *args).await,
        IssuerCommand::Delete(args) => delete(cli, args).await,
        IssuerCommand::Test(token) => test(cli, &token).await,
    }
}

/// Lists all trusted issuers.
pub async fn all(connection: &Connection) -> Result<ListIssuersResponse, Failure> {
    let mut all = ListIssuersResponse::default();
    pages::each(async |page_token| {
        let request = ListIssuersRequest { page_size: PAGE_SIZE, page_token };
        let page = connection.call(request).await?;
        all.issuers.extend(page.issuers);
        Ok(page.next_page_token)
    })
    .await?;
    Ok(all)
}

async fn list(cli: &Cli<'_>) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let all = all(&connection).await?;
    if as_json {
        cli.output.json(&all, false)?;
    } else {
        let row = |issuer: &TrustedIssuer| {
            vec![
                issuer.issuer_id.clone(),
                issuer.display_name.clone(),
                state(issuer).to_owned(),
                issuer.issuer.clone(),
                issuer.rules.len().to_string(),
            ]
        };
        output::table(&["ISSUER", "NAME", "STATE", "ISS", "RULES"], all.issuers.iter().map(row).collect())?;
    }
    Ok(Exit::Done)
}

async fn get(cli: &Cli<'_>, issuer_id: String) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let response = connection.call(GetIssuerRequest { issuer_id }).await?;
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        print(&response.issuer.unwrap_or_default())?;
    }
    Ok(Exit::Done)
}

async fn create(cli: &Cli<'_>, args: CreateArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let CreateArgs { issuer_id, issuer, fields, may_revoke, allow_private_addresses, disabled } = args;
    let issuer = TrustedIssuer {
        issuer,
        may_revoke,
        allow_private_addresses,
        disabled,
        ..fields.into_issuer(issuer_id)?
    };
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let response = connection.change(CreateIssuerRequest { issuer: Some(issuer) }, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
        return Ok(Exit::Done);
    }
    let created = response.issuer.unwrap_or_default();
    print(&created)?;
    if created.rules.is_empty() {
        let id = escape(&created.issuer_id);
        output::talk(&format!(
            "Without a rule all its assertions are refused: `jeton issuer update {id} --rule …`."
        ));
    } else {
        output::talk(
            "In effect on every replica. Try one of its assertions: `jeton issuer test < assertion`.",
        );
    }
    Ok(Exit::Done)
}

async fn update(cli: &Cli<'_>, args: UpdateArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let given = [
        ("display_name", args.fields.display_name.is_some()),
        ("key_source", args.fields.source.is_given()),
        ("audiences", !args.fields.audience.is_empty()),
        ("max_age", args.fields.max_age.is_some()),
        ("algorithms", !args.fields.algorithm.is_empty()),
        ("rules", !args.fields.rule.is_empty()),
        ("disabled", args.disable || args.enable),
    ];
    let paths: Vec<_> = given.into_iter().filter(|(_, is)| *is).map(|(path, _)| path.to_owned()).collect();
    if paths.is_empty() {
        return Err(Failure::Usage("no change was given. Give at least one, as in --disable.".into()));
    }
    let issuer = TrustedIssuer {
        disabled: args.disable,
        etag: args.etag.unwrap_or_default(),
        ..args.fields.into_issuer(args.issuer_id.clone())?
    };
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = UpdateIssuerRequest { issuer: Some(issuer), update_mask: Some(FieldMask { paths }) };
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        print(&response.issuer.unwrap_or_default())?;
    }
    output::talk("In effect on every replica.");
    if args.disable {
        lives_on(&args.issuer_id);
    }
    Ok(Exit::Done)
}

async fn delete(cli: &Cli<'_>, args: DeleteArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request =
        DeleteIssuerRequest { issuer_id: args.issuer_id.clone(), etag: args.etag.unwrap_or_default() };
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
    }
    output::talk("Its assertions are refused on every replica.");
    lives_on(&args.issuer_id);
    Ok(Exit::Done)
}

fn lives_on(issuer_id: &str) {
    let id = escape(issuer_id);
    output::talk(&format!(
        "What was obtained by them lives on until it expires; `jeton revoke --issuer {id} --reason administrative` ends it now."
    ));
}

async fn test(cli: &Cli<'_>, token: &TokenArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let assertion = token.read(cli, "Assertion").await?.expose_secret().trim().to_owned();
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let tested = connection.call(TestAssertionRequest { assertion }).await?;
    if as_json {
        cli.output.json(&tested, false)?;
    } else {
        print_tested(&tested)?;
    }
    Ok(if tested.refused.is_empty() { Exit::Done } else { Exit::Negative })
}

fn print_tested(tested: &TestAssertionResponse) -> Result<(), Failure> {
    let verdict = if tested.refused.is_empty() {
        "accepted".to_owned()
    } else {
        format!("refused: {}", tested.refused)
    };
    output::facts(&[
        ("issuer", tested.issuer_id.clone()),
        ("verdict", verdict),
        ("client", tested.client_id.clone()),
        ("subject", tested.subject.clone()),
    ])?;
    if tested.rules.is_empty() {
        return Ok(());
    }
    output::data("")?;
    let row = |it: &jeton_proto::v1::RuleOutcome| {
        vec![it.rule.to_string(), it.priority.to_string(), it.outcome.clone()]
    };
    output::table(&["RULE", "PRIORITY", "OUTCOME"], tested.rules.iter().map(row).collect())
}

fn state(issuer: &TrustedIssuer) -> &'static str {
    match (issuer.refused.is_empty(), issuer.disabled, issuer.keys_fault.is_empty()) {
        (false, ..) => "refused",
        (true, true, _) => "disabled",
        (true, false, false) => "no keys",
        (true, false, true) => "enabled",
    }
}

fn print(issuer: &TrustedIssuer) -> Result<(), Failure> {
    let keys = match &issuer.key_source {
        None => String::new(),
        Some(KeySource::OidcDiscovery(_)) => "by OpenID Connect Discovery".to_owned(),
        Some(KeySource::StaticJwks(_)) => "a fixed set".to_owned(),
        Some(KeySource::JwksUri(at) | KeySource::SpiffeBundleUri(at) | KeySource::SpiffeBundleFile(at)) => {
            at.clone()
        }
    };
    let set = |is: bool| if is { "yes".to_owned() } else { String::new() };
    output::facts(&[
        ("issuer", issuer.issuer_id.clone()),
        ("name", issuer.display_name.clone()),
        ("state", state(issuer).to_owned()),
        ("refused", issuer.refused.clone()),
        ("iss", issuer.issuer.clone()),
        ("keys", keys),
        ("keys fault", issuer.keys_fault.clone()),
        ("audiences", issuer.audiences.join(" ")),
        ("max age", issuer.max_age.map_or_else(String::new, |age| format!("{} s", age.seconds))),
        ("algorithms", issuer.algorithms.join(" ")),
        ("may revoke", set(issuer.may_revoke)),
        ("private", set(issuer.allow_private_addresses)),
        ("created", time::show(issuer.create_time.as_ref())),
        ("etag", issuer.etag.clone()),
    ])?;
    if issuer.rules.is_empty() {
        return Ok(());
    }
    output::data("")?;
    let row = |rule: &MappingRule| {
        let when = rule.conditions.iter().map(condition).collect::<Vec<_>>().join(" and ");
        vec![rule.priority.to_string(), when, rule.client_id.clone(), rule.subject.clone()]
    };
    output::table(&["PRIORITY", "WHEN", "CLIENT", "SUBJECT"], issuer.rules.iter().map(row).collect())
}

fn condition(condition: &ClaimCondition) -> String {
    let claim = &condition.claim;
    match &condition.r#match {
        Some(Match::Exact(text)) => format!("{claim} = {text}"),
        Some(Match::Prefix(text)) => format!("{claim} = {text}*"),
        None => claim.clone(),
    }
}

impl Fields {
    fn into_issuer(self, issuer_id: String) -> Result<TrustedIssuer, Failure> {
        Ok(TrustedIssuer {
            issuer_id,
            display_name: self.display_name.unwrap_or_default(),
            key_source: self.source.read()?,
            audiences: self.audience,
            max_age: self.max_age.map(time::to_wire_duration),
            algorithms: self.algorithm,
            rules: self.rule,
            ..TrustedIssuer::default()
        })
    }
}
