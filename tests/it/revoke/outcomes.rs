//! K2, K4: what becomes of a narrow revocation.

use jeton::proto::v1::{self as pb, RevocationOutcome, TokenStatus, revocation_target::Kind};
use jeton_token::new_uuid_v7;
use serde_json::json;

use super::{HEAD, REVOCATIONS, is_active, place, refresh_token, revoke, text};
use crate::world::{Forge, Refused, World, issue_request, now_s, policy, seconds, until};

/// A token of `age_s` seconds that lives for `life_s`.
fn aged(forge: &Forge, age_s: i64, life_s: i64) -> String {
    let mut claims = forge.claims();
    let issued = now_s() - age_s;
    claims["iat"] = json!(issued);
    claims["exp"] = json!(issued + life_s);
    claims["jti"] = json!(new_uuid_v7(issued * 1000).to_string());
    forge.sign(&claims)
}

#[tokio::test]
async fn k3_a_token_dies_by_its_text_its_jti_its_session_and_its_refresh_token() {
    let world = World::start().await;
    let mut api = world.api("admin").await;
    for kind in [
        |token: &pb::IssuedToken| text(token),
        |token: &pb::IssuedToken| Kind::Jti(token.jti.clone()),
        |token: &pb::IssuedToken| Kind::SessionId(token.session_id.clone()),
        |token: &pb::IssuedToken| Kind::Token(refresh_token(token).to_owned()),
    ] {
        let (token, bystander) = (api.session("user:7", "api").await, api.token("user:7", "api").await);
        let target = kind(&token);
        let ends_session = !matches!(&target, Kind::Jti(_)) && target != text(&token);
        let before = now_s();
        let answer = api.revoke(target).await.unwrap();
        let after = now_s();
        assert_eq!(answer.outcome(), RevocationOutcome::Revoked);
        let propagation = answer.propagation.unwrap();
        assert!(propagation.complete && propagation.laggards.is_empty());
        assert_eq!((propagation.replicas, propagation.applied_replicas), (1, 1));
        assert!((before..=after).contains(&answer.revoke_time.unwrap().seconds), "{before} to {after}");
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
        assert!(is_active(&mut api, &bystander.access_token).await);
        let refreshed = api.refresh(refresh_token(&token)).await;
        if ends_session {
            assert_eq!(refreshed.refused().reason, "SESSION_REVOKED");
        } else {
            assert!(is_active(&mut api, &refreshed.unwrap().access_token).await, "the session lives on");
        }
    }
    assert_eq!(world.store().rows_in_default_partitions().await.unwrap(), 0);
}

#[tokio::test]
async fn k2_a_second_revocation_is_already_revoked_after_the_same_barrier() {
    let world = World::start().await;
    let mut api = world.api("admin").await;
    let token = api.session("user:7", "api").await;
    for target in [
        text(&token),
        Kind::Jti(token.jti.clone()),
        Kind::SessionId(token.session_id.clone()),
        Kind::Token(refresh_token(&token).to_owned()),
    ] {
        let first = api.revoke(target.clone()).await.unwrap();
        let rows = world.number(REVOCATIONS).await;
        let again = api.revoke(target.clone()).await.unwrap();
        assert_eq!(again.outcome(), RevocationOutcome::AlreadyRevoked);
        assert!(again.propagation.unwrap().complete);
        assert!(place(&again.revision) > place(&first.revision), "the head moves: the barrier is the same");
        assert_eq!(world.number(REVOCATIONS).await, rows, "and nothing is added (K11)");
    }
    assert_eq!(world.audited("action = 'Revoke'").await, 8, "each act is audited");
}

