//! Replicas that join while others revoke, and are asked from their first moment.

use sqlx::Executor;

use super::{revoke_when_let, timed};
use crate::world::{ALL, Answer, FEED, Fleet, LEASE, steady, until};

#[tokio::test]
async fn k1_a_replica_that_joins_while_others_revoke_answers_nothing_stale_from_its_first_moment() {
    let mut fleet = Fleet::start(2).await;
    let tokens = fleet.caller(0).tokens("user:7", 400).await;
    let (revoking, let_go) = revoke_when_let(&fleet, &tokens, 100);
    let mut asking = Vec::new();
    for _ in 0..3 {
        let link = fleet.link().await;
        let (joining, replica) = (link.clone(), fleet.starting(link));
        // Step by step with it, from its first word to the database on: some before each, and some after.
        let (mut before, mut left) = (0, tokens.len() / 3);
        until("it serves", async || {
            let round_trips = joining.round_trips(ALL);
            let some = usize::try_from(round_trips - before).unwrap().min(left);
            let_go.add_permits(some);
            (before, left) = (round_trips, left - some);
            replica.is_finished()
        })
        .await;
        let place = fleet.push(replica.await.unwrap());
        // Each caller begins with others of them.
        for part in tokens.chunks(100) {
            asking.push(fleet.ask(place, part));
        }
    }
    // And those that are left, if any.
    let_go.add_permits(tokens.len());
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
    fleet.has_registered(5).await;
}

const SLOW_REGISTRATION: &str = "
    create function wait_for_the_test() returns trigger language plpgsql as $$
        begin perform pg_advisory_xact_lock(7); return new; end $$;
    create trigger slow_registration before insert on replica for each row execute function wait_for_the_test()";

// M4: a replica registers before its first renewal, and that reads the head.
#[tokio::test]
async fn k1_a_replica_that_registers_after_a_revocation_does_not_answer_from_before_it() {
    steady(async || {
        let fleet = Fleet::start(2).await;
        let mut revoker = fleet.caller(0);
        fleet.lose_registration(1).await;
        let good = revoker.token("user:good").await;
        let tokens = revoker.tokens("user:7", 5).await;
        let asking = fleet.ask(1, &tokens);

        // It follows the log and asks for leases, but cannot register.
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
    })
    .await;
}
