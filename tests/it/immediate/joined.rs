//! Replicas that join while others revoke, and are asked from their first moment.

use sqlx::Executor;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{target, timed};
use crate::world::{Answer, FEED, Fleet, LEASE, until};

#[tokio::test]
async fn k1_a_replica_that_joins_while_others_revoke_answers_nothing_stale_from_its_first_moment() {
    let mut fleet = Fleet::start(2).await;
    let tokens = fleet.caller(0).tokens("user:7", 400).await;
    let stop = CancellationToken::new();
    let mut revoking = JoinSet::new();
    for (lane, part) in tokens.chunks(100).enumerate() {
        let (mut revoker, part, stop) = (fleet.caller(lane % 2), part.to_vec(), stop.clone());
        revoking.spawn(async move {
            for token in part {
                revoker.revoke(target(&token)).await.unwrap();
                if !stop.is_cancelled() {
                    // Spread over the time that the others take to join.
                    tokio::time::sleep(std::time::Duration::from_millis(25)).await;
                }
            }
        });
    }
    let mut asking = Vec::new();
    for _ in 0..3 {
        let place = fleet.join().await;
        // Each caller begins with others of them.
        for part in tokens.chunks(100) {
            asking.push(fleet.ask(place, part));
        }
    }
    stop.cancel();
    revoking.join_all().await;
    for each in asking {
        each.end().await;
    }
    fleet.all_revoked(&tokens).await;
    fleet.history.assert_no_stale_answer();
    for place in 2..5 {
        let name = fleet.name(place);
        let revoked = fleet.history.count(|call| call.replica == name && call.answer == Answer::REVOKED);
        assert!(revoked >= 400, "{}", fleet.history.tally());
    }
    assert_eq!(fleet.registered().await, 5);
}

const SLOW_REGISTRATION: &str = "
    create function wait_for_the_test() returns trigger language plpgsql as $$
        begin perform pg_advisory_xact_lock(7); return new; end $$;
    create trigger slow_registration before insert on replica for each row execute function wait_for_the_test()";

// M4: a replica registers before its first renewal, and that reads the head.
#[tokio::test]
async fn k1_a_replica_that_registers_after_a_revocation_does_not_answer_from_before_it() {
    let fleet = Fleet::start(2).await;
    let mut revoker = fleet.caller(0);
    fleet.lose_registration(1).await;
    let good = revoker.token("user:good").await;
    let tokens = revoker.tokens("user:7", 5).await;
    let asking = fleet.ask(1, &tokens);

    // It follows and may ask what it likes, but cannot register.
    fleet.database.execute(SLOW_REGISTRATION).await;
    let mut lock = fleet.database.connect().await;
    lock.execute("select pg_advisory_lock(7)").await.unwrap();
    fleet.link_of(1).resume(LEASE);
    let blocked = "select count(*) from pg_stat_activity where application_name = 'jeton lease'
                    and wait_event_type = 'Lock' and datname = current_database()";
    until("it tries to", async || fleet.database.number(blocked).await > 0).await;
    fleet.link_of(1).stall(FEED);
    for token in &tokens {
        let (propagation, _) = timed(&mut revoker, token).await;
        assert_eq!(propagation.replicas, 1, "nobody waits for it");
    }
    lock.execute("select pg_advisory_unlock(7)").await.unwrap();
    until("it has registered", async || fleet.registered().await > 1).await;
    let mut caller = fleet.caller(1);
    let answer = caller.validate(&tokens[0]).await;
    assert!(answer.is_stale_state(), "{answer:?}");
    fleet.link_of(1).resume(FEED);
    fleet.is_back(1, &good, &tokens).await;
    asking.end().await;
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.refused_as_stale("r1") > 0, "{}", fleet.history.tally());
}
