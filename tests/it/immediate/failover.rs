//! The primary is lost, and its synchronous standby takes its place: a new epoch.

use std::{sync::Arc, time::Duration};

use tokio::task::JoinSet;

use super::{W_AND_ROOM, assert_waited, revoke_all, revoke_somewhere, timed};
use crate::world::{Answer, Database, Fleet, Postgres, Token, until};

async fn promote(standby: &Database) {
    standby.execute("select pg_promote(true, 60)").await;
}

fn epoch_of(revision: &str) -> i64 {
    revision.split_once('.').unwrap().0.parse().unwrap()
}

/// Revokes these while the world changes.
fn revoking(fleet: &Fleet, tokens: &[Arc<Token>]) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for (lane, part) in tokens.chunks(15).enumerate() {
        let (mut revokers, part) = (fleet.callers(), part.to_vec());
        let count = revokers.len();
        revokers.rotate_left(lane % count);
        tasks.spawn(async move {
            for token in &part {
                revoke_somewhere(&mut revokers, token).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
    }
    tasks
}

// M13: under the assumption that the standby holds every acknowledged commit.
#[tokio::test]
async fn k9_what_was_acknowledged_stays_revoked_when_a_standby_takes_over() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let fleet = Fleet::on(postgres.database(), 3).await;
    let mut revoker = fleet.caller(0);
    let good = revoker.token("user:good").await;
    let (early, late) = (revoker.tokens("user:7", 30).await, revoker.tokens("user:8", 90).await);
    let first = revoker.revoke(super::target(&early[0])).await.unwrap();
    revoke_all(&revoker, &early[1..]).await;
    let all: Vec<_> = early.iter().chain(&late).cloned().collect();
    let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &all)).collect();
    let revoking = revoking(&fleet, &late);
    tokio::time::sleep(Duration::from_millis(300)).await;
    postgres.crash().await;
    promote(&standby).await;
    for replica in &fleet.replicas {
        replica.link.redirect(&standby.url);
    }
    revoking.join_all().await;
    for place in 0..3 {
        fleet.is_back(place, &good, &all).await;
    }
    let mut caller = fleet.caller(1);
    let token = caller.token("user:9").await;
    let last = caller.revoke(super::target(&token)).await.unwrap();
    assert!(epoch_of(&last.revision) > epoch_of(&first.revision), "{} {}", first.revision, last.revision);
    fleet.all_revoked(&[token]).await;
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.answered(&Answer::ACTIVE) > 100, "{}", fleet.history.tally());
    assert_eq!(standby.number("select count(*) from revocation").await, 121);
}

// M15: whoever cannot commit renews no lease.
#[tokio::test]
async fn k9_a_replica_that_talks_to_the_old_primary_gets_no_lease_there() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let fleet = Fleet::on(postgres.database(), 3).await;
    let mut revoker = fleet.caller(0);
    let good = revoker.token("user:good").await;
    let tokens = revoker.tokens("user:7", 20).await;
    let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &tokens)).collect();
    // The old one lives on, and takes itself for the primary.
    promote(&standby).await;
    for replica in &fleet.replicas[..2] {
        replica.link.redirect(&standby.url);
    }
    let mut revokers = [fleet.caller(0), fleet.caller(1)];
    for token in &tokens {
        revoke_somewhere(&mut revokers, token).await;
    }
    let mut cut_off = fleet.caller(2);
    let answer = cut_off.validate(&good).await;
    assert!(answer.is_stale_state(), "{answer:?}");
    fleet.history.assert_no_stale_answer();
    for place in [0, 1] {
        fleet.is_back(place, &good, &tokens).await;
    }
    // Until it finds the new one.
    fleet.link_of(2).redirect(&standby.url);
    fleet.is_back(2, &good, &tokens).await;
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.refused_as_stale("r2") > 0, "{}", fleet.history.tally());
}

// M15: a standby answers from a past that others have left behind.
#[tokio::test]
async fn k9_a_replica_that_talks_to_a_standby_gets_no_lease_there() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let fleet = Fleet::on(postgres.database(), 2).await;
    let mut revoker = fleet.caller(0);
    let good = revoker.token("user:good").await;
    let tokens = revoker.tokens("user:7", 10).await;
    let asking = fleet.ask(1, &tokens);
    standby.execute("select pg_wal_replay_pause()").await;
    fleet.link_of(1).redirect(&standby.url);
    let (propagation, took) = timed(&mut revoker, &tokens[0]).await;
    assert_waited(&propagation, "r1");
    assert!(took < W_AND_ROOM, "{took:?}");
    revoke_all(&revoker, &tokens[1..]).await;
    let mut misled = fleet.caller(1);
    until("it refuses", async || misled.validate(&good).await.is_stale_state()).await;
    fleet.history.assert_no_stale_answer();
    fleet.link_of(1).redirect(&postgres.database().url);
    fleet.is_back(1, &good, &tokens).await;
    asking.end().await;
    fleet.history.assert_no_stale_answer();
}
