//! The order of the checks: of several faults the first in the order of `TokenStatus` is answered.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use serde_json::json;

use super::support::{b64, batch, segments, with, with_signature};
use crate::world::{Forge, World, now_s, validate_request};

/// Possible faults of a token with a good signature and good claims, in the order of the statuses.
const FAULTS: [TokenStatus; 8] = [
    TokenStatus::WrongIssuer,
    TokenStatus::LifetimeExceedsCap,
    TokenStatus::NotYetValid,
    TokenStatus::Expired,
    TokenStatus::Revoked,
    TokenStatus::WrongAudience,
    TokenStatus::MissingScope,
    TokenStatus::WrongBinding,
];

/// A request for a token with exactly these faults.
fn request_with(forge: &Forge, faults: u32) -> (pb::ValidateRequest, serde_json::Value) {
    let has = |fault: TokenStatus| {
        FAULTS.iter().position(|known| *known == fault).is_some_and(|place| faults & (1 << place) != 0)
    };
    let now = now_s();
    let (too_long, expired) = (has(TokenStatus::LifetimeExceedsCap), has(TokenStatus::Expired));
    let age = match (too_long, expired) {
        (_, false) => 100,
        (false, true) => 2_000,
        (true, true) => 100_000,
    };
    let iat = now - age;
    let exp = if too_long { iat + 86_401 } else { iat + 900 };
    let mut claims = forge.claims();
    for (name, value) in [
        ("iat", json!(iat)),
        ("exp", json!(exp)),
        ("jti", json!(jeton_token::new_uuid_v7(iat * 1_000).to_string())),
        ("scope", json!("read")),
    ] {
        claims[name] = value;
    }
    if has(TokenStatus::WrongIssuer) {
        claims["iss"] = json!("http://elsewhere.test");
    }
    if has(TokenStatus::NotYetValid) {
        claims["nbf"] = json!(now + 1_000);
    }
    if has(TokenStatus::Revoked) {
        claims["sub"] = json!("user:revoked");
    }
    if has(TokenStatus::WrongAudience) {
        claims["aud"] = json!(["web"]);
    }
    if has(TokenStatus::WrongBinding) {
        claims["cnf"] = json!({ "x5t#S256": b64([5; 32]) });
    }
    let scope = if has(TokenStatus::MissingScope) { "write" } else { "read" };
    let request = pb::ValidateRequest {
        scopes: vec![scope.to_owned()],
        ..validate_request(&forge.sign(&claims), &["api"])
    };
    (request, claims)
}

#[tokio::test]
async fn v1_of_any_set_of_faults_the_first_in_the_order_of_the_statuses_is_answered() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    admin.revoke_wide(Kind::Subject("user:revoked".to_owned())).await.unwrap();
    let mut asked = Vec::new();
    for faults in 0..(1_u32 << FAULTS.len()) {
        let first = FAULTS.get(faults.trailing_zeros() as usize).copied().unwrap_or(TokenStatus::Active);
        let (request, claims) = request_with(&forge, faults);
        let token = request.token.clone();
        let [h, p, s] = segments(&token);
        let bad_claims = with(&claims, "sub", None).to_string();
        let unknown_kid = with(&forge.header(), "kid", Some(json!(b64([9; 32]))));
        let bad_header = with(&forge.header(), "typ", Some(json!("JWT"))).to_string();
        let claims = claims.to_string();
        // The form of the text and its header come first, then the key, the signature, the claims.
        for (token, status) in [
            (token.clone(), first),
            (forge.sign_text(&forge.header().to_string(), &bad_claims), TokenStatus::Malformed),
            (with_signature(&token, [7; 64]), TokenStatus::BadSignature),
            (format!("{h}.{}.{s}", b64(&bad_claims)), TokenStatus::BadSignature),
            (forge.sign_text(&unknown_kid.to_string(), &claims), TokenStatus::UnknownKey),
            (forge.sign_text(&unknown_kid.to_string(), &bad_claims), TokenStatus::UnknownKey),
            (format!("{}.{p}.{s}", b64(unknown_kid.to_string())), TokenStatus::UnknownKey),
            (forge.sign_text(&bad_header, &claims), TokenStatus::Malformed),
            (format!("{h}.{p}.{}", &s[1..]), TokenStatus::Malformed),
            (format!("{}.{p}.{}", b64(unknown_kid.to_string()), &s[1..]), TokenStatus::Malformed),
        ] {
            asked.push((faults, pb::ValidateRequest { token, ..request.clone() }, status));
        }
    }
    assert_eq!(asked.len(), 2_560);
    for chunk in asked.chunks(1_000) {
        let requests = chunk.iter().map(|(_, request, _)| request.clone()).collect();
        for ((faults, request, status), verdict) in chunk.iter().zip(batch(&mut api, requests).await) {
            assert_eq!(verdict.status(), *status, "faults {faults:08b} of {}", request.token);
            // Its claims are answered whenever signature and form of the claims are good (V6).
            let good = !matches!(
                status,
                TokenStatus::Malformed | TokenStatus::UnknownKey | TokenStatus::BadSignature
            );
            assert_eq!(!verdict.jti.is_empty(), good, "v6: {verdict:?}");
            assert_eq!(!verdict.subject.is_empty(), good, "v6: {verdict:?}");
            let reason = verdict.revocation_reason() != pb::RevocationReason::Unspecified;
            assert_eq!(
                reason,
                *status == TokenStatus::Revoked,
                "v7: a reason for REVOKED alone: {verdict:?}"
            );
            assert!(!verdict.revision.is_empty() && verdict.server_time.is_some(), "v1: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn v5_a_lifetime_of_86401_s_exceeds_the_cap_and_one_of_86400_s_does_not() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let forge = world.forge().await;
    let claims = forge.claims();
    let iat = claims["iat"].as_i64().unwrap();
    for (lifetime, status) in [
        (1, None),
        (86_399, Some(TokenStatus::Active)),
        (86_400, Some(TokenStatus::Active)),
        (86_401, Some(TokenStatus::LifetimeExceedsCap)),
        (10_000_000, Some(TokenStatus::LifetimeExceedsCap)),
        (253_402_207_200 - iat, Some(TokenStatus::LifetimeExceedsCap)),
    ] {
        let token = forge.sign(&with(&claims, "exp", Some(json!(iat + lifetime))));
        let verdict = api.validate(&token, &["api"]).await.unwrap();
        // The shortest may have passed already.
        let status = status.unwrap_or(if verdict.server_time.unwrap().seconds > iat {
            TokenStatus::Expired
        } else {
            TokenStatus::Active
        });
        assert_eq!(verdict.status(), status, "{lifetime} s");
    }
}

#[tokio::test]
async fn v1_a_token_of_another_issuer_is_refused_though_our_key_signed_it() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let forge = world.forge().await;
    let issuer = forge.issuer.clone();
    let others = [
        format!("{issuer}/"),
        issuer.to_uppercase(),
        issuer[..issuer.len() - 1].to_owned(),
        format!("{issuer}.evil.example"),
        "https://jeton.test".to_owned(),
        "x".to_owned(),
    ];
    for other in others {
        let token = forge.sign(&with(&forge.claims(), "iss", Some(json!(other))));
        assert_eq!(api.status(&token, "api").await, TokenStatus::WrongIssuer, "{other:?}");
    }
}
