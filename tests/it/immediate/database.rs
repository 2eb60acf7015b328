//! The database crashes, or loses a connection in the worst moment.

use std::sync::Arc;

use jeton::proto::v1::RevocationOutcome;

use super::{revoke_when_let, target};
use crate::world::{Act, Answer, FLUSHER, Fleet, Postgres, steady, until};

// M11: the rows of the replicas survive it. N2: a renewal that was under way says nothing afterwards.
#[tokio::test]
async fn k9_no_answer_is_stale_while_postgres_crashes_and_starts_anew_under_load() {
    let mut postgres = Postgres::start().await;
    let fleet = Fleet::on(postgres.database(), 3).await;
    let logged = "select count(*) from pg_class where relname = 'replica' and relpersistence = 'p'";
    assert_eq!(fleet.database.number(logged).await, 1);
    let tokens = fleet.caller(0).tokens("user:7", 240).await;
    let good = fleet.caller(0).token("user:good").await;
    let asking: Vec<_> = (0..3).map(|place| fleet.ask(place, &tokens)).collect();
    let (revoking, let_go) = revoke_when_let(&fleet, &tokens, 40);
    let complete = Answer::Revoked { complete: true };
    let history = Arc::clone(&fleet.history);
    // The answer to a revocation that meets a database that is away.
    let failed =
        || history.count(|call| matches!((&call.act, &call.answer), (Act::Revoke(_), Answer::Refused(..))));
    let_go.add_permits(60);
    for goal in [30, 120] {
        until("revocations go on", async || history.answered(&complete) >= goal).await;
        let before = failed();
        postgres.crash().await;
        let_go.add_permits(90);
        until("somebody has noticed", async || failed() > before).await;
        postgres.restart();
    }
    revoking.join_all().await;
    for place in 0..3 {
        fleet.is_back(place, &good, &tokens).await;
    }
    for each in asking {
        each.end().await;
    }
    fleet.history.assert_no_stale_answer();
    assert!(fleet.history.answered(&complete) >= tokens.len(), "{}", fleet.history.tally());
    assert!(fleet.history.answered(&Answer::ACTIVE) > 100, "{}", fleet.history.tally());
    let revocations = fleet.database.number("select count(*) from revocation").await;
    assert_eq!(revocations, tokens.len() as i64);
}

#[tokio::test]
async fn k1_a_revocation_whose_commit_is_unknown_is_sent_again_and_acts_once() {
    steady(async || {
        let fleet = Fleet::start(3).await;
        let mut revoker = fleet.caller(0);
        let link = fleet.link_of(0);
        // The reply is lost: it was committed. The request is lost: it was not.
        for replies_only in [true, false] {
            let token = revoker.token("user:7").await;
            if replies_only {
                link.hold_replies_to(FLUSHER, "append_revocations");
            } else {
                link.stall(FLUSHER);
            }
            let (mut caller, kind) = (revoker.clone(), target(&token));
            let revoking = tokio::spawn(async move { caller.revoke(kind).await });
            link.has_held(FLUSHER).await;
            let entries = format!("select count(*) from revocation where id = '{}'", token.jti);
            until("it is as far as it gets", async || {
                fleet.database.number(&entries).await == i64::from(replies_only)
            })
            .await;
            assert!(!revoking.is_finished(), "not before its commit is known");
            link.cut(FLUSHER);
            link.has_cut(FLUSHER).await;
            link.resume(FLUSHER);
            let revoked = revoking.await.unwrap().unwrap();
            assert_eq!(revoked.outcome(), RevocationOutcome::Revoked);
            assert!(revoked.propagation.unwrap().complete);
            fleet.all_revoked(&[Arc::clone(&token)]).await;
            assert_eq!(fleet.database.number(&entries).await, 1);
            let audited =
                format!("select count(*) from audit_event where jti = '{}' and action = 'Revoke'", token.jti);
            assert_eq!(fleet.database.number(&audited).await, 1);
        }
        fleet.history.assert_no_stale_answer();
    })
    .await;
}
