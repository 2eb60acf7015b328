//! Tests of the module as a whole.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod custom;
mod forms;
mod payloads;
mod strict;
mod vectors;

use serde_json::{Map, Value, json};
use uuid::{Builder, Uuid};

use super::{Algorithm, Claims, Revision, SigningKey, UnixSeconds, Verified, base64url};

/// A time to mint at: 2027-01-15T08:00:00Z.
const NOW: UnixSeconds = UnixSeconds::new(1_800_000_000);

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Es256, Algorithm::EdDsa];

fn uuid_at(unix_ms: u64) -> Uuid {
    Builder::from_unix_timestamp_millis(unix_ms, &[0xAB; 10]).into_uuid()
}

/// Claims with every possible claim.
fn full_claims() -> Claims<'static> {
    Claims {
        issuer: "https://tokens.example".into(),
        subject: "user:\"ada\"\\é😀".into(),
        audiences: vec!["orders".into(), "billing".into()],
        scopes: vec!["orders:read".into(), "orders:write".into()],
        client_id: "web".into(),
        jti: uuid_at(1_800_000_000_123),
        session_id: Some(uuid_at(1_799_000_000_000)),
        issue_time: NOW,
        not_before: Some(NOW),
        expire_time: NOW.saturating_add(900),
        revision: Revision::new(3, 77).unwrap(),
        certificate_thumbprint: Some(super::Thumbprint::new([7; 32])),
        identity_provider: Some("github-1".into()),
        actor: super::Actor::from_json(json!({"sub": "svc:\"a\"", "act": {"sub": "svc:b"}})),
        custom: members(&json!({"tenant": "acme", "roles": ["a", {"b": [null, true, -1.5e-7]}], "n": 42})),
    }
}

/// Claims with the required claims only.
fn least_claims() -> Claims<'static> {
    Claims {
        scopes: Vec::new(),
        session_id: None,
        not_before: None,
        certificate_thumbprint: None,
        identity_provider: None,
        actor: None,
        custom: Map::new(),
        ..full_claims()
    }
}

fn members(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

/// A token of any header and payload with a good signature.
fn forge(key: &SigningKey, header: &str, payload: &[u8]) -> String {
    let input = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

/// The header that the key's tokens have.
fn header_of(key: &SigningKey) -> String {
    format!(r#"{{"alg":"{}","kid":"{}","typ":"at+jwt"}}"#, key.algorithm(), key.key_id())
}

/// The kept part of a token equals its claims.
fn assert_says(verified: &Verified, claims: &Claims<'_>) {
    let kept = Claims {
        issuer: verified.issuer().into(),
        subject: verified.subject().into(),
        audiences: verified.audiences().map(Into::into).collect(),
        scopes: verified.scopes().map(Into::into).collect(),
        client_id: verified.client_id().into(),
        jti: verified.jti,
        session_id: verified.session_id,
        issue_time: verified.issue_time,
        not_before: verified.not_before,
        expire_time: verified.expire_time,
        revision: verified.revision,
        certificate_thumbprint: verified.certificate_thumbprint,
        identity_provider: Some(verified.identity_provider()).filter(|idp| !idp.is_empty()).map(Into::into),
        actor: verified.actor(),
        custom: verified.custom(),
    };
    assert_eq!(kept, *claims);
    assert_eq!(verified.scope(), claims.scopes.join(" "));
    assert_eq!(verified.has_custom(), !claims.custom.is_empty());
    assert!(verified.bytes() > size_of::<Verified>());
}
