//! API keys: several at a time, their ends, and when they were last used.

use jeton::proto::v1 as pb;

use super::{add_key, client, create, create_with_key, delete_key, get};
use crate::world::{Refused, Server, World, is_for_now, now_s, until};

async fn last_use(world: &World, client_id: &str) -> Option<i64> {
    let mut admin = world.api("admin").await;
    let key = get(&mut admin, client_id).await.unwrap().api_keys.remove(0);
    key.last_use_time.map(|time| time.seconds)
}

#[tokio::test]
async fn keys_overlap_so_that_one_is_replaced_without_a_call_refused() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    create(&mut admin, client("billing")).await.unwrap();
    let first = add_key(&mut admin, "billing", None).await.unwrap();
    let before = now_s();
    let second = add_key(&mut admin, "billing", Some(86_400)).await.unwrap();
    let after = now_s();
    let (mut by_first, mut by_second) =
        (world.api_with_key(&first.secret).await, world.api_with_key(&second.secret).await);
    by_first.token("user:7", "api").await;
    by_second.token("user:7", "api").await;
    let listed = get(&mut admin, "billing").await.unwrap().api_keys;
    let facts = [first.api_key.clone().unwrap(), second.api_key.unwrap()];
    let ids: Vec<_> = listed.iter().map(|key| key.api_key_id.clone()).collect();
    assert_eq!(ids, facts.clone().map(|key| key.api_key_id), "the oldest first");
    for (listed, made) in listed.iter().zip(&facts) {
        assert_eq!((listed.create_time, listed.expire_time), (made.create_time, made.expire_time));
    }
    assert!(listed[0].expire_time.is_none());
    assert!((before..=after).contains(&(listed[1].expire_time.unwrap().seconds - 86_400)));
    let id = first.api_key.unwrap().api_key_id;
    assert!(first.secret.starts_with(&format!("jtk_{id}_")));
    delete_key(&mut admin, "billing", &id).await.unwrap();
    assert_eq!(by_first.validate("x", &["api"]).await.refused().reason, "CALLER_UNAUTHENTICATED");
    by_second.token("user:7", "api").await;
    for action in ["CreateApiKey", "DeleteApiKey"] {
        let condition =
            format!("action = '{action}' and client_id = 'billing' and actor = 'admin' and note = '{id}'");
        assert_eq!(world.audited(&condition).await, 1);
    }
}

#[tokio::test]
async fn an_expired_key_is_refused_and_still_listed() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    create(&mut admin, client("billing")).await.unwrap();
    let made = add_key(&mut admin, "billing", Some(2)).await.unwrap();
    let end = made.api_key.unwrap().expire_time.unwrap().seconds;
    let mut api = world.api_with_key(&made.secret).await;
    until("the key has expired", async || {
        let before = now_s();
        let refusal = api.validate("x", &["api"]).await.err();
        let after = now_s();
        if refusal.as_ref().is_some_and(is_for_now) {
            return false;
        }
        assert!(refusal.is_none() || after >= end, "not before its end: {refusal:?}");
        assert!(refusal.is_some() || before < end, "not at its end, nor after");
        refusal.is_some_and(|status| status.code() == tonic::Code::Unauthenticated)
    })
    .await;
    assert_eq!(get(&mut admin, "billing").await.unwrap().api_keys.len(), 1);
}

#[tokio::test]
async fn the_last_use_of_a_key_is_shown_to_the_minute() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let key = create_with_key(&mut admin, client("billing")).await;
    assert_eq!(last_use(&world, "billing").await, None, "not used yet");
    let mut api = world.api_with_key(&key).await;
    let before = now_s();
    api.token("user:7", "api").await;
    let shown = last_use(&world, "billing").await.expect("it was used");
    assert_eq!(shown % 60, 0, "to the minute");
    assert!((before - 60..=now_s()).contains(&shown));
    // A change of a client makes replicas read the table again: last uses that were known stay known.
    add_key(&mut admin, "billing", None).await.unwrap();
    assert!(last_use(&world, "billing").await.is_some());
    let request = pb::ListClientsRequest { page_size: 1000, ..Default::default() };
    let listed = admin.admin.list_clients(request).await.unwrap().into_inner().clients;
    let billing = listed.into_iter().find(|client| client.client_id == "billing").unwrap();
    assert!(billing.api_keys[0].last_use_time.is_some() && billing.api_keys[1].last_use_time.is_none());
}

#[tokio::test]
async fn the_last_use_of_a_key_outlives_the_server_and_never_goes_back() {
    let mut world = World::start().await;
    let mut admin = world.api("admin").await;
    let (used, ahead) = (
        create_with_key(&mut admin, client("billing")).await,
        create_with_key(&mut admin, client("ahead")).await,
    );
    world.sql("update api_key set last_use_time = date_trunc('minute', now()) + interval '1 hour' where client_id = 'ahead'").await;
    let head = world.number("select seq from log_head").await;
    for key in [&used, &ahead] {
        world.api_with_key(key).await.token("user:7", "api").await;
    }
    let before = now_s();
    world.server.terminate();
    assert!(world.server.ended().await.success());
    assert_eq!(world.number("select seq from log_head").await, head, "it is no change of the log");
    world.server =
        Server::start(&world.database.url, world.directory.path(), &world.server.same_ports()).await;
    let shown = last_use(&world, "billing").await.expect("written at the drain");
    assert!((before - 120..=before).contains(&shown), "{shown} {before}");
    assert!(last_use(&world, "ahead").await.unwrap() > before + 3_000, "another replica knew of a later one");
}

#[tokio::test]
async fn c3_more_than_one_space_before_a_key_and_some_behind_it_do_not_count() {
    let world = World::start().await;
    let key = crate::world::api_key("service");
    for shown in [format!(" {key}"), format!("   {key}"), format!("{key} "), format!("  {key}  ")] {
        // `Bearer `, and this.
        world.api_with_key(&shown).await.token("user:7", "api").await;
    }
    for wrong in [format!("{key}x"), format!("\t{key}")] {
        let refused = world.api_with_key(&wrong).await.validate("x", &["api"]).await.refused();
        assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED", "{wrong:?}");
    }
}
