//! Rows of keys that were written past jeton: nothing is verified by them, nothing signed.

use jeton::proto::v1::{self as pb, TokenStatus, key::State, revocation_target::Kind};
use jeton_token::{Algorithm, SigningKey};

use super::{emergency, jwks};
use crate::world::{Forge, Refused, ServerOptions, Shell, World, issue_request, until};

const CHANGED: &str = "select log_change(3::smallint, 'x')";

#[tokio::test]
async fn c7_a_key_that_was_added_past_jeton_verifies_nothing() {
    let mut world = World::start().await;
    let forge = world.forge().await;
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let (kid, jwk) = (stranger.key_id().to_owned(), stranger.public_jwk());
    let columns =
        "key_id, algorithm, public_jwk, sealed, create_time, activate_time, signing_time, retire_time,
                   expire_time, version, row_mac";
    world
        .sql(&format!(
            "begin; insert into signing_key ({columns})
             select '{kid}', algorithm, '{jwk}', sealed, now(), now(), now(), now(), now() + interval '1 day', version, row_mac
               from signing_key where algorithm = 'ES256'; {CHANGED}; commit"
        ))
        .await;
    until("it is named", async || {
        world.server.logged().lines().any(|line| line.contains("is refused") && line.contains(&kid))
    })
    .await;
    let thief = Forge { key: stranger.into(), issuer: forge.issuer.clone() };
    let token = thief.sign(&thief.claims());
    for _ in 0..2 {
        let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
        assert_eq!(api.status(&token, "api").await, TokenStatus::UnknownKey);
        assert!(!jwks(&mut admin).await.contains(&kid), "nobody else is told of it");
        let good = api.token("user:7", "api").await.access_token;
        assert_eq!(api.status(&good, "api").await, TokenStatus::Active, "the rest goes on");
        let said = Shell::of(&world, "admin").run(&["doctor"]).await;
        let named = said.out.lines().find(|line| line.contains("rows")).unwrap();
        assert!(named.starts_with("fail") && named.contains(&kid), "{said:?}");
        // A server that starts names it, and starts.
        world.crash_and_restart().await;
    }
}

