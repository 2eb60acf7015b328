//! I12: server and database clocks that are too far apart.

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::lifetime;
use crate::world::{
    Api, InProcess, Refused, Shell, World, api_key, issue_request, now_s, until, validate_request,
};

/// The error of a server's measured clock offset, milliseconds: up to half of its statement's time, which a machine
/// that stands still makes seconds. The shifts below are that far from the limit. Unit tests check the exact limit.
const UNSURE_MS: i64 = 3_000;

/// Holds a refusal to `CLOCK_SKEW`, with an offset of this sign.
fn is_skew<T: std::fmt::Debug>(answer: Result<T, Status>, shift_ms: i64) {
    let status = answer.expect_err("a refusal");
    let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(retry.is_some_and(|delay| !delay.is_zero()), "RetryInfo: {status:?}");
    let facts = Err::<(), _>(status).refused();
    assert_eq!((facts.code, facts.reason.as_str()), (Code::Unavailable, "CLOCK_SKEW"));
    let offset: i64 = facts.get("offsetMillis").parse().unwrap();
    assert!((offset + shift_ms).abs() < UNSURE_MS, "database minus server: {offset}");
}

#[tokio::test]
async fn i12_with_clocks_too_far_apart_nothing_is_minted_or_judged_but_revocations_go_on() {
    let world = World::start().await;
    let mut good = world.api("service").await;
    for shift_ms in [33_000, -33_000] {
        let skewed = InProcess::start(&world.database.url, shift_ms).await;
        let mut api = Api::connect(&skewed.ready, &api_key("service"));
        let session = good.session("user:7", "api").await;
        let refresh_token = session.refresh.clone().unwrap().refresh_token;

        for refreshable in [false, true] {
            let request = pb::IssueRequest { refreshable, ..issue_request("user:7", &["api"]) };
            is_skew(api.issue(request).await, shift_ms);
        }
        is_skew(api.refresh(&refresh_token).await, shift_ms);
        is_skew(api.validate(&session.access_token, &["api"]).await, shift_ms);
        let requests = vec![validate_request(&session.access_token, &["api"])];
        is_skew(api.tokens.batch_validate(pb::BatchValidateRequest { requests }).await, shift_ms);
        let message =
            pb::StreamValidateRequest { request: Some(validate_request(&session.access_token, &["api"])) };
        let stream = api.tokens.stream_validate(futures_util::stream::iter([message])).await;
        let first = match stream {
            Ok(answers) => answers.into_inner().message().await,
            Err(status) => Err(status),
        };
        is_skew(first, shift_ms);

        let (status, body) = skewed.ready.ops("/readyz").await;
        assert_eq!(status, 503);
        assert!(body.contains("[-]clock failed"), "{body}");
        assert!(body.contains("[+]key ok") && body.contains("[+]lease ok"), "nothing else is amiss: {body}");
        assert_eq!(skewed.ready.ops("/livez").await.0, 200, "it need not be restarted");
        let info = api.discovery.get_server_info(pb::GetServerInfoRequest {}).await.unwrap().into_inner();
        let offset_ms = info.store_clock_offset.unwrap().seconds * 1_000;
        assert!((offset_ms + shift_ms).abs() <= UNSURE_MS, "{offset_ms}");

        // The refusal has spent nothing, and the other replica still takes it.
        let next = good.refresh(&refresh_token).await.unwrap();
        assert_eq!(good.status(&next.access_token, "api").await, pb::TokenStatus::Active);
        // Revocations by text, by jti and by session go on, and reach the other replica.
        let (text, jti) = (good.token("user:7", "api").await, good.token("user:7", "api").await);
        let targets = [
            (Kind::Token(text.access_token.clone()), text.access_token),
            (Kind::Jti(jti.jti.clone()), jti.access_token),
            (Kind::SessionId(next.session_id.clone()), next.access_token),
        ];
        let mut admin = Api::connect(&skewed.ready, &api_key("admin"));
        for (target, token) in targets {
            let revoked = admin.revoke(target).await.unwrap();
            assert_eq!(revoked.outcome(), pb::RevocationOutcome::Revoked);
            assert_eq!(
                good.status(&token, "api").await,
                pb::TokenStatus::Revoked,
                "on the other replica, too"
            );
        }
        let after = good.refresh(&next.refresh.unwrap().refresh_token).await.refused();
        assert_eq!(after.reason, "SESSION_REVOKED");
        skewed.ended().await;
    }
}

