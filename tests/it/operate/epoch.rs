//! Epochs: a log that may have lost its end, and its followers.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use tonic::Code;

use crate::world::{
    AS_HERE, Api, Database, FEED, Link, Refused, Said, Server, ServerOptions, Shell, World, api_key, until,
};

async fn bump(world: &World, how: &str) -> Said {
    Shell::new().run(&["epoch", "bump", how, "--database-url", &world.database.url]).await
}

/// Waits until the server has passed into an epoch, and answers.
async fn follows(world: &World, epoch: i64) {
    let mut admin = world.api("admin").await;
    until("the server is in the epoch", async || {
        let listed = admin.admin.list_replicas(pb::ListReplicasRequest {}).await;
        let Ok(listed) = listed else { return false };
        let replicas = listed.into_inner().replicas;
        replicas.len() == 1 && replicas[0].revision.starts_with(&format!("{epoch}."))
    })
    .await;
}

#[tokio::test]
async fn k9_an_epoch_that_keeps_the_keys_changes_nothing_for_tokens_and_revocations() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let (live, dead) = (api.session("user:7", "api").await, api.token("user:7", "api").await);
    api.revoke(Kind::Token(dead.access_token.clone())).await.unwrap();
    let said = bump(&world, "--keep-keys").await;
    assert_eq!((said.code, said.out.as_str()), (0, "epoch 2 has begun\n"), "{said:?}");
    follows(&world, 2).await;
    assert_eq!(api.status(&live.access_token, "api").await, TokenStatus::Active);
    assert_eq!(api.status(&dead.access_token, "api").await, TokenStatus::Revoked);
    let next = api.refresh(&live.refresh.unwrap().refresh_token).await.unwrap();
    // A mark of the new epoch hits tokens of the one before, and present ones.
    let mut admin = world.api("admin").await;
    let marked = admin.revoke_wide(Kind::Subject("user:7".to_owned())).await.unwrap();
    assert!(marked.revision.starts_with("2."), "{}", marked.revision);
    for token in [&live.access_token, &next.access_token] {
        assert_eq!(api.status(token, "api").await, TokenStatus::Revoked);
    }
    let fresh = api.token("user:7", "api").await;
    assert_eq!(api.status(&fresh.access_token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn r9_after_a_restore_every_key_is_revoked_and_every_session_ended() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let before = api.session("user:7", "api").await;
    let said = bump(&world, "--revoke-keys").await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("epoch 2 has begun") && said.out.contains("as of the backup"), "{said:?}");
    assert!(said.out.lines().any(|line| line.starts_with("service enabled ")), "for review: {said:?}");
    follows(&world, 2).await;
    assert_eq!(api.status(&before.access_token, "api").await, TokenStatus::Revoked);
    let refused = api.refresh(&before.refresh.unwrap().refresh_token).await.refused();
    assert_eq!(refused.reason, "REFRESH_TOKEN_INVALID", "its MAC key is gone");
    assert_eq!(world.number("select count(*) from session where revoke_time is null").await, 0);
    assert_eq!(world.number("select count(*) from audit_event where action = 'BumpEpoch'").await, 1);
    // A server makes new keys when it looks after them, at the latest when it starts.
    let mut world = world;
    world.crash_and_restart().await;
    let mut api = world.api("service").await;
    let after = api.session("user:7", "api").await;
    assert_eq!(api.status(&after.access_token, "api").await, TokenStatus::Active);
    assert_eq!(api.status(&before.access_token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn an_epoch_is_begun_only_by_one_who_says_what_becomes_of_the_keys() {
    let world = World::start().await;
    let database = ["--database-url", world.database.url.as_str()];
    for how in [&[][..], &["--keep-keys", "--revoke-keys"]] {
        let said = Shell::new().run(&[&["epoch", "bump"], how, &database].concat()).await;
        assert_eq!(said.code, 2, "{said:?}");
    }
    assert_eq!(world.number("select epoch from log_head").await, 1, "nothing was done");
}

#[tokio::test]
async fn k9_what_the_tables_have_lost_a_replica_that_held_it_brings_back() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let (token, session) = (api.token("user:1", "api").await, api.session("user:2", "api").await);
    let marked = api.session("user:3", "api").await;
    let removed = world.register("removed", &[], &["api"], &["*"]).await;
    world.sql("create table backup as select * from log_head").await;

    api.revoke(Kind::Token(token.access_token.clone())).await.unwrap();
    api.revoke(Kind::SessionId(session.session_id.clone())).await.unwrap();
    let mark = admin.revoke_wide(Kind::Subject("user:3".to_owned())).await.unwrap();
    // Disabled through the log, as an administrator would.
    world.sql("begin; select log_change(2::smallint, 'removed'); update client set disabled = true where client_id = 'removed'; commit").await;
    let mut gone = world.api_with_key(&removed).await;
    until("it is refused", async || {
        gone.validate("x", &["api"]).await.err().map(|status| status.code()) == Some(Code::Unauthenticated)
    })
    .await;

    // The database goes back to the backup, under a server that goes on.
    world
        .sql(&format!("begin; delete from revocation; delete from mark; update client set disabled = false where client_id = 'removed'; update log_head set seq = backup.seq, {AS_HERE} from backup; commit"))
        .await;
    follows(&world, 2).await;
    for (token, what) in [(&token, "by text"), (&session, "by session"), (&marked, "by subject")] {
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked, "{what}");
    }
    for session in [session, marked] {
        let refused = api.refresh(&session.refresh.unwrap().refresh_token).await.refused();
        assert_eq!(refused.reason, "SESSION_REVOKED");
    }
    let refused = gone.validate("x", &["api"]).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "the stricter registration holds");
    // In the tables, for servers that start from them.
    assert_eq!(world.number("select count(*) from revocation").await, 2);
    let position = mark.revision.strip_prefix("1.").unwrap();
    let kept = format!("select count(*) from mark where position = (1::bigint << 40) + {position}");
    assert_eq!(world.number(&kept).await, 1, "at the position that it had");
    let mut world = world;
    world.crash_and_restart().await;
    let mut api = world.api("service").await;
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
    let fresh = api.token("user:3", "api").await;
    assert_eq!(api.status(&fresh.access_token, "api").await, TokenStatus::Active, "the mark has not moved");
}

#[tokio::test]
async fn a_bump_that_fails_only_in_its_last_step_says_that_the_epoch_has_begun() {
    let database = Database::create().await;
    let link = Link::start(&database.url).await;
    // The last step has a connection of its own.
    link.stall(FEED);
    let said = Shell::new().run(&["epoch", "bump", "--keep-keys", "--database-url", &link.url]).await;
    let told = said.with_code(1);
    assert!(told.contains("epoch 2 has begun") && told.contains("nothing is to be done"), "{said:?}");
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&database.url, directory.path(), &ServerOptions::default()).await;
    let mut api = Api::connect(&server.ready, &api_key("service"));
    let token = api.token("user:7", "api").await;
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Active);
    until("a server has taken the last step", async || {
        database.number("select settled_epoch from log_head").await == 2
    })
    .await;
}
