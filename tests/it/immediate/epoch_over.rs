//! A change is waited for when the log passes into another epoch, which may lack it: no caller is told that it is in
//! effect.

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use jeton_token::Algorithm;
use tonic::Code;

use super::{revoke_somewhere, target};
use crate::world::{
    ALL, AS_HERE, AS_JETON, Api, FEED, Fleet, Refused, Said, Shell, foreign_key, steady, until,
};

/// Two replicas, of which the second reads nothing: a call that waits for it waits as long as a lease can last.
async fn hindered() -> Fleet {
    let fleet = Fleet::start(2).await;
    let link = fleet.link_of(1);
    link.stall(FEED);
    link.has_held(FEED).await;
    fleet
}

#[tokio::test]
async fn k14_a_change_that_the_log_loses_while_it_is_waited_for_is_not_answered_as_done() {
    let fleet = hindered().await;
    let mut admin = fleet.caller(0).api;
    let request = pb::CreateApiKeyRequest { client_id: "other".to_owned(), ..Default::default() };
    fleet.link_of(1).resume(FEED);
    let created = admin.admin.create_api_key(request).await.unwrap().into_inner();
    let (key, key_text) = (created.api_key.unwrap(), created.secret);
    fleet.link_of(1).stall(FEED);
    fleet.link_of(1).has_held(FEED).await;
    fleet
        .database
        .execute("create table backup as select * from log_head; create table keys as select * from api_key")
        .await;
    let there = format!("select count(*) from api_key where api_key_id = '{}'", key.api_key_id);
    let request =
        pb::DeleteApiKeyRequest { client_id: "other".to_owned(), api_key_id: key.api_key_id.clone() };
    let mut deleter = admin.clone();
    let deleting = tokio::spawn(async move { deleter.admin.delete_api_key(request).await });
    until("it is committed", async || fleet.database.number(&there).await == 0).await;
    // The replica that wrote it has read it, and goes by it.
    let mut removed = Api::connect(&fleet.replicas[0].server.ready, &key_text);
    until("a replica holds that", async || {
        let refused = removed.validate("x", &["api"]).await.err();
        refused.is_some_and(|status| status.code() == Code::Unauthenticated)
    })
    .await;
    // As a standby does that has not heard of it.
    fleet
        .database
        .execute(&format!(
            "begin; update log_head set seq = backup.seq, {AS_JETON} from backup;
             delete from change where revision > (select epoch * 1099511627776 + seq from log_head);
             insert into api_key select * from keys on conflict do nothing; commit"
        ))
        .await;
    let refused = deleting.await.unwrap().refused();
    assert_eq!(refused.reason, "STORE_UNAVAILABLE", "{refused:?}");
    fleet.link_of(1).resume(FEED);
    until("it is gone, since a replica held that", async || fleet.database.number(&there).await == 0).await;
}

#[tokio::test]
async fn k14_time_alone_proves_nothing_of_a_log_that_cannot_be_read() {
    let fleet = hindered().await;
    let mut revoker = fleet.caller(0);
    let token = revoker.token("user:7").await;
    let (mut caller, kind) = (revoker.clone(), target(&token));
    let revoking = tokio::spawn(async move { caller.revoke(kind).await });
    let entries = format!("select count(*) from revocation where id = '{}'", token.jti);
    until("it is committed", async || fleet.database.number(&entries).await == 1).await;
    fleet.link_of(0).stall(ALL);
    let refused = revoking.await.unwrap().refused();
    assert_eq!(refused.reason, "STORE_UNAVAILABLE", "{refused:?}");
    fleet.link_of(0).resume(ALL);
    fleet.link_of(1).resume(ALL);
    revoke_somewhere(&mut [revoker], &token).await;
    fleet.all_revoked(&[token]).await;
    fleet.history.assert_no_stale_answer();
}

#[tokio::test]
async fn k14_a_change_that_the_log_lacks_is_not_answered_as_done_though_the_epoch_goes_on() {
    let fleet = hindered().await;
    let mut admin = fleet.caller(0).api;
    // Nor has who writes it read it yet.
    fleet.link_of(0).stall(FEED);
    fleet.link_of(0).has_held(FEED).await;
    let revoking = tokio::spawn(async move { admin.revoke_wide(Kind::Subject("user:7".to_owned())).await });
    until("it is committed", async || fleet.database.number("select count(*) from mark").await == 1).await;
    let lose = format!("begin; delete from mark; update log_head set seq = seq - 1, {AS_JETON}; commit");
    fleet.database.execute(&lose).await;
    fleet.link_of(0).resume(FEED);
    let refused = revoking.await.unwrap().refused();
    assert_eq!(refused.reason, "STORE_UNAVAILABLE", "{refused:?}");
}

