//! `jeton client create` and `update`: a client's registration and rights.

use std::time::Duration;

use clap::ValueEnum;
use prost_types::FieldMask;
use tokio::time::Instant;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener, SAFE_AGAIN},
    term::{
        exit::{Exit, Failure},
        output, token_input,
    },
    verbs::{client_show, revoke::report, revoke::target::NamedTarget},
};
use jeton_proto::v1::{
    self as pb, Client, CreateClientRequest, RevocationReason, RevocationTarget, RevokeRequest,
    UpdateClientRequest, revocation_target::Kind,
};

/// A revocation waits for every replica, by default 10 s: longer than other calls.
const REVOKE_TIMEOUT: Duration = Duration::from_secs(15);

/// `--permission`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Permission {
    /// Issue and refresh.
    Issue,
    /// Validate, introspect.
    Validate,
    /// Revoke one token or session of any client.
    RevokeAny,
    /// Revoke by subject, client or key.
    RevokeWide,
    /// Follow the log of revocations.
    Watch,
    /// Read clients, keys, policies, sessions, the audit trail.
    AdminRead,
    /// Change clients, keys, policies.
    AdminWrite,
}

/// Flags of both verbs.
#[derive(Debug, clap::Args)]
pub struct Fields {
    /// A name for people
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// A certificate that authenticates it: <spiffe://trust-domain/path>; may be repeated
    #[arg(long, value_name = "URI")]
    certificate_uri: Vec<String>,
    /// A permission; may be repeated
    #[arg(long, value_name = "PERMISSION")]
    permission: Vec<Permission>,
    /// An audience that it may issue and validate for, or `*`; may be repeated
    #[arg(long)]
    audience: Vec<String>,
    /// A subject that it may issue for, or a prefix and `*`; may be repeated
    #[arg(long)]
    subject: Vec<String>,
    /// The subject of what it obtains for itself from the token endpoint; without one, its name
    #[arg(long, value_name = "SUBJECT")]
    own_subject: Option<String>,
}

/// Flags of `create`.
#[derive(Debug, clap::Args)]
pub struct CreateArgs {
    /// Its name
    client_id: String,
    #[command(flatten)]
    fields: Fields,
    /// Refuse its calls for now
    #[arg(long)]
    disabled: bool,
}

/// Flags of `update`.
#[derive(Debug, clap::Args)]
pub struct UpdateArgs {
    /// Its name
    client_id: String,
    /// The given values replace the present ones.
    #[command(flatten)]
    fields: Fields,
    /// Clear a list, the display name, or the own subject
    #[arg(long, value_name = "FIELD")]
    clear: Vec<Clear>,
    /// Refuse its calls from now on; tokens that it obtained live on
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Accept its calls again
    #[arg(long)]
    enable: bool,
    /// With --disable: also revoke all tokens that it obtained
    #[arg(long, requires = "disable", conflicts_with = "enable")]
    revoke: bool,
    /// Only if the client still has this etag
    #[arg(long)]
    etag: Option<String>,
}

/// `--clear`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Clear {
    /// The name for people.
    DisplayName,
    /// Every certificate.
    CertificateUris,
    /// Every permission.
    Permissions,
    /// Every audience.
    Audiences,
    /// Every subject.
    Subjects,
    /// The subject of what it obtains for itself.
    OwnSubject,
}

impl Clear {
    fn path(self) -> &'static str {
        match self {
            Self::DisplayName => "display_name",
            Self::CertificateUris => "certificate_uris",
            Self::Permissions => "permissions",
            Self::Audiences => "audiences",
            Self::Subjects => "subjects",
            Self::OwnSubject => "own_subject",
        }
    }
}

/// Runs `create`.
pub async fn create(cli: &Cli<'_>, args: CreateArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let client = Client { disabled: args.disabled, ..args.fields.into_client(args.client_id) };
    let request = CreateClientRequest { client: Some(client) };
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
        return Ok(Exit::Done);
    }
    let created = response.client.unwrap_or_default();
    client_show::print(cli, &created)?;
    if created.certificate_uris.is_empty() {
        let name = escape(&created.client_id);
        output::talk(&format!("It has no credential yet: `jeton client add-key {name}`."));
    }
    Ok(Exit::Done)
}

