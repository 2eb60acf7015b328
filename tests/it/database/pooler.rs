//! E9: a pooler in between. Session pooling is as good as none; others are refused by their traces.

use jeton::proto::v1::{TokenStatus, revocation_target::Kind};

use super::refused;
use crate::world::{Api, Bouncer, Database, Server, ServerOptions, Shell, api_key};

#[tokio::test]
async fn e9_behind_a_pooler_of_sessions_a_server_serves() {
    let database = Database::create().await;
    // Settings that a client requests when it connects are dropped, or even refused.
    for more in ["ignore_startup_parameters = options", ""] {
        database.set("synchronous_commit", "off").await;
        let bouncer = Bouncer::start(&database.url, "session", more).await;
        let directory = tempfile::tempdir().unwrap();
        let server = Server::start(&bouncer.url, directory.path(), &ServerOptions::default()).await;
        let mut api = Api::connect(&server.ready, &api_key("service"));
        let (token, session) = (api.token("user:7", "api").await, api.session("user:7", "api").await);
        api.revoke(Kind::Token(token.access_token.clone())).await.unwrap();
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
        api.refresh(&session.refresh.unwrap().refresh_token).await.unwrap();
        assert_eq!(server.ops("/readyz").await.0, 200);
        drop(server);
        // A server that starts on the connections of one that has ended finds them reset.
        let server = Server::start(&bouncer.url, directory.path(), &ServerOptions::default()).await;
        assert_eq!(server.ops("/readyz").await.0, 200);
    }
}

#[tokio::test]
async fn e9_a_pooler_that_shares_connections_is_refused_in_one_sentence() {
    let database = Database::create().await;
    for mode in ["transaction", "statement"] {
        let bouncer = Bouncer::start(&database.url, mode, "").await;
        let said = refused(&bouncer.url, &ServerOptions::default()).await;
        assert!(said.contains("pool") && said.contains("sessions"), "{mode}: {said}");
    }
}

#[tokio::test]
async fn e9_what_the_url_asks_for_holds_behind_a_pooler_that_drops_it() {
    let database = Database::create_empty().await;
    database.execute("create schema apart").await;
    let bouncer = Bouncer::start(&database.url, "session", "ignore_startup_parameters = options").await;
    let url = format!("{}&options=-c%20search_path%3Dapart%20-c%20work_mem%3D8192kB", bouncer.url);
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), url));
    shell.run(&["migrate", "up"]).await.with_code(0);
    let tables =
        "select count(*) from pg_class where relname = 'log_head' and relnamespace = 'apart'::regnamespace";
    assert_eq!(database.number(tables).await, 1);
    let elsewhere =
        "select count(*) from pg_class where relname = 'log_head' and relnamespace = 'public'::regnamespace";
    assert_eq!(database.number(elsewhere).await, 0);
    for (option, name) in [("nonsense%3Dhunter2", "nonsense"), ("work_mem%3Dhunter2", "work_mem")] {
        let said =
            refused(&format!("{}&options=-c%20{option}", bouncer.url), &ServerOptions::default()).await;
        assert!(said.contains(name) && !said.contains("hunter2"), "{said}");
    }
}
