//! Revocation as Validate sees it: every kind of target, and marks against `rev` and cutoffs.

use jeton::proto::v1::{
    self as pb, RevocationReason,
    TokenStatus::{Active, Revoked, UnknownKey},
    revocation_target::Kind,
};
use jeton_token::{Algorithm, new_uuid_v7};
use serde_json::json;

use super::support::{forge_with, with};
use crate::world::{Api, World, issue_request, now_s, revoke_request, until};

async fn revoke(api: &mut Api, target: pb::RevocationTarget, reason: RevocationReason) -> pb::RevokeResponse {
    let request = pb::RevokeRequest { target: Some(target), reason: reason.into(), ..Default::default() };
    api.wide.revoke(request).await.unwrap().into_inner()
}

fn target(kind: Kind) -> pb::RevocationTarget {
    pb::RevocationTarget { kind: Some(kind), ..Default::default() }
}

#[tokio::test]
async fn v7_every_kind_of_revocation_shows_with_its_reason_and_spares_what_it_does_not_name() {
    let world = World::start().await;
    let (mut api, mut other) = (world.api("service").await, world.api("other").await);
    let mut admin = world.api("admin").await;
    let by_text = api.token("user:1", "api").await;
    let by_jti = api.token("user:2", "api").await;
    let session = api.session("user:3", "api").await;
    let by_refresh = api.session("user:4", "api").await;
    let by_subject = api.token("user:5", "api").await;
    let by_client = other.token("user:6", "api").await;
    let spared = [api.token("user:8", "api").await, api.session("user:8", "api").await];
    let next = api.refresh(&session.refresh.as_ref().unwrap().refresh_token).await.unwrap();
    let refresh_token = by_refresh.refresh.as_ref().unwrap().refresh_token.clone();
    let mut dead = Vec::new();
    for (kind, reason, hit) in [
        (Kind::Token(by_text.access_token.clone()), RevocationReason::Leaked, vec![&by_text]),
        (Kind::Jti(by_jti.jti.clone()), RevocationReason::Logout, vec![&by_jti]),
        (Kind::SessionId(session.session_id.clone()), RevocationReason::Deprovisioned, vec![&session, &next]),
        (Kind::Token(refresh_token), RevocationReason::PrivilegeChange, vec![&by_refresh]),
        (Kind::Subject("user:5".to_owned()), RevocationReason::Compromised, vec![&by_subject]),
        (Kind::ClientId("other".to_owned()), RevocationReason::Leaked, vec![&by_client]),
    ] {
        for token in &hit {
            assert_eq!(api.status(&token.access_token, "api").await, Active, "before {kind:?}");
        }
        revoke(&mut admin, target(kind.clone()), reason).await;
        dead.extend(hit.into_iter().map(|token| (token.access_token.clone(), reason)));
        for (token, reason) in &dead {
            let verdict = api.validate(token, &["api"]).await.unwrap();
            assert_eq!((verdict.status(), verdict.revocation_reason()), (Revoked, *reason), "{kind:?}");
        }
        for token in &spared {
            let verdict = api.validate(&token.access_token, &["api"]).await.unwrap();
            let shown = (verdict.status(), verdict.revocation_reason());
            assert_eq!(shown, (Active, RevocationReason::Unspecified), "{kind:?}");
        }
    }
}

#[tokio::test]
async fn v7_a_mark_hits_what_was_issued_before_it_and_nothing_after_within_the_same_second() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let mut same_second = 0;
    // A machine on which no round is done within a second proves nothing of a second: it goes on.
    for round in 0.. {
        if round >= 30 && same_second > 0 {
            break;
        }
        let subject = format!("user:{}", round % 3);
        let before = api.token(&subject, "api").await;
        let (kind, session) = if round % 2 == 0 {
            (Kind::Subject(subject.clone()), api.session(&subject, "api").await)
        } else {
            (Kind::ClientId("service".to_owned()), api.session("user:x", "api").await)
        };
        admin.revoke_wide(kind).await.unwrap();
        let after = api.token(&subject, "api").await;
        same_second += u32::from(before.issue_time == after.issue_time);
        assert_eq!(api.status(&before.access_token, "api").await, Revoked, "round {round}");
        assert_eq!(api.status(&session.access_token, "api").await, Revoked, "round {round}");
        assert_eq!(api.status(&after.access_token, "api").await, Active, "round {round}");
    }
}

#[tokio::test]
async fn v7_a_rev_that_the_log_has_not_reached_counts_as_older_than_every_mark() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let head = api.validate(&forge.sign(&forge.claims()), &["api"]).await.unwrap().revision;
    let (epoch, seq) = head.split_once('.').unwrap();
    let head = (epoch.parse::<i64>().unwrap() << 40) + seq.parse::<i64>().unwrap();
    let tokens = |subject: &str| {
        [head + 1_000, head + (1 << 40), (1 << 53) - 1].map(|rev| {
            let claims = with(&forge.claims(), "rev", Some(json!(rev)));
            forge.sign(&with(&claims, "sub", Some(json!(subject))))
        })
    };
    let (marked, free) = (tokens("user:marked"), tokens("user:free"));
    for token in marked.iter().chain(&free) {
        assert_eq!(api.status(token, "api").await, Active, "no mark, no harm");
    }
    admin.revoke_wide(Kind::Subject("user:marked".to_owned())).await.unwrap();
    for token in &marked {
        assert_eq!(api.status(token, "api").await, Revoked);
    }
    for token in &free {
        assert_eq!(api.status(token, "api").await, Active);
    }
    // The same in one batch, judged right after others.
    let requests = marked.iter().chain(&free).map(|token| crate::world::validate_request(token, &["api"]));
    let verdicts = super::support::batch(&mut api, requests.collect()).await;
    let statuses: Vec<_> = verdicts.iter().map(pb::Verdict::status).collect();
    assert_eq!(statuses, [Revoked, Revoked, Revoked, Active, Active, Active]);
}

