//! A replica that does not run for a while, like one that is paged out, throttled or debugged: data sent to it
//! meanwhile waits in its sockets, and is answered when it wakes.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{task::JoinSet, time::sleep};

use super::{W_AND_ROOM, assert_swift, assert_waited, revoke_all, timed};
use crate::world::{Answer, Call, Caller, FEED, Fleet, Target, Token, steady, until};

/// Connections to a replica that are known to be open.
async fn connected(fleet: &Fleet, place: usize, count: usize) -> Vec<Caller> {
    let token = fleet.caller(0).token("user:good").await;
    let mut callers = Vec::new();
    for _ in 0..count {
        let mut caller = fleet.caller(place);
        assert_eq!(caller.verdict(&token).await, Answer::ACTIVE);
        callers.push(caller);
    }
    callers
}

/// Calls that are not answered yet: each caller asks about each token.
fn queue(callers: &[Caller], tokens: &[Arc<Token>], queued: &mut JoinSet<Answer>) {
    for caller in callers {
        for token in tokens {
            let (mut caller, token) = (caller.clone(), Arc::clone(token));
            queued.spawn(async move { caller.validate(&token).await });
        }
    }
}

// M1, M6: the lease is asked for when a call is answered, not when it arrived, and before anything is looked up.
#[tokio::test]
async fn k1_a_replica_that_was_stopped_for_longer_than_its_lease_answers_nothing_stale_when_it_wakes() {
    steady(async || {
        let mut fleet = Fleet::start(3).await;
        let mut revoker = fleet.caller(0);
        let tokens = revoker.tokens("user:7", 24).await;
        let good = revoker.token("user:good").await;
        let callers = connected(&fleet, 1, 4).await;
        // It knows everything that can be known of them beforehand.
        for token in &tokens {
            assert_eq!(callers[0].clone().validate(token).await, Answer::ACTIVE);
        }
        let (mut before, mut queued) = (JoinSet::new(), JoinSet::new());
        queue(&callers, &tokens, &mut before);
        tokio::task::yield_now().await;
        fleet.server(1).pause();
        queue(&callers, &tokens, &mut queued);
        assert_waited(&timed(&mut revoker, &tokens[0]).await, "r1");
        queue(&callers, &tokens[..1], &mut queued);
        // The others wait for it once, and remove it then.
        fleet.has_registered(2).await;
        revoke_all(&revoker, &tokens[1..]).await;
        assert_swift(&timed(&mut revoker, &tokens[0]).await, 2);
        queue(&callers, &tokens, &mut queued);
        // After it wakes it hears nothing for a while.
        fleet.link_of(1).stall(FEED);
        let resumed = Instant::now();
        fleet.server(1).resume();
        let answered = |call: &Call| call.replica == "r1" && call.end > resumed;
        until("it has answered, or refused", async || fleet.history.count(answered) > 0).await;
        fleet.link_of(1).resume(FEED);
        before.join_all().await;
        for answer in queued.join_all().await {
            // Refused, where its connections had died meanwhile.
            assert!(answer == Answer::REVOKED || answer.is_stale_state(), "{}", fleet.history.tally());
        }
        fleet.is_back(1, &good, &tokens).await;
        fleet.has_registered(3).await;
        fleet.history.assert_no_stale_answer();
    })
    .await;
}

#[tokio::test]
async fn k1_a_replica_that_was_stopped_for_less_than_its_lease_answers_nothing_stale_when_it_wakes() {
    steady(async || {
        let mut fleet = Fleet::start(2).await;
        let revoker = fleet.caller(0);
        let callers = connected(&fleet, 1, 4).await;
        for round in 0..4 {
            let tokens = revoker.tokens("user:7", 12).await;
            let mut queued = JoinSet::new();
            fleet.server(1).pause();
            queue(&callers, &tokens, &mut queued);
            let mut revokes = JoinSet::new();
            for token in tokens.clone() {
                let (mut revoker, callers) = (revoker.clone(), callers.clone());
                revokes.spawn(async move {
                    let (_, took) = timed(&mut revoker, &token).await;
                    // In the very moment of the answer.
                    let mut asked = JoinSet::new();
                    queue(&callers, &[token], &mut asked);
                    asked.join_all().await;
                    took
                });
            }
            // Each time for longer: time is what this is about, as parts of a lease.
            sleep(Duration::from_millis(200 * round)).await;
            until("all are in the log", async || fleet.are_logged(&tokens).await).await;
            fleet.server(1).resume();
            for took in revokes.join_all().await {
                assert!(took < W_AND_ROOM, "{took:?}");
            }
            queued.join_all().await;
            // By its session, and by its subject.
            let token = revoker.clone().session("user:8").await;
            fleet.server(1).pause();
            let target = match round % 2 {
                0 => Target::Session(token.session_id.clone()),
                _ => Target::Subject("user:8".to_owned()),
            };
            let mut revoker = revoker.clone();
            let before = fleet.head().await;
            let revoked = tokio::spawn(async move { revoker.revoked(target).await });
            until("it is in the log", async || fleet.head().await > before).await;
            fleet.server(1).resume();
            revoked.await.unwrap();
            let mut asked = JoinSet::new();
            queue(&callers, &[token], &mut asked);
            asked.join_all().await;
        }
        fleet.history.assert_no_stale_answer();
        assert!(fleet.history.answered(&Answer::REVOKED) >= 4 * 12 * 4, "{}", fleet.history.tally());
        assert_eq!(fleet.registered().await, 2, "it was not gone for long enough to be removed");
    })
    .await;
}
