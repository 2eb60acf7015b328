//! `jeton whoami`: the client as which a server knows the caller, and its rights.

use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        output, time,
    },
    verbs::client_show::permissions,
};
use jeton_proto::v1::{GetCallerRequest, GetCallerResponse};

/// Runs it.
pub async fn run(cli: &Cli<'_>) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    // Both listeners answer, so that a caller who knows only the admin listener is told, too.
    let is_public = connect::is_known(cli, Listener::Public) || !connect::is_known(cli, Listener::Admin);
    let listener = if is_public { Listener::Public } else { Listener::Admin };
    let connection = connect::open(cli, listener, Identity::Required).await?;
    let caller = ask(&connection).await?;
    if as_json {
        cli.output.json(&caller, false)?;
        return Ok(Exit::Done);
    }
    let client = caller.client.clone().unwrap_or_default();
    let or_none = |list: String| if list.is_empty() { "none".to_owned() } else { list };
    output::facts(&[
        ("client", client.client_id.clone()),
        ("name", client.display_name.clone()),
        ("by", credential(&caller)),
        ("ends", end(&caller, cli)),
        ("permissions", or_none(permissions(&client))),
        ("audiences", or_none(client.audiences.join(" "))),
        ("subjects", or_none(client.subjects.join(" "))),
        ("server", connection.url().to_owned()),
    ])?;
    if let Some(lock) = &caller.lock {
        let until = time::show_with_distance(lock.end_time.as_ref(), (cli.env.now)());
        output::data(&format!("This client is locked until {until}: nothing is issued to it."))?;
    }
    Ok(Exit::Done)
}

/// Asks who the caller is.
pub async fn ask(connection: &Connection) -> Result<GetCallerResponse, Failure> {
    connection.call(GetCallerRequest {}).await
}

/// The credential that was presented: `API key 3xK…`, or `certificate spiffe://…`.
pub fn credential(caller: &GetCallerResponse) -> String {
    match (caller.api_key_id.as_str(), caller.certificate_uri.as_str()) {
        ("", uri) => format!("certificate {uri}"),
        (id, _) => format!("API key {id}"),
    }
}

fn end(caller: &GetCallerResponse, cli: &Cli<'_>) -> String {
    match &caller.credential_expire_time {
        None => "never".to_owned(),
        end => time::show_with_distance(end.as_ref(), (cli.env.now)()),
    }
}
