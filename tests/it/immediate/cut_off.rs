//! E3: a replica that cannot reach the database while the others go on.

use std::time::{Duration, Instant};

use tonic::Code;
use tonic_types::StatusExt;

use super::{assert_swift, assert_waited, timed};
use crate::world::{ALL, Answer, Fleet, Link, steady, until};

/// The length of a lease, from before the renewal was sent.
const LEASE: Duration = Duration::from_millis(2_700);

async fn cut_off(away: impl Fn(&Link)) {
    let mut fleet = Fleet::start(3).await;
    let mut revoker = fleet.caller(0);
    let good = revoker.token("user:good").await;
    let tokens = revoker.tokens("user:7", 30).await;
    let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &tokens)).collect();
    let gone = Instant::now();
    away(fleet.link_of(2));
    let mut caller = fleet.caller(2);
    assert_eq!(caller.validate(&good).await, Answer::ACTIVE, "it answers from memory");
    assert_waited(&timed(&mut revoker, &tokens[0]).await, "r2");

    // Its lease ends, and it says so.
    until("it refuses", async || caller.validate(&good).await != Answer::ACTIVE).await;
    let answers = |call: &crate::world::Call| call.replica == "r2" && call.answer == Answer::ACTIVE;
    assert_eq!(fleet.history.count(|call| answers(call) && call.start > gone + LEASE), 0);
    let status = caller.api.validate(&good.text, &["api"]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "REVOCATION_STATE_STALE");
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "{status:?}");
    assert_eq!(fleet.server(2).ops("/readyz").await.0, 503);
    assert_eq!(fleet.server(0).ops("/readyz").await.0, 200);

    // The others go on, and wait for it no more.
    fleet.has_registered(2).await;
    for token in &tokens[1..] {
        assert_swift(&timed(&mut revoker, token).await, 2);
    }
    fleet.link_of(2).resume(ALL);
    fleet.is_back(2, &good, &tokens).await;
    let server = fleet.server(2);
    until("it is ready", async || server.ops("/readyz").await.0 == 200).await;
    fleet.has_registered(3).await;
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.refused_as_stale("r2") > 0);
    assert_eq!(fleet.history.refused_as_stale("r0") + fleet.history.refused_as_stale("r1"), 0);
}

#[tokio::test]
async fn e3_a_replica_whose_connections_break_answers_until_its_lease_ends_and_comes_back_by_itself() {
    steady(async || cut_off(|link| link.cut(ALL)).await).await;
}

#[tokio::test]
async fn e3_a_replica_whose_connections_hang_answers_until_its_lease_ends_and_comes_back_by_itself() {
    steady(async || cut_off(|link| link.stall(ALL)).await).await;
}
