//! RFC 7662: the token's claims, if it is good now.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use serde_json::{Value, json};

use super::{INTROSPECT, introspect};
use crate::world::{Raw, World, api_key, basic, issue_request, post_form, until};

const THUMBPRINT: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
const OTHER: &str = "BBECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

fn is_inactive(answer: &crate::world::HttpAnswer) -> bool {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body == r#"{"active":false}"#
}

#[tokio::test]
async fn an_active_token_is_told_in_full_and_is_not_to_be_kept() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let fields = [
        ("role", prost_types::value::Kind::StringValue("admin".to_owned())),
        ("quota", prost_types::value::Kind::NumberValue(7.0)),
    ];
    let value = |kind| prost_types::Value { kind: Some(kind) };
    let claims = prost_types::Struct {
        fields: fields.into_iter().map(|(name, kind)| (name.to_owned(), value(kind))).collect(),
    };
    let request = pb::IssueRequest {
        scopes: vec!["orders:read".to_owned(), "orders:write".to_owned()],
        claims: Some(claims),
        refreshable: true,
        ..issue_request("user:7", &["api", "edge"])
    };
    let issued = service.issue(request).await.unwrap();
    let answer = introspect(&world, "narrow", &issued.access_token).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let expected = json!({
        "active": true, "token_type": "Bearer", "iss": world.server.ready.issuer, "sub": "user:7", "aud": ["api", "edge"],
        "exp": issued.expire_time.unwrap().seconds, "iat": issued.issue_time.unwrap().seconds, "jti": issued.jti,
        "client_id": "service", "scope": "orders:read orders:write", "sid": issued.session_id, "role": "admin", "quota": 7,
    });
    assert_eq!(answer.json(), expected);
}

/// The same evaluator: for each text, Validate and introspection agree.
#[tokio::test]
async fn v8_a_token_is_active_here_where_validate_says_so_of_the_callers_registered_audiences() {
    let world = World::start().await;
    let (mut narrow, mut admin) = (world.api("narrow").await, world.api("admin").await);
    let forge = world.forge().await;
    // One moment for all: a lifetime above the cap is so by a second alone.
    let claims = forge.claims();
    let now = claims["iat"].as_i64().unwrap();
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        forge.sign(&claims)
    };
    let good = admin.token("user:7", "api").await.access_token;
    let revoked = admin.token("user:7", "api").await.access_token;
    admin.revoke(Kind::Token(revoked.clone())).await.unwrap();
    let session = admin.session("user:7", "api").await;
    let ended = admin.session("user:7", "api").await;
    admin.revoke(Kind::SessionId(ended.session_id.clone())).await.unwrap();
    let corpus = [
        ("good", good.clone()),
        ("another audience", admin.token("user:7", "edge").await.access_token),
        (
            "of two audiences",
            admin.issue(issue_request("user:7", &["edge", "api"])).await.unwrap().access_token,
        ),
        ("revoked", revoked),
        ("of a session", session.access_token),
        ("of an ended session", ended.access_token),
        ("forged as it should be", forge.sign(&claims)),
        ("of another issuer", with("iss", json!("http://elsewhere.test"))),
        ("not yet", with("nbf", json!(now + 600))),
        ("too long", with("exp", json!(now + 86_401))),
        ("malformed claims", with("aud", json!("api"))),
        ("minted ahead", with("rev", json!((1_i64 << 53) - 1))),
        ("a bad signature", format!("{}AAAA", &good[..good.len() - 4])),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("a refresh token", session.refresh.unwrap().refresh_token),
        ("an API key", api_key("service")),
        ("garbage", "x".to_owned()),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for (what, token) in corpus {
        let verdict = narrow.validate(&token, &[]).await.unwrap();
        let answer = introspect(&world, "narrow", &token).await;
        if verdict.status() == TokenStatus::Active {
            assert_eq!(answer.json()["jti"], verdict.jti, "{what}");
            assert_eq!(answer.json()["sub"], verdict.subject, "{what}");
        } else {
            assert!(is_inactive(&answer), "{what} is {:?}: {answer:?}", verdict.status());
        }
        seen.insert(verdict.status);
    }
    assert!(seen.len() > 7, "many statuses: {seen:?}");
    // `*` accepts any audience, where Validate asks for a name.
    let edge = admin.token("user:7", "edge").await.access_token;
    assert_eq!(introspect(&world, "service", &edge).await.json()["active"], true);
}

