//! The lease counts from before the renewal was sent, and only for the registration that sent it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use super::{assert_swift, assert_waited, timed};
use crate::world::{ALL, FEED, Fleet, LEASE, steady, until};

// M7: never from the reply.
#[tokio::test]
async fn k1_a_lease_counts_from_the_moment_before_its_renewal_was_sent() {
    steady(async || {
        let fleet = Fleet::start(2).await;
        let mut revoker = fleet.caller(0);
        let token = revoker.token("user:7").await;
        let asking = fleet.ask(1, &[Arc::clone(&token)]);
        let link = fleet.link_of(1);
        link.hold_replies(LEASE);
        link.has_held(LEASE).await;
        let sent = Instant::now();
        // It is renewed as of before the revocation, and does not hear of it.
        link.stall(FEED);
        let (mut caller, same) = (revoker.clone(), Arc::clone(&token));
        let revoking = tokio::spawn(async move { timed(&mut caller, &same).await });
        // As late as it is still waited for, and the lease goes on: time is what this is about. Counted from the reply it
        // would last until 4.4 s after it was sent, which is more than a second after the revocation has been answered.
        sleep_until((sent + Duration::from_millis(1_700)).into()).await;
        link.resume(LEASE);
        let waited = revoking.await.unwrap();
        assert_waited(&waited, "r1");
        assert!(fleet.active_after(1, sent) > 0, "{}", fleet.history.tally());
        fleet.is_asked_on(1).await;
        asking.end().await;
        fleet.history.assert_no_stale_answer();
        assert!(fleet.history.refused_as_stale("r1") > 0, "{}", fleet.history.tally());
        link.resume(ALL);
        fleet.all_revoked(&[token]).await;
    })
    .await;
}

// N1, N2: a renewal of a registration that is gone says nothing, however late it arrives.
#[tokio::test]
async fn k1_a_replica_that_was_removed_registers_anew_under_another_id() {
    steady(async || {
        let fleet = Fleet::start(2).await;
        let mut revoker = fleet.caller(0);
        let good = revoker.token("user:good").await;
        let tokens = revoker.tokens("user:7", 10).await;
        let asking = fleet.ask(1, &tokens);
        let former = "select hashtext(id::text)::bigint from replica where name = 'r1'";
        let before = fleet.database.number(former).await;
        let link = fleet.link_of(1);
        link.stall(LEASE);
        // A renewal that was sent before the revocation, and arrives after it.
        link.has_held(LEASE).await;
        link.stall(FEED);
        timed(&mut revoker, &tokens[0]).await;
        fleet.has_registered(1).await;
        for token in &tokens[1..] {
            assert_swift(&timed(&mut revoker, token).await, 1);
        }
        let resumed = Instant::now();
        link.resume(LEASE);
        // Still deaf: it does not register, so that none waits for it, and refuses.
        let deaf = fleet.history.refused_as_stale("r1");
        until("it refuses", async || fleet.history.refused_as_stale("r1") > deaf).await;
        assert_eq!(fleet.registered().await, 1);
        assert_eq!(fleet.active_after(1, resumed), 0, "{}", fleet.history.tally());
        link.resume(FEED);
        fleet.is_back(1, &good, &tokens).await;
        fleet.has_registered(2).await;
        assert_ne!(fleet.database.number(former).await, before);
        asking.end().await;
        fleet.history.assert_no_stale_answer();
    })
    .await;
}
