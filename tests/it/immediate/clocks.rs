//! A replica whose wall clock steps. Leases depend on the boot clock; the wall clock only reveals a machine that was
//! frozen.

use super::timed;
use crate::world::{ALL, Answer, Caller, Fleet, InProcess, LEASE, steady, until};

/// A fleet of two processes, and a third replica in this one.
async fn beside_processes() -> (Fleet, crate::world::Link, InProcess, Caller) {
    let fleet = Fleet::start(2).await;
    let link = fleet.link().await;
    let stepping = InProcess::start(&link.url, 0).await;
    let caller = Caller::connect(&stepping.ready, &fleet.history);
    until("all three are registered", async || fleet.registered().await == 3).await;
    (fleet, link, stepping, caller)
}

#[tokio::test]
async fn k1_steps_of_a_wall_clock_never_make_an_answer_stale() {
    let (fleet, _link, stepping, mut caller) = beside_processes().await;
    let mut revoker = fleet.caller(0);
    // Forward and back, but never so far that calls are refused.
    for step_ms in [90, 150, 3_000, -3_000, 9_000, -12_000, 500, 101, 3_300, -1, 2_700, -60, 7_000, -9_000] {
        let token = revoker.token("user:7").await;
        assert_eq!(caller.verdict(&token).await, Answer::ACTIVE);
        stepping.clock.step(step_ms);
        timed(&mut revoker, &token).await;
        assert_eq!(caller.verdict(&token).await, Answer::REVOKED, "after a step of {step_ms} ms");
        // Minted elsewhere: replicas with right clocks would refuse a token from the future.
        let token = revoker.token("user:8").await;
        stepping.clock.step(step_ms / 2);
        timed(&mut caller, &token).await;
        fleet.all_revoked(&[token]).await;
    }
    fleet.history.assert_no_stale_answer();
    stepping.ended().await;
}

// M10: a machine that was frozen holds no lease.
#[tokio::test]
async fn k1_a_step_forward_costs_the_lease_until_the_next_renewal() {
    steady(async || {
        let (fleet, link, stepping, mut caller) = beside_processes().await;
        let mut revoker = fleet.caller(0);
        let good = revoker.token("user:good").await;
        for (step_ms, holds) in [(-5_000, true), (95, true), (5_000, false)] {
            assert_eq!(caller.validate(&good).await, Answer::ACTIVE);
            // A new lease that is not renewed.
            link.more_round_trips(LEASE, 2).await;
            link.stall(ALL);
            assert_eq!(caller.validate(&good).await, Answer::ACTIVE);
            stepping.clock.step(step_ms);
            let answer = caller.validate(&good).await;
            assert!(
                if holds { answer == Answer::ACTIVE } else { answer.is_stale_state() },
                "{step_ms}: {answer:?}"
            );
            if step_ms < 0 {
                // Nor does a wall clock that was put back prolong it.
                let token = revoker.token("user:7").await;
                timed(&mut revoker, &token).await;
                let answer = caller.validate(&good).await;
                assert!(answer.is_stale_state(), "{step_ms}: {answer:?}");
            }
            link.resume(ALL);
            until("it is back", async || caller.validate(&good).await == Answer::ACTIVE).await;
        }
        let token = revoker.token("user:7").await;
        timed(&mut revoker, &token).await;
        assert_eq!(caller.verdict(&token).await, Answer::REVOKED);
        fleet.history.assert_no_stale_answer();
        stepping.ended().await;
    })
    .await;
}
