//! C2: the master key, and its rotation while servers run.

use std::path::PathBuf;

use jeton::{
    mint::{MasterKey, ParsedRefresh},
    proto::v1::{self as pb, TokenStatus, revocation_target::Kind},
};

use super::{emergency, kid_of};
use crate::world::{
    Api, Refused, Said, Server, ServerOptions, Shell, World, api_key, issue_request, master_key_text, until,
};

fn other_master_key() -> String {
    MasterKey::generate().unwrap().to_text().to_string()
}

async fn reseal(world: &World, old: &str, new: &str) -> Said {
    let shell = Shell::new();
    let (old, new) = (shell.write("old.key", old), shell.write("new.key", new));
    let path = |path: PathBuf| path.display().to_string();
    let (old, new) = (path(old), path(new));
    let arguments = ["key", "reseal", "--database-url", &world.database.url];
    let files = ["--master-key-file", &old, "--new-master-key-file", &new];
    shell.run(&[arguments, files].concat()).await
}

/// Another server of a world, with this master key; `previous` opens what it has sealed.
async fn server(
    world: &World,
    name: &str,
    master_key: &str,
    previous: Option<&str>,
    arguments: &[&str],
) -> Result<Server, (std::process::ExitStatus, String)> {
    let directory = world.directory.path().join(name);
    std::fs::create_dir(&directory).unwrap();
    let mut arguments: Vec<_> = arguments.iter().map(|it| (*it).to_owned()).collect();
    if let Some(previous) = previous {
        let file = directory.join("previous.key");
        std::fs::write(&file, previous).unwrap();
        arguments.extend(["--previous-master-key-file".to_owned(), file.display().to_string()]);
    }
    let options =
        ServerOptions { master_key: Some(master_key.to_owned()), arguments, ..ServerOptions::default() };
    Server::try_start(&world.database.url, &directory, &options).await
}

fn refresh_token(issued: &pb::IssuedToken) -> String {
    issued.refresh.clone().unwrap().refresh_token
}

/// The MAC key that a session keeps.
fn mac_of(issued: &pb::IssuedToken) -> [u8; 4] {
    ParsedRefresh::parse(&refresh_token(issued)).unwrap().key_id()
}

const SEALED: &str = "select hashtextextended(string_agg(sealed::text, ' ' order by sealed), 0)
                        from (select sealed from signing_key union all select sealed from mac_key) keys";

#[tokio::test]
async fn c2_the_master_key_is_rotated_under_running_servers_without_a_refusal() {
    let world = World::start().await;
    let (old, new) = (master_key_text(), other_master_key());
    let mut first = world.api("service").await;
    let opened = first.session("user:7", "api").await;

    // 1. Servers that seal with the new one, and open with both.
    let second = server(&world, "second", &new, Some(&old), &[]).await.unwrap();
    let mut second_api = Api::connect(&second.ready, &api_key("service"));
    let next = second_api.refresh(&refresh_token(&opened)).await.unwrap();
    // 2. Everything is resealed.
    let said = reseal(&world, &old, &new).await;
    assert_eq!(said.data(), "resealed 3 keys\nresealed 14 clients and API keys");
    assert_eq!(world.audited("action = 'ResealKeys' and actor = 'jeton key reseal'").await, 1);
    let again = reseal(&world, &old, &new).await;
    let already = "resealed 0 keys; the new master key opens 3 already\nresealed 0 clients and API keys";
    assert_eq!(again.data(), already);
    // 3. Servers that know the new one alone.
    let third = server(&world, "third", &new, None, &[]).await.unwrap();
    let mut third_api = Api::connect(&third.ready, &api_key("service"));

    let mut current = refresh_token(&next);
    for api in [&mut first, &mut second_api, &mut third_api] {
        let token = api.token("user:7", "api").await.access_token;
        assert_eq!(api.status(&token, "api").await, TokenStatus::Active);
        assert_eq!(api.status(&next.access_token, "api").await, TokenStatus::Active);
        current = refresh_token(&api.refresh(&current).await.unwrap());
    }
    let (status, said) = server(&world, "late", &old, None, &[]).await.err().unwrap();
    assert!(!status.success() && said.contains("the master key does not open key"), "{said}");
}

