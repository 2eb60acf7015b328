//! R10: a presentation that is looked at late, since the database did not answer one replica, proves nothing.

use std::time::Duration;

use jeton::proto::v1 as pb;
use tonic::{Code, Status};

use super::{refresh_token, request};
use crate::world::{Api, Fleet, Link, REFRESH, api_key, policy, seconds, until};

/// Two replicas, the first of which waits for the database when it refreshes; a session, and the API of each.
async fn stalled() -> (Fleet, [Api; 2], pb::IssuedToken) {
    let fleet = Fleet::start(2).await;
    let api_of = |place: usize| Api::connect(&fleet.replicas[place].server.ready, &api_key("service"));
    let (slow, mut other) = (api_of(0), api_of(1));
    let first = other.session("user:7", "api").await;
    fleet.link_of(0).stall(REFRESH);
    (fleet, [slow, other], first)
}

/// Presents a refresh token where it has to wait, and waits until it does.
async fn present(
    api: &Api,
    link: &Link,
    token: &pb::IssuedToken,
    limit: Option<Duration>,
) -> tokio::task::JoinHandle<Result<pb::IssuedToken, Status>> {
    let (mut api, mut presented) = (api.clone(), tonic::Request::new(request(refresh_token(token))));
    if let Some(limit) = limit {
        presented.set_timeout(limit);
    }
    let waiting =
        tokio::spawn(async move { Ok(api.tokens.refresh(presented).await?.into_inner().token.unwrap()) });
    link.has_held(REFRESH).await;
    waiting
}

/// The presentations to the first replica are processed.
async fn resume(fleet: &Fleet, api: &mut Api) {
    fleet.link_of(0).resume(REFRESH);
    // Everything that waited has been answered before this.
    let session = api.session("user:8", "api").await;
    api.refresh(refresh_token(&session)).await.unwrap();
}

async fn reuses(fleet: &Fleet) -> i64 {
    fleet.database.number("select count(*) from audit_event where action = 'RefreshReuseDetected'").await
}

#[tokio::test]
async fn r10_a_caller_who_gave_up_and_refreshed_elsewhere_keeps_the_session() {
    let (fleet, [mut slow, mut other], first) = stalled().await;
    let given_up = present(&slow, fleet.link_of(0), &first, Some(Duration::from_millis(500))).await;
    let status = given_up.await.unwrap().unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
    let second = other.refresh(refresh_token(&first)).await.unwrap();
    let third = other.refresh(refresh_token(&second)).await.unwrap();
    resume(&fleet, &mut slow).await;
    let fourth = other.refresh(refresh_token(&third)).await.unwrap();
    assert_eq!(slow.status(&fourth.access_token, "api").await, pb::TokenStatus::Active);
    assert_eq!(reuses(&fleet).await, 0);
}

// When it continues, it reads what was sent to it, and that its caller has gone.
#[tokio::test]
async fn r10_a_caller_who_gave_up_on_a_stopped_replica_keeps_the_session() {
    let mut fleet = Fleet::start(2).await;
    let [mut stopped, mut other] =
        [0, 1].map(|place| Api::connect(&fleet.replicas[place].server.ready, &api_key("service")));
    for _ in 0..3 {
        let first = stopped.session("user:7", "api").await;
        fleet.server(0).pause();
        let mut presented = tonic::Request::new(request(refresh_token(&first)));
        presented.set_timeout(Duration::from_millis(500));
        let status = stopped.tokens.refresh(presented).await.unwrap_err();
        assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
        let second = other.refresh(refresh_token(&first)).await.unwrap();
        let third = other.refresh(refresh_token(&second)).await.unwrap();
        fleet.server(0).resume();
        // Everything that waited there has been processed before this.
        until("it answers again", async || stopped.validate(&third.access_token, &["api"]).await.is_ok())
            .await;
        let fourth = other.refresh(refresh_token(&third)).await.unwrap();
        assert_eq!(stopped.status(&fourth.access_token, "api").await, pb::TokenStatus::Active);
    }
    assert_eq!(reuses(&fleet).await, 0);
}

