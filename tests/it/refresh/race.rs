//! R7: Refresh against Revoke.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};

use super::refresh_token;
use crate::world::{Api, Refused, World, until};

const ROUNDS: usize = 12;

/// Refreshes until it is refused; gives every token that it got, and the refusal.
async fn chain(
    mut api: Api,
    mut current: pb::IssuedToken,
    revoked: Arc<AtomicBool>,
    got: Arc<AtomicU32>,
) -> (Vec<pb::IssuedToken>, String) {
    let mut tokens = vec![current.clone()];
    loop {
        let was_revoked = revoked.load(Ordering::SeqCst);
        match api.refresh(refresh_token(&current)).await {
            Ok(next) => {
                assert!(!was_revoked, "a refresh that began after the revocation was answered");
                got.fetch_add(1, Ordering::SeqCst);
                tokens.push(next.clone());
                current = next;
            }
            refused @ Err(_) => return (tokens, refused.refused().reason),
        }
    }
}

#[tokio::test]
async fn r7_after_a_revocation_is_answered_no_refresh_succeeds_and_nothing_minted_is_active() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for round in 0..ROUNDS {
        let subject = format!("user:{round}");
        let first = api.session(&subject, "api").await;
        let (revoked, got) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let chain = tokio::spawn(chain(api.clone(), first.clone(), Arc::clone(&revoked), Arc::clone(&got)));
        // At another moment of the loop each time.
        until("it refreshes", async || got.load(Ordering::SeqCst) as usize > round % 5).await;
        match round % 3 {
            0 => admin.revoke(Kind::SessionId(first.session_id.clone())).await.unwrap(),
            1 => admin.revoke_wide(Kind::Subject(subject.clone())).await.unwrap(),
            _ => admin.revoke_wide(Kind::ClientId("service".to_owned())).await.unwrap(),
        };
        revoked.store(true, Ordering::SeqCst);
        let (tokens, reason) = chain.await.unwrap();
        assert_eq!(reason, "SESSION_REVOKED");
        assert!(tokens.len() > round % 5);
        for token in tokens {
            assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked, "round {round}");
            let refused = api.refresh(refresh_token(&token)).await.refused();
            assert_eq!(refused.reason, "SESSION_REVOKED", "round {round}");
        }
    }
}

#[tokio::test]
async fn r7_concurrent_presentations_against_a_revocation_leave_nothing_alive() {
    let world = World::start().await;
    let (mut api, admin) = (world.api("service").await, world.api("admin").await);
    for round in 0..ROUNDS {
        let subject = format!("user:{round}");
        let first = api.session(&subject, "api").await;
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (mut api, token) = (api.clone(), refresh_token(&first).to_owned());
            tasks.spawn(async move { api.refresh(&token).await });
        }
        let mut admin = admin.clone();
        if round % 2 == 0 {
            admin.revoke(Kind::SessionId(first.session_id.clone())).await.unwrap();
        } else {
            admin.revoke_wide(Kind::Subject(subject)).await.unwrap();
        }
        let mut minted = vec![first];
        while let Some(answer) = tasks.join_next().await {
            match answer.unwrap() {
                Ok(token) => minted.push(token),
                refused @ Err(_) => assert_eq!(refused.refused().reason, "SESSION_REVOKED"),
            }
        }
        for token in minted {
            assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
            assert_eq!(api.refresh(refresh_token(&token)).await.refused().reason, "SESSION_REVOKED");
        }
    }
}
