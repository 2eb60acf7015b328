//! A log that moves on without a replica, or loses its end: replicas with state load all tables again, and bring back
//! missing entries, without an answer from an older state.

use super::{revoke_all, revoke_somewhere};
use crate::world::{AS_HERE, AS_JETON, Answer, FEED, Fleet, Shell, until};

// N3: the state behind answers is replaced, never cleared.
#[tokio::test]
async fn k9_a_replica_that_fell_below_the_floor_loads_anew_while_it_is_asked() {
    let mut fleet = Fleet::start(2).await;
    let revoker = fleet.caller(0);
    // So many that to load them takes a while.
    fleet
        .database
        .execute(
            "insert into revocation (id, kind, expire_time, revision, reason)
             select gen_random_uuid(), 1, now() + interval '1 day', 1099511627776, 1 from generate_series(1, 100000)",
        )
        .await;
    let (early, late) = (revoker.tokens("user:7", 40).await, revoker.tokens("user:8", 40).await);
    revoke_all(&revoker, &early).await;
    let asking = fleet.ask(1, &early);
    for round in 0..3 {
        let link = fleet.link_of(1);
        link.stall(FEED);
        link.has_held(FEED).await;
        for token in &late[round * 10..round * 10 + 10] {
            let target = super::target(token);
            revoker.clone().revoked_without_waiting(target).await;
        }
        fleet
            .database
            .execute(&format!("update log_head set floor = epoch * 1099511627776 + seq, {AS_JETON}"))
            .await;
        link.resume(FEED);
        revoke_all(&revoker, &late[round * 10..round * 10 + 10]).await;
    }
    revoke_all(&revoker, &late[30..]).await;
    asking.end().await;
    fleet.all_revoked(&early).await;
    fleet.all_revoked(&late).await;
    assert!(fleet.server(1).logged().contains("loading all tables again"));
    fleet.history.assert_no_stale_answer();
}

// N4: a log that has lost its end is another epoch, before anything is appended to it.
#[tokio::test]
async fn k9_what_a_database_has_lost_stays_revoked_on_old_and_on_new_replicas() {
    let mut fleet = Fleet::start(2).await;
    let mut revoker = fleet.caller(0);
    let good = revoker.token("user:good").await;
    let session = revoker.session("user:9").await;
    let (lost, new) = (revoker.tokens("user:7", 40).await, revoker.tokens("user:8", 40).await);
    revoke_all(&revoker, &lost[..10]).await;
    let kept = fleet.database.number("select seq from log_head").await;
    revoke_all(&revoker, &lost[10..]).await;
    revoker.revoked(crate::world::Target::Subject("user:9".to_owned())).await;
    let asking: Vec<_> = (0..2).map(|place| fleet.ask(place, &lost)).collect();
    // As a restore of an older state does.
    let lose = format!(
        "begin;
         update log_head set seq = {kept};
         delete from revocation where revision > (select epoch * 1099511627776 + seq from log_head);
         delete from mark where revision > (select epoch * 1099511627776 + seq from log_head);
         update log_head set {AS_HERE};
         commit"
    );
    fleet.database.execute(&lose).await;
    for (token, place) in new.iter().zip([0, 1].into_iter().cycle()) {
        // Refused, perhaps, while the epoch changes.
        revoke_somewhere(&mut [fleet.caller(place)], token).await;
    }
    assert_eq!(fleet.database.number("select epoch from log_head").await, 2);
    until("what was lost is back", async || {
        fleet.database.number("select count(*) from revocation").await == 80
    })
    .await;
    let revoked = revoker.revoked(super::target(&lost[0])).await;
    assert!(revoked.revision.starts_with("2."), "{}", revoked.revision);
    let place = fleet.join().await;
    for token in [&lost, &new] {
        fleet.all_revoked(token).await;
    }
    fleet.all_revoked(&[session]).await;
    assert_eq!(fleet.caller(place).verdict(&good).await, Answer::ACTIVE);
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
}

#[tokio::test]
async fn k9_an_epoch_that_an_operator_begins_while_others_revoke_makes_no_answer_stale() {
    let fleet = Fleet::start(3).await;
    let revoker = fleet.caller(0);
    let good = revoker.clone().token("user:good").await;
    let (early, late) = (revoker.tokens("user:7", 40).await, revoker.tokens("user:8", 60).await);
    revoke_all(&revoker, &early).await;
    let all: Vec<_> = early.iter().chain(&late).cloned().collect();
    let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &all)).collect();
    for (turn, part) in late.chunks(30).enumerate() {
        let bump = ["epoch", "bump", "--keep-keys", "--database-url", &fleet.database.url];
        let shell = Shell::new();
        let (said, ()) = tokio::join!(shell.run(&bump), async {
            for (token, place) in part.iter().zip([0, 1, 2].into_iter().cycle()) {
                revoke_somewhere(&mut [fleet.caller(place)], token).await;
            }
        });
        assert_eq!(said.data(), format!("epoch {} has begun", turn + 2));
    }
    for place in 0..3 {
        fleet.is_back(place, &good, &all).await;
    }
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
}