#[tokio::test]
async fn an_expired_token_is_inactive_without_a_word() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let ttl = pb::issue_request::Expiration::Ttl(crate::world::seconds(1));
    let request = pb::IssueRequest { expiration: Some(ttl), ..issue_request("user:7", &["api"]) };
    let token = admin.issue(request).await.unwrap().access_token;
    until("it has expired", async || is_inactive(&introspect(&world, "narrow", &token).await)).await;
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Expired);
}

#[tokio::test]
async fn v10_who_asks_compares_the_certificate_of_a_bound_token_or_has_it_compared() {
    let world = World::start().await;
    let request = pb::IssueRequest {
        certificate_thumbprint: THUMBPRINT.to_owned(),
        ..issue_request("user:7", &["api"])
    };
    let token = world.api("service").await.issue(request).await.unwrap().access_token;
    let (public, key) = (&world.server.ready.public, basic("narrow", &api_key("narrow")));
    let asked =
        async |extra: &str| post_form(public, INTROSPECT, &key, &format!("token={token}{extra}")).await;
    let told = asked("").await.json();
    assert_eq!((&told["active"], &told["cnf"]), (&json!(true), &json!({ "x5t#S256": THUMBPRINT })));
    let same = asked(&format!("&certificate_thumbprint={THUMBPRINT}")).await;
    assert_eq!(same.json(), told);
    assert!(is_inactive(&asked(&format!("&certificate_thumbprint={OTHER}")).await));
    let malformed = asked("&certificate_thumbprint=x").await;
    assert_eq!((malformed.status, malformed.error().as_str()), (400, "invalid_request"));
}

#[tokio::test]
async fn who_may_not_validate_is_told_so() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let refused = introspect(&world, "reader", &token).await;
    assert_eq!((refused.status, refused.error().as_str()), (403, "unauthorized_client"));
    assert_eq!(refused.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn e3_without_the_database_nothing_is_called_active_for_long() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let good = service.token("user:7", "api").await.access_token;
    let revoked = service.token("user:7", "api").await.access_token;
    service.revoke(Kind::Token(revoked.clone())).await.unwrap();
    world.database.cut_off().await;
    until("it is refused", async || {
        assert_ne!(introspect(&world, "narrow", &revoked).await.body.get(..14), Some("{\"active\":true"));
        let answer = introspect(&world, "narrow", &good).await;
        if answer.status == 200 {
            return false;
        }
        assert_eq!((answer.status, answer.error().as_str()), (503, "temporarily_unavailable"));
        assert!(answer.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
        true
    })
    .await;
    world.database.let_in().await;
    until("it is back by itself", async || introspect(&world, "narrow", &good).await.status == 200).await;
    assert!(is_inactive(&introspect(&world, "narrow", &revoked).await));
}

#[tokio::test]
async fn the_door_is_open_over_http2_too() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = Raw::open(&world.server.ready.public, &api_key("narrow")).await;
    let form = [("content-type", "application/x-www-form-urlencoded"), ("te", "")];
    let answer = raw.call_with(INTROSPECT, format!("token={token}").into_bytes(), &form).await;
    assert_eq!(answer.http_status, 200);
    let said: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((&said["active"], &said["sub"]), (&json!(true), &json!("user:7")));
    let other = Raw::open(&world.server.ready.public, "jtk_x").await;
    let refused = other.call_with(INTROSPECT, b"token=x".to_vec(), &form).await;
    assert_eq!(refused.http_status, 401);
}