/// Runs `update`.
pub async fn update(cli: &Cli<'_>, args: UpdateArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let (client_id, disables, revokes) = (args.client_id.clone(), args.disable, args.revoke);
    let request = request_of(args)?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        client_show::print(cli, &response.client.unwrap_or_default())?;
    }
    output::talk("In effect on every replica.");
    if !disables {
        return Ok(Exit::Done);
    }
    let name = escape(&client_id);
    if !revokes {
        output::talk(&format!(
            "It is refused. The tokens that it obtained live on until they expire; `jeton revoke --client {name} --reason deprovisioned` ends them now."
        ));
        if !token_input::can_ask(cli) {
            return Ok(Exit::Done);
        }
        let question = format!("Revoke all of it now? Type {name} to revoke, or nothing to leave it: ");
        if token_input::answer(&question).await? != client_id {
            output::talk("Nothing was revoked.");
            return Ok(Exit::Done);
        }
    }
    let timeout = connect::timeout(cli).max(REVOKE_TIMEOUT);
    let done = revoke_all(cli, &connection.with_timeout(timeout), client_id, as_json).await;
    if done.is_err() {
        // The first half of the request is done, and stays done.
        output::talk("It is refused from now on, but its tokens may live on:");
    }
    done
}

/// Revokes as `jeton revoke --client` does.
async fn revoke_all(
    cli: &Cli<'_>,
    connection: &Connection,
    client_id: String,
    as_json: bool,
) -> Result<Exit, Failure> {
    let kind = Kind::ClientId(client_id);
    let request = RevokeRequest {
        target: Some(RevocationTarget { kind: Some(kind.clone()), ..RevocationTarget::default() }),
        reason: RevocationReason::Deprovisioned.into(),
        ..RevokeRequest::default()
    };
    let start = Instant::now();
    let response = connection.change(request, SAFE_AGAIN).await?;
    let target = NamedTarget::new(kind);
    if as_json {
        // Standard output already has the client.
        output::talk(&report::result(&target, &response, start.elapsed(), false));
    } else {
        report::print_result(cli, &target, &response, start.elapsed(), false)?;
    }
    Ok(report::exit(&response, false))
}

/// The mask names the given fields, so that changes by others to other fields are kept.
fn request_of(args: UpdateArgs) -> Result<UpdateClientRequest, Failure> {
    let fields = &args.fields;
    let given = [
        ("display_name", fields.display_name.is_some()),
        ("certificate_uris", !fields.certificate_uri.is_empty()),
        ("permissions", !fields.permission.is_empty()),
        ("audiences", !fields.audience.is_empty()),
        ("subjects", !fields.subject.is_empty()),
        ("own_subject", fields.own_subject.is_some()),
        ("disabled", args.disable || args.enable),
    ];
    let mut paths: Vec<_> =
        given.into_iter().filter(|(_, is)| *is).map(|(path, _)| path.to_owned()).collect();
    for clear in &args.clear {
        if paths.iter().any(|path| path == clear.path()) {
            let twice = format!("{} is both given and cleared. Do one of them.", clear.path());
            return Err(Failure::Usage(twice));
        }
        paths.push(clear.path().to_owned());
    }
    if paths.is_empty() {
        return Err(Failure::Usage("no change was given. Give at least one, as in --disable.".into()));
    }
    let client = Client {
        disabled: args.disable,
        etag: args.etag.unwrap_or_default(),
        ..args.fields.into_client(args.client_id)
    };
    Ok(UpdateClientRequest { client: Some(client), update_mask: Some(FieldMask { paths }) })
}

impl Fields {
    fn into_client(self, client_id: String) -> Client {
        Client {
            client_id,
            display_name: self.display_name.unwrap_or_default(),
            certificate_uris: self.certificate_uri,
            permissions: self.permission.into_iter().map(|it| to_wire_permission(it).into()).collect(),
            audiences: self.audience,
            subjects: self.subject,
            own_subject: self.own_subject.unwrap_or_default(),
            ..Client::default()
        }
    }
}

fn to_wire_permission(permission: Permission) -> pb::Permission {
    match permission {
        Permission::Issue => pb::Permission::Issue,
        Permission::Validate => pb::Permission::Validate,
        Permission::RevokeAny => pb::Permission::RevokeAny,
        Permission::RevokeWide => pb::Permission::RevokeWide,
        Permission::Watch => pb::Permission::Watch,
        Permission::AdminRead => pb::Permission::AdminRead,
        Permission::AdminWrite => pb::Permission::AdminWrite,
    }
}
