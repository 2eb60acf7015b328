//! Nothing fails: revoked here, dead there, at once.

use std::sync::Arc;

use jeton::proto::v1 as pb;
use tokio::task::JoinSet;

use crate::world::{
    Answer, Api, Caller, FEED, Fleet, Patience, Refused, Stream, Target, api_key, policy, seconds, steady,
    until,
};

/// Revokes on one replica, and asks all of them in the moment of the answer.
async fn rounds(mut callers: Vec<Caller>, lane: usize, rounds: usize) {
    let replicas = callers.len();
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
        assert_eq!(callers[lane % replicas].verdict(&token).await, Answer::ACTIVE);
        callers[revoker].revoked(target).await;
        let mut asked = JoinSet::new();
        for mut caller in callers.clone() {
            let token = Arc::clone(&token);
            asked.spawn(async move { caller.verdict(&token).await });
        }
        for answer in asked.join_all().await {
            assert_eq!(answer, Answer::REVOKED);
        }
        if round % 8 == 7 {
            // A later token is not hit on any replica.
            let token = callers[(revoker + 1) % replicas].token(&token.subject).await;
            for caller in &mut callers {
                assert_eq!(caller.verdict(&token).await, Answer::ACTIVE);
            }
        }
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
    // A machine that stood still may lose leases and calls in flight: less than one call in ten.
    let refused = fleet.history.count(|call| call.answer.is_for_now());
    assert!(refused * 10 < revoked, "{}", fleet.history.tally());
}

#[tokio::test]
async fn k1_revoked_on_one_replica_is_revoked_on_every_other_at_once() {
    lanes(&Fleet::start(3).await, 10, 200).await;
}

#[tokio::test]
async fn k1_revoked_on_one_of_ten_replicas_is_revoked_on_all_at_once() {
    lanes(&Fleet::start(10).await, 5, 60).await;
}

#[tokio::test]
async fn v11_an_open_stream_answers_by_what_was_revoked_on_another_replica() {
    let fleet = Fleet::start(2).await;
    let mut revoker = fleet.caller(0);
    let mut stream = Stream::open(&fleet.caller(1).api).await;
    for _ in 0..60 {
        let token = revoker.token("user:7").await;
        for revoke in [false, true] {
            if revoke {
                revoker.revoked(Target::Token(Arc::clone(&token))).await;
            }
            assert_eq!(stream.status(&token.text).await == pb::TokenStatus::Revoked, revoke);
        }
    }
}

#[tokio::test]
async fn i7_a_policy_written_on_one_replica_is_in_effect_on_every_other_at_once() {
    let fleet = Fleet::start(3).await;
    let mut writer = fleet.caller(0);
    for ttl_s in 100..140 {
        let rules = pb::Policy { default_ttl: Some(seconds(ttl_s)), ..policy("api") };
        let patience = Patience::begin();
        while let Err(status) = writer.api.set_policy(rules.clone()).await {
            assert!(patience.bears(&status).await, "{status:?}");
        }
        for mut caller in fleet.callers() {
            let issued = caller.api.token("user:7", "api").await;
            let lifetime_s = issued.expire_time.unwrap().seconds - issued.issue_time.unwrap().seconds;
            assert_eq!(lifetime_s, ttl_s);
        }
    }
}

#[tokio::test]
async fn r7_a_session_revoked_on_one_replica_cannot_be_refreshed_on_any_other() {
    let fleet = Fleet::start(3).await;
    let mut revoker = fleet.caller(0);
    for round in 0..40 {
        let subject = format!("user:{round}");
        let first = revoker.api.session(&subject, "api").await;
        let refresh_token = first.refresh.unwrap().refresh_token;
        let target =
            if round % 2 == 0 { Target::Session(first.session_id) } else { Target::Subject(subject.clone()) };
        revoker.revoked(target).await;
        for place in [1, 2] {
            let (mut caller, patience) = (fleet.caller(place), Patience::begin());
            let mut answer = caller.api.refresh(&refresh_token).await;
            while let Err(status) = &answer
                && patience.bears(status).await
            {
                answer = caller.api.refresh(&refresh_token).await;
            }
            assert_eq!(answer.refused().reason, "SESSION_REVOKED");
        }
    }
}

// A session is opened after a mark that the replica which refreshes it has not read yet.
#[tokio::test]
async fn r7_a_refresh_on_a_replica_that_lags_is_not_hit_by_a_mark_from_before_the_session() {
    steady(async || {
        let fleet = Fleet::start(2).await;
        let api_of = |place: usize| Api::connect(&fleet.replicas[place].server.ready, &api_key("service"));
        let (mut here, mut there) = (api_of(0), api_of(1));
        let link = fleet.link_of(1);
        link.stall(FEED);
        link.has_held(FEED).await;
        let marked = Target::Subject("user:7".to_owned());
        let local = |request| pb::RevokeRequest { wait_for: pb::Reach::Local.into(), ..request };
        fleet.caller(0).revoked_as(marked, local).await;
        let session = here.session("user:7", "api").await;
        let refresh_token = session.refresh.unwrap().refresh_token;
        let refreshing = tokio::spawn(async move { there.refresh(&refresh_token).await });
        // The session has moved on; looking up the marks then waits for entries that this replica has not read.
        let moved = format!("select generation from session where id = '{}'", session.session_id);
        until("the session has moved on", async || fleet.database.number(&moved).await == 1).await;
        assert!(!refreshing.is_finished(), "it waits for the mark");
        link.resume(FEED);
        let next = refreshing.await.unwrap().unwrap();
        assert_eq!(here.status(&next.access_token, "api").await, pb::TokenStatus::Active);
    })
    .await;
}
