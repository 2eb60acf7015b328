//! E9, K1, K10: a synchronous standby that stalls or is gone: nothing is acknowledged that it does not have, whatever the
//! defaults of the database; and all goes on once it is back.

use std::{collections::HashSet, sync::Arc};

use jeton::proto::v1::TokenStatus;

use super::{refused, revoke};
use crate::world::{Answer, Fleet, Postgres, ServerOptions, Target, until};

#[tokio::test]
async fn e9_a_revocation_waits_for_a_standby_that_stalls_though_the_database_says_otherwise() {
    let mut postgres = Postgres::start().await;
    postgres.stand_by().await;
    let database = postgres.database();
    database.set("synchronous_commit", "off").await;
    let fleet = Fleet::on(postgres.database(), 2).await;
    let mut revoker = fleet.caller(0);
    let tokens = revoker.tokens("user:7", 5).await;
    let asking: Vec<_> =
        (0..2).map(|place| crate::world::Asking::start([fleet.caller(place)], &tokens)).collect();
    postgres.freeze_standby();
    let target = Target::Token(Arc::clone(&tokens[0]));
    let answer = revoker.revoke(target).await;
    assert!(answer.is_err(), "nothing acknowledges it: {answer:?}");
    // Nor is any lease renewed by a primary whose standby has not heard of it.
    let mut other = fleet.caller(1);
    until("it refuses", async || other.validate(&tokens[1]).await.is_stale_state()).await;
    // Statements that wait there are given up there, too: no connections pile up, however often a renewal is tried
    // again.
    let mut seen = HashSet::new();
    until("renewals are tried again and again", async || {
        let latest = "select coalesce(max(pid), 0)::bigint from pg_stat_activity where application_name = 'jeton lease'";
        seen.insert(database.number(latest).await);
        seen.len() > 4
    })
    .await;
    let open =
        database.number("select count(*) from pg_stat_activity where application_name like 'jeton%'").await;
    assert!(open < 60, "{open} connections");
    postgres.thaw();
    for token in &tokens {
        revoke(&mut revoker, token).await;
    }
    for place in 0..2 {
        let mut caller = fleet.caller(place);
        for token in &tokens {
            until("it is revoked", async || {
                caller.validate(token).await == Answer::Verdict(TokenStatus::Revoked)
            })
            .await;
        }
    }
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
}

#[tokio::test]
async fn k10_a_revocation_waits_for_a_standby_that_was_killed_until_it_is_back() {
    let mut postgres = Postgres::start().await;
    postgres.stand_by().await;
    let fleet = Fleet::on(postgres.database(), 2).await;
    let mut revoker = fleet.caller(0);
    let tokens = revoker.tokens("user:7", 2).await;
    postgres.kill_standby().await;
    let answer = revoker.revoke(Target::Token(Arc::clone(&tokens[0]))).await;
    assert!(answer.is_err(), "nothing acknowledges it: {answer:?}");
    postgres.restart_standby();
    for token in &tokens {
        revoke(&mut revoker, token).await;
    }
    let mut other = fleet.caller(1);
    for token in &tokens {
        until("it is revoked", async || other.validate(token).await == Answer::REVOKED).await;
    }
    fleet.history.assert_no_stale_answer();
}

#[tokio::test]
async fn e9_a_standby_is_refused_in_one_sentence() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let said = refused(&standby.url, &ServerOptions::default()).await;
    assert!(said.contains("it is a standby") && said.contains("name the primary"), "{said}");
}
