//! I13 and I14: keys that sign wrongly, and keys that end.

use jeton::proto::v1 as pb;
use jeton_token::{Algorithm, SigningKey};

use tonic::Status;

use super::decode;
use crate::world::{Refused, World, issue_request, policy};

/// Gives the active ES256 key the public half of another: nobody can verify its signatures. Issues until that is
/// noticed; returns the key's id, and the refusal.
pub async fn spoil_key(world: &mut World) -> (String, Status) {
    let [header, _] = decode(&world.api("service").await.token("user:7", "api").await.access_token);
    let kid = header["kid"].as_str().unwrap().to_owned();
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap().public_jwk();
    let sql = format!("update signing_key set public_jwk = '{stranger}' where key_id = '{kid}'");
    world.database.execute(&sql).await;
    // As if jeton had written it so.
    world.store().adopt_keys().await.unwrap();
    world.crash_and_restart().await;
    let mut api = world.api("service").await;
    // One mint in 256 is judged: that 5 000 escape it has a chance of 1 in 300 millions.
    for _ in 0..5_000 {
        if let Err(status) = api.issue(issue_request("user:7", &["api"])).await {
            return (kid, status);
        }
    }
    panic!("5 000 tokens that nobody can verify were handed out");
}

#[tokio::test]
async fn i13_a_key_whose_tokens_do_not_validate_is_taken_out_of_use_and_named() {
    let mut world = World::start().await;
    let (kid, status) = spoil_key(&mut world).await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    assert!(tonic_types::StatusExt::get_details_retry_info(&status).is_some());
    let facts = Err::<(), _>(status).refused();
    assert_eq!((facts.code, facts.reason.as_str()), (tonic::Code::Unavailable, "SIGNING_KEY_UNAVAILABLE"));
    assert_eq!(facts.get("algorithm"), "ES256");
    // It is out of use, not out of use once in a while; sessions are not left behind by it.
    for refreshable in [false, true].into_iter().cycle().take(40) {
        let request = pb::IssueRequest { refreshable, ..issue_request("user:7", &["api"]) };
        assert_eq!(api.issue(request).await.refused().reason, "SIGNING_KEY_UNAVAILABLE");
    }
    let request = pb::ListSessionsRequest { subject: "user:7".to_owned(), ..Default::default() };
    assert!(admin.admin.list_sessions(request).await.unwrap().into_inner().sessions.is_empty());
    let (status, body) = world.server.ops("/readyz").await;
    assert!(status == 503 && body.contains("[-]key failed"), "{status} {body}");
    let logged = world.server.logged();
    let line = logged.lines().find(|line| line.contains("its key is out of use")).expect("it says so");
    assert!(line.contains(&kid) && line.contains("UNKNOWN_KEY"), "{line}");
    // The key of the other algorithm is good.
    admin.set_policy(pb::Policy { algorithm: "EdDSA".to_owned(), ..policy("other") }).await.unwrap();
    let token = api.token("user:7", "other").await;
    assert_eq!(api.status(&token.access_token, "other").await, pb::TokenStatus::Active);
}

#[tokio::test]
async fn i14_no_token_outlives_the_key_that_signed_it() {
    let mut world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await.access_token;
    let [header, _] = decode(&token);
    let kid = header["kid"].as_str().unwrap().to_owned();
    let ends = |what: &str| {
        format!("update signing_key set retire_time = now(), expire_time = {what} where key_id = '{kid}'")
    };

    // Retired: its tokens stay good, and it signs no more.
    world.database.execute(&ends("now() + interval '1 hour'")).await;
    world.crash_and_restart().await;
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Active);
    for refreshable in [false, true].into_iter().cycle().take(20) {
        let request = pb::IssueRequest { refreshable, ..issue_request("user:7", &["api"]) };
        let [header, _] = decode(&api.issue(request).await.unwrap().access_token);
        assert_ne!(header["kid"].as_str().unwrap(), kid, "a retired key does not sign");
    }
    let request = pb::GetJwksRequest::default();
    let jwks = api.discovery.get_jwks(request).await.unwrap().into_inner().jwks_json;
    assert!(jwks.contains(&kid), "verifiers still need it");

    // Gone, while the replica runs: no restart, no notice. It reads the time with the key.
    world.database.execute(&ends("now() + interval '2 seconds'")).await;
    world.crash_and_restart().await;
    crate::world::until("the token dies with its key", async || {
        api.status(&token, "api").await == pb::TokenStatus::UnknownKey
    })
    .await;
    let request = pb::GetJwksRequest::default();
    let jwks = api.discovery.get_jwks(request).await.unwrap().into_inner().jwks_json;
    assert!(!jwks.contains(&kid), "published no longer");
    let fresh = api.token("user:7", "api").await;
    assert_eq!(api.status(&fresh.access_token, "api").await, pb::TokenStatus::Active);
}
