//! O10: token exchange (RFC 8693).

use jeton::{proto::v1::TokenStatus, state::Permission};
use serde_json::json;

use super::{EXCHANGE, TOKEN, assert_error, claims_of, world};
use crate::world::{HttpAnswer, World, api_key, basic, post_form};

const OURS: &str = "urn:ietf:params:oauth:token-type:access_token";

async fn exchange(world: &World, client: &str, key: &str, form: &str) -> HttpAnswer {
    let form = format!("grant_type={EXCHANGE}&{form}");
    post_form(&world.server.ready.public, TOKEN, &basic(client, key), &form).await
}

#[tokio::test]
async fn o10_a_token_of_ours_is_exchanged_for_one_that_says_no_more() {
    let (world, _foreign, mut admin) = world().await;
    let key = world.register("gateway", &[Permission::Issue], &["api", "web"], &["user:*", "svc:*"]).await;
    let mut service = world.api("service").await;
    let request = jeton::proto::v1::IssueRequest {
        scopes: vec!["read".to_owned(), "write".to_owned()],
        ..crate::world::issue_request("user:7", &["api", "web"])
    };
    let subject = service.issue(request).await.unwrap().access_token;
    let form = |more: &str| format!("subject_token={subject}&subject_token_type={OURS}{more}");
    let whole = claims_of(&exchange(&world, "gateway", &key, &form("")).await);
    assert_eq!((&whole["sub"], &whole["client_id"]), (&json!("user:7"), &json!("gateway")));
    assert_eq!((&whole["aud"], &whole["scope"]), (&json!(["api", "web"]), &json!("read write")));
    assert_eq!(whole.get("act"), None);
    let less = claims_of(&exchange(&world, "gateway", &key, &form("&audience=web&scope=read&ttl=60")).await);
    assert_eq!((&less["aud"], &less["scope"]), (&json!(["web"]), &json!("read")));
    // By an actor: it is named, and those before it are kept.
    let mut actor = service.token("svc:gateway", "api").await.access_token;
    let mut acting = subject.clone();
    for depth in 1..=4 {
        let form = format!(
            "subject_token={acting}&subject_token_type={OURS}&actor_token={actor}&actor_token_type={OURS}&audience=api"
        );
        let answer = exchange(&world, "gateway", &key, &form).await;
        let claims = claims_of(&answer);
        assert_eq!((&claims["sub"], &claims["act"]["sub"]), (&json!("user:7"), &json!("svc:gateway")));
        let mut count = 0;
        let mut act = &claims["act"];
        while act.is_object() {
            (count, act) = (count + 1, &act["act"]);
        }
        assert_eq!(count, depth);
        acting = answer.json()["access_token"].as_str().unwrap().to_owned();
        assert_eq!(admin.status(&acting, "api").await, TokenStatus::Active);
        actor = service.token("svc:gateway", "api").await.access_token;
    }
    let fifth = format!(
        "subject_token={acting}&subject_token_type={OURS}&actor_token={actor}&actor_token_type={OURS}"
    );
    assert_error(&exchange(&world, "gateway", &key, &fifth).await, 400, "invalid_request", "4 actors");
    for (more, error, words) in [
        ("&audience=other", "invalid_target", "not for this audience"),
        ("&scope=admin", "invalid_scope", "not this scope"),
        ("&refreshable=true", "invalid_request", "opens no session"),
        ("&actor_token_type=x", "invalid_request", "no actor_token"),
    ] {
        assert_error(&exchange(&world, "gateway", &key, &form(more)).await, 400, error, words);
    }
    // A client without this subject, and nobody.
    let key_of_runner = world.register("runner", &[Permission::Issue], &["api"], &["ci:*"]).await;
    let refused = exchange(&world, "runner", &key_of_runner, &form("&audience=api")).await;
    assert_error(&refused, 400, "unauthorized_client", "user:7");
    let nobody = super::ask(&world.server.ready.public, &format!("grant_type={EXCHANGE}&{}", form(""))).await;
    assert_error(&nobody, 401, "invalid_client", "");
    // Dead tokens are exchanged for nothing.
    let target = jeton::proto::v1::revocation_target::Kind::Token(subject.clone());
    service.revoke(target).await.unwrap();
    let refused = exchange(&world, "gateway", &key, &form("")).await;
    assert_error(&refused, 400, "invalid_grant", "REVOKED");
}

#[tokio::test]
async fn o10_a_foreign_actor_acts_for_a_subject_of_ours_and_ends_with_its_issuer() {
    let (world, foreign, mut admin) = world().await;
    let mut service = world.api("service").await;
    let subject = service.token("user:7", "api").await.access_token;
    let jwt = "urn:ietf:params:oauth:token-type:jwt";
    let form = format!(
        "subject_token={subject}&subject_token_type={OURS}&actor_token={}&actor_token_type={jwt}",
        foreign.assertion()
    );
    let answer = exchange(&world, "service", &api_key("service"), &form).await;
    let claims = claims_of(&answer);
    assert_eq!((&claims["act"], &claims["idp"]), (&json!({"sub": "ci:build-7"}), &json!("ci")));
    assert!(claims["exp"].as_i64() <= foreign.claims()["exp"].as_i64());
    let kind = jeton::proto::v1::revocation_target::Kind::IssuerId("ci".to_owned());
    admin.revoke_wide(kind).await.unwrap();
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Revoked);
}
