//! K3, K6, K7: subjects, clients, audiences and keys.

use jeton::proto::v1::{self as pb, RevocationOutcome, TokenStatus, revocation_target::Kind};
use jeton_token::new_uuid_v7;
use serde_json::json;

use super::{HEAD, REVOCATIONS, is_active, refresh_token, wide_request};
use crate::world::{Api, ErrorFacts, Refused, World, issue_request, now_s, until};

fn subject(name: &str) -> Kind {
    Kind::Subject(name.to_owned())
}

/// A subject's revocation with a cutoff, in seconds and nanoseconds before now.
fn before(name: &str, seconds: i64, nanos: i32) -> pb::RevokeRequest {
    let mut request = wide_request(subject(name));
    let cutoff = prost_types::Timestamp { seconds, nanos };
    request.target.as_mut().unwrap().issue_cutoff_time = Some(cutoff);
    request
}

async fn wide(api: &mut Api, request: pb::RevokeRequest) -> pb::RevokeResponse {
    api.wide.revoke(request).await.unwrap().into_inner()
}

async fn refused(api: &mut Api, request: pb::RevokeRequest) -> ErrorFacts {
    api.wide.revoke(request).await.refused()
}

#[tokio::test]
async fn k3_a_subject_dies_with_everything_so_far_and_is_issued_for_anew_in_the_same_second() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for round in 0..20 {
        let (old, other) = (api.session("user:7", "api").await, api.session("user:70", "api").await);
        let answer = admin.revoke_wide(subject("user:7")).await.unwrap();
        assert_eq!(answer.outcome(), RevocationOutcome::Revoked, "each one hits more than the one before");
        let new = api.session("user:7", "api").await;
        assert_eq!(api.status(&old.access_token, "api").await, TokenStatus::Revoked, "round {round}");
        assert_eq!(api.refresh(refresh_token(&old)).await.refused().reason, "SESSION_REVOKED");
        for token in [new, other] {
            assert!(is_active(&mut api, &token.access_token).await);
            let next = api.refresh(refresh_token(&token)).await.unwrap();
            assert!(is_active(&mut api, &next.access_token).await);
        }
    }
    assert_eq!(world.number("select count(*) from mark").await, 1, "one mark, by maximum");
}

#[tokio::test]
async fn k3_a_client_dies_with_what_it_obtained_and_with_nothing_else() {
    let world = World::start().await;
    let (mut api, mut other) = (world.api("service").await, world.api("other").await);
    let (hit, spared) = (api.session("user:7", "api").await, other.session("user:7", "api").await);
    world.api("admin").await.revoke_wide(Kind::ClientId("service".to_owned())).await.unwrap();
    assert_eq!(api.status(&hit.access_token, "api").await, TokenStatus::Revoked);
    assert_eq!(api.refresh(refresh_token(&hit)).await.refused().reason, "SESSION_REVOKED");
    assert!(is_active(&mut api, &spared.access_token).await);
    other.refresh(refresh_token(&spared)).await.unwrap();
    let new = api.token("user:7", "api").await;
    assert!(is_active(&mut api, &new.access_token).await, "the client itself is not disabled");
}

#[tokio::test]
async fn k3_an_audience_narrows_to_what_names_it() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let both = pb::IssueRequest { refreshable: true, ..issue_request("user:7", &["web", "api"]) };
    let (only_api, only_web) = (api.session("user:7", "api").await, api.session("user:7", "web").await);
    let both = api.issue(both).await.unwrap();
    let mut request = wide_request(subject("user:7"));
    request.target.as_mut().unwrap().audience = "api".to_owned();
    wide(&mut admin, request.clone()).await;
    for token in [&only_api, &both] {
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
        assert_eq!(api.refresh(refresh_token(token)).await.refused().reason, "SESSION_REVOKED");
    }
    assert_eq!(api.status(&only_web.access_token, "web").await, TokenStatus::Active);
    api.refresh(refresh_token(&only_web)).await.unwrap();
    request.target.as_mut().unwrap().audience = "web".to_owned();
    wide(&mut admin, request).await;
    assert_eq!(api.status(&only_web.access_token, "web").await, TokenStatus::Revoked);
    assert_eq!(world.number("select count(*) from mark").await, 2, "one per audience");
}

