//! The life of keys: published, signing, retired, gone; rotated, revoked, resealed, imported.

mod by_hand;
mod forged;
mod import;
mod mac;
mod master;
mod revoked;
mod rotation;

use jeton::proto::v1::{self as pb, TokenStatus, key::State};

use crate::world::{Api, Fleet, api_key, policy};

/// The audience of each algorithm's tokens.
const AUDIENCES: [(&str, &str); 2] = [("api", "ES256"), ("edge", "EdDSA")];

pub fn kid_of(token: &str) -> String {
    jsonwebtoken::decode_header(token).unwrap().kid.unwrap()
}

/// Every replica, as one client.
fn apis(fleet: &Fleet, client_id: &str) -> Vec<Api> {
    let ready = fleet.replicas.iter().map(|replica| &replica.server.ready);
    ready.map(|ready| Api::connect(ready, &api_key(client_id))).collect()
}

/// Tokens for `edge` are signed with EdDSA.
async fn both_algorithms(admin: &mut Api) {
    admin.set_policy(pb::Policy { algorithm: "EdDSA".to_owned(), ..policy("edge") }).await.unwrap();
}

async fn rotate(
    admin: &mut Api,
    request: pb::RotateKeyRequest,
) -> Result<pb::RotateKeyResponse, tonic::Status> {
    Ok(admin.admin.rotate_key(request).await?.into_inner())
}

async fn emergency(admin: &mut Api, algorithm: &str) -> pb::RotateKeyResponse {
    let algorithm = algorithm.to_owned();
    rotate(admin, pb::RotateKeyRequest { algorithm, emergency: true, ..Default::default() }).await.unwrap()
}

async fn list(api: &mut Api) -> Vec<pb::Key> {
    api.admin.list_keys(pb::ListKeysRequest::default()).await.unwrap().into_inner().keys
}

async fn in_state(api: &mut Api, algorithm: &str, state: State) -> Vec<pb::Key> {
    let all = list(api).await;
    all.into_iter().filter(|key| key.algorithm == algorithm && key.state() == state).collect()
}

async fn jwks(api: &mut Api) -> String {
    api.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner().jwks_json
}

/// Each replica finds this token good.
async fn is_active_everywhere(apis: &mut [Api], token: &str, audience: &str) {
    for api in apis {
        assert_eq!(api.status(token, audience).await, TokenStatus::Active);
    }
}