#[tokio::test]
async fn c7_the_public_half_of_a_key_cannot_be_exchanged_past_jeton() {
    let world = World::start().await;
    let forge = world.forge().await;
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let mut api = world.api("service").await;
    let good = api.token("user:7", "api").await.access_token;
    world
        .sql(&format!(
            "begin; update signing_key set public_jwk = '{}' where key_id = '{}'; {CHANGED}; commit",
            stranger.public_jwk(),
            forge.key.key_id()
        ))
        .await;
    until("the key counts as absent", async || api.status(&good, "api").await == TokenStatus::UnknownKey)
        .await;
    let header = forge.header().to_string();
    let thief = Forge { key: stranger.into(), issuer: forge.issuer.clone() };
    assert_eq!(
        api.status(&thief.sign_text(&header, &thief.claims().to_string()), "api").await,
        TokenStatus::UnknownKey
    );
    // Another one takes its place.
    until("a successor signs", async || api.issue(issue_request("user:7", &["api"])).await.is_ok()).await;
    let token = api.token("user:7", "api").await.access_token;
    assert_ne!(super::kid_of(&token), forge.key.key_id());
    assert_eq!(api.status(&token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn c7_a_mac_key_that_was_changed_past_jeton_has_a_successor_at_once_and_doctor_names_it() {
    let mut world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let active = "select ('x' || encode(mac_key_id, 'hex'))::bit(32)::bigint from mac_key
                   where signing_time is not null and retire_time is null";
    for place in 0..2 {
        let number = world.number(active).await;
        let before = format!("{number:08x}");
        let change =
            format!("update mac_key set version = version + 1 where encode(mac_key_id, 'hex') = '{before}'");
        if place == 0 {
            // While a server runs; or one finds it when it starts.
            world.sql(&format!("begin; {change}; {CHANGED}; commit")).await;
        } else {
            world.sql(&change).await;
            world.crash_and_restart().await;
        }
        until("another one is active", async || world.number(active).await != number).await;
        let mut api = world.api("service").await;
        let opens = pb::IssueRequest { refreshable: true, ..issue_request("user:7", &["api"]) };
        until("a session is opened", async || api.issue(opens.clone()).await.is_ok()).await;
        let session = api.session("user:7", "api").await;
        api.refresh(&session.refresh.unwrap().refresh_token).await.unwrap();
        let said = shell.run(&["doctor"]).await;
        let rows = said.out.lines().find(|line| line.contains("rows")).unwrap();
        assert!(rows.starts_with("fail") && rows.contains(&format!("MAC key {before}")), "{said:?}");
    }
}

#[tokio::test]
async fn c7_a_mac_key_that_was_added_past_jeton_is_never_active_and_is_not_in_the_way() {
    let arguments = ["--rotate-keys-every", "4s", "--publish-keys-ahead", "1s"].map(str::to_owned);
    let options = ServerOptions { arguments: arguments.to_vec(), ..Default::default() };
    let world = World::start_with(options).await;
    let add = "insert into mac_key (mac_key_id, sealed, create_time, activate_time, version, row_mac)
               select '\\x00c0ffee', sealed, now(), now(), version, row_mac from mac_key where retire_time is null";
    // In place of one that may be pending just now.
    let instead = "select from log_head for update; delete from mac_key where signing_time is null";
    world.sql(&format!("begin; {instead}; {add}; {CHANGED}; commit")).await;
    until("the next one is published in its place", async || {
        world.number("select count(*) from mac_key where mac_key_id = '\\x00c0ffee'").await == 0
    })
    .await;
    let acts = "select count(*) from audit_event where action = 'ActivateMacKey' and key_id = '00c0ffee'";
    assert_eq!(world.number(acts).await, 0);
}

#[tokio::test]
async fn c7_a_pending_key_that_was_added_past_jeton_is_in_nobodys_way() {
    let world = World::start().await;
    let (mut admin, shell) = (world.api("admin").await, Shell::of(&world, "admin"));
    let columns = "key_id, algorithm, public_jwk, sealed, create_time, activate_time, version, row_mac";
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Es256] {
        let stranger = SigningKey::generate(algorithm).unwrap();
        let (kid, jwk, name) = (stranger.key_id().to_owned(), stranger.public_jwk(), algorithm.as_str());
        // In place of one that waits to sign.
        let instead = format!("delete from signing_key where signing_time is null and algorithm = '{name}'");
        world
            .sql(&format!(
                "begin; {instead}; insert into signing_key ({columns})
                 select '{kid}', algorithm, '{jwk}', sealed, now(), now() + interval '1 day', version, row_mac
                   from signing_key where algorithm = '{name}' and retire_time is null; {CHANGED}; commit"
            ))
            .await;
        let command = format!("jeton revoke --key {kid} --reason compromised");
        let said = shell.run(&["doctor"]).await;
        assert!(said.out.contains(&format!("key {kid}")) && said.out.contains(&command), "{said:?}");
        if algorithm == Algorithm::EdDsa {
            // It goes by the command.
            shell.script(&format!("{command} --yes")).await.data();
            let said = shell.run(&["doctor"]).await;
            assert!(said.out.contains("are as jeton wrote them"), "{said:?}");
            continue;
        }
        let request = pb::RotateKeyRequest { algorithm: name.to_owned(), ..Default::default() };
        let rotated = super::rotate(&mut admin, request).await.unwrap().key.unwrap();
        assert_eq!(rotated.state(), State::Pending);
        assert_ne!(rotated.key_id, kid);
        assert_eq!(super::list(&mut admin).await.iter().filter(|key| key.key_id == kid).count(), 0);
    }
    assert_eq!(admin.revoke_wide(Kind::KeyId("x".to_owned())).await.refused().reason, "NOT_FOUND");
}

#[tokio::test]
async fn c7_a_mac_key_whose_mac_was_changed_is_named_at_once_and_refresh_says_what_is_refused() {
    let mut world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let opened = api.session("user:7", "api").await.refresh.unwrap().refresh_token;
    let id = world
        .number("select ('x' || encode(mac_key_id, 'hex'))::bit(32)::bigint from mac_key where retire_time is null")
        .await;
    let name = format!("{id:08x}");
    world.sql("create table kept as select * from mac_key; update mac_key set row_mac = '\\x00'").await;
    let said = shell.run(&["doctor"]).await;
    let rows = said.out.lines().find(|line| line.contains("rows")).unwrap();
    assert!(rows.starts_with("fail") && rows.contains(&format!("MAC key {name}")), "{said:?}");
    let refreshed = api.refresh(&opened).await.unwrap().refresh.unwrap().refresh_token;

    world.crash_and_restart().await;
    let mut api = world.api("service").await;
    let refused = api.refresh(&refreshed).await;
    let said = refused.as_ref().unwrap_err().message().to_owned();
    assert!(said.contains(&format!("MAC key {name}")) && said.contains("is refused"), "{said}");
    let refused = refused.refused();
    assert_eq!((refused.reason.as_str(), refused.get("keyId")), ("SIGNING_KEY_UNAVAILABLE", name.as_str()));
    let revoked = api.revoke(Kind::Token(refreshed.clone())).await.refused();
    assert_eq!(revoked.get("keyId"), name, "nor is it called foreign");
    // An operator puts the row back.
    let back = "update mac_key m set row_mac = k.row_mac from kept k where k.mac_key_id = m.mac_key_id";
    world.sql(&format!("begin; {back}; {CHANGED}; commit")).await;
    until("the session goes on", async || api.refresh(&refreshed).await.is_ok()).await;
}

#[tokio::test]
async fn c8_a_key_that_was_revoked_is_not_given_back_while_somebody_knows() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.token("user:7", "api").await.access_token;
    let kid = super::kid_of(&token);
    admin.revoke_wide(Kind::KeyId(kid.clone())).await.unwrap();
    assert_eq!(super::in_state(&mut admin, "ES256", State::Revoked).await.len(), 1);
    let back = "update signing_key set revoke_time = null, retire_time = now(), expire_time = now() + interval '1 day'";
    world.sql(&format!("begin; delete from mark; {back} where key_id = '{kid}'; {CHANGED}; commit")).await;
    until("it is noticed", async || {
        world.server.logged().lines().any(|line| line.contains("put back") && line.contains(&kid))
    })
    .await;
    assert_ne!(api.status(&token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn c8_a_retired_key_does_not_live_longer_than_jeton_said() {
    let mut world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.token("user:7", "api").await.access_token;
    let kid = super::kid_of(&token);
    emergency(&mut admin, "ES256").await;
    assert_eq!(api.status(&token, "api").await, TokenStatus::Active, "it still verifies");
    let longer = format!(
        "update signing_key set expire_time = expire_time + interval '9 days' where key_id = '{kid}'"
    );
    world.sql(&format!("begin; {longer}; {CHANGED}; commit")).await;
    until("it is noticed", async || {
        world.server.logged().lines().any(|line| line.contains("put back") && line.contains(&kid))
    })
    .await;
    assert_eq!(api.status(&token, "api").await, TokenStatus::UnknownKey);
    // A later process has seen nothing, and goes by the retirement: the token itself is still good.
    world.crash_and_restart().await;
    let mut api = world.api("service").await;
    assert_eq!(api.status(&token, "api").await, TokenStatus::Active);
}
