//! E9: a role that owns nothing serves with the rights in the documents, and the refusal names missing ones.

use jeton::proto::v1::{TokenStatus, revocation_target::Kind};

use super::refused;
use crate::world::{Api, Database, Server, ServerOptions, api_key, until};

#[tokio::test]
async fn e9_a_role_with_the_documented_rights_serves_and_makes_its_partitions() {
    let database = Database::create().await;
    let (_, url) = database.server_role().await;
    // As after months: none of those that are needed is there.
    let partitions =
        "select count(*) from pg_class where relispartition and relkind = 'r' and relname ~ '_[0-9]+$'";
    let drop_all = "do $$ declare t text; begin for t in select relname from pg_class where relispartition and relkind = 'r'
        and relname ~ '_[0-9]+$' loop execute format('drop table %I', t); end loop; end $$";
    database.execute(drop_all).await;
    assert_eq!(database.number(partitions).await, 0);
    database.claim_log().await;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&url, directory.path(), &ServerOptions::default()).await;
    assert!(database.number(partitions).await > 5);
    let mut api = Api::connect(&server.ready, &api_key("service"));
    let mut admin = Api::connect(&server.ready, &api_key("admin"));
    let (token, session) = (api.token("user:7", "api").await, api.session("user:8", "api").await);
    api.revoke(Kind::Token(token.access_token.clone())).await.unwrap();
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
    api.refresh(&session.refresh.unwrap().refresh_token).await.unwrap();
    admin.revoke_wide(Kind::Subject("user:8".to_owned())).await.unwrap();
    admin.set_policy(crate::world::policy("api")).await.unwrap();
    assert_eq!(api.status(&session.access_token, "api").await, TokenStatus::Revoked);
    until("it is ready", async || server.ops("/readyz").await.0 == 200).await;
    assert!(!server.logged().contains("permission denied"), "{}", server.logged());
}

#[tokio::test]
async fn e9_a_role_that_lacks_a_right_is_told_which() {
    let database = Database::create().await;
    let (role, url) = database.server_role().await;
    for (take, give, lacks) in [
        ("insert on mark", "insert on mark", "INSERT on mark"),
        ("select on session", "select on session", "SELECT on session"),
        (
            "execute on function drop_partition",
            "execute on function drop_partition",
            "EXECUTE on drop_partition(text)",
        ),
        ("select on _sqlx_migrations", "select on _sqlx_migrations", "SELECT on _sqlx_migrations"),
    ] {
        database.execute(&format!("revoke {take} from {role}")).await;
        let said = refused(&url, &ServerOptions::default()).await;
        assert!(said.contains(&format!("the role {role} lacks {lacks}")), "{said}");
        database.execute(&format!("grant {give} to {role}")).await;
    }
    // A schema that it may not look into.
    database.execute(&format!("revoke usage on schema public from public, {role}")).await;
    let said = refused(&url, &ServerOptions::default()).await;
    assert!(said.contains(&format!("the role {role} lacks USAGE on schema public")), "{said}");
    database.execute(&format!("grant usage on schema public to {role}")).await;
    // Another one of the same database, with tables of another owner.
    database
        .execute(
            "create schema other; create function other.make_partition(text, bigint) returns boolean
             language sql as 'select true'; revoke execute on function other.make_partition from public",
        )
        .await;
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&url, directory.path(), &ServerOptions::default()).await;
    assert_eq!(server.ops("/readyz").await.0, 200);
    // Not everybody may call functions that run as the owner.
    let anybody = "select count(*) from pg_proc where prosecdef and has_function_privilege('pg_monitor', oid, 'execute')";
    assert_eq!(database.number(anybody).await, 0);
}
