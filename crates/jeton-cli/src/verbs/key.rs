//! `jeton key`: the signing keys.

use std::path::PathBuf;

use jiff::SignedDuration;

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Connection, Identity, Listener},
        pages::{self, PAGE_SIZE},
    },
    term::{
        exit::{Exit, Failure},
        output, time,
    },
};
use jeton_proto::v1::{
    GetJwksRequest, Key, ListKeysRequest, ListKeysResponse, RotateKeyRequest, RotateKeyResponse, key::State,
};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum KeyClientCommand {
    /// List keys that are not gone, newest first
    List,
    /// Publish a new key, which signs after a while; if one is published already, show that
    Rotate(RotateArgs),
    /// Write the public keys as a JSON Web Key Set
    ExportJwks(ExportArgs),
}

/// Flags of `rotate`.
#[derive(Debug, clap::Args)]
pub struct RotateArgs {
    /// ES256 or EdDSA
    #[arg(long, default_value = "ES256")]
    algorithm: String,
    /// How long the key is published before it signs, at most 7d [default: 1h]. Verifiers that then still hold an older
    /// key set refuse its tokens
    #[arg(long, value_name = "DURATION", value_parser = time::parse_duration, conflicts_with = "emergency")]
    lead: Option<SignedDuration>,
    /// The key signs now: the published one, if there is one. Verifiers with an old key set refuse its tokens
    #[arg(long)]
    emergency: bool,
}

/// Flags of `export-jwks`.
#[derive(Debug, clap::Args)]
pub struct ExportArgs {
    /// The file to write [default: standard output]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: KeyClientCommand) -> Result<Exit, Failure> {
    match command {
        KeyClientCommand::List => show_list(cli).await,
        KeyClientCommand::Rotate(args) => rotate(cli, args).await,
        KeyClientCommand::ExportJwks(args) => export_jwks(cli, args).await,
    }
}

async fn show_list(cli: &Cli<'_>) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let all = list(&connection).await?;
    if as_json {
        cli.output.json(&all, false)?;
    } else {
        let rows = all.keys.iter().map(row).collect();
        output::table(&["KEY", "ALGORITHM", "STATE", "CREATED", "SIGNS SINCE", "GONE"], rows)?;
    }
    Ok(Exit::Done)
}

/// Lists all keys.
pub async fn list(connection: &Connection) -> Result<ListKeysResponse, Failure> {
    let mut all = ListKeysResponse::default();
    pages::each(async |page_token| {
        let request = ListKeysRequest { page_size: PAGE_SIZE, page_token };
        let page = connection.call(request).await?;
        all.keys.extend(page.keys);
        all.refused_mac_keys = page.refused_mac_keys;
        Ok(page.next_page_token)
    })
    .await?;
    Ok(all)
}

fn row(key: &Key) -> Vec<String> {
    vec![
        key.key_id.clone(),
        key.algorithm.clone(),
        state(key).to_owned(),
        time::show(key.create_time.as_ref()),
        time::show(key.activate_time.as_ref()),
        time::show(key.expire_time.as_ref()),
    ]
}

fn state(key: &Key) -> &'static str {
    if !key.refused.is_empty() {
        return "refused";
    }
    match key.state() {
        State::Unspecified => "",
        State::Pending => "pending",
        State::Active => "active",
        State::Retired => "retired",
        State::Revoked => "revoked",
    }
}

async fn rotate(cli: &Cli<'_>, args: RotateArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let request = RotateKeyRequest {
        algorithm: args.algorithm,
        publication_lead: args.lead.map(time::to_wire_duration),
        emergency: args.emergency,
    };
    let response =
        connection.change(request, "Whether it was done is not known: `jeton key list` says.").await?;
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        output::data(&said(cli, &response))?;
    }
    Ok(Exit::Done)
}

/// One line about the key that signs, or will.
fn said(cli: &Cli<'_>, response: &RotateKeyResponse) -> String {
    let key = response.key.clone().unwrap_or_default();
    let (id, algorithm) = (escape(&key.key_id), escape(&key.algorithm));
    let old = response.replaced_key.as_ref();
    if key.state() == State::Pending {
        let at = time::show_with_distance(key.activate_time.as_ref(), (cli.env.now)());
        let instead = old.map(|old| format!(", in place of {}", escape(&old.key_id))).unwrap_or_default();
        return format!("{algorithm} key {id} is published and signs from {at}{instead}");
    }
    let rest = old.map(|old| {
        let end = time::show(old.expire_time.as_ref());
        format!("; {} verifies until {end}", escape(&old.key_id))
    });
    format!("{algorithm} key {id} signs on every replica{}", rest.unwrap_or_default())
}

async fn export_jwks(cli: &Cli<'_>, args: ExportArgs) -> Result<Exit, Failure> {
    let connection = connect::open(cli, Listener::Public, Identity::Anonymous).await?;
    let jwks = connection.call(GetJwksRequest::default()).await?;
    match args.file {
        None => output::data(&jwks.jwks_json)?,
        Some(file) => std::fs::write(&file, format!("{}\n", jwks.jwks_json))
            .map_err(|error| Failure::Local(format!("{} cannot be written: {error}", file.display())))?,
    }
    Ok(Exit::Done)
}
