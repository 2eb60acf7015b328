//! E11, E4: the log lines about a database that goes and comes back; and the end of a server whose database stalls.

use std::time::{Duration, Instant};

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};

use super::refused;
use crate::world::{Api, Postgres, Server, ServerOptions, api_key, issue_request, until};

/// Lines of a log that people look at.
fn alarms(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("\"WARN\"") || line.contains("\"ERROR\"")).collect()
}

#[tokio::test]
async fn e11_a_database_that_goes_and_comes_back_is_one_line_each_with_its_host_and_the_cause() {
    let mut postgres = Postgres::start().await;
    let database = postgres.database();
    let directory = tempfile::tempdir().unwrap();
    let server = Server::start(&database.url, directory.path(), &ServerOptions::default()).await;
    let mut api = Api::connect(&server.ready, &api_key("service"));
    let mut admin = Api::connect(&server.ready, &api_key("admin"));
    let token = api.token("user:7", "api").await.access_token;
    assert_eq!(alarms(&server.logged()), [""; 0]);
    for round in 1..=2 {
        postgres.crash().await;
        until("it refuses", async || api.validate(&token, &["api"]).await.is_err()).await;
        for _ in 0..5 {
            assert!(api.validate(&token, &["api"]).await.is_err());
            let request = pb::IssueRequest { refreshable: true, ..issue_request("user:7", &["api"]) };
            assert!(api.issue(request).await.is_err());
            assert!(admin.admin.list_audit_events(pb::ListAuditEventsRequest::default()).await.is_err());
        }
        assert!(api.revoke(Kind::Token(token.clone())).await.is_err());
        postgres.restart();
        until("it is back", async || api.validate(&token, &["api"]).await.is_ok()).await;
        let back = || server.logged().matches("the database is back").count();
        until("it says so", async || back() == round).await;
        let log = server.logged();
        let alarms = alarms(&log);
        assert_eq!(alarms.len(), round, "{alarms:#?}");
        let socket = database.url.split_once("?host=").unwrap().1.replace("%2F", "/");
        let gone = alarms[round - 1];
        assert!(gone.contains("the database has gone") && gone.contains(&socket), "{gone}");
        for riddle in ["pool timed out", "unexpected or invalid data"] {
            assert!(!log.contains(riddle), "{riddle}");
        }
    }
    api.revoke(Kind::Token(token.clone())).await.unwrap();
    assert_eq!(api.status(&token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn e11_a_server_that_finds_no_database_says_where_it_looked_and_why_not() {
    // An address of its own: on the usual one, another test's server may get the port meanwhile.
    let closed = std::net::TcpListener::bind("127.9.8.7:0").unwrap().local_addr().unwrap();
    let said = refused(&format!("postgres://u:hunter2@{closed}/d"), &ServerOptions::default()).await;
    assert!(
        said.contains(&format!("the database d at {closed} is out of reach: Connection refused")),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

// Far below the patience of who asked it to end, however many calls wait for the database.
#[tokio::test]
async fn e4_a_server_whose_database_stalls_ends_within_the_time_that_it_was_given() {
    let mut postgres = Postgres::start().await;
    let database = postgres.database();
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--drain-timeout", "2s"].map(str::to_owned).to_vec();
    let options = ServerOptions { arguments, ..ServerOptions::default() };
    let mut server = Server::start(&database.url, directory.path(), &options).await;
    let api = Api::connect(&server.ready, &api_key("service"));
    let token = api.clone().session("user:7", "api").await.access_token;
    postgres.freeze();
    let mut calls = Vec::new();
    for _ in 0..20 {
        let (mut opener, mut revoker, token) = (api.clone(), api.clone(), token.clone());
        calls.push(tokio::spawn(async move {
            let request = pb::IssueRequest { refreshable: true, ..issue_request("user:7", &["api"]) };
            let _answer = opener.issue(request).await;
        }));
        calls.push(tokio::spawn(async move {
            let _answer = revoker.revoke(Kind::Token(token)).await;
        }));
    }
    until("they wait for it", async || {
        let (_, metrics) = server.ops("/metrics").await;
        let used =
            metrics.lines().find_map(|line| line.strip_prefix("db_client_connection_count{state=\"used\"} "));
        used.is_some_and(|used| used.parse::<f64>().unwrap() > 0.0)
    })
    .await;
    let asked = Instant::now();
    server.terminate();
    let status = server.ended().await;
    // Statements in flight get ten seconds, and without a limit it took as long.
    assert!(asked.elapsed() < Duration::from_secs(8), "{:?}", asked.elapsed());
    assert_eq!(status.code(), Some(0), "{}", server.logged());
    for call in calls {
        call.await.unwrap();
    }
}

#[tokio::test]
async fn e4_a_time_to_end_that_makes_no_sense_is_refused() {
    for bad in ["0s", "2h"] {
        let arguments = vec!["--drain-timeout".to_owned(), bad.to_owned()];
        let said =
            refused("postgres://u@127.0.0.1/d", &ServerOptions { arguments, ..ServerOptions::default() })
                .await;
        assert!(said.contains("--drain-timeout is not valid: it is at least"), "{said}");
    }
}