#[tokio::test]
async fn v7_a_mark_is_narrowed_by_audience_and_by_cutoff() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let web = api.token("user:1", "web").await.access_token;
    let orders = api.token("user:1", "orders").await.access_token;
    let both = api.issue(issue_request("user:1", &["orders", "web"])).await.unwrap().access_token;
    let narrowed =
        pb::RevocationTarget { audience: "web".to_owned(), ..target(Kind::Subject("user:1".to_owned())) };
    revoke(&mut admin, narrowed, RevocationReason::Compromised).await;
    assert_eq!(api.status(&web, "web").await, Revoked);
    assert_eq!(api.status(&both, "orders").await, Revoked);
    assert_eq!(api.status(&orders, "orders").await, Active);
    let other_subject = api.token("user:2", "web").await.access_token;
    assert_eq!(api.status(&other_subject, "web").await, Active);

    // By cutoff: `iat` below it, or a session opened before it, whatever `rev` says.
    let now = now_s();
    let cutoff = now - 600;
    let made = |subject: &str, iat: i64, sid: Option<i64>| {
        let mut claims = forge.claims();
        claims["sub"] = json!(subject);
        claims["iat"] = json!(iat);
        claims["exp"] = json!(now + 900);
        claims["jti"] = json!(new_uuid_v7(iat * 1_000).to_string());
        if let Some(sid) = sid {
            claims["sid"] = json!(new_uuid_v7(sid).to_string());
        }
        forge.sign(&claims)
    };
    let mut target = target(Kind::Subject("user:3".to_owned()));
    // Half a second more: rounded up.
    target.issue_cutoff_time = Some(prost_types::Timestamp { seconds: cutoff - 1, nanos: 500_000_000 });
    revoke(&mut admin, target, RevocationReason::Leaked).await;
    for (name, iat, sid, status) in [
        ("the second before", cutoff - 1, None, Revoked),
        ("the very second", cutoff, None, Active),
        ("later", cutoff + 1, None, Active),
        ("later, of a session opened before", cutoff + 1, Some(cutoff * 1_000 - 1), Revoked),
        ("later, of a session opened then", cutoff + 1, Some(cutoff * 1_000), Active),
        ("before, of a session opened later", cutoff - 1, Some(cutoff * 1_000 + 5), Revoked),
    ] {
        assert_eq!(api.status(&made("user:3", iat, sid), "api").await, status, "{name}");
        assert_eq!(api.status(&made("user:4", iat, sid), "api").await, Active, "{name}, another subject");
    }
    // A later mark without a cutoff adds to it; an earlier cutoff takes nothing back.
    let fresh = api.token("user:3", "api").await.access_token;
    assert_eq!(api.status(&fresh, "api").await, Active);
    admin.revoke_wide(Kind::Subject("user:3".to_owned())).await.unwrap();
    assert_eq!(api.status(&fresh, "api").await, Revoked);
    assert_eq!(api.status(&made("user:3", cutoff - 1, None), "api").await, Revoked);
    let newer = api.token("user:3", "api").await.access_token;
    assert_eq!(api.status(&newer, "api").await, Active);
}

#[tokio::test]
async fn v7_a_revoked_key_revokes_whatever_it_signed_and_whatever_that_says() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let (forge, ed) = (world.forge().await, forge_with(&world, Algorithm::EdDsa).await);
    let issued = api.token("user:7", "api").await.access_token;
    let ahead = forge.sign(&with(&forge.claims(), "rev", Some(json!((1_i64 << 53) - 1))));
    assert_eq!(api.status(&issued, "api").await, Active);
    let kid = forge.key.key_id().to_owned();
    let request = pb::RevokeRequest {
        reason: RevocationReason::Compromised.into(),
        ..revoke_request(Kind::KeyId(kid))
    };
    admin.wide.revoke(request).await.unwrap();
    // The thief goes on signing: nothing of it is good, whenever it says that it was made.
    for token in [issued, ahead, forge.sign(&forge.claims())] {
        let verdict = api.validate(&token, &["api"]).await.unwrap();
        assert_eq!((verdict.status(), verdict.revocation_reason()), (Revoked, RevocationReason::Compromised));
    }
    assert_eq!(api.status(&ed.sign(&ed.claims()), "api").await, Active, "other keys' tokens live on");
    let mut fresh = None;
    until("another key signs", async || {
        fresh = api.issue(issue_request("user:7", &["api"])).await.ok();
        fresh.is_some()
    })
    .await;
    assert_eq!(api.status(&fresh.unwrap().access_token, "api").await, Active);
}

#[tokio::test]
async fn v5_a_key_that_is_gone_is_unknown_before_its_signature_is_looked_at() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let ed = forge_with(&world, Algorithm::EdDsa).await;
    let good = ed.sign(&ed.claims());
    let malformed = ed.sign(&with(&ed.claims(), "sub", None));
    let broken = super::support::with_signature(&good, [7; 64]);
    assert_eq!(api.status(&good, "api").await, Active);
    // Its end comes while the server runs: no table is loaded again at that moment.
    let kid = ed.key.key_id();
    world
        .database
        .execute(&format!(
            "begin; update signing_key set retire_time = now(), expire_time = now() + interval '2 s' where key_id = '{kid}'; \
             select log_change(3::smallint, '{kid}'); commit"
        ))
        .await;
    until("the key is gone", async || api.status(&good, "api").await == UnknownKey).await;
    assert_eq!(api.status(&broken, "api").await, UnknownKey);
    assert_eq!(api.status(&malformed, "api").await, UnknownKey);
}
