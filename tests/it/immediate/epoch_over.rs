//! A change is waited for when the log passes into another epoch, which may lack it: nobody is told that it is in effect.

use jeton::proto::v1 as pb;
use tonic::Code;

use super::{revoke_somewhere, target};
use crate::world::{ALL, AS_JETON, Api, FEED, Fleet, Refused, until};

/// Two replicas, of which the second reads nothing: whoever waits for it waits as long as a lease can last.
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
