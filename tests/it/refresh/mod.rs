//! Refresh: `behaviour.md` R1 to R10.

mod batch;
mod late;
mod limits;
mod race;
mod refused;
mod reuse;
mod rotation;
mod scope;

use jeton::proto::v1 as pb;

use crate::world::{Api, World, policy, seconds};

/// The refresh token in an answer.
fn refresh_token(token: &pb::IssuedToken) -> &str {
    &token.refresh.as_ref().unwrap().refresh_token
}

fn request(refresh_token: &str) -> pb::RefreshRequest {
    pb::RefreshRequest { refresh_token: refresh_token.to_owned(), ..Default::default() }
}

async fn refresh(api: &mut Api, request: pb::RefreshRequest) -> Result<pb::IssuedToken, tonic::Status> {
    Ok(api.tokens.refresh(request).await?.into_inner().token.unwrap())
}

/// The longest grace that a policy allows: where it is not the grace that is tested, no machine may be too slow for it.
const LONGEST_S: i64 = 60;

/// Sessions of this audience have so many seconds of grace.
async fn grace(world: &World, audience: &str, grace_s: i64) {
    let policy = pb::Policy { refresh_replay_grace: Some(seconds(grace_s)), ..policy(audience) };
    world.api("admin").await.set_policy(policy).await.unwrap();
}

/// The payload of a token.
fn payload(token: &str) -> serde_json::Value {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
