//! K1, E9: Postgres' processes are terminated and statements cancelled under load, here and there.

use std::time::Duration;

use tokio::{task::JoinSet, time::sleep};

use super::{answers_again, ends_well, revoke};
use crate::world::{AUDIT, Asking, Chance, FEED, FLEET, FLUSHER, Fleet, LEASE, LISTEN, POOL, REFRESH};

/// Ends, or cancels the statement of, a random database process of one of the servers.
pub async fn strike(fleet: &Fleet, chance: &mut Chance) {
    let how = ["pg_terminate_backend", "pg_cancel_backend"][chance.below(2)];
    let name = chance.of(&[POOL, FEED, FLUSHER, LEASE, FLEET, REFRESH, AUDIT, LISTEN]);
    let sql = format!(
        "select {how}(pid) from pg_stat_activity where datname = current_database() and application_name = '{name}'
          order by random() limit {}",
        1 + chance.below(3)
    );
    fleet.database.execute(&sql).await;
}

#[tokio::test]
async fn k1_processes_of_postgres_that_end_under_load_make_no_answer_stale() {
    let mut chance = Chance::seeded();
    let fleet = Fleet::start(2).await;
    let good = fleet.caller(0).token("user:good").await;
    let tokens = fleet.caller(0).tokens("user:7", 120).await;
    let asking: Vec<_> = (0..2).map(|place| Asking::start([fleet.caller(place)], &tokens)).collect();
    let mut revoking = JoinSet::new();
    for (lane, part) in tokens.chunks(30).enumerate() {
        let (mut caller, part) = (fleet.caller(lane % 2), part.to_vec());
        revoking.spawn(async move {
            for token in part {
                revoke(&mut caller, &token).await;
            }
        });
    }
    while !revoking.is_empty() {
        strike(&fleet, &mut chance).await;
        // Until one is done, or for a moment: ended connections come back meanwhile.
        tokio::select! {
            Some(done) = revoking.join_next() => done.unwrap(),
            () = sleep(Duration::from_millis(20)) => {}
        }
    }
    answers_again(&fleet, &good).await;
    ends_well(&fleet, asking, &tokens).await;
    let revocations = fleet.database.number("select count(*) from revocation").await;
    assert_eq!(revocations, 120, "each acts once");
}
