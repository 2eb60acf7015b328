//! R3: the idle and the absolute limit.

use jeton::proto::v1 as pb;

use super::refresh_token;
use crate::world::{Api, Refused, World, policy, seconds};

async fn lives(admin: &mut Api, idle_s: i64, absolute_s: i64) {
    let policy = pb::Policy {
        refresh_idle_lifetime: Some(seconds(idle_s)),
        refresh_absolute_lifetime: Some(seconds(absolute_s)),
        ..policy("api")
    };
    admin.set_policy(policy).await.unwrap();
}

/// (idle end, absolute end) in seconds since the token was issued.
fn ends(token: &pb::IssuedToken) -> (i64, i64) {
    let refresh = token.refresh.as_ref().unwrap();
    let issued = token.issue_time.unwrap().seconds;
    (refresh.expire_time.unwrap().seconds - issued, refresh.session_expire_time.unwrap().seconds - issued)
}

/// From the opening of a session to its absolute end, as a later answer says it, in seconds.
fn absolute_s(opened: &pb::IssuedToken, later: &pb::IssuedToken) -> i64 {
    let end = later.refresh.as_ref().unwrap().session_expire_time.unwrap();
    end.seconds - opened.issue_time.unwrap().seconds
}

#[tokio::test]
async fn r3_a_session_ends_by_its_limits_and_the_refusal_names_which() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    for (column, limit) in [("idle_expire_time", "idle"), ("expire_time", "absolute")] {
        let token = api.session("user:7", "api").await;
        assert_eq!(ends(&token), (7 * 86_400, 30 * 86_400), "built in");
        let id = &token.session_id;
        world
            .sql(&format!("update session set {column} = now() + interval '2 minutes' where id = '{id}'"))
            .await;
        let token = api.refresh(refresh_token(&token)).await.unwrap();
        world
            .sql(&format!("update session set {column} = now() - interval '1 second' where id = '{id}'"))
            .await;
        let refused = api.refresh(refresh_token(&token)).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("limit")), ("REFRESH_TOKEN_EXPIRED", limit));
        let said: jiff::Timestamp = refused.get("expireTime").parse().unwrap();
        let written = world
            .number(&format!(
                "select floor(extract(epoch from {column}))::bigint from session where id = '{id}'"
            ))
            .await;
        assert_eq!(said.as_second(), written);
    }
    assert!((world.metric(r#"jeton_refreshes_total{outcome="EXPIRED"}"#).await - 2.0).abs() < 0.1);
    assert_eq!(world.number("select count(*) from revocation").await, 0, "an end by itself is no revocation");
}

#[tokio::test]
async fn r3_the_limits_of_the_last_refresh_are_checked_and_the_policy_in_force_writes_the_next() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let first = api.session("user:7", "api").await;
    lives(&mut admin, 60, 3_600).await;
    let second = api.refresh(refresh_token(&first)).await.unwrap();
    // By the database's clock: it is later than the server's was when it answered.
    let idle = "select extract(epoch from idle_expire_time - date_trunc('second', refresh_time))::bigint from session";
    assert_eq!(world.number(idle).await, 60, "a shorter policy writes shorter limits");
    let written = world.number("select extract(epoch from idle_expire_time)::bigint from session").await;
    let refresh = second.refresh.as_ref().unwrap();
    assert_eq!(refresh.expire_time.unwrap().seconds, written, "and the answer says so");
    assert_eq!(absolute_s(&first, &second), 3_600, "counted from the opening");
    lives(&mut admin, 600, 7_200).await;
    // The end that the last refresh wrote is checked, although the policy in force is longer.
    world.sql("update session set idle_expire_time = now() - interval '1 second'").await;
    let refused = api.refresh(refresh_token(&second)).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("limit")), ("REFRESH_TOKEN_EXPIRED", "idle"));
    world.sql("update session set idle_expire_time = now() + interval '2 minutes'").await;
    let third = api.refresh(refresh_token(&second)).await.unwrap();
    assert_eq!(world.number(idle).await, 600, "a longer policy writes longer limits");
    assert_eq!(absolute_s(&first, &third), 7_200);
}

#[tokio::test]
async fn r3_an_absolute_limit_that_a_new_policy_has_passed_ends_the_session() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let first = api.session("user:7", "api").await;
    world.sql("update session set create_time = create_time - interval '1 hour'").await;
    lives(&mut admin, 600, 1_800).await;
    let refused = api.refresh(refresh_token(&first)).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("limit")), ("REFRESH_TOKEN_EXPIRED", "absolute"));
    lives(&mut admin, 600, 7_200).await;
    let second = api.refresh(refresh_token(&first)).await.unwrap();
    assert_eq!(
        absolute_s(&first, &second),
        3_600,
        "an hour later than it was opened; the refusal has spent nothing"
    );
}

#[tokio::test]
async fn r3_neither_the_access_token_nor_the_idle_limit_outlives_the_session() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    lives(&mut admin, 86_400, 300).await;
    let first = api.session("user:7", "api").await;
    let second = api.refresh(refresh_token(&first)).await.unwrap();
    for token in [first, second] {
        let refresh = token.refresh.clone().unwrap();
        assert_eq!(token.expire_time, refresh.session_expire_time);
        assert_eq!(token.expiration_basis(), pb::ExpirationBasis::SessionEnd);
        assert!(refresh.expire_time.unwrap().seconds <= refresh.session_expire_time.unwrap().seconds);
    }
}
