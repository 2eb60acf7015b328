//! R4, R5, R6: whom and what Refresh refuses, and that a refusal costs nothing.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::{
    proto::v1::{self as pb, TokenStatus, revocation_target::Kind},
    state::Permission,
};

use super::{grace, refresh, refresh_token, request};
use crate::world::{Api, Refused, World, issue_request, policy, seconds, until};

#[tokio::test]
async fn r4_another_clients_refresh_token_is_invalid_and_the_session_lives_on() {
    let world = World::start().await;
    grace(&world, "api", 0).await;
    let (mut api, mut thief) = (world.api("service").await, world.api("other").await);
    let first = api.session("user:7", "api").await;
    let refused = thief.refresh(refresh_token(&first)).await.refused();
    assert_eq!(
        (refused.reason.as_str(), refused.code),
        ("REFRESH_TOKEN_INVALID", tonic::Code::Unauthenticated)
    );
    let act = format!(
        "action = 'Refresh' and outcome = 'REFRESH_TOKEN_INVALID' and actor = 'other' and client_id = 'service'
         and subject = 'user:7' and session_id = '{}'",
        first.session_id
    );
    assert_eq!(world.audited(&act).await, 1);
    let second = api.refresh(refresh_token(&first)).await.unwrap();
    assert_eq!(api.status(&second.access_token, "api").await, TokenStatus::Active);
    // A spent token in the wrong hands: no reason to end another client's session.
    assert_eq!(thief.refresh(refresh_token(&first)).await.refused().reason, "REFRESH_TOKEN_INVALID");
    let third = api.refresh(refresh_token(&second)).await.unwrap();
    // Nor is another client told that a session was revoked, or why.
    api.revoke(Kind::SessionId(first.session_id.clone())).await.unwrap();
    let before = world.audited(&act).await;
    let refused = thief.refresh(refresh_token(&third)).await.refused();
    assert_eq!((refused.reason.as_str(), refused.metadata.len()), ("REFRESH_TOKEN_INVALID", 0));
    assert_eq!(world.audited(&act).await, before + 1);
    assert_eq!(api.refresh(refresh_token(&third)).await.refused().reason, "SESSION_REVOKED");
}

#[tokio::test]
async fn r6_forged_refresh_tokens_are_invalid_without_a_query() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let good = refresh_token(&api.session("user:7", "api").await).to_owned();
    let body = URL_SAFE_NO_PAD.decode(good.strip_prefix("jtr_").unwrap()).unwrap();
    let mut forged: Vec<String> = (0..body.len())
        .map(|place| {
            let mut body = body.clone();
            body[place] ^= 1;
            format!("jtr_{}", URL_SAFE_NO_PAD.encode(body))
        })
        .collect();
    forged.extend((1..good.len()).map(|length| good[..length].to_owned()));
    forged.extend([
        "jtr_".to_owned(),
        good.to_uppercase(),
        good.replacen("jtr_", "JTR_", 1),
        good.replacen("jtr_", "jtk_", 1),
        format!("{good}="),
        format!("{good}A"),
        format!(" {good}"),
        format!("{good}\n"),
        "x".repeat(16_000),
    ]);
    // Without a column of its table whatever asks for a session fails otherwise.
    world.sql("alter table session rename secret_hash to away").await;
    for token in forged {
        let refused = api.refresh(&token).await.refused();
        assert_eq!(refused.reason, "REFRESH_TOKEN_INVALID", "{token:?}");
    }
    assert_ne!(api.refresh(&good).await.refused().reason, "REFRESH_TOKEN_INVALID", "a good one is looked up");
    world.sql("alter table session rename away to secret_hash").await;
    api.refresh(&good).await.unwrap();
    let empty = api.refresh("").await.refused();
    assert_eq!((empty.reason.as_str(), empty.get("field")), ("FIELD_REQUIRED", "refresh_token"));
}

#[tokio::test]
async fn r6_a_good_mac_over_a_wrong_secret_or_an_unknown_session_is_invalid() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.session("user:7", "api").await;
    world.sql("update session set secret_hash = decode(repeat('ab', 32), 'hex')").await;
    assert_eq!(api.refresh(refresh_token(&token)).await.refused().reason, "REFRESH_TOKEN_INVALID");
    assert_eq!(world.audited("action = 'RefreshReuseDetected'").await, 0);
    world.sql("delete from session").await;
    assert_eq!(api.refresh(refresh_token(&token)).await.refused().reason, "REFRESH_TOKEN_INVALID");
}

/// The reason of a refusal; what follows shows that it has spent nothing.
async fn reason(api: &mut Api, request: pb::RefreshRequest) -> String {
    refresh(api, request).await.refused().reason
}