#[tokio::test]
async fn i12_clocks_that_are_less_far_apart_are_borne() {
    let world = World::start().await;
    for shift_ms in [27_000, -27_000] {
        let skewed = InProcess::start(&world.database.url, shift_ms).await;
        let mut api = Api::connect(&skewed.ready, &api_key("service"));
        let token = api.token("user:7", "api").await;
        assert_eq!(lifetime(&token), 900);
        assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Active);
        assert_eq!(skewed.ready.ops("/readyz").await.0, 200);
        skewed.ended().await;
    }
}

/// Returns whether a token minted on one replica is good on another at the moment of the answer, and not from the
/// future.
async fn is_good_at_once(minting: &mut Api, judging: &mut Api) -> bool {
    let (token, session) = (minting.token("user:7", "api").await, minting.session("user:7", "api").await);
    let next = minting.refresh(&session.refresh.clone().unwrap().refresh_token).await.unwrap();
    let mut are_good = true;
    for token in [token, session, next] {
        assert_eq!(lifetime(&token), 900);
        are_good &= judging.status(&token.access_token, "api").await == pb::TokenStatus::Active;
        are_good &= token.issue_time.unwrap().seconds <= now_s();
    }
    are_good
}

/// The warning of `jeton doctor` about a server's clock.
async fn said_of_clock(world: &World, server: &InProcess) -> String {
    let mut shell = Shell::of(world, "admin");
    shell.arguments[1].clone_from(&server.ready.public);
    let said = shell.run(&["doctor"]).await;
    let line = said.out.lines().find(|line| line.contains("  server clock")).unwrap();
    assert!(line.starts_with("warn"), "{said:?}");
    line.to_owned()
}

// The clock's offset is measured once more where the machine stood still meanwhile.
#[tokio::test]
async fn i15_what_a_replica_mints_whose_clock_is_ahead_is_good_on_every_other_at_once() {
    let world = World::start().await;
    let mut good = world.api("service").await;
    let ahead = InProcess::start(&world.database.url, 20_000).await;
    let mut api = Api::connect(&ahead.ready, &api_key("service"));
    for _ in 0..3 {
        until("it is good elsewhere", async || is_good_at_once(&mut api, &mut good).await).await;
        ahead.clock.step(1_000);
    }
    until("it is measured", async || {
        let metrics = ahead.ready.ops("/metrics").await.1;
        metrics.lines().any(|line| line.starts_with("jeton_clock_offset_seconds -"))
    })
    .await;
    assert!(said_of_clock(&world, &ahead).await.contains("ahead of the database's"));
    ahead.ended().await;
}

#[tokio::test]
async fn i15_doctor_names_each_replica_whose_clock_is_off_whichever_server_it_asks() {
    let world = World::start().await;
    let ahead = InProcess::start(&world.database.url, 20_000).await;
    let behind = InProcess::start(&world.database.url, -20_000).await;
    let shell = Shell::of(&world, "admin");
    until("both are named", async || {
        let said = shell.run(&["doctor"]).await;
        let line = said.out.lines().find(|line| line.contains("  clocks ")).unwrap();
        let named = |server: &InProcess, way: &str| {
            let said = line.split(", ").find(|part| part.contains(&server.ready.replica));
            said.is_some_and(|said| said.contains(way))
        };
        // The called server may be named, too: its clock's offset is measured again if the machine stood still.
        line.starts_with("warn") && named(&ahead, " ms ahead") && named(&behind, " ms behind")
    })
    .await;
    ahead.ended().await;
    behind.ended().await;
}

#[tokio::test]
async fn i15_a_replica_whose_clock_is_behind_takes_what_the_others_mint() {
    let world = World::start().await;
    let mut good = world.api("service").await;
    let behind = InProcess::start(&world.database.url, -20_000).await;
    let mut api = Api::connect(&behind.ready, &api_key("service"));
    until("it is good there", async || is_good_at_once(&mut good, &mut api).await).await;
    assert!(said_of_clock(&world, &behind).await.contains("behind the database's"));
    behind.ended().await;
}
