//! E11: connections are few. Those of the tasks are had from the start, and kept.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use super::refused;
use crate::world::{Api, Database, Server, ServerOptions, api_key, issue_request, until};

/// The connections of an idle server.
const OF_A_SERVER: i64 = 10;

async fn limit(database: &Database, role: &str, connections: i64) {
    database.execute(&format!("alter role {role} connection limit {connections}")).await;
}

async fn held(database: &Database, role: &str) -> i64 {
    database.number(&format!("select count(*) from pg_stat_activity where usename = '{role}'")).await
}

async fn start(url: &str) -> (Server, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (Server::start(url, directory.path(), &ServerOptions::default()).await, directory)
}

/// Opens sessions, many at once: as many connections of the pool as there may be.
async fn burst(server: &Server) -> usize {
    let mut tasks = JoinSet::new();
    for _ in 0..64 {
        let mut api = Api::connect(&server.ready, &api_key("service"));
        tasks.spawn(async move {
            let request = pb::IssueRequest { refreshable: true, ..issue_request("user:7", &["api"]) };
            api.issue(request).await.is_ok()
        });
    }
    tasks.join_all().await.into_iter().filter(|good| *good).count()
}

#[tokio::test]
async fn e11_where_connections_are_few_every_replica_still_revokes_and_refreshes() {
    let database = Database::create().await;
    let (role, url) = database.server_role().await;
    limit(&database, &role, 3 * OF_A_SERVER + 3).await;
    let (mut servers, mut kept) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let (server, directory) = start(&url).await;
        servers.push(server);
        kept.push(directory);
    }
    until("each holds its own, and gives back what it used to start", async || {
        held(&database, &role).await == 3 * OF_A_SERVER
    })
    .await;
    // One takes all that is left.
    assert!(burst(&servers[0]).await > 0);
    for server in &servers {
        let mut api = Api::connect(&server.ready, &api_key("service"));
        let token = api.token("user:7", "api").await.access_token;
        api.revoke(Kind::Token(token.clone())).await.unwrap();
        assert_eq!(api.status(&token, "api").await, TokenStatus::Revoked);
        assert_eq!(server.ops("/readyz").await.0, 200);
    }
    until("idle ones are given back", async || held(&database, &role).await == 3 * OF_A_SERVER).await;
    // And then there is room for another's burst.
    for server in &servers {
        until("sessions can be opened", async || burst(server).await > 0).await;
        until("idle ones are given back", async || held(&database, &role).await == 3 * OF_A_SERVER).await;
    }
}

#[tokio::test]
async fn e11_a_server_that_cannot_connect_to_append_is_not_ready_until_it_can() {
    let database = Database::create().await;
    let (role, url) = database.server_role().await;
    let (server, _directory) = start(&url).await;
    let mut api = Api::connect(&server.ready, &api_key("service"));
    let token = api.token("user:7", "api").await.access_token;
    until("the pool rests", async || held(&database, &role).await == OF_A_SERVER).await;
    // Others are quicker each time.
    limit(&database, &role, OF_A_SERVER).await;
    let mut ended: Option<PgConnection> = None;
    until("it is not ready for that", async || {
        let end = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'
                            and application_name = 'jeton flusher'"
        );
        if ended.is_none() {
            database.execute(&end).await;
            ended = PgConnection::connect(&url).await.ok();
        }
        let (status, body) = server.ops("/readyz").await;
        ended.is_some() && status == 503 && body.contains("[-]append failed") && body.contains("[+]lease ok")
    })
    .await;
    assert!(server.logged().contains("too many connections for role"), "{}", server.logged());
    assert_eq!(api.status(&token, "api").await, TokenStatus::Active, "what needs no append goes on");
    ended.unwrap().close().await.unwrap();
    until("it is ready", async || server.ops("/readyz").await.0 == 200).await;
    api.revoke(Kind::Token(token.clone())).await.unwrap();
    assert_eq!(api.status(&token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn e11_a_server_for_which_there_is_no_room_does_not_start() {
    let database = Database::create().await;
    let (role, url) = database.server_role().await;
    limit(&database, &role, OF_A_SERVER - 2).await;
    let said = refused(&url, &ServerOptions::default()).await;
    assert!(said.contains("too many connections for role"), "{said}");
}
