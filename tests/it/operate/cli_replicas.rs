//! The command line, end to end: what a person sees of several replicas.

use jeton::proto::v1 as pb;

use crate::world::{Shell, World};

#[tokio::test]
async fn a_revocation_without_an_admin_endpoint_has_no_live_line_and_no_delay() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    shell.write("token", &token);
    // Nobody is there.
    shell.arguments[3] = "127.0.0.1:1".to_owned();
    // What it waits for: the head of the log is held.
    let mut holder = world.database.connect().await;
    sqlx::Executor::execute(&mut holder, "begin; select from log_head for update").await.unwrap();
    let revoke = shell.on_terminal(&["revoke", "--token-file", "token"]);
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        sqlx::Executor::execute(&mut holder, "commit").await.unwrap();
    };
    let (said, ()) = tokio::join!(revoke, release);
    assert!(said.data().starts_with("revoked ") && said.err.is_empty(), "{said:?}");
    let mut api = world.api("service").await;
    assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Revoked);
}