#[tokio::test]
async fn k3_an_audience_dies_with_all_that_names_it_whoever_s_it_is_also_after_a_restart() {
    let mut world = World::start().await;
    let (mut api, mut other, mut admin) =
        (world.api("service").await, world.api("other").await, world.api("admin").await);
    let both = pb::IssueRequest { refreshable: true, ..issue_request("user:8", &["web", "api"]) };
    let hit = [
        api.session("user:7", "api").await,
        other.session("user:9", "api").await,
        api.issue(both).await.unwrap(),
    ];
    let spared = api.session("user:7", "web").await;
    let request = wide_request(Kind::AllForAudience("api".to_owned()));
    let plan = wide(&mut admin, pb::RevokeRequest { validate_only: true, ..request.clone() }).await;
    assert_eq!((plan.outcome(), plan.affected_sessions), (RevocationOutcome::WouldRevoke, 3));
    let answer = wide(&mut admin, request.clone()).await;
    assert_eq!(answer.outcome(), RevocationOutcome::Revoked);
    assert_eq!(answer.target.unwrap().kind, Some(Kind::AllForAudience("api".to_owned())));
    let new = api.session("user:7", "api").await;
    for restarted in [false, true] {
        if restarted {
            world.crash_and_restart().await;
            (api, other) = (world.api("service").await, world.api("other").await);
        }
        for token in &hit {
            assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
            let whose = if token.session_id == hit[1].session_id { &mut other } else { &mut api };
            assert_eq!(whose.refresh(refresh_token(token)).await.refused().reason, "SESSION_REVOKED");
        }
        assert_eq!(api.status(&spared.access_token, "web").await, TokenStatus::Active);
        assert!(is_active(&mut api, &new.access_token).await, "issued after it");
    }
    api.refresh(refresh_token(&spared)).await.unwrap();
    api.refresh(refresh_token(&new)).await.unwrap();
    until("the rows of its sessions say so, and of no other", async || {
        world.number("select count(*) from session where revoke_time is not null").await == 3
    })
    .await;
    assert_eq!(world.number("select count(*) from mark where kind = 6").await, 1);
    // Of an audience alone: not narrowed by one, and on the admin listener.
    let mut admin = world.api("admin").await;
    let mut narrowed = request.clone();
    narrowed.target.as_mut().unwrap().audience = "web".to_owned();
    assert_eq!(refused(&mut admin, narrowed).await.get("field"), "target.audience");
    let public = admin.tokens.revoke(request.clone()).await.refused();
    assert_eq!(public.get("targetKind"), "all_for_audience");
    let empty = wide_request(Kind::AllForAudience(String::new()));
    assert_eq!(refused(&mut admin, empty).await.reason, "FIELD_REQUIRED");
    // What it was, by its act and by its token.
    let question = Some(pb::explain_request::Question::Token(hit[0].access_token.clone()));
    let explained = admin.admin.explain(pb::ExplainRequest { question }).await.unwrap().into_inner();
    let cause = &explained.explanations[0].causes[0];
    assert_eq!(cause.target.clone().unwrap().kind, Some(Kind::AllForAudience("api".to_owned())));
    assert_eq!(cause.audit_event.as_ref().unwrap().audience, "api");
}

#[tokio::test]
async fn k3_a_cutoff_hits_what_was_issued_before_it_rounded_up_to_the_second() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let start = now_s() - 150;
    let issued = |iat: i64, sid: Option<i64>| {
        let mut claims = forge.claims();
        claims["iat"] = json!(iat);
        claims["exp"] = json!(iat + 900);
        claims["jti"] = json!(new_uuid_v7(iat * 1000).to_string());
        if let Some(opened) = sid {
            claims["sid"] = json!(new_uuid_v7(opened * 1000).to_string());
        }
        forge.sign(&claims)
    };
    let at = issued(start, None);
    let after = issued(start + 1, None);
    let of_old_session = issued(start + 50, Some(start - 10));
    let of_new_session = issued(start + 50, Some(start + 10));
    let session = api.session("user:7", "api").await;
    wide(&mut admin, before("user:7", start, 0)).await;
    for token in [&at, &after, &of_new_session] {
        assert!(is_active(&mut api, token).await, "not before the cutoff");
    }
    assert_eq!(api.status(&of_old_session, "api").await, TokenStatus::Revoked, "by the time in its sid");
    // A nanosecond more is a second more.
    let answer = wide(&mut admin, before("user:7", start, 1)).await;
    assert_eq!(answer.outcome(), RevocationOutcome::Revoked);
    assert_eq!(api.status(&at, "api").await, TokenStatus::Revoked);
    for token in [&after, &of_new_session, &session.access_token] {
        assert!(is_active(&mut api, token).await);
    }
    for earlier in [before("user:7", start + 1, 0), before("user:7", start - 30, 0)] {
        assert_eq!(wide(&mut admin, earlier).await.outcome(), RevocationOutcome::AlreadyRevoked);
    }
    // A session is judged by its opening.
    api.refresh(refresh_token(&session)).await.unwrap();
    let opened = "id = overlay(id::text placing '01900000-0000' from 1 for 13)::uuid";
    world.sql(&format!("update session set create_time = '2024-06-09T00:00:00Z', {opened}")).await;
    assert_eq!(
        world.number("select count(*) from revoked_sessions(10)").await,
        1,
        "in the table as in memory"
    );
}

