//! Clients and their API keys: `behaviour.md` C6 and K11, and who may call what.

mod administrators;
mod caller;
mod command_line;
mod dump;
mod everywhere;
mod first_token;
mod forged;
mod forms;
mod keys;
mod matrix;
mod quota;
mod writes;

use jeton::proto::v1::{self as pb, Permission};
use prost_types::FieldMask;
use tonic::Status;

use crate::world::{Api, Fleet, seconds};

/// One that may issue and validate for anything.
fn client(client_id: &str) -> pb::Client {
    pb::Client {
        client_id: client_id.to_owned(),
        permissions: vec![Permission::Issue.into(), Permission::Validate.into()],
        audiences: vec!["*".to_owned()],
        subjects: vec!["*".to_owned()],
        ..Default::default()
    }
}

/// One that may administer.
fn administrator(client_id: &str) -> pb::Client {
    pb::Client { permissions: vec![Permission::AdminWrite.into()], ..client(client_id) }
}

async fn create(api: &mut Api, client: pb::Client) -> Result<pb::Client, Status> {
    let request = pb::CreateClientRequest { client: Some(client) };
    Ok(api.admin.create_client(request).await?.into_inner().client.unwrap())
}

async fn get(api: &mut Api, client_id: &str) -> Result<pb::Client, Status> {
    let request = pb::GetClientRequest { client_id: client_id.to_owned() };
    Ok(api.admin.get_client(request).await?.into_inner().client.unwrap())
}

/// With a mask of these paths; without any, with none.
async fn update(api: &mut Api, client: pb::Client, paths: &[&str]) -> Result<pb::Client, Status> {
    let paths: Vec<_> = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = (!paths.is_empty()).then_some(FieldMask { paths });
    let request = pb::UpdateClientRequest { client: Some(client), update_mask };
    Ok(api.admin.update_client(request).await?.into_inner().client.unwrap())
}

async fn set_disabled(api: &mut Api, client_id: &str, disabled: bool) -> Result<pb::Client, Status> {
    update(api, pb::Client { disabled, ..client(client_id) }, &["disabled"]).await
}

async fn delete(api: &mut Api, client_id: &str) -> Result<(), Status> {
    let request = pb::DeleteClientRequest { client_id: client_id.to_owned(), etag: String::new() };
    api.admin.delete_client(request).await.map(|_| ())
}

async fn add_key(
    api: &mut Api,
    client_id: &str,
    ttl_s: Option<i64>,
) -> Result<pb::CreateApiKeyResponse, Status> {
    let request = pb::CreateApiKeyRequest { client_id: client_id.to_owned(), ttl: ttl_s.map(seconds) };
    Ok(api.admin.create_api_key(request).await?.into_inner())
}

async fn delete_key(api: &mut Api, client_id: &str, api_key_id: &str) -> Result<(), Status> {
    let request =
        pb::DeleteApiKeyRequest { client_id: client_id.to_owned(), api_key_id: api_key_id.to_owned() };
    api.admin.delete_api_key(request).await.map(|_| ())
}

/// A client with one key: its text.
async fn create_with_key(api: &mut Api, client: pb::Client) -> String {
    let created = create(api, client).await.unwrap();
    add_key(api, &created.client_id, None).await.unwrap().secret
}

/// The API of each replica, with this key.
fn apis(fleet: &Fleet, key: &str) -> Vec<Api> {
    fleet.replicas.iter().map(|replica| Api::connect(&replica.server.ready, key)).collect()
}
