//! The form of tokens: one spelling, bounded, strict JSON.

use jeton_token::base64url;
use proptest::prelude::*;
use serde_json::json;

use super::super::{Algorithm, Part, Proof, ProofExpectation, Refused, Unverified};
use super::{ED25519, NOW_MS, expected, good_claims, three_keys, verify, with};

const HEADER: &str = r#"{"alg":"EdDSA"}"#;

fn refused(header: &str, payload: &str) -> Refused {
    let token = ED25519.forge(Algorithm::EdDsa, header, payload);
    verify(&token, &three_keys(), &expected()).unwrap_err()
}

fn good_token() -> String {
    ED25519.forge(Algorithm::EdDsa, HEADER, &good_claims().to_string())
}

#[test]
fn a_token_is_three_segments_of_canonical_base64url() {
    let token = good_token();
    verify(&token, &three_keys(), &expected()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [h, p, s] = parts[..] else { unreachable!("three segments") };
    for text in ["", ".", h, &format!("{h}.{p}"), &format!("{h}.{p}.{s}.{s}"), &format!("{token}.")] {
        let error = Unverified::parse(text).unwrap_err();
        assert!(matches!(error, Refused::NotCompact | Refused::NotJson(..)), "{text}: {error:?}");
    }
    // 64 bytes leave four spare bits in the last character: two texts would decode alike.
    let mut trailing = s.to_owned();
    let last = trailing.pop().unwrap();
    trailing.push(char::from(u8::try_from(last).unwrap() + 1));
    for (text, part) in [
        (format!("{h}=.{p}.{s}"), Part::Header),
        (format!(" {h}.{p}.{s}"), Part::Header),
        (format!("+{h}.{p}.{s}"), Part::Header),
        (format!("{h}.{p}/.{s}"), Part::Payload),
        (format!("{h}.{p}\n.{s}"), Part::Payload),
        (format!("{h}.{p}.{s}="), Part::Signature),
        (format!("{h}.{p}.{s}\n"), Part::Signature),
        (format!("{h}.{p}.{trailing}"), Part::Signature),
        (format!("{h}.{p}.é"), Part::Signature),
    ] {
        assert_eq!(Unverified::parse(&text).unwrap_err(), Refused::NotBase64Url(part), "{text}");
    }
}

#[test]
fn a_token_has_at_most_16_kib() {
    let token_of = |length: usize| {
        let bare =
            ED25519.forge(Algorithm::EdDsa, HEADER, &with(&good_claims(), &json!({"x": ""})).to_string());
        let fill = (length - bare.len()) * 3 / 4;
        (fill.saturating_sub(4)..=fill + 4)
            .map(|fill| with(&good_claims(), &json!({"x": "y".repeat(fill)})).to_string())
            .map(|payload| ED25519.forge(Algorithm::EdDsa, HEADER, &payload))
            .find(|token| token.len() == length)
    };
    let greatest = token_of(16_384).or_else(|| token_of(16_383)).unwrap();
    verify(&greatest, &three_keys(), &expected()).unwrap();
    let text = format!("{greatest}{}", "A".repeat(16_385 - greatest.len()));
    assert_eq!(Unverified::parse(&text).unwrap_err(), Refused::TooLong);
    assert_ne!(Unverified::parse(&text[..16_384]).map(|_| ()), Err(Refused::TooLong));
    assert_eq!(Unverified::parse(&"é".repeat(9_000)).unwrap_err(), Refused::TooLong);
}

#[test]
fn a_member_twice_is_refused_at_every_place_and_spelling() {
    let claims = good_claims().to_string();
    let twice = |member: &str| claims.replacen('{', &format!("{{{member},"), 1);
    for payload in [
        twice(r#""sub":"root""#),
        twice(r#""exp":9999999999"#),
        twice(r#""\u0073ub":"root""#),
        twice(r#""k":{"a":1,"a":2}"#),
        twice(r#""k":[{"a":1,"\u0061":1}]"#),
    ] {
        assert!(matches!(refused(HEADER, &payload), Refused::NotJson(Part::Payload, _)), "{payload}");
    }
    for header in [
        r#"{"alg":"EdDSA","alg":"EdDSA"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"none"}"#,
        r#"{"alg":"EdDSA","x":{"y":1,"y":1}}"#,
    ] {
        assert!(matches!(refused(header, &claims), Refused::NotJson(Part::Header, _)), "{header}");
    }
}

#[test]
fn header_and_payload_are_json_objects_and_nothing_more() {
    let claims = good_claims().to_string();
    for bad in [
        "",
        "null",
        "[]",
        "\"a\"",
        "1",
        "{",
        "{}}",
        "{} {}",
        "{'a':1}",
        "{\"a\":NaN}",
        "{\"a\":1e400}",
        "\u{feff}{}",
    ] {
        assert!(matches!(refused(HEADER, bad), Refused::NotJson(Part::Payload, _)), "{bad}");
        assert!(matches!(refused(bad, &claims), Refused::NotJson(Part::Header, _)), "{bad}");
    }
    let not_utf8 = base64url::encode([b'{', b'"', 0xFF, b'"', b':', b'1', b'}']);
    let text = format!("{}.{not_utf8}.AA", base64url::encode(HEADER));
    assert!(matches!(Unverified::parse(&text).unwrap_err(), Refused::NotJson(Part::Payload, _)));
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| {
        let deep = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        good_claims().to_string().replacen('{', &format!(r#"{{"deep":{deep},"#), 1)
    };
    let token = ED25519.forge(Algorithm::EdDsa, HEADER, &nested(15));
    verify(&token, &three_keys(), &expected()).unwrap();
    for depth in [16, 100, 5_000] {
        assert!(matches!(refused(HEADER, &nested(depth)), Refused::NotJson(Part::Payload, _)), "{depth}");
    }
    let header = format!(r#"{{"alg":"EdDSA","x":{}1{}}}"#, "[".repeat(5_000), "]".repeat(5_000));
    assert!(matches!(refused(&header, "{}"), Refused::NotJson(Part::Header, _)));
}

#[test]
fn debug_output_shows_no_token() {
    let token = good_token();
    let shown = format!("{:?}", Unverified::parse(&token).unwrap());
    assert!(shown.contains("EdDsa") && !shown.contains("billing"), "{shown}");
    assert!(token.split('.').all(|part| !shown.contains(part)));
}

#[test]
fn what_a_token_says_of_itself_finds_its_issuer() {
    let token = good_token();
    let unverified = Unverified::parse(&token).unwrap();
    assert_eq!(unverified.issuer(), Some("https://issuer.example"));
    assert_eq!(unverified.subject(), Some("system:serviceaccount:prod:billing"));
    assert_eq!((unverified.trust_domain(), unverified.key_id()), (None, None));
    let claims = json!({"sub": "spiffe://prod.example/billing", "iss": 1}).to_string();
    let token = ED25519.forge(Algorithm::EdDsa, HEADER, &claims);
    let unverified = Unverified::parse(&token).unwrap();
    assert_eq!((unverified.issuer(), unverified.trust_domain()), (None, Some("prod.example")));
}

proptest! {
    #[test]
    fn no_text_panics(text in "[a-zA-Z0-9._=-]{0,200}") {
        let uri = super::super::HttpUri::parse("https://a.example/").unwrap();
        let expectation = ProofExpectation {
            method: "GET", uri: &uri, now_ms: NOW_MS, access_token: None, nonces: None, age_max_ms: 1,
        };
        prop_assert!(Unverified::parse(&text).is_err());
        prop_assert!(Proof::verify(&text, &expectation).is_err());
    }

    #[test]
    fn no_claim_panics(value in arbitrary_json(), name in "iss|sub|aud|exp|nbf|iat|jti|x") {
        let claims = with(&good_claims(), &json!({ name: value }));
        let token = ED25519.forge(Algorithm::EdDsa, HEADER, &claims.to_string());
        let verified = verify(&token, &three_keys(), &expected());
        if let Ok(verified) = verified {
            prop_assert!(verified.expire_time_ms > NOW_MS - 60_000);
            prop_assert!(verified.audiences.iter().any(|it| it == super::AUDIENCE));
        }
    }
}

fn arbitrary_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(Into::into))
}
