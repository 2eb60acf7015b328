//! E3: a database that is away, and comes back.

use std::time::{Duration, Instant};

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;

use crate::world::{
    Api, PATIENCE, Postgres, Refused, Server, ServerOptions, Stopwatch, api_key, channel, issue_request,
    steady, until,
};

/// E3, E1: which of the two reasons, when it came, and that it says when to come back.
fn unavailable<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = answer.expect_err("the database is away");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(delay.is_some_and(|delay| !delay.is_zero()), "RetryInfo: {status:?}");
    let facts = Err::<(), _>(status).refused();
    if facts.reason == "REVOCATION_STATE_STALE" {
        let age: i64 = facts.get("ageMillis").parse().unwrap();
        assert!((2_700..120_000).contains(&age), "{facts:?}");
    } else {
        assert_eq!(facts.reason, "STORE_UNAVAILABLE");
    }
    facts.reason
}

fn not_refreshable() -> pb::IssueRequest {
    issue_request("user:7", &["api"])
}

fn refreshable() -> pb::IssueRequest {
    pb::IssueRequest { refreshable: true, ..not_refreshable() }
}

async fn health(server: &Server) -> i32 {
    let mut client = HealthClient::new(channel(&server.ready.public));
    client.check(HealthCheckRequest::default()).await.unwrap().into_inner().status
}

/// More than it takes to notice that a database is back, by a good deal; a pause that grows would be longer.
const SECONDS: Duration = Duration::from_secs(10);

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// A token that stays good, one that is revoked, and a refresh token.
struct Held {
    good: String,
    revoked: String,
    refresh: String,
}

/// Validates from the moment that the database went until the first refusal, and holds the answers to E3.
async fn answers_until_stale(api: &mut Api, held: &Held, gone: Instant) {
    let mut last_good = gone;
    let refusal = loop {
        let asked = Instant::now();
        match api.validate(&held.good, &["api"]).await {
            Ok(verdict) => {
                assert_eq!(verdict.status(), pb::TokenStatus::Active);
                last_good = asked;
            }
            Err(status) => break status,
        }
        let revoked = api.validate(&held.revoked, &["api"]).await;
        assert!(revoked.is_err() || revoked.is_ok_and(|it| it.status() == pb::TokenStatus::Revoked));
        assert!(gone.elapsed() < PATIENCE, "it answers for ever");
    };
    let answered_ms = last_good.duration_since(gone).as_millis();
    assert!((1_000..=2_700).contains(&answered_ms), "answered for {answered_ms} ms");
    assert_eq!(unavailable::<()>(Err(refusal)), "REVOCATION_STATE_STALE");
}

/// While it is away, everything that needs it is refused, and says so.
async fn everything_is_refused(server: &Server, api: &mut Api, admin: &mut Api, held: &Held) {
    unavailable(api.validate(&held.good, &["api"]).await);
    unavailable(api.issue(refreshable()).await);
    unavailable(api.issue(not_refreshable()).await);
    unavailable(api.refresh(&held.refresh).await);
    unavailable(api.revoke(Kind::Token(held.good.clone())).await);
    unavailable(admin.revoke_wide(Kind::Subject("user:7".to_owned())).await);
    unavailable(admin.admin.list_audit_events(pb::ListAuditEventsRequest::default()).await);
    let (status, body) = server.ops("/readyz").await;
    assert_eq!(status, 503, "{body}");
    assert!(body.contains("[-]lease failed") && body.contains("[+]key ok"), "{body}");
    assert_eq!(server.ops("/livez").await.0, 200);
    assert_eq!(server.ops("/metrics").await.0, 200);
    until("health is NOT_SERVING", async || health(server).await == NOT_SERVING).await;
}

/// It comes back without help, and revoked tokens stay revoked.
async fn back_by_itself(server: &Server, api: &mut Api, held: &Held) {
    let back = Stopwatch::start();
    until("Validate answers again", async || api.validate(&held.good, &["api"]).await.is_ok()).await;
    assert!(back.ran() < SECONDS, "within seconds: {:?}", back.ran());
    assert_eq!(api.status(&held.good, "api").await, pb::TokenStatus::Active);
    assert_eq!(api.status(&held.revoked, "api").await, pb::TokenStatus::Revoked);
    until("readyz is 200", async || server.ops("/readyz").await.0 == 200).await;
    until("health is SERVING", async || health(server).await == SERVING).await;
    until("sessions can be opened", async || api.issue(refreshable()).await.is_ok()).await;
}

#[tokio::test]
async fn e3_a_database_that_is_away_makes_validate_unavailable_after_2_7_s_and_it_is_back_by_itself() {
    steady(async || {
        let mut away = Postgres::start().await;
        let url = away.database().url;
        let directory = tempfile::tempdir().unwrap();
        let mut server = Server::start(&url, directory.path(), &ServerOptions::default()).await;
        let mut api = Api::connect(&server.ready, &api_key("service"));
        let mut admin = Api::connect(&server.ready, &api_key("admin"));
        let revoked = api.token("user:7", "api").await.access_token;
        let session = api.session("user:7", "api").await;
        let held = Held {
            good: session.access_token,
            refresh: session.refresh.unwrap().refresh_token,
            revoked: revoked.clone(),
        };
        api.revoke(Kind::Token(revoked)).await.unwrap();
        assert_eq!(health(&server).await, SERVING);

        // It hangs: nothing breaks, nothing answers.
        away.freeze();
        let gone = Instant::now();
        answers_until_stale(&mut api, &held, gone).await;
        everything_is_refused(&server, &mut api, &mut admin, &held).await;
        away.thaw();
        back_by_itself(&server, &mut api, &held).await;

        // It crashes: connections break, and the socket is gone.
        away.crash().await;
        let gone = Instant::now();
        answers_until_stale(&mut api, &held, gone).await;
        everything_is_refused(&server, &mut api, &mut admin, &held).await;
        away.restart();
        back_by_itself(&server, &mut api, &held).await;

        // It hangs, and the server is asked to end: it does.
        away.freeze();
        let asked = Stopwatch::start();
        server.terminate();
        let status = server.ended().await;
        assert_eq!(status.code(), Some(0), "{}", server.logged());
        // Ten seconds for calls, and three for the rest, twice.
        assert!(asked.ran() < 2 * SECONDS, "{:?}", asked.ran());
    })
    .await;
}
