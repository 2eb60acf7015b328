//! `jeton client`: the callers of jeton and their rights.

use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Connection, Identity, Listener, SAFE_AGAIN},
        pages::{self, PAGE_SIZE},
    },
    term::{
        exit::{Exit, Failure},
        output, time, token_input,
    },
    verbs::{
        client_key, client_read, client_set,
        client_show::{permissions, print, state},
    },
};
use jeton_proto::v1::{
    Client, DeleteClientRequest, GetClientRequest, ListClientsRequest, ListClientsResponse,
};

/// The verbs.
#[derive(Debug, clap::Subcommand)]
pub enum ClientAdminCommand {
    /// List clients, by name
    List,
    /// One client, with its API keys
    Get {
        /// Its name
        client_id: String,
    },
    /// Register a client; it can call once it has a certificate or an API key
    Create(Box<client_set::CreateArgs>),
    /// Change the fields that are given, and no others
    Update(Box<client_set::UpdateArgs>),
    /// Remove a client with its keys, and revoke all tokens that it obtained
    Delete(DeleteArgs),
    /// Add an API key, which is shown once
    AddKey(client_key::AddArgs),
    /// Add an API key in place of another, which stays good for a while
    RotateKey(client_key::RotateArgs),
    /// Remove an API key
    DeleteKey(client_key::DeleteArgs),
}

/// Flags of `delete`.
#[derive(Debug, clap::Args)]
pub struct DeleteArgs {
    /// Its name
    client_id: String,
    /// Only if the client still has this etag
    #[arg(long)]
    etag: Option<String>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

/// Runs one of the verbs.
pub async fn run(cli: &Cli<'_>, command: ClientAdminCommand) -> Result<Exit, Failure> {
    match command {
        ClientAdminCommand::List => list(cli).await,
        ClientAdminCommand::Get { client_id } => get(cli, client_id).await,
        ClientAdminCommand::Create(args) => client_set::create(cli, *args).await,
        ClientAdminCommand::Update(args) => client_set::update(cli, *args).await,
        ClientAdminCommand::Delete(args) => delete(cli, args).await,
        ClientAdminCommand::AddKey(args) => client_key::add(cli, args).await,
        ClientAdminCommand::RotateKey(args) => client_key::rotate(cli, args).await,
        ClientAdminCommand::DeleteKey(args) => client_key::delete(cli, args).await,
    }
}

/// Lists all clients.
pub async fn all(connection: &Connection) -> Result<ListClientsResponse, Failure> {
    let mut all = ListClientsResponse::default();
    pages::each(async |page_token| {
        let request = ListClientsRequest { page_size: PAGE_SIZE, page_token };
        let page = connection.call(request).await?;
        all.clients.extend(page.clients);
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
        let header = [
            "CLIENT",
            "NAME",
            "STATE",
            "PERMISSIONS",
            "AUDIENCES",
            "SUBJECTS",
            "CERTIFICATES",
            "KEYS",
            "KEY LAST USED",
        ];
        output::table(&header, all.clients.iter().map(row).collect())?;
    }
    Ok(Exit::Done)
}

fn row(client: &Client) -> Vec<String> {
    let last_use = client.api_keys.iter().filter_map(|key| key.last_use_time).max_by_key(|time| time.seconds);
    vec![
        client.client_id.clone(),
        client.display_name.clone(),
        state(client).to_owned(),
        permissions(client),
        client.audiences.join(" "),
        client.subjects.join(" "),
        client.certificate_uris.join(" "),
        client.api_keys.len().to_string(),
        time::show(last_use.as_ref()),
    ]
}

async fn get(cli: &Cli<'_>, client_id: String) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    let response = connection.call(GetClientRequest { client_id }).await?;
    if as_json {
        cli.output.json(&response, false)?;
    } else {
        print(cli, &response.client.unwrap_or_default())?;
    }
    Ok(Exit::Done)
}

async fn delete(cli: &Cli<'_>, args: DeleteArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    if !args.yes && !token_input::can_ask(cli) {
        return Err(Failure::Usage(
            "this revokes all that the client obtained, and nobody can be asked. Give --yes.".into(),
        ));
    }
    let connection = connect::open(cli, Listener::Admin, Identity::Required).await?;
    if !args.yes {
        confirm(&connection, &args.client_id).await?;
    }
    let request =
        DeleteClientRequest { client_id: args.client_id.clone(), etag: args.etag.unwrap_or_default() };
    let response = connection.change(request, SAFE_AGAIN).await?;
    if as_json {
        cli.output.json(&response, false)?;
    }
    output::talk(&format!(
        "Client {} is removed, and all that it obtained is revoked, on every replica.",
        escape(&args.client_id)
    ));
    Ok(Exit::Done)
}

/// Shows what will be removed, and has the name typed.
async fn confirm(connection: &Connection, client_id: &str) -> Result<(), Failure> {
    let found = client_read::fetch(connection, client_id).await?;
    let name = escape(&found.client_id);
    output::talk(&format!(
        "Client {name} ({}) with {} API keys and {} certificates, and every token and session that it obtained, will end.",
        state(&found),
        found.api_keys.len(),
        found.certificate_uris.len()
    ));
    let typed = token_input::answer(&format!("This cannot be undone. Type {name} to remove it: ")).await?;
    // A name that jeton did not write may hold what nobody can type.
    if !typed.is_empty() && typed == name {
        return Ok(());
    }
    Err(Failure::Usage("that is not the name: nothing was removed. Run it again to remove it.".into()))
}