#[tokio::test]
async fn k3_a_cutoff_is_never_in_the_future_and_one_of_now_is_as_good_as_none() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let near = refused_as_too_early(&mut admin).await;
    let mut ahead = vec![near];
    for seconds in [now_s() + 86_400, 253_402_300_799] {
        ahead.push(refused(&mut admin, before("user:7", seconds, 0)).await);
    }
    for refused in ahead {
        assert_eq!(
            (refused.reason.as_str(), refused.get("field")),
            ("FIELD_INVALID", "target.issue_cutoff_time")
        );
    }
    for (seconds, nanos) in [(0, 0), (-5, 0), (i64::MAX, 0), (i64::MIN, 0), (now_s() - 300, -1)] {
        let refused = refused(&mut admin, before("user:7", seconds, nanos)).await;
        assert_eq!(refused.reason, "FIELD_INVALID");
    }
    assert_eq!(world.number("select count(*) from mark where target = 'user:7'").await, 0);
    // "Now" by every client's clock, at ten moments of the second.
    for ago_s in [0, 0, 0, 0, 0, 1, 30, 45] {
        let token = api.token("user:7", "api").await;
        let now = jiff::Timestamp::now();
        let milli = now.subsec_millisecond() * 1_000_000;
        wide(&mut admin, before("user:7", now.as_second() - ago_s, milli)).await;
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
    }
    assert_eq!(world.number("select max(cutoff_s) from mark where target = 'user:7'").await, 0);
}

/// The refusal of a cutoff two seconds ahead.
async fn refused_as_too_early(admin: &mut Api) -> ErrorFacts {
    loop {
        let cutoff = now_s() + 2;
        match admin.wide.revoke(before("user:soon", cutoff, 0)).await {
            // The machine stood still until it was no longer ahead.
            Ok(answer) => {
                let revoked = answer.into_inner().revoke_time.unwrap();
                assert!(revoked.seconds >= cutoff, "two seconds ahead, and taken: {revoked:?}");
            }
            refused => return refused.refused(),
        }
    }
}

#[tokio::test]
async fn k3_a_key_dies_with_all_that_it_signed_and_another_signs() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let key_id = forge.key.key_id().to_owned();
    let old = api.session("user:7", "api").await;
    // Its thief writes `rev` himself.
    let mut claims = forge.claims();
    claims["rev"] = json!(9_007_199_254_740_991_i64);
    let stolen = forge.sign(&claims);
    let unknown = refused(&mut admin, wide_request(Kind::KeyId("nobody".to_owned()))).await;
    assert_eq!((unknown.reason.as_str(), unknown.get("resourceName")), ("NOT_FOUND", "nobody"));
    let answer = admin.revoke_wide(Kind::KeyId(key_id.clone())).await.unwrap();
    assert_eq!(answer.outcome(), RevocationOutcome::Revoked);
    for token in [&old.access_token, &stolen] {
        let verdict = api.validate(token, &["api"]).await.unwrap();
        assert_eq!(verdict.status(), TokenStatus::Revoked);
        assert_eq!(verdict.revocation_reason(), pb::RevocationReason::Compromised);
    }
    let new = api.token("user:7", "api").await;
    assert!(is_active(&mut api, &new.access_token).await);
    let next = api.refresh(refresh_token(&old)).await.unwrap();
    assert!(is_active(&mut api, &next.access_token).await, "sessions live on");
    let jwks = api.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner();
    assert!(!jwks.jwks_json.contains(&key_id), "no verifier trusts it any more");
    let again = admin.revoke_wide(Kind::KeyId(key_id.clone())).await.unwrap();
    assert_eq!(again.outcome(), RevocationOutcome::AlreadyRevoked);
    let mut world = world;
    world.crash_and_restart().await;
    let mut api = world.api("service").await;
    assert_eq!(api.status(&stolen, "api").await, TokenStatus::Revoked);
    assert!(is_active(&mut api, &new.access_token).await);
}

