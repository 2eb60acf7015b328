//! A replica that is killed, or asked to end, while it revokes and others do.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::{SWIFT, W_AND_ROOM, is_swift, revoke_somewhere, target, timed};
use crate::world::{Answer, Asking, Caller, Fleet, Token, steady, until};

/// Revokes one after the other, and goes to other replicas with calls that the first could not answer.
async fn revoke_each(mut first: Caller, mut others: Vec<Caller>, tokens: Vec<Arc<Token>>) -> usize {
    let mut failed = 0;
    for token in &tokens {
        if first.revoke(target(token)).await.is_err() {
            failed += 1;
            revoke_somewhere(&mut others, token).await;
        }
    }
    failed
}

#[tokio::test]
async fn k1_others_go_on_when_a_replica_is_killed_and_wait_for_its_lease_once() {
    let mut fleet = Fleet::start(3).await;
    let minter = fleet.caller(0);
    let good = minter.clone().token("user:good").await;
    let (here, there) = (minter.tokens("user:7", 160).await, minter.tokens("user:8", 160).await);
    let all: Vec<_> = here.iter().chain(&there).cloned().collect();
    let asking = Asking::start([fleet.caller(0), fleet.caller(2), fleet.caller(2)], &all);
    let mut revoking = JoinSet::new();
    for (first, tokens) in [(0, &here), (1, &there)] {
        for part in tokens.chunks(40) {
            let others = vec![fleet.caller(0), fleet.caller(2)];
            revoking.spawn(revoke_each(fleet.caller(first), others, part.to_vec()));
        }
    }
    let history = Arc::clone(&fleet.history);
    let complete = Answer::Revoked { complete: true };
    until("it has begun", async || {
        history.count(|call| call.replica == "r1" && call.answer == complete) >= 8
    })
    .await;
    fleet.server(1).kill();
    let mut waiting = fleet.caller(2);
    let victim = fleet.caller(0).token("user:9").await;
    let (_, took) = timed(&mut waiting, &victim).await;
    assert!(took < W_AND_ROOM, "{took:?}");
    let failed: usize = revoking.join_all().await.into_iter().sum();
    assert!(failed > 0, "it was killed meanwhile");
    fleet.has_registered(2).await;
    let swift = is_swift(&mut waiting, 2).await;
    asking.end().await;
    for place in [0, 2] {
        fleet.is_back(place, &good, &all).await;
    }
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.answered(&Answer::ACTIVE) > 100, "{}", fleet.history.tally());
    // Calls whose answers were lost revoked once, however often they were repeated.
    let revocations = fleet.database.number("select count(*) from revocation").await;
    assert_eq!(revocations, all.len() as i64 + 1 + swift);
}

#[tokio::test]
async fn e4_a_replica_that_is_asked_to_end_is_waited_for_by_nobody() {
    steady(async || {
        let mut fleet = Fleet::start(3).await;
        let mut revoker = fleet.caller(0);
        let tokens = revoker.tokens("user:7", 60).await;
        let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &tokens)).collect();
        for (turn, token) in tokens.iter().enumerate() {
            if turn == 20 {
                fleet.server(2).terminate();
            }
            let (propagation, took) = timed(&mut revoker, token).await;
            assert_eq!(propagation.laggards.len(), 0, "{propagation:?}");
            assert!(took < SWIFT, "{took:?}");
        }
        assert_eq!(fleet.server(2).ended().await.code(), Some(0));
        assert_eq!(fleet.registered().await, 2);
        for each in asking {
            each.end().await;
        }
        fleet.history.assert_no_stale_answer();
    })
    .await;
}
