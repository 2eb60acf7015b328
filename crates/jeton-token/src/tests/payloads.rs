//! Claims: Validate accepts what Issue writes, and nothing else (I9, I10, V5).

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::json::parse_object;
use super::super::{Algorithm, Claims, Malformed, MintError, RawToken, Rejected, SigningKey, text};
use super::{forge, full_claims, header_of, least_claims, uuid_at};

/// The full claims as JSON with `name` set to `value`; null takes it out.
fn with(name: &str, value: Value) -> Result<(), Malformed> {
    let mut members = parse_object(&full_claims().to_json()).unwrap();
    if value.is_null() {
        members.remove(name)
    } else {
        members.insert(name.to_owned(), value)
    };
    Claims::parse(&serde_json::to_vec(&members).unwrap()).map(drop)
}

#[test]
fn claims_are_written_as_documented() {
    let json = String::from_utf8(least_claims().to_json()).unwrap();
    let jti = uuid_at(1_800_000_000_123);
    let head = r#"{"iss":"https://tokens.example","sub":"user:\"ada\"\\é😀","aud":["orders","billing"],"#;
    let tail =
        format!(r#""exp":1800000900,"iat":1800000000,"jti":"{jti}","client_id":"web","rev":3298534883405}}"#);
    assert_eq!(json, format!("{head}{tail}"));
    for claims in [full_claims(), least_claims()] {
        assert_eq!(Claims::parse(&claims.to_json()).unwrap(), claims);
    }
}

/// V5.
#[test]
fn a_claim_that_issue_would_not_write_is_malformed() {
    let long = "x".repeat(256);
    let jti = uuid_at(1_800_000_000_000).to_string();
    let bad: Vec<(&str, Value)> = vec![
        ("iss", Value::Null),
        ("iss", json!("")),
        ("iss", json!(["a"])),
        ("sub", Value::Null),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", json!("a\u{7f}")),
        ("sub", json!("a\n")),
        ("sub", json!("a\u{85}")),
        ("sub", json!(long)),
        ("aud", Value::Null),
        ("aud", json!([])),
        ("aud", json!("orders")),
        ("aud", json!(["*"])),
        ("aud", json!([""])),
        ("aud", json!([long])),
        ("aud", json!(["orders", 7])),
        ("aud", json!(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"])),
        ("aud", json!({"orders": true})),
        ("client_id", Value::Null),
        ("client_id", json!("")),
        ("client_id", json!("*")),
        ("client_id", json!("a b")),
        ("client_id", json!("é")),
        ("client_id", json!(long)),
        ("scope", json!("")),
        ("scope", json!("a  b")),
        ("scope", json!(" a")),
        ("scope", json!("a ")),
        ("scope", json!("a\"b")),
        ("scope", json!(["a"])),
        ("scope", json!(vec!["a"; 65].join(" "))),
        ("scope", json!("x".repeat(129))),
        ("jti", Value::Null),
        ("jti", json!(jti.to_uppercase())),
        ("jti", json!(jti.replace('-', ""))),
        ("jti", json!(format!("{{{jti}}}"))),
        ("jti", json!(format!("urn:uuid:{jti}"))),
        ("jti", json!(jti.replacen("-7", "-4", 1))),
        ("jti", json!("00000000-0000-0000-0000-000000000000")),
        ("jti", json!(7)),
        ("jti", json!(uuid_at(1_800_000_060_001).to_string())),
        ("jti", json!(uuid_at(1_799_999_939_999).to_string())),
        ("sid", json!("")),
        ("sid", json!(jti.to_uppercase())),
        ("sid", json!(7)),
        ("iat", Value::Null),
        ("iat", json!("1800000000")),
        ("iat", json!(1_800_000_000.0)),
        ("iat", json!(-1)),
        ("exp", Value::Null),
        ("exp", json!(true)),
        ("exp", json!("1800000900")),
        ("exp", json!(1_800_000_900.5)),
        ("exp", json!(1_800_000_900_000_i64)),
        ("exp", json!(u64::MAX)),
        ("exp", json!(1_800_000_000)),
        ("exp", json!(1_799_999_999)),
        ("nbf", json!("0")),
        ("nbf", json!(-1)),
        ("nbf", json!(0.5)),
        ("rev", Value::Null),
        ("rev", json!(-1)),
        ("rev", json!("3.77")),
        ("rev", json!(1.5)),
        ("rev", json!(1_i64 << 53)),
        ("cnf", json!({})),
        ("cnf", json!("a")),
        ("cnf", json!({"x5t#S256": "a"})),
        ("cnf", json!({"x5t#S256": 7})),
        ("cnf", json!({"jkt": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"})),
        ("cnf", json!({"x5t#S256": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd"})),
        ("cnf", json!({"x5t#S256": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc="})),
        ("cnf", json!({"x5t#S256": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc", "jwk": {}})),
        ("act", json!("eve")),
        ("act", json!({"sub": "eve", "iss": "x"})),
        ("may_act", json!({"sub": "eve"})),
        ("idp", json!("")),
        ("idp", json!("GitHub")),
        ("idp", json!("a".repeat(64))),
        ("idp", json!(["github"])),
        ("azp", json!("eve")),
        ("nonce", json!("n")),
        ("events", json!({})),
        ("active", json!(true)),
        ("number", json!((1_i64 << 53))),
        ("number", json!(1.0)),
        ("number", json!(1e300)),
        ("text", json!("a\u{0}")),
        ("bulk", json!("x".repeat(2_048))),
        ("", json!(1)),
    ];
    for (name, value) in bad {
        assert!(with(name, value.clone()).is_err(), "{name}: {value}");
    }
}

/// V5: the edges that are good.
#[test]
fn a_claim_at_the_edge_of_what_issue_writes_is_taken() {
    let good: Vec<(&str, Value)> = vec![
        ("jti", json!(uuid_at(1_800_000_060_000).to_string())),
        ("jti", json!(uuid_at(1_799_999_940_000).to_string())),
        ("aud", json!(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])),
        ("sub", json!("x".repeat(255))),
        ("scope", json!(vec!["a"; 64].join(" "))),
        ("scope", Value::Null),
        ("cnf", Value::Null),
        ("idp", Value::Null),
        ("idp", json!("a".repeat(63))),
        ("act", Value::Null),
        ("act", json!({"sub": "eve"})),
        ("sid", Value::Null),
        ("nbf", Value::Null),
        ("exp", json!(1_800_000_001)),
        ("rev", json!((1_i64 << 53) - 1)),
        ("rev", json!(0)),
        // The cap is a status of its own.
        ("exp", json!(1_900_000_000)),
        ("roles", json!(["admin"])),
        ("number", json!((1_i64 << 53) - 1)),
    ];
    for (name, value) in good {
        with(name, value.clone()).unwrap_or_else(|error| unreachable!("{name}: {value}: {error}"));
    }
}

/// V5: the signature comes first.
#[test]
fn claims_are_malformed_only_after_a_good_signature() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    for payload in ["{}", "x", "[]", r#"{"sub":"a","sub":"a"}"#] {
        let token = forge(&key, &header_of(&key), payload.as_bytes());
        let verdict = key.verifying().verify(&RawToken::parse(&token).unwrap());
        assert!(matches!(verdict, Err(Rejected::MalformedClaims(_))), "{payload}");
        let other = SigningKey::generate(Algorithm::Es256).unwrap();
        let forged = forge(&other, &header_of(&key), payload.as_bytes());
        let verdict = key.verifying().verify(&RawToken::parse(&forged).unwrap());
        assert_eq!(verdict.unwrap_err(), Rejected::BadSignature);
    }
}

/// I10.
#[test]
fn a_token_above_4096_bytes_is_refused_and_the_largest_claim_is_named() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let mut claims = least_claims();
    claims.custom.insert("blob".to_owned(), json!(""));
    let spare = (4_096 - key.mint(&claims).unwrap().len()) / 4 * 3;
    claims.custom.insert("blob".to_owned(), json!("x".repeat(spare)));
    let token = key.mint(&claims).unwrap();
    assert!(token.len() > 4_092 && token.len() <= 4_096);
    claims.custom.insert("blob".to_owned(), json!("x".repeat(spare + 3)));
    let Err(MintError::TooLarge { size_bytes, largest_claim }) = key.mint(&claims) else {
        unreachable!("too large")
    };
    assert_eq!(size_bytes, token.len() + 4);
    assert_eq!(largest_claim, "blob");
}

/// I1: for every caller.
#[test]
fn no_key_mints_a_lifetime_above_the_cap() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let lasting = |lifetime_s| {
        let claims = least_claims();
        key.mint(&Claims { expire_time: claims.issue_time.saturating_add(lifetime_s), ..claims })
    };
    lasting(86_400).unwrap();
    assert_eq!(lasting(86_401), Err(MintError::LifetimeExceedsCap { lifetime_s: 86_401 }));
    assert!(lasting(i64::MAX).is_err());
}

proptest! {
    // Issue refuses most texts of arbitrary characters.
    #![proptest_config(ProptestConfig { max_global_rejects: 65_536, ..ProptestConfig::default() })]

    /// I9, V5: Validate accepts what Issue accepts, whatever the text.
    #[test]
    fn claims_survive_their_json(subject in "\\PC{1,60}", audience in "\\PC{1,60}", value in "[^\\x00]{0,60}") {
        prop_assume!(text::check_subject(&subject).is_ok() && text::check_audience(&audience).is_ok());
        let mut claims = Claims { subject: subject.into(), audiences: vec![audience.into()], ..full_claims() };
        claims.custom.insert("value".to_owned(), json!({ value.clone(): [value] }));
        let json = claims.to_json();
        prop_assert_eq!(Claims::parse(&json).unwrap(), claims);
    }
}