/// So many more sessions like the one there is.
async fn copies(world: &World, count: i64) {
    world
        .sql(&format!(
            "insert into session select (x).* from (select jsonb_populate_record(s, jsonb_build_object('id',
                 overlay(s.id::text placing lpad(to_hex(n), 12, '0') from 25))) x
               from session s, generate_series(1, {count}) n) rows"
        ))
        .await;
}

#[tokio::test]
async fn k6_a_wide_revocation_is_one_row_however_many_sessions_it_ends() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let mut sessions = Vec::new();
    for audience in ["api", "web", "api"] {
        sessions.push(api.session("user:7", audience).await);
    }
    copies(&world, 2_000).await;
    let head = world.number(HEAD).await;
    admin.revoke_wide(subject("user:7")).await.unwrap();
    assert_eq!(world.number(HEAD).await, head + 1);
    assert_eq!(world.number("select count(*) from mark").await, 1);
    assert_eq!(world.number(REVOCATIONS).await, 0);
    assert_eq!(world.audited("action = 'Revoke' and subject = 'user:7' and reason = 3").await, 1);
    for token in &sessions {
        let refused = api.refresh(refresh_token(token)).await.refused();
        assert_eq!(
            (refused.reason.as_str(), refused.get("revocationReason")),
            ("SESSION_REVOKED", "COMPROMISED")
        );
    }
}

#[tokio::test]
async fn k7_validate_only_counts_and_samples_and_changes_nothing() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.session("user:7", "api").await;
    copies(&world, 120).await;
    let web = api.session("user:7", "web").await;
    let ended = api.session("user:7", "api").await;
    world.sql(&format!("update session set expire_time = now() where id = '{}'", ended.session_id)).await;
    let head = world.number(HEAD).await;
    let asked = pb::RevokeRequest { validate_only: true, ..wide_request(subject("user:7")) };
    let answer = wide(&mut admin, asked.clone()).await;
    assert_eq!(answer.outcome(), RevocationOutcome::WouldRevoke);
    assert_eq!((answer.affected_sessions, answer.sample_sessions.len()), (122, 100));
    assert!(answer.sample_sessions.iter().all(|session| session.subject == "user:7"));
    let mut narrowed = asked.clone();
    narrowed.target.as_mut().unwrap().audience = "web".to_owned();
    let answer = wide(&mut admin, narrowed).await;
    assert_eq!((answer.affected_sessions, answer.sample_sessions.len()), (1, 1));
    assert_eq!(answer.sample_sessions[0].session_id, web.session_id);
    let mut old = asked;
    let cutoff = prost_types::Timestamp { seconds: now_s() - 3_600, nanos: 0 };
    old.target.as_mut().unwrap().issue_cutoff_time = Some(cutoff);
    assert_eq!(wide(&mut admin, old).await.affected_sessions, 0);
    let narrow = wide_request(Kind::SessionId(token.session_id.clone()));
    let answer = wide(&mut admin, pb::RevokeRequest { validate_only: true, ..narrow }).await;
    assert_eq!((answer.outcome(), answer.affected_sessions), (RevocationOutcome::WouldRevoke, 1));
    assert_eq!(world.number(HEAD).await, head);
    assert_eq!(world.audited("action = 'Revoke'").await, 0);
    assert!(is_active(&mut api, &token.access_token).await);
}

#[tokio::test]
async fn k7_a_limit_on_affected_sessions_is_kept_and_what_exceeds_it_changes_nothing() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.session("user:7", "api").await;
    copies(&world, 4).await;
    let head = world.number(HEAD).await;
    let at_most =
        |max| pb::RevokeRequest { max_affected_sessions: Some(max), ..wide_request(subject("user:7")) };
    for request in [at_most(4), at_most(0), pb::RevokeRequest { validate_only: true, ..at_most(4) }] {
        let refused = refused(&mut admin, request).await;
        assert_eq!(refused.reason, "AFFECTED_SESSIONS_EXCEEDED");
        assert_eq!(refused.code, tonic::Code::FailedPrecondition);
        assert_eq!(refused.get("affectedSessions"), "5");
    }
    assert_eq!(world.number(HEAD).await, head);
    assert!(is_active(&mut api, &token.access_token).await);
    let answer = wide(&mut admin, at_most(5)).await;
    assert_eq!((answer.outcome(), answer.affected_sessions), (RevocationOutcome::Revoked, 5));
    assert!(!is_active(&mut api, &token.access_token).await);
    let uncounted = admin.revoke_wide(subject("user:7")).await.unwrap();
    assert_eq!(uncounted.affected_sessions, 0, "an emergency never waits for a count");
}
