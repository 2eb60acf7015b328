//! R2, R9: reuse, and what looks like it after a restore.

use jeton::proto::v1::{RevocationReason, TokenStatus};

use super::{LONGEST_S, grace, refresh_token};
use crate::world::{Raw, Refused, World, api_key, frame, steady};

#[tokio::test]
async fn r2_a_spent_refresh_token_ends_the_session_before_the_refusal_is_answered() {
    steady(async || {
        let world = World::start().await;
        let mut api = world.api("service").await;
        grace(&world, "api", 0).await;
        for round in 0..10 {
            let first = api.session(&format!("user:{round}"), "api").await;
            let second = api.refresh(refresh_token(&first)).await.unwrap();
            let third = api.refresh(refresh_token(&second)).await.unwrap();
            let refused = api.refresh(refresh_token(&second)).await.refused();
            assert_eq!(refused.reason, "REFRESH_TOKEN_REUSED");
            assert_eq!(refused.code, tonic::Code::Unauthenticated);
            assert_eq!(refused.get("sessionId"), first.session_id);
            for token in [&first, &second, &third] {
                let verdict = api.validate(&token.access_token, &["api"]).await.unwrap();
                assert_eq!(verdict.status(), TokenStatus::Revoked);
                assert_eq!(verdict.revocation_reason(), RevocationReason::RefreshReuse);
            }
            for token in [&first, &second, &third] {
                let refused = api.refresh(refresh_token(token)).await.refused();
                assert_eq!(refused.reason, "SESSION_REVOKED");
                assert_eq!(refused.get("sessionId"), first.session_id);
                assert_eq!(refused.get("revocationReason"), "REFRESH_REUSE");
            }
            let act = format!(
                "action = 'RefreshReuseDetected' and reason = 6 and actor = 'service' and client_id = 'service'
                 and subject = 'user:{round}' and session_id = '{}'",
                first.session_id
            );
            assert_eq!(world.audited(&act).await, 1);
        }
        assert!((world.metric(r#"jeton_refreshes_total{outcome="REUSED"}"#).await - 10.0).abs() < 0.1);
        assert!((world.metric(r#"jeton_refreshes_total{outcome="REVOKED"}"#).await - 30.0).abs() < 0.1);
    })
    .await;
}

#[tokio::test]
async fn r2_of_many_concurrent_presentations_of_a_spent_token_none_succeeds() {
    steady(async || {
        let world = World::start().await;
        let mut api = world.api("service").await;
        grace(&world, "api", 0).await;
        let first = api.session("user:7", "api").await;
        let second = api.refresh(refresh_token(&first)).await.unwrap();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..32 {
            let (mut api, token) = (api.clone(), refresh_token(&first).to_owned());
            tasks.spawn(async move { api.refresh(&token).await.refused().reason });
        }
        let reasons = tasks.join_all().await;
        assert!(reasons.iter().any(|reason| reason == "REFRESH_TOKEN_REUSED"));
        assert!(reasons.iter().all(|reason| reason == "REFRESH_TOKEN_REUSED" || reason == "SESSION_REVOKED"));
        assert_eq!(api.status(&second.access_token, "api").await, TokenStatus::Revoked);
        assert_eq!(api.refresh(refresh_token(&second)).await.refused().reason, "SESSION_REVOKED");
    })
    .await;
}

#[tokio::test]
async fn r2_reuse_in_one_session_leaves_the_subjects_other_sessions_alone() {
    steady(async || {
        let world = World::start().await;
        let mut api = world.api("service").await;
        grace(&world, "api", 0).await;
        let (stolen, other) = (api.session("user:7", "api").await, api.session("user:7", "api").await);
        api.refresh(refresh_token(&stolen)).await.unwrap();
        assert_eq!(api.refresh(refresh_token(&stolen)).await.refused().reason, "REFRESH_TOKEN_REUSED");
        assert_eq!(api.status(&other.access_token, "api").await, TokenStatus::Active);
        api.refresh(refresh_token(&other)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn r9_a_generation_above_the_rows_is_lost_history_and_the_session_moves_past_it() {
    steady(async || {
        let world = World::start().await;
        let mut api = world.api("service").await;
        grace(&world, "api", 0).await;
        let mut chain = vec![api.session("user:7", "api").await];
        for _ in 0..5 {
            let next = api.refresh(refresh_token(chain.last().unwrap())).await.unwrap();
            chain.push(next);
        }
        // As after a restore: the row is as it was three refreshes ago.
        world.sql("update session set generation = 2").await;
        let next = api.refresh(refresh_token(&chain[5])).await.unwrap();
        assert_eq!(world.number("select generation from session").await, 6, "past the token presented");
        let act = format!("action = 'RefreshHistoryLost' and session_id = '{}'", chain[0].session_id);
        assert_eq!(world.audited(&act).await, 1);
        assert!((world.metric(r#"jeton_refreshes_total{outcome="RECOVERED"}"#).await - 1.0).abs() < 0.1);
        let after = api.refresh(refresh_token(&next)).await.unwrap();
        assert_eq!(api.status(&after.access_token, "api").await, TokenStatus::Active);
        let refused = api.refresh(refresh_token(&chain[4])).await.refused();
        assert_eq!(refused.reason, "REFRESH_TOKEN_REUSED", "an older one is still reuse");
        assert_eq!(api.status(&after.access_token, "api").await, TokenStatus::Revoked);
    })
    .await;
}

#[tokio::test]
async fn r9_of_two_presentations_of_lost_history_both_get_one_successor() {
    let world = World::start().await;
    grace(&world, "api", LONGEST_S).await;
    let mut api = world.api("service").await;
    let first = api.session("user:7", "api").await;
    let second = api.refresh(refresh_token(&first)).await.unwrap();
    world.sql("update session set generation = 0").await;
    let (mut one, mut two) = (api.clone(), api.clone());
    let (one, two) = tokio::join!(one.refresh(refresh_token(&second)), two.refresh(refresh_token(&second)));
    assert_eq!(refresh_token(&one.unwrap()), refresh_token(&two.unwrap()));
    assert_eq!(world.number("select generation from session").await, 2);
}

#[tokio::test]
async fn r2_a_spent_token_is_presented_when_it_comes_however_early_its_call_began() {
    steady(async || {
        let world = World::start().await;
        let mut api = world.api("service").await;
        let first = api.session("user:7", "api").await;
        let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
        let (send, pieces) = tokio::sync::mpsc::channel(1);
        let message = frame(&prost::Message::encode_to_vec(&super::request(refresh_token(&first))));
        let (begin, rest) = message.split_at(9);
        send.send(begin.to_vec()).await.unwrap();
        let same = raw.clone();
        let calling =
            tokio::spawn(async move { raw.call_as_sent("/jeton.v1.TokenService/Refresh", pieces).await });
        // The beginning was read; and later calls on the connection are answered.
        drop(send.reserve().await.unwrap());
        same.send("/jeton.v1.TokenService/Validate", &crate::world::validate_request("x", &["api"])).await;
        let second = api.refresh(refresh_token(&first)).await.unwrap();
        let third = api.refresh(refresh_token(&second)).await.unwrap();
        send.send(rest.to_vec()).await.unwrap();
        drop(send);
        let refused = calling.await.unwrap().result().refused();
        assert_eq!(refused.reason, "REFRESH_TOKEN_REUSED", "{refused:?}");
        assert_eq!(api.status(&third.access_token, "api").await, TokenStatus::Revoked);
    })
    .await;
}