// Its caller waits on a connection that it knew, or on one that it takes when it goes on.
#[tokio::test]
async fn r10_what_was_sent_to_a_stopped_replica_was_presented_before_it_goes_on() {
    let mut fleet = Fleet::start(2).await;
    let [ready, other] = [0, 1].map(|place| fleet.replicas[place].server.ready.clone());
    let mut other = Api::connect(&other, &api_key("service"));
    for is_known in [true, false] {
        let mut stopped = Api::connect(&ready, &api_key("service"));
        let first = other.session("user:7", "api").await;
        if is_known {
            assert_eq!(stopped.status(&first.access_token, "api").await, pb::TokenStatus::Active);
        }
        fleet.server(0).pause();
        let token = refresh_token(&first).to_owned();
        let late = tokio::spawn(async move { stopped.refresh(&token).await });
        let second = other.refresh(refresh_token(&first)).await.unwrap();
        let third = other.refresh(refresh_token(&second)).await.unwrap();
        until("it has stood still for two seconds", async || {
            let still = "select count(*) from session where refresh_time < now() - interval '2 seconds' and generation = 2";
            fleet.database.number(still).await == 1
        })
        .await;
        fleet.server(0).resume();
        let status = late.await.unwrap().unwrap_err();
        // Unauthenticated; or, on a machine that was busy for seconds, the caller no longer waits.
        assert!([Code::Unauthenticated, Code::Unavailable].contains(&status.code()), "{status:?}");
        assert!(!status.message().contains("revoked"), "{status:?}");
        let fourth = other.refresh(refresh_token(&third)).await.unwrap();
        assert_eq!(other.status(&fourth.access_token, "api").await, pb::TokenStatus::Active);
        assert_eq!(reuses(&fleet).await, 0);
    }
}

#[tokio::test]
async fn r10_a_presentation_that_came_before_later_ones_were_answered_is_refused_and_ends_nothing() {
    for rounds in [1, 2] {
        let (fleet, [mut slow, mut other], first) = stalled().await;
        if rounds == 1 {
            let strict = pb::Policy { refresh_replay_grace: Some(seconds(0)), ..policy("api") };
            fleet.caller(1).api.set_policy(strict).await.unwrap();
        }
        let late = present(&slow, fleet.link_of(0), &first, None).await;
        let mut last = first;
        for _ in 0..rounds {
            last = other.refresh(refresh_token(&last)).await.unwrap();
        }
        resume(&fleet, &mut slow).await;
        let status = late.await.unwrap().unwrap_err();
        // Unauthenticated; or, on a machine that was busy for seconds, the caller no longer waits.
        assert!([Code::Unauthenticated, Code::Unavailable].contains(&status.code()), "{status:?}");
        assert!(!status.message().contains("revoked"), "{status:?}");
        let next = other.refresh(refresh_token(&last)).await.unwrap();
        assert_eq!(slow.status(&next.access_token, "api").await, pb::TokenStatus::Active);
        assert_eq!(reuses(&fleet).await, 0);
    }
}

#[tokio::test]
async fn r10_the_grace_counts_to_when_a_token_was_presented() {
    let (fleet, [mut slow, mut other], first) = stalled().await;
    let short = pb::Policy { refresh_replay_grace: Some(seconds(1)), ..policy("api") };
    fleet.caller(1).api.set_policy(short).await.unwrap();
    let late = present(&slow, fleet.link_of(0), &first, None).await;
    let second = other.refresh(refresh_token(&first)).await.unwrap();
    until("the grace is over by the row", async || {
        let over = "select count(*) from session where refresh_time < now() - interval '1.2 seconds' and generation = 1";
        fleet.database.number(over).await == 1
    })
    .await;
    resume(&fleet, &mut slow).await;
    match late.await.unwrap() {
        Ok(again) => assert_eq!(refresh_token(&again), refresh_token(&second)),
        // On a machine that was busy for seconds, the caller no longer waits.
        Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
    }
    other.refresh(refresh_token(&second)).await.unwrap();
    assert_eq!(reuses(&fleet).await, 0);
}
