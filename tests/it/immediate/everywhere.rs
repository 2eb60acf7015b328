//! Nothing fails: revoked here, dead there, at once.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::world::{Answer, Caller, Fleet, Target};

/// Revokes on one replica, and asks all of them in the moment of the answer.
async fn rounds(callers: Vec<Caller>, lane: usize, rounds: usize) {
    let (mut callers, replicas) = (callers.clone(), callers.len());
    for round in 0..rounds {
        let revoker = (lane + round) % replicas;
        let subject = format!("user:{lane}-{round}");
        let minter = (lane + round / replicas) % replicas;
        let (token, target) = match round % 8 {
            6 => {
                let token = callers[minter].session(&subject).await;
                let session_id = token.session_id.clone();
                (token, Target::Session(session_id))
            }
            7 => (callers[minter].token(&subject).await, Target::Subject(subject)),
            _ => {
                let token = callers[minter].token(&subject).await;
                (Arc::clone(&token), Target::Token(token))
            }
        };
        assert_eq!(callers[lane % replicas].validate(&token).await, Answer::ACTIVE);
        callers[revoker].revoke(target).await.unwrap();
        let mut asked = JoinSet::new();
        for mut caller in callers.clone() {
            let token = Arc::clone(&token);
            asked.spawn(async move { caller.validate(&token).await });
        }
        asked.join_all().await;
    }
}

async fn lanes(fleet: &Fleet, lanes: usize, each: usize) {
    let mut tasks = JoinSet::new();
    for lane in 0..lanes {
        tasks.spawn(rounds(fleet.callers(), lane, each));
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    fleet.history.assert_no_stale_answer();
    let complete = fleet.history.answered(&Answer::Revoked { complete: true });
    assert_eq!(complete, lanes * each, "{}", fleet.history.tally());
    let revoked = fleet.history.answered(&Answer::REVOKED);
    assert_eq!(revoked, lanes * each * fleet.replicas.len(), "{}", fleet.history.tally());
}

#[tokio::test]
async fn k1_revoked_on_one_replica_is_revoked_on_every_other_at_once() {
    lanes(&Fleet::start(3).await, 10, 200).await;
}

#[tokio::test]
async fn k1_revoked_on_one_of_ten_replicas_is_revoked_on_all_at_once() {
    lanes(&Fleet::start(10).await, 5, 60).await;
}