#[tokio::test]
async fn k2_what_has_expired_is_already_expired_and_recorded_while_a_clock_may_take_it_for_alive() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let fresh = aged(&forge, 100, 90);
    let answer = api.revoke(Kind::Token(fresh.clone())).await.unwrap();
    assert_eq!(answer.outcome(), RevocationOutcome::AlreadyExpired);
    assert!(answer.propagation.unwrap().complete);
    assert_eq!(world.number(REVOCATIONS).await, 1);
    assert_eq!(revoke(&mut api, Kind::Token(fresh)).await, RevocationOutcome::AlreadyRevoked);
    assert!(answer.revoke_time.is_some());
    let stale = aged(&forge, 300, 150);
    let answer = api.revoke(Kind::Token(stale)).await.unwrap();
    assert_eq!(answer.outcome(), RevocationOutcome::AlreadyExpired);
    let holds = (answer.revoke_time, answer.revocation_reason);
    assert_eq!(
        holds,
        (None, pb::RevocationReason::Unspecified.into()),
        "no revocation is named: none was made"
    );
    assert_eq!(world.number(REVOCATIONS).await, 1, "after exp + 120 s nothing is recorded");
    // The leeway in force counts: by it, this one lives.
    admin.set_policy(pb::Policy { leeway: Some(seconds(60)), ..policy("api") }).await.unwrap();
    let tolerated = aged(&forge, 100, 80);
    assert!(is_active(&mut api, &tolerated).await);
    assert_eq!(revoke(&mut api, Kind::Token(tolerated.clone())).await, RevocationOutcome::Revoked);
    assert_eq!(api.status(&tolerated, "api").await, TokenStatus::Revoked);
    // A session past its limit: its access tokens may be alive.
    let ended = api.session("user:7", "api").await;
    world.sql("update session set idle_expire_time = now() - interval '1 second'").await;
    let target = Kind::SessionId(ended.session_id.clone());
    assert_eq!(revoke(&mut api, target).await, RevocationOutcome::AlreadyExpired);
    assert_eq!(api.status(&ended.access_token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn k2_what_cannot_be_verified_is_foreign_and_leaves_no_trace() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let forge = world.forge().await;
    let good = api.session("user:7", "api").await;
    let mut header = forge.header();
    header["kid"] = json!("nobody");
    let mut flipped = refresh_token(&good).to_owned().into_bytes();
    flipped[60] = if flipped[60] == b'A' { b'B' } else { b'A' };
    let (signed, signature) = good.access_token.rsplit_once('.').unwrap();
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let foreign = [
        "x".to_owned(),
        "a.b.c".to_owned(),
        "\u{1F600}".to_owned(),
        format!("{signed}.{first}{}", &signature[1..]),
        forge.sign_text(&header.to_string(), &forge.claims().to_string()),
        forge.sign(&json!({ "iss": "x" })),
        String::from_utf8(flipped).unwrap(),
        "jtr_".to_owned(),
        refresh_token(&good).to_uppercase(),
    ];
    let head = world.number(HEAD).await;
    for text in foreign {
        assert_eq!(revoke(&mut api, Kind::Token(text.clone())).await, RevocationOutcome::Foreign, "{text:?}");
    }
    assert_eq!(world.number(HEAD).await, head);
    assert_eq!(world.audited("action = 'Revoke'").await, 0);
    assert!(is_active(&mut api, &good.access_token).await);
    // A good MAC is not enough: the row knows the secret.
    world.sql("update session set secret_hash = decode(repeat('ab', 32), 'hex')").await;
    assert_eq!(
        revoke(&mut api, Kind::Token(refresh_token(&good).to_owned())).await,
        RevocationOutcome::Foreign
    );
    // A key that is gone.
    let gone = "update signing_key set retire_time = now(), expire_time = now() - interval '1 second';
                select log_change(3::smallint, 'test')";
    world.sql(gone).await;
    until("the key is gone", async || {
        api.clone().status(&good.access_token, "api").await == TokenStatus::UnknownKey
    })
    .await;
    assert_eq!(revoke(&mut api, text(&good)).await, RevocationOutcome::Foreign);
    assert_eq!(world.number(REVOCATIONS).await, 0);
    assert!((world.metric(r#"jeton_revocations_total{outcome="FOREIGN"}"#).await - 11.0).abs() < 0.1);
}

#[tokio::test]
async fn k2_a_bare_jti_is_judged_by_its_own_time() {
    let world = World::start().await;
    let mut api = world.api("admin").await;
    let at = |ahead_s: i64| new_uuid_v7((now_s() + ahead_s) * 1000).to_string();
    for (ahead_s, outcome) in [
        (0, RevocationOutcome::Revoked),
        (50, RevocationOutcome::Revoked),
        (-86_400, RevocationOutcome::Revoked),
        (-86_400 - 130, RevocationOutcome::AlreadyExpired),
    ] {
        assert_eq!(revoke(&mut api, Kind::Jti(at(ahead_s))).await, outcome, "{ahead_s}");
    }
    assert_eq!(world.number(REVOCATIONS).await, 3);
    let v7 = at(0);
    let ahead = at(70);
    let v4 = "9b2ad0c5-6f0a-4a3c-8d61-0d0f7b1c2e3a".to_owned();
    for jti in [ahead, v7.to_uppercase(), format!("{{{v7}}}"), v7.replace('-', ""), v4, "x".to_owned()] {
        let refused = api.revoke(Kind::Jti(jti.clone())).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "target.jti"), "{jti}");
    }
}

#[tokio::test]
async fn k2_empty_targets_are_required_fields_and_foreign_fields_are_invalid() {
    let world = World::start().await;
    let api = world.api("admin").await;
    let refused = |target: pb::RevocationTarget| {
        let mut api = api.clone();
        async move {
            let request = pb::RevokeRequest {
                target: Some(target),
                reason: pb::RevocationReason::Leaked.into(),
                ..Default::default()
            };
            let refused = api.wide.revoke(request).await.refused();
            (refused.reason.clone(), refused.get("field").to_owned())
        }
    };
    let of = |kind| pb::RevocationTarget { kind: Some(kind), ..Default::default() };
    let none = String::new;
    for (kind, field) in [
        (Kind::Token(none()), "token"),
        (Kind::Jti(none()), "jti"),
        (Kind::SessionId(none()), "session_id"),
        (Kind::Subject(none()), "subject"),
        (Kind::ClientId(none()), "client_id"),
        (Kind::KeyId(none()), "key_id"),
    ] {
        assert_eq!(refused(of(kind)).await, ("FIELD_REQUIRED".to_owned(), format!("target.{field}")));
    }
    assert_eq!(refused(pb::RevocationTarget::default()).await.0, "FIELD_REQUIRED");
    let token = api.clone().session("user:7", "api").await;
    let past = Some(prost_types::Timestamp { seconds: now_s() - 600, nanos: 0 });
    for kind in [
        text(&token),
        Kind::Jti(token.jti.clone()),
        Kind::SessionId(token.session_id.clone()),
        Kind::KeyId(world.forge().await.key.key_id().to_owned()),
    ] {
        let narrowed = pb::RevocationTarget { issue_cutoff_time: past, ..of(kind.clone()) };
        let expected = ("FIELD_INVALID".to_owned(), "target.issue_cutoff_time".to_owned());
        assert_eq!(refused(narrowed).await, expected);
        let narrowed = pb::RevocationTarget { audience: "api".to_owned(), ..of(kind) };
        assert_eq!(refused(narrowed).await, ("FIELD_INVALID".to_owned(), "target.audience".to_owned()));
    }
    let with = |change: fn(&mut pb::RevokeRequest)| {
        let mut request = super::wide_request(Kind::Subject("user:7".to_owned()));
        change(&mut request);
        let mut api = api.clone();
        async move {
            let refused = api.wide.revoke(request).await.refused();
            (refused.reason.clone(), refused.get("field").to_owned())
        }
    };
    let invalid = |field: &str| ("FIELD_INVALID".to_owned(), field.to_owned());
    assert_eq!(with(|r| r.reason = 0).await, ("FIELD_REQUIRED".to_owned(), "reason".to_owned()));
    assert_eq!(with(|r| r.reason = 99).await, invalid("reason"));
    assert_eq!(with(|r| r.reason = pb::RevocationReason::RefreshReuse.into()).await, invalid("reason"));
    assert_eq!(with(|r| r.note = "\u{e9}".repeat(501)).await, invalid("note"));
    assert_eq!(with(|r| r.note = "a\0b".to_owned()).await, invalid("note"));
    assert_eq!(with(|r| r.max_affected_sessions = Some(-1)).await, invalid("max_affected_sessions"));
    assert_eq!(with(|r| r.wait_for = 99).await, invalid("wait_for"));
    assert_eq!(with(|r| r.wait_timeout = Some(seconds(-1))).await, invalid("wait_timeout"));
    assert!(is_active(&mut api.clone(), &token.access_token).await);
    assert_eq!(world.audited("action = 'Revoke'").await, 0);
}

#[tokio::test]
async fn k4_a_token_that_nobody_accepts_dies_all_the_same_in_every_spelling() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let forge = world.forge().await;
    let bound =
        pb::IssueRequest { certificate_thumbprint: "A".repeat(43), ..issue_request("user:7", &["api"]) };
    let bound = api.issue(bound).await.unwrap();
    assert_eq!(api.status(&bound.access_token, "api").await, TokenStatus::WrongBinding);
    assert_eq!(revoke(&mut api, text(&bound)).await, RevocationOutcome::Revoked);
    assert_eq!(api.status(&bound.access_token, "api").await, TokenStatus::Revoked);
    let elsewhere = api.token("user:7", "web").await;
    assert_eq!(api.status(&elsewhere.access_token, "api").await, TokenStatus::WrongAudience);
    assert_eq!(revoke(&mut api, text(&elsewhere)).await, RevocationOutcome::Revoked);
    assert_eq!(api.status(&elsewhere.access_token, "web").await, TokenStatus::Revoked);
    // Above the cap: not acceptable, but still ours.
    let long = aged(&forge, 0, 90_000);
    assert_eq!(api.status(&long, "api").await, TokenStatus::LifetimeExceedsCap);
    assert_eq!(revoke(&mut api, Kind::Token(long)).await, RevocationOutcome::Revoked);
    assert_eq!(world.number(REVOCATIONS).await, 3);
    // The same claims in two texts, and the same text signed twice.
    let claims = forge.claims();
    let spaced =
        forge.sign_text(&forge.header().to_string(), &serde_json::to_string_pretty(&claims).unwrap());
    let (one, two) = (forge.sign(&claims), forge.sign(&claims));
    for token in [&one, &two, &spaced] {
        assert!(is_active(&mut api, token).await);
    }
    assert_eq!(revoke(&mut api, Kind::Token(one.clone())).await, RevocationOutcome::Revoked);
    for token in [&one, &two, &spaced] {
        assert_eq!(api.status(token, "api").await, TokenStatus::Revoked);
    }
}

#[tokio::test]
async fn k2_a_token_from_a_replica_that_is_ahead_is_recorded_whatever_marks_there_are() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    admin.revoke_wide(Kind::Subject("user:7".to_owned())).await.unwrap();
    // Minted after the mark, where the log had been read further than here.
    let mut claims = forge.claims();
    claims["rev"] = json!((1_i64 << 40) + world.number(HEAD).await + 3);
    let token = forge.sign(&claims);
    assert_eq!(revoke(&mut api, Kind::Token(token.clone())).await, RevocationOutcome::Revoked);
    assert_eq!(revoke(&mut api, Kind::Token(token.clone())).await, RevocationOutcome::AlreadyRevoked);
    for _ in 0..4 {
        let other = api.token("user:8", "api").await;
        revoke(&mut api, text(&other)).await;
    }
    assert_eq!(api.status(&token, "api").await, TokenStatus::Revoked, "when the log has come that far, too");
}
