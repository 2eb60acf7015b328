//! C6: an administrator is always left.

use jeton::proto::v1::{self as pb, Permission};
use jeton_token::ApiKey;
use tonic::{Code, Status};

use super::{
    add_key, administrator, client, create, create_with_key, delete, delete_key, get, set_disabled, update,
};
use crate::world::{Refused, Shell, World};

/// All of which jeton wrote.
const GOOD: &str = "(select array_agg(client_id) from client), (select array_agg(api_key_id) from api_key)";

async fn administrators(world: &World) -> i64 {
    world.number(&format!("select count(*) from administrators({GOOD})")).await
}

fn assert_last(answer: Result<impl std::fmt::Debug, Status>, field: &str) {
    let refused = answer.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
    assert_eq!(refused.get("field"), field);
    assert!(refused.get("rule").contains("PERMISSION_ADMIN_WRITE"), "{refused:?}");
}

#[tokio::test]
async fn c6_the_last_client_that_can_administer_is_not_deleted_disabled_or_stripped() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let head = world.number("select seq from log_head").await;
    assert_last(delete(&mut admin, "admin").await, "client_id");
    assert_last(set_disabled(&mut admin, "admin", true).await, "client.disabled");
    let without = pb::Client { permissions: vec![Permission::AdminRead.into()], ..client("admin") };
    assert_last(update(&mut admin, without.clone(), &["permissions"]).await, "client.permissions");
    assert_last(update(&mut admin, without, &[]).await, "client.permissions");
    let key = get(&mut admin, "admin").await.unwrap().api_keys.remove(0).api_key_id;
    assert_last(delete_key(&mut admin, "admin", &key).await, "api_key_id");
    assert_eq!(world.number("select seq from log_head").await, head, "nothing was written");
    // Changes that leave the right are allowed.
    update(&mut admin, pb::Client { display_name: "Root".into(), ..client("admin") }, &["display_name"])
        .await
        .unwrap();
    add_key(&mut admin, "admin", None).await.unwrap();
    delete_key(&mut admin, "admin", &key).await.unwrap();
}

#[tokio::test]
async fn c6_a_certificate_is_a_credential_too_and_the_last_one_stays() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let key = get(&mut admin, "admin").await.unwrap().api_keys.remove(0).api_key_id;
    let with = pb::Client { certificate_uris: vec!["spiffe://example.org/admin".into()], ..client("admin") };
    update(&mut admin, with, &["certificate_uris"]).await.unwrap();
    // The call that removes the caller's own key is answered, and is the last with it.
    delete_key(&mut admin, "admin", &key).await.unwrap();
    assert_eq!(get(&mut admin, "admin").await.refused().reason, "CALLER_UNAUTHENTICATED");
    assert_eq!(administrators(&world).await, 1);
    // By the database, as a caller with that certificate would.
    let clear = format!(
        "select count(*) from update_client((select revision from client where client_id = 'admin'), 'admin', '', \
         '{{}}', '{{7}}', '{{}}', '{{}}', '', false, 1, '', '{{}}', {GOOD}, '{{}}') where outcome = 'LAST_ADMINISTRATOR'"
    );
    assert_eq!(world.number(&clear).await, 1);
}

#[tokio::test]
async fn c6_whoever_cannot_administer_does_not_count() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    // Without a credential, disabled, with an expired key.
    create(&mut admin, administrator("empty")).await.unwrap();
    create_with_key(&mut admin, pb::Client { disabled: true, ..administrator("disabled") }).await;
    create(&mut admin, administrator("expired")).await.unwrap();
    add_key(&mut admin, "expired", Some(1)).await.unwrap();
    world
        .sql("update api_key set expire_time = now() - interval '1 second' where client_id = 'expired'")
        .await;
    assert_last(delete(&mut admin, "admin").await, "client_id");
    let second = create_with_key(&mut admin, administrator("second")).await;
    delete(&mut admin, "admin").await.unwrap();
    let mut second = world.api_with_key(&second).await;
    assert_last(delete(&mut second, "second").await, "client_id");
    set_disabled(&mut second, "disabled", false).await.unwrap();
    set_disabled(&mut second, "second", true).await.unwrap();
    assert_eq!(administrators(&world).await, 1);
}

