//! A new epoch begins: of trusted issuers that the tables have back, none is trusted that a replica did not trust.

use jeton::{proto::v1 as pb, store::Task};

use super::lost::{back_up, lose_all_since};
use crate::{
    issuers::{create, delete, full, get, issuer, update},
    world::{AS_JETON, Fleet, Refused, store, until},
};

#[tokio::test]
async fn c10_an_issuer_that_the_tables_have_back_is_disabled_and_one_that_is_as_it_was_is_kept() {
    let mut fleet = Fleet::start(2).await;
    let mut admin = fleet.caller(0).api;
    for name in ["changed", "disabled", "removed", "enabled", "same"] {
        create(&mut admin, full(&format!("x-{name}"))).await.unwrap();
    }
    let off = |disabled| pb::TrustedIssuer { disabled, ..issuer("x-enabled") };
    update(&mut admin, off(true), &["disabled"]).await.unwrap();
    back_up(&fleet.database, &[]).await;
    let less = pb::TrustedIssuer { rules: vec![], ..issuer("x-changed") };
    update(&mut admin, less, &["rules"]).await.unwrap();
    update(&mut admin, pb::TrustedIssuer { disabled: true, ..issuer("x-disabled") }, &["disabled"])
        .await
        .unwrap();
    delete(&mut admin, "x-removed").await.unwrap();
    update(&mut admin, off(false), &["disabled"]).await.unwrap();
    create(&mut admin, full("x-lost")).await.unwrap();
    lose_all_since(&fleet.database, &[]).await;
    fleet.has_come_to(2).await;
    // On those that held it, and on one that starts from the tables.
    fleet.join().await;
    for place in 0..3 {
        let mut admin = fleet.caller(place).api;
        for (name, disabled) in [
            ("x-changed", true),
            ("x-disabled", true),
            ("x-removed", true),
            // The stricter one of both.
            ("x-enabled", true),
            ("x-same", false),
        ] {
            let shown = get(&mut admin, name).await.unwrap();
            assert_eq!((shown.disabled, shown.refused.as_str()), (disabled, ""), "{name} at {place}");
        }
        assert_eq!(get(&mut admin, "x-lost").await.refused().reason, "NOT_FOUND", "it is to be made again");
    }
    let restricted = "select count(*) from audit_event
                       where action = 'RestrictIssuer' and note like 'issuer x-%' and outcome = 'OK'";
    assert_eq!(fleet.database.number(restricted).await, 3, "once each, though two replicas held it");
    // A person looks at it, and decides.
    let whole = pb::TrustedIssuer { disabled: false, ..full("x-changed") };
    let written = update(&mut admin, whole, &["*"]).await.unwrap();
    assert_eq!((written.disabled, written.rules), (false, full("x-changed").rules));
    let issuers = store(&fleet.database.url).connection_of(Task::Feed).issuers().await.unwrap();
    let trusted = |name: &str| issuers.by_issuer(&issuer(name).issuer).is_some_and(|it| !it.disabled);
    let found = ["x-changed", "x-disabled", "x-removed", "x-enabled", "x-same"].map(trusted);
    assert_eq!(found, [true, false, false, false, true]);
}

#[tokio::test]
async fn c10_an_older_row_is_no_news_in_an_epoch_that_was_begun_by_force() {
    let fleet = Fleet::start(2).await;
    let mut admin = fleet.caller(0).api;
    create(&mut admin, full("x-changed")).await.unwrap();
    create(&mut admin, full("x-removed")).await.unwrap();
    fleet.database.execute("create table olden as select * from trusted_issuer").await;
    let less = pb::TrustedIssuer { rules: vec![], ..issuer("x-changed") };
    update(&mut admin, less, &["rules"]).await.unwrap();
    delete(&mut admin, "x-removed").await.unwrap();
    create(&mut admin, full("x-kept")).await.unwrap();
    // The rows as jeton once made them, with revisions that nothing vouches for.
    let force = format!(
        "begin;
         delete from trusted_issuer where issuer_id = 'x-changed';
         insert into trusted_issuer select * from olden;
         update trusted_issuer set revision = (2::bigint << 40) + 1 where issuer_id <> 'x-kept';
         update log_head set epoch = 2, seq = 1, carried_epoch = 2, {AS_JETON}; commit"
    );
    fleet.database.execute(&force).await;
    fleet.has_come_to(2).await;
    for place in 0..2 {
        let mut admin = fleet.caller(place).api;
        until("it answers again", async || get(&mut admin, "x-kept").await.is_ok()).await;
        for (name, disabled) in [("x-changed", true), ("x-removed", true), ("x-kept", false)] {
            let shown = get(&mut admin, name).await.unwrap();
            assert_eq!((shown.disabled, shown.refused.as_str()), (disabled, ""), "{name} at {place}");
        }
    }
}
