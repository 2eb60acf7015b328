//! A key that must not sign any more: dead everywhere on return, and another signs that everybody knows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use jeton::proto::v1::{self as pb, TokenStatus, key::State, revocation_target::Kind};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{AUDIENCES, apis, both_algorithms, in_state, is_active_everywhere, kid_of, rotate};
use crate::world::{Api, Fleet, Refused, Shell, Stopwatch, World, issue_request, until};

/// Issues on one replica where a key signs, and asks all of them: good, or revoked by now, but never unknown.
async fn issue_and_ask(mut apis: Vec<Api>, place: usize, judged: Arc<AtomicUsize>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let issued = match apis[place].issue(issue_request("user:7", &["api"])).await {
            Ok(issued) => issued,
            refused => {
                assert_eq!(refused.refused().reason, "SIGNING_KEY_UNAVAILABLE");
                // A refusal costs nothing: without a pause the load would be of refusals.
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            }
        };
        for api in &mut apis {
            let status = api.status(&issued.access_token, "api").await;
            assert!(matches!(status, TokenStatus::Active | TokenStatus::Revoked), "{status:?}");
        }
        judged.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn k3_a_key_that_is_revoked_under_load_is_dead_on_return_and_its_successor_is_known_everywhere() {
    let fleet = Fleet::start(3).await;
    let (judged, stop) = (Arc::new(AtomicUsize::new(0)), CancellationToken::new());
    let mut load = JoinSet::new();
    for place in [0, 1, 2] {
        load.spawn(issue_and_ask(apis(&fleet, "service"), place, Arc::clone(&judged), stop.clone()));
    }
    let mut admins = apis(&fleet, "admin");
    for round in 0..9 {
        let revoker = round % 3;
        let before = judged.load(Ordering::Relaxed);
        until("there is a load", async || judged.load(Ordering::Relaxed) > before + 6).await;
        let mut held = Vec::new();
        for admin in &mut admins {
            held.push(admin.token("user:held", "api").await.access_token);
        }
        // With a successor that is published already, and without.
        if round % 2 == 1 {
            rotate(&mut admins[revoker], pb::RotateKeyRequest::default()).await.unwrap();
        }
        let kid = kid_of(&held[0]);
        let answer = admins[revoker].revoke_wide(Kind::KeyId(kid.clone())).await.unwrap();
        assert!(answer.propagation.unwrap().complete);
        for place in 0..3 {
            for token in &held {
                assert_eq!(admins[place].status(token, "api").await, TokenStatus::Revoked);
            }
            let token = admins[place].token("user:7", "api").await.access_token;
            assert_ne!(kid_of(&token), kid, "it signs no more");
            is_active_everywhere(&mut admins, &token, "api").await;
        }
    }
    stop.cancel();
    load.join_all().await;
}

#[tokio::test]
async fn c1_a_published_key_that_is_revoked_never_signs() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let published = rotate(&mut admin, pb::RotateKeyRequest::default()).await.unwrap().key.unwrap();
    admin.revoke_wide(Kind::KeyId(published.key_id.clone())).await.unwrap();
    assert_eq!(in_state(&mut admin, "ES256", State::Revoked).await[0].key_id, published.key_id);
    assert!(!super::jwks(&mut admin).await.contains(&published.key_id), "published no more");
    let rotated = super::emergency(&mut admin, "ES256").await;
    assert_ne!(rotated.key.unwrap().key_id, published.key_id);
}

#[tokio::test]
async fn k9_after_an_epoch_without_the_old_keys_running_servers_have_new_ones_at_once() {
    let fleet = Fleet::start(2).await;
    let mut admins = apis(&fleet, "admin");
    both_algorithms(&mut admins[0]).await;
    let pending = rotate(&mut admins[0], pb::RotateKeyRequest::default()).await.unwrap().key.unwrap();
    let before = admins[0].token("user:7", "api").await.access_token;
    let said =
        Shell::new().run(&["epoch", "bump", "--revoke-keys", "--database-url", &fleet.database.url]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let began = Stopwatch::start();
    for (audience, _) in AUDIENCES {
        for admin in &mut admins {
            let mut issued = None;
            until("a key signs", async || {
                let request = pb::IssueRequest { refreshable: true, ..issue_request("user:7", &[audience]) };
                issued = admin.issue(request).await.ok();
                issued.is_some()
            })
            .await;
        }
    }
    let took = began.ran();
    assert!(took < Duration::from_secs(5), "within about a second: {took:?}");
    for place in 0..2 {
        let token = admins[place].token("user:7", "api").await.access_token;
        assert!(kid_of(&token) != kid_of(&before) && kid_of(&token) != pending.key_id);
        is_active_everywhere(&mut admins, &token, "api").await;
        assert_eq!(admins[place].status(&before, "api").await, TokenStatus::Revoked);
    }
}
