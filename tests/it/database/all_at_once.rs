//! K9, K10: every server and Postgres are killed at the same moment, under load. What was acknowledged is still there.

use tokio::task::JoinSet;

use crate::world::{Answer, Fleet, Postgres, Shell, Target, until};

#[tokio::test]
async fn k10_after_everything_was_killed_at_once_all_that_was_acknowledged_holds() {
    let mut postgres = Postgres::start().await;
    let mut fleet = Fleet::on(postgres.database(), 3).await;
    let tokens = fleet.caller(0).tokens("user:7", 300).await;
    let mut revoking = JoinSet::new();
    for (lane, part) in tokens.chunks(50).enumerate() {
        let (mut caller, part) = (fleet.caller(lane % 3), part.to_vec());
        revoking.spawn(async move {
            let mut acknowledged = Vec::new();
            for token in part {
                if caller.revoke(Target::Token(token.clone())).await.is_err() {
                    break;
                }
                acknowledged.push(token);
            }
            acknowledged
        });
    }
    let database = postgres.database();
    until("some are acknowledged", async || database.number("select count(*) from revocation").await > 60)
        .await;
    for place in 0..3 {
        fleet.server(place).kill();
    }
    postgres.crash().await;
    let acknowledged: Vec<_> = revoking.join_all().await.into_iter().flatten().collect();
    assert!(acknowledged.len() > 30 && acknowledged.len() < tokens.len(), "{}", acknowledged.len());
    postgres.restart();
    let fleet = Fleet::on(postgres.database(), 3).await;
    for place in 0..3 {
        let mut caller = fleet.caller(place);
        for token in &acknowledged {
            assert_eq!(caller.verdict(token).await, Answer::REVOKED);
        }
    }
    let audited =
        "select count(distinct jti) from audit_event where action = 'Revoke' and outcome = 'REVOKED'";
    let held = database.number("select count(*) from revocation").await;
    assert!(held >= acknowledged.len() as i64);
    assert_eq!(database.number(audited).await, held, "each has its audit row");
    Shell::new().run(&["audit", "verify", "--database-url", &database.url]).await.with_code(0);
}