#[tokio::test]
async fn r5_a_request_that_is_refused_spends_nothing_even_without_a_grace() {
    let world = World::start().await;
    grace(&world, "api", 0).await;
    let mut api = world.api("service").await;
    let opened = api.session("user:7", "api").await;
    let ttl = |seconds, nanos| pb::RefreshRequest {
        ttl: Some(prost_types::Duration { seconds, nanos }),
        ..request(refresh_token(&opened))
    };
    let scopes = |scopes: &[&str]| pb::RefreshRequest {
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..request(refresh_token(&opened))
    };
    assert_eq!(reason(&mut api, ttl(3_601, 0)).await, "TTL_EXCEEDS_MAXIMUM");
    assert_eq!(reason(&mut api, ttl(0, 0)).await, "TTL_TOO_SHORT");
    assert_eq!(reason(&mut api, ttl(-5, 0)).await, "TTL_TOO_SHORT");
    assert_eq!(reason(&mut api, ttl(0, 999_999_999)).await, "TTL_TOO_SHORT");
    assert_eq!(reason(&mut api, ttl(5, -1)).await, "FIELD_INVALID");
    assert_eq!(reason(&mut api, ttl(i64::MAX, 0)).await, "FIELD_INVALID");
    assert_eq!(reason(&mut api, scopes(&["admin"])).await, "SCOPE_NOT_ALLOWED");
    assert_eq!(reason(&mut api, scopes(&["a b"])).await, "FIELD_INVALID");
    assert_eq!(reason(&mut api, scopes(&["a", "a"])).await, "FIELD_INVALID");
    let mut nobody = world.api("nobody").await;
    assert_eq!(reason(&mut nobody, request(refresh_token(&opened))).await, "CALLER_FORBIDDEN");
    let next = api.refresh(refresh_token(&opened)).await.unwrap();
    assert_eq!(world.number("select generation from session").await, 1);
    assert_eq!(api.status(&next.access_token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn r5_a_narrowed_registration_is_refused_and_spends_nothing() {
    let world = World::start().await;
    for audience in ["api", "web"] {
        grace(&world, audience, 0).await;
    }
    let may = [Permission::Issue, Permission::Validate];
    let key = world.register("job", &may, &["api", "web"], &["user:*"]).await;
    let mut api = world.api_with_key(&key).await;
    let request = pb::IssueRequest { refreshable: true, ..issue_request("user:7", &["api", "web"]) };
    let opened = api.issue(request).await.unwrap();
    // `register` returns before the feed has it: ask until it shows.
    let refused = async |reason: &str| {
        until(reason, async || {
            let mut api = api.clone();
            let refused = api.issue(issue_request("user:7", &["api", "web"])).await;
            refused.is_err_and(|status| status.code() == tonic::Code::PermissionDenied)
        })
        .await;
        let refused = api.clone().refresh(refresh_token(&opened)).await.refused();
        assert_eq!(refused.reason, reason);
        refused
    };
    world.register("job", &may, &["api"], &["user:*"]).await;
    assert_eq!(refused("AUDIENCE_NOT_ALLOWED").await.get("audience"), "web");
    world.register("job", &may, &["api", "web"], &["svc:*", "user:8"]).await;
    until("the audiences are back", async || {
        api.clone().issue(issue_request("user:8", &["api", "web"])).await.is_ok()
    })
    .await;
    assert_eq!(refused("SUBJECT_NOT_ALLOWED").await.get("subject"), "user:7");
    world.register("job", &may, &["*"], &["*"]).await;
    until("the registration is wide again", async || {
        api.clone().issue(issue_request("user:7", &["other"])).await.is_ok()
    })
    .await;
    api.refresh(refresh_token(&opened)).await.unwrap();
}

#[tokio::test]
async fn r5_a_refresh_that_no_key_can_sign_spends_nothing() {
    let world = World::start().await;
    grace(&world, "api", 0).await;
    let mut api = world.api("service").await;
    let opened = api.session("user:7", "api").await;
    let changed = "select log_change(3::smallint, 'test')";
    // Nor can another be made in its place.
    let refuse = "create function refuse() returns trigger language plpgsql as $$
                  begin raise exception 'no more keys'; end $$;
                  create trigger refuse before insert on signing_key for each row execute function refuse()";
    let retire =
        format!("{refuse}; update signing_key set retire_time = now() where algorithm = 'ES256'; {changed}");
    world.sql(&retire).await;
    until("nothing signs", async || api.clone().issue(issue_request("user:7", &["api"])).await.is_err())
        .await;
    assert_eq!(api.refresh(refresh_token(&opened)).await.refused().reason, "SIGNING_KEY_UNAVAILABLE");
    // The rotation makes another.
    world.sql("drop trigger refuse on signing_key").await;
    until("a key signs", async || api.clone().issue(issue_request("user:7", &["api"])).await.is_ok()).await;
    api.refresh(refresh_token(&opened)).await.unwrap();
}

#[tokio::test]
async fn r5_the_ttl_of_a_refresh_is_held_to_the_policy_in_force() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let opened = api.session("user:7", "api").await;
    admin.set_policy(pb::Policy { max_ttl: Some(seconds(120)), ..policy("api") }).await.unwrap();
    let ask = pb::RefreshRequest { ttl: Some(seconds(121)), ..request(refresh_token(&opened)) };
    let refused = refresh(&mut api, ask).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("maxTtlSeconds")), ("TTL_EXCEEDS_MAXIMUM", "120"));
    let next = api.refresh(refresh_token(&opened)).await.unwrap();
    assert_eq!(
        next.expire_time.unwrap().seconds - next.issue_time.unwrap().seconds,
        120,
        "never widened (I1, I7)"
    );
}