#[tokio::test]
async fn c6_a_row_that_jeton_did_not_write_is_no_administrator_who_could_stay() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    // Clients of all permissions, by SQL: a new one with a certificate, and one that was nobody, with its own good key.
    world
        .sql(
            "insert into client (client_id, revision, certificate_uris, permissions, audiences, subjects, create_time)
             values ('thief', 1, '{spiffe://example.org/thief}', '{1,2,3,4,5,6,7}', '{*}', '{*}', now());
             update client set permissions = '{7}' where client_id = 'nobody'",
        )
        .await;
    // And a further key of the last one that is.
    let key = get(&mut admin, "admin").await.unwrap().api_keys.remove(0).api_key_id;
    let forged = ApiKey::generate();
    world
        .sql(&format!(
            "insert into api_key (api_key_id, client_id, secret_hash, create_time)
             select '{}', 'admin', secret_hash, now() from api_key where client_id = 'nobody'",
            forged.id()
        ))
        .await;
    assert_last(delete(&mut admin, "admin").await, "client_id");
    assert_last(set_disabled(&mut admin, "admin", true).await, "client.disabled");
    assert_last(delete_key(&mut admin, "admin", &key).await, "api_key_id");
    // Those can go.
    delete_key(&mut admin, "admin", forged.id()).await.unwrap();
    for name in ["thief", "nobody"] {
        delete(&mut admin, name).await.unwrap();
    }
    // One whom jeton has made counts.
    create_with_key(&mut admin, administrator("second")).await;
    delete(&mut admin, "admin").await.unwrap();
}

#[tokio::test]
async fn c6_of_two_administrators_that_remove_each_other_at_once_one_stays() {
    let world = World::start().await;
    let (mut admin, mut own_name) = (world.api("admin").await, "admin".to_owned());
    for round in 0..6 {
        let name = format!("rival{round}");
        let key = create_with_key(&mut admin, administrator(&name)).await;
        let mut rival = world.api_with_key(&key).await;
        let removed = async {
            match round % 3 {
                0 => delete(&mut rival, &own_name).await,
                1 => set_disabled(&mut rival, &own_name, true).await.map(drop),
                _ => {
                    let stripped = pb::Client { permissions: vec![1], ..client(&own_name) };
                    update(&mut rival, stripped, &["permissions"]).await.map(drop)
                }
            }
        };
        let both = async { tokio::join!(delete(&mut admin, &name), removed) };
        let (own, other) = world.at_once(2, Box::pin(both)).await;
        assert_eq!(administrators(&world).await, 1, "{own:?} {other:?}");
        assert!(own.is_ok() != other.is_ok(), "one of both: {own:?} {other:?}");
        if other.is_ok() {
            (admin, own_name) = (rival, name);
        }
    }
}

#[tokio::test]
async fn c6_bootstrap_gives_a_way_back_only_where_nobody_can_administer() {
    let world = World::start().await;
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), world.database.url.clone()));
    let bootstrap = ["client", "bootstrap", "--client-id", "rescue"];
    shell.run(&bootstrap).await.with_code(1);
    // The only key of the only administrator has expired.
    world.sql("update api_key set expire_time = now() - interval '1 second' where client_id = 'admin'").await;
    shell.run(&["client", "bootstrap", "--client-id", "admin"]).await.with_code(1);
    let key = shell.run(&bootstrap).await.data().to_owned();
    assert!(key.starts_with("jtk_"), "{key}");
    let said = shell.run(&["client", "bootstrap", "--client-id", "another"]).await;
    assert!(said.with_code(1).contains("already"), "{said:?}");
}
