//! E9, K1: locks held by others. Calls wait or are refused, nothing stale is answered, and nothing is left behind.

use std::time::Duration;

use jeton::proto::v1::{RevocationOutcome, revocation_target::Kind};
use sqlx::{AssertSqlSafe, Connection, Executor};
use tokio::time::timeout;

use super::{answers_again, ends_well, revoke};
use crate::world::{Asking, Fleet, World, until};

const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database()
    and application_name like 'jeton%' and wait_event_type = 'Lock'";

/// Locks a table until the statements that wait for it have been given up twice; or for a second, if none waits.
async fn hold(fleet: &Fleet, table: &str) {
    let mut holder = fleet.database.connect().await;
    let mut transaction = holder.begin().await.unwrap();
    let lock = format!("lock table {table} in access exclusive mode");
    transaction.execute(AssertSqlSafe(lock)).await.unwrap();
    for _ in 0..2 {
        let waits = until("somebody waits", async || fleet.database.number(WAITING).await > 0);
        if timeout(Duration::from_secs(1), waits).await.is_err() {
            break;
        }
        let long = "select count(*) from pg_stat_activity where datname = current_database()
            and application_name like 'jeton%' and wait_event_type = 'Lock'
            and query_start < clock_timestamp() - interval '1 second'";
        until("it has waited for long", async || fleet.database.number(long).await > 0).await;
        until("it gives up", async || fleet.database.number(long).await == 0).await;
    }
    transaction.rollback().await.unwrap();
    holder.close().await.unwrap();
}

async fn under_locks(tables: &[&str]) {
    let fleet = Fleet::start(2).await;
    let good = fleet.caller(0).token("user:good").await;
    let tokens = fleet.caller(0).tokens("user:7", 10 * tables.len()).await;
    let asking: Vec<_> = (0..2).map(|place| Asking::start([fleet.caller(place)], &tokens)).collect();
    for (table, tokens) in tables.iter().zip(tokens.chunks(10)) {
        let revoking = async {
            for (token, place) in tokens.iter().zip([0, 1].into_iter().cycle()) {
                let mut caller = fleet.caller(place);
                revoke(&mut caller, token).await;
            }
        };
        tokio::join!(hold(&fleet, table), revoking);
        answers_again(&fleet, &good).await;
        until("nobody waits any more", async || fleet.database.number(WAITING).await == 0).await;
    }
    ends_well(&fleet, asking, &tokens).await;
}

#[tokio::test]
async fn k1_locks_of_others_on_what_a_revocation_needs_make_no_answer_stale() {
    under_locks(&["log_head", "revocation", "replica"]).await;
}

#[tokio::test]
#[ignore = "a minute: make faults"]
async fn k1_locks_of_others_on_any_table_make_no_answer_stale() {
    under_locks(&[
        "log_head",
        "revocation",
        "mark",
        "change",
        "audit_event",
        "policy",
        "client",
        "api_key",
        "client_certificate",
        "signing_key",
        "mac_key",
        "session",
        "replica",
        "replica_ack",
        "bare_revocations",
        "removed_policy",
        "fleet_size",
    ])
    .await;
}

#[tokio::test]
async fn k17_what_cannot_be_looked_for_in_time_is_said_and_does_not_go_on_in_the_database() {
    const LOOKS: &str = "select count(*) from pg_stat_activity where datname = current_database()
        and wait_event_type = 'Lock' and query like '%exists (select from session%'";
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let mut holder = world.database.connect().await;
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("lock table session in access exclusive mode").await.unwrap();
    let mut most = 0;
    for place in 0..12 {
        let subject = Kind::Subject(format!("user:{place}"));
        let answer = admin.revoke_wide(subject).await.unwrap();
        assert_eq!(answer.outcome(), RevocationOutcome::Revoked);
        let found = answer.findings.unwrap();
        assert!(found.sessions_not_looked_for && !found.no_live_sessions, "{found:?}");
        most = most.max(world.number(LOOKS).await);
    }
    assert!(most <= 4, "{most} looks wait in Postgres, though one at a time was made");
    transaction.rollback().await.unwrap();
    until("it is looked for again", async || {
        let answer = admin.revoke_wide(Kind::Subject("user:13".to_owned())).await.unwrap();
        let found = answer.findings.unwrap();
        found.no_live_sessions && !found.sessions_not_looked_for
    })
    .await;
}