#[tokio::test]
async fn c2_a_running_server_that_cannot_open_a_new_key_keeps_its_lease_and_what_it_had() {
    let world = World::start().await;
    let (old, new) = (master_key_text(), other_master_key());
    let mut behind = world.api("service").await;
    let opened = behind.session("user:7", "api").await;
    let short = ["--rotate-keys-every", "3s", "--publish-keys-ahead", "1s"];
    let second = server(&world, "second", &new, Some(&old), &short).await.unwrap();
    let mut ahead = Api::connect(&second.ready, &api_key("service"));
    reseal(&world, &old, &new).await.data();
    // Keys that the first server cannot open begin to sign and to open sessions, in whatever order.
    let mut session = ahead.session("user:8", "api").await;
    until("the second server signs, and opens sessions, by keys of its own", async || {
        session = ahead.session("user:8", "api").await;
        mac_of(&session) != mac_of(&opened) && kid_of(&session.access_token) != kid_of(&opened.access_token)
    })
    .await;
    // While the keys were sealed anew, the first server may have added one under the old master key.
    until("no key is left that the first server opens", async || {
        reseal(&world, &old, &new).await.data().contains("resealed 0 keys")
    })
    .await;
    let token = ahead.token("user:7", "api").await.access_token;

    // It cannot tell whether a new key is jeton's: nothing is verified by it.
    assert_eq!(behind.status(&token, "api").await, TokenStatus::UnknownKey);
    let before = opened.access_token.clone();
    assert_eq!(behind.status(&before, "api").await, TokenStatus::Active, "a key that it had seen");
    until("the first server has no key to sign with", async || {
        behind.issue(issue_request("user:7", &["api"])).await.is_err()
    })
    .await;
    let refused = behind.issue(issue_request("user:7", &["api"])).await.refused();
    assert_eq!(refused.reason, "SIGNING_KEY_UNAVAILABLE");
    // A key that it cannot open is not called forged, nor foreign, and its token is not spent.
    let refused = behind.refresh(&refresh_token(&session)).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("algorithm")), ("SIGNING_KEY_UNAVAILABLE", "HS256"));
    let refused = behind.revoke(Kind::Token(refresh_token(&session))).await.refused();
    assert_eq!(refused.reason, "SIGNING_KEY_UNAVAILABLE");
    // It still follows the log.
    ahead.revoke(Kind::Token(before.clone())).await.unwrap();
    assert_eq!(behind.status(&before, "api").await, TokenStatus::Revoked);
    ahead.refresh(&refresh_token(&session)).await.unwrap();
    ahead.refresh(&refresh_token(&opened)).await.unwrap();
    let logged = world.server.logged();
    let kid = kid_of(&token);
    let said = logged.lines().filter(|line| line.contains("is refused") && line.contains(&kid)).count();
    assert_eq!(said, 1, "said once");
    // A slow machine may say so of the database, which is another matter.
    let unread = |line: &str| line.contains("the log cannot be read") && !line.contains("out of reach");
    assert!(!logged.lines().any(unread), "{logged}");

    // Nor may it add keys that the others cannot open.
    let mut admin = world.api("admin").await;
    let before = world
        .number("select count(*) from signing_key where algorithm = 'ES256' and sealed is not null")
        .await;
    assert!(before > 0);
    let request = pb::RotateKeyRequest { emergency: true, ..Default::default() };
    let refused = super::rotate(&mut admin, request).await.refused();
    assert_eq!(refused.reason, "SIGNING_KEY_UNAVAILABLE");
    let mut admin = Api::connect(&second.ready, &api_key("admin"));
    emergency(&mut admin, "ES256").await;
}

#[tokio::test]
async fn c2_keys_are_sealed_anew_all_or_none() {
    let world = World::start().await;
    let (old, new, wrong) = (master_key_text(), other_master_key(), other_master_key());
    let before = world.number(SEALED).await;
    let said = reseal(&world, &wrong, &new).await;
    assert!(said.with_code(1).contains("the master key does not open key"), "{said:?}");
    // One of them is sealed otherwise.
    world.sql("update mac_key set sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)").await;
    let damaged = world.number(SEALED).await;
    assert_ne!(before, damaged);
    let said = reseal(&world, &old, &new).await;
    assert!(said.with_code(1).contains("nothing was resealed"), "{said:?}");
    assert_eq!(world.number(SEALED).await, damaged, "not one of the others");
    assert_eq!(world.audited("action = 'ResealKeys'").await, 0);
}

#[tokio::test]
async fn c2_a_wrong_master_key_at_start_is_a_clear_error_and_nothing_is_overwritten() {
    let world = World::start().await;
    let before = (world.number(SEALED).await, world.audited("true").await);
    let wrong = other_master_key();
    for previous in [None, Some(other_master_key())] {
        let name = format!("wrong-{}", previous.is_some());
        let (status, said) = server(&world, &name, &wrong, previous.as_deref(), &[]).await.err().unwrap();
        assert!(!status.success() && said.contains("the master key does not open key"), "{said}");
    }
    assert_eq!((world.number(SEALED).await, world.audited("true").await), before);
}

#[tokio::test]
async fn c2_after_the_loss_of_the_master_key_a_new_one_begins_with_new_keys() {
    let mut world = World::start().await;
    let mut api = world.api("service").await;
    let before = api.session("user:7", "api").await;
    world.server.kill();
    let (next, after) = (other_master_key(), other_master_key());
    let shell = Shell::new();
    let file = shell.write("next.key", &next).display().to_string();
    let bump =
        ["epoch", "bump", "--revoke-keys", "--database-url", &world.database.url, "--master-key-file", &file];
    // An operator has to vouch for what was under the lost key.
    assert!(shell.run(&bump).await.with_code(1).contains("the master key does not open key"));
    assert_eq!(world.number("select epoch from log_head").await, 1, "nothing was done");
    shell.run(&[&bump[..], &["--vouch-for-clients"]].concat()).await.data();
    let server = server(&world, "new", &next, None, &[]).await.unwrap();
    let mut api = Api::connect(&server.ready, &api_key("service"));
    assert_eq!(api.status(&before.access_token, "api").await, TokenStatus::Revoked);
    let token = api.session("user:7", "api").await.access_token;
    assert_eq!(api.status(&token, "api").await, TokenStatus::Active);
    // The revoked keys, which cannot be opened, do not prevent resealing the others.
    let said = reseal(&world, &next, &after).await;
    assert_eq!(said.data(), "resealed 3 keys\nresealed 14 clients and API keys");
}