#[tokio::test]
async fn k9_an_append_that_makes_up_for_just_what_the_log_has_lost_shows_that_it_has() {
    let fleet = Fleet::start(1).await;
    let mut revoker = fleet.caller(0);
    let (lost, next) = (revoker.token("user:7").await, revoker.token("user:7").await);
    revoker.revoked(target(&lost)).await;
    fleet.link_of(0).stall(FEED);
    fleet.link_of(0).has_held(FEED).await;
    let lose = format!("begin; delete from revocation; update log_head set seq = seq - 1, {AS_HERE}; commit");
    fleet.database.execute(&lose).await;
    let (mut caller, kind) = (revoker.clone(), target(&next));
    let revoking = tokio::spawn(async move { caller.revoke(kind).await });
    let entries = "select count(*) from revocation";
    until("it has taken the place of the other", async || fleet.database.number(entries).await == 1).await;
    fleet.link_of(0).resume(FEED);
    let _settled = revoking.await.unwrap();
    until("the tables have both", async || fleet.database.number(entries).await == 2).await;
    assert_eq!(fleet.database.number("select epoch from log_head").await, 2);
}

/// Runs a verb on a database whose log passes into another epoch as soon as `written` returns 1. A replica that does
/// not read keeps the verb waiting until then.
async fn in_another_epoch(arguments: &[&str], written: &str) -> Said {
    let fleet = hindered().await;
    fleet.database.execute("update client set disabled = true where client_id = 'admin'").await;
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), fleet.database.url.clone()));
    shell.write("key.pem", &foreign_key(Algorithm::Es256));
    let another_epoch = async {
        until("it is committed", async || fleet.database.number(written).await == 1).await;
        let begin =
            format!("update log_head set epoch = epoch + 1, seq = 0, carried_epoch = epoch + 1, {AS_JETON}");
        fleet.database.execute(&begin).await;
    };
    tokio::join!(shell.run(arguments), another_epoch).0
}

#[tokio::test]
async fn k14_a_verb_says_that_what_it_has_written_may_be_lost() {
    steady(async || {
        let written = "select count(*) from audit_event where action = 'BootstrapClient'";
        let said = in_another_epoch(&["client", "bootstrap", "--client-id", "root"], written).await;
        assert!(said.with_code(1).contains("may be lost"), "{said:?}");
        assert!(said.out.starts_with("jtk_"), "should it be there, this is its key");
    })
    .await;
}

#[tokio::test]
async fn k14_an_import_says_that_the_key_may_be_lost() {
    steady(async || {
        let written = "select count(*) from audit_event where action = 'ImportKey'";
        for state in ["active", "retired"] {
            let import = ["key", "import", "--file", "key.pem", "--state", state];
            let said = in_another_epoch(&import, written).await;
            assert!(said.with_code(1).contains("may be lost"), "{said:?}");
            assert_eq!(said.out, "", "nobody is told that it signs, or verifies");
        }
    })
    .await;
}

#[tokio::test]
async fn k14_an_epoch_that_another_follows_at_once_is_not_said_to_go_on() {
    steady(async || {
        let written = "select count(*) from audit_event where action = 'BumpEpoch'";
        for how in ["--keep-keys", "--revoke-keys"] {
            let said = in_another_epoch(&["epoch", "bump", how], written).await;
            let error = said.with_code(1);
            assert!(error.contains("epoch 2 has begun") && error.contains("may be lost"), "{said:?}");
            assert_eq!(said.out, "", "nobody is told that it is done");
        }
    })
    .await;
}

#[tokio::test]
async fn c1_a_key_that_was_published_in_an_earlier_epoch_can_be_made_to_sign() {
    let fleet = Fleet::start(2).await;
    let mut admin = fleet.caller(0).api;
    let pending = admin.admin.rotate_key(pb::RotateKeyRequest::default()).await.unwrap().into_inner();
    let said =
        Shell::new().run(&["epoch", "bump", "--keep-keys", "--database-url", &fleet.database.url]).await;
    said.with_code(0);
    let epoch = "select count(*) from replica where epoch = 2";
    until("all have come to it", async || fleet.database.number(epoch).await == 2).await;
    let again = pb::RotateKeyRequest::default();
    let again = admin.admin.rotate_key(again).await.unwrap().into_inner();
    assert_eq!(again.key.unwrap().key_id, pending.key.clone().unwrap().key_id);
    let emergency = pb::RotateKeyRequest { emergency: true, ..Default::default() };
    let signs = admin.admin.rotate_key(emergency).await.unwrap().into_inner();
    assert_eq!(signs.key.unwrap().key_id, pending.key.unwrap().key_id);
}
