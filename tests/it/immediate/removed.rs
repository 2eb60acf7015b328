//! A new epoch begins after removals: the state of a replica that stood still is old, and no loss.

use jeton::proto::v1 as pb;
use tonic::Code;

use super::{
    failover::promote,
    locks::{lock, unlock},
    lost::{
        add_key, bump, client, create_client, delete_key, delete_policy, get_client, is_refused, longest,
        up_to,
    },
};
use crate::world::{Api, Database, Fleet, Postgres, until};

/// API keys: of a client that is removed, one that is removed by itself, and one that stays.
struct Keys {
    of_going: String,
    removed: String,
    kept: String,
}

/// The last of three replicas stands still; its state has things that the others have removed since.
async fn remove_meanwhile(fleet: &mut Fleet) -> Keys {
    let mut admin = fleet.caller(0).api;
    admin.set_policy(up_to("api", 86_400)).await.unwrap();
    create_client(&mut admin, client("going")).await;
    create_client(&mut admin, client("staying")).await;
    let of_going = add_key(&mut admin, "going", None).await;
    let (kept, removed) =
        (add_key(&mut admin, "staying", None).await, add_key(&mut admin, "staying", None).await);
    assert_eq!(longest(&mut fleet.caller(2).api, "api").await, 86_400, "it knows all of that");
    lock(&mut admin, "user:unlocked").await;
    fleet.server(2).pause();
    unlock(&mut admin, "user:unlocked").await;
    delete_policy(&mut admin, "api").await;
    let request = pb::DeleteClientRequest { client_id: "going".to_owned(), ..Default::default() };
    admin.admin.delete_client(request).await.unwrap();
    delete_key(&mut admin, "staying", &removed).await.unwrap();
    // Additions made meanwhile are no loss of removals.
    admin.set_policy(up_to("later", 7_200)).await.unwrap();
    Keys { of_going: of_going.secret, removed: removed.secret, kept: kept.secret }
}

/// On every replica, and nothing was written back.
async fn stay_removed(fleet: &Fleet, database: &Database, keys: &Keys) {
    for place in 0..3 {
        let mut admin = fleet.caller(place).api;
        // A connection to a database that is no more may be found out by this.
        let mut found = Err(Code::Unavailable);
        until("the database answers", async || {
            found = get_client(&mut admin, "going").await.map_err(|status| status.code());
            !matches!(found, Err(Code::Unavailable))
        })
        .await;
        assert_eq!(found.err(), Some(Code::NotFound));
        admin.token("user:unlocked", "api").await;
        assert_eq!((longest(&mut admin, "api").await, longest(&mut admin, "later").await), (3_600, 7_200));
        let ready = &fleet.replicas[place].server.ready;
        is_refused(&mut Api::connect(ready, &keys.of_going)).await;
        is_refused(&mut Api::connect(ready, &keys.removed)).await;
        Api::connect(ready, &keys.kept).token("user:7", "api").await;
    }
    let written = "select count(*) from audit_event where actor = 'system' and action ~ 'Policy|Client|Lock'";
    assert_eq!(database.number(written).await, 0, "nothing was written back");
}

#[tokio::test]
async fn k12_what_was_removed_while_a_replica_stood_still_stays_removed_in_the_next_epoch() {
    let mut fleet = Fleet::start(3).await;
    let keys = remove_meanwhile(&mut fleet).await;
    bump(&fleet.database).await;
    fleet.server(2).resume();
    fleet.has_come_to(2).await;
    stay_removed(&fleet, &fleet.database, &keys).await;
}

#[tokio::test]
async fn k12_what_was_removed_while_a_replica_stood_still_stays_removed_when_a_standby_takes_over() {
    let mut postgres = Postgres::start().await;
    let standby = postgres.stand_by().await;
    let mut fleet = Fleet::on(postgres.database(), 3).await;
    let good = fleet.caller(0).token("user:good").await;
    let keys = remove_meanwhile(&mut fleet).await;
    postgres.crash().await;
    promote(&standby).await;
    for replica in &fleet.replicas {
        replica.link.redirect(&standby.url);
    }
    for place in [0, 1] {
        fleet.is_back(place, &good, &[]).await;
    }
    fleet.server(2).resume();
    fleet.is_back(2, &good, &[]).await;
    let there = "select count(*) from replica where epoch > 1";
    until("every replica is in the new epoch", async || standby.number(there).await == 3).await;
    stay_removed(&fleet, &standby, &keys).await;
}
