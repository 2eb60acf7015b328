//! Key sets and discovery documents.

use aws_lc_rs::rsa::KeySize;
use jeton_token::base64url;
use serde_json::{Value, json};

use super::super::{
    Algorithm, Discovery, DiscoveryError, Family, KeyFault, KeySet, KeySetError, PublicKey, Refused, Skipped,
    Unverified,
};
use super::{ED25519, ISSUER, P256, RSA, Signer, expected, good_claims, object, set, three_keys, verify};

fn fault(jwk: &Value) -> KeyFault {
    PublicKey::from_jwk(&object(jwk)).unwrap_err()
}

fn parse(document: &Value) -> Result<KeySet, KeySetError> {
    KeySet::parse(document.to_string().as_bytes())
}

#[test]
fn a_set_has_the_keys_that_can_be_used_and_says_why_others_cannot() {
    let keys = set(&[
        json!("a text"),
        RSA.jwk(&json!({"kid": "enc", "use": "enc"})),
        RSA.jwk(
            &json!({"kid": "sig", "use": "sig", "alg": "PS256", "key_ops": ["verify"], "x5t": "ignored"}),
        ),
        P256.jwk(&json!({"use": "x509-svid", "x5c": ["MIIB"]})),
        P256.jwk(&json!({"use": "jwt-svid", "kid": "svid"})),
        json!({"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        json!({}),
    ]);
    let found: Vec<_> = keys.keys().iter().map(|key| (key.key_id(), key.family())).collect();
    assert_eq!(found, [(Some("sig"), Family::Rsa), (Some("svid"), Family::P256)]);
    assert!(keys.contains("sig") && keys.contains("svid") && !keys.contains("enc") && !keys.contains(""));
    let skipped: Vec<_> = keys.skipped().iter().map(|it| (it.index, it.fault)).collect();
    assert_eq!(
        skipped,
        [
            (0, KeyFault::NotObject),
            (1, KeyFault::OtherUse),
            (3, KeyFault::OtherUse),
            (5, KeyFault::UnknownKind),
            (6, KeyFault::UnknownKind),
            (7, KeyFault::UnknownKind),
        ]
    );
}

#[test]
fn a_private_or_symmetric_key_is_refused() {
    for signer in [&RSA, &P256, &ED25519] {
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            assert_eq!(fault(&signer.jwk(&json!({ name: "AA" }))), KeyFault::Private, "{name}");
        }
    }
    assert_eq!(fault(&json!({"kty": "oct", "k": "AAAA", "kid": "a"})), KeyFault::Symmetric);
    assert_eq!(fault(&json!({"kty": "oct"})), KeyFault::Symmetric);
}

#[test]
fn the_members_of_a_key_must_agree_with_each_other() {
    for (more, expected) in [
        (json!({"use": "enc"}), KeyFault::OtherUse),
        (json!({"use": ["sig"]}), KeyFault::OtherUse),
        (json!({"key_ops": ["sign"]}), KeyFault::OtherOperations),
        (json!({"key_ops": "verify"}), KeyFault::OtherOperations),
        (json!({"alg": "RS512"}), KeyFault::OtherAlgorithm),
        (json!({"alg": "HS256"}), KeyFault::OtherAlgorithm),
        (json!({"alg": "none"}), KeyFault::OtherAlgorithm),
        (json!({"alg": "ES256"}), KeyFault::OtherAlgorithm),
        (json!({"alg": 1}), KeyFault::OtherAlgorithm),
        (json!({"kid": 1}), KeyFault::MalformedKeyId),
        (json!({"kid": ""}), KeyFault::MalformedKeyId),
        (json!({"kid": "a\nb"}), KeyFault::MalformedKeyId),
        (json!({"kid": "x".repeat(256)}), KeyFault::MalformedKeyId),
    ] {
        assert_eq!(fault(&RSA.jwk(&more)), expected, "{more}");
    }
    assert_eq!(fault(&P256.jwk(&json!({"alg": "EdDSA"}))), KeyFault::OtherAlgorithm);
    assert_eq!(fault(&P256.jwk(&json!({"crv": "P-521"}))), KeyFault::UnknownKind);
    assert_eq!(fault(&ED25519.jwk(&json!({"crv": "X25519"}))), KeyFault::UnknownKind);
    assert_eq!(fault(&ED25519.jwk(&json!({"kty": "EC"}))), KeyFault::UnknownKind);
    PublicKey::from_jwk(&object(&RSA.jwk(&json!({"kid": "x".repeat(255)})))).unwrap();
}

#[test]
fn a_modulus_has_2048_to_4096_bits_and_an_exponent_is_odd() {
    let jwk =
        |n: Vec<u8>, e: &[u8]| json!({"kty": "RSA", "n": base64url::encode(n), "e": base64url::encode(e)});
    let modulus = |bytes: usize, first: u8| {
        let mut n = vec![0xA5; bytes];
        n[0] = first;
        n
    };
    let e = [1, 0, 1];
    for (bytes, first, good) in
        [(256, 0x80, true), (256, 0x7F, false), (255, 0xFF, false), (512, 0xFF, true), (513, 0x01, false)]
    {
        let key = PublicKey::from_jwk(&object(&jwk(modulus(bytes, first), &e)));
        assert_eq!(key.err(), (!good).then_some(KeyFault::Modulus), "{bytes} bytes from {first}");
    }
    let mut even = modulus(256, 0x80);
    even[255] = 2;
    for n in [even, modulus(257, 0), Vec::new()] {
        assert_eq!(fault(&jwk(n, &e)), KeyFault::Modulus);
    }
    for e in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[0, 1, 0, 1], &[1, 0, 0, 0, 1]] {
        assert_eq!(fault(&jwk(modulus(256, 0x80), e)), KeyFault::Exponent, "{e:?}");
    }
    for e in [&[3][..], &[17], &[255, 255, 255, 255]] {
        PublicKey::from_jwk(&object(&jwk(modulus(256, 0x80), e))).unwrap();
    }
}

#[test]
fn numbers_have_one_spelling_and_points_lie_on_the_curve() {
    let zeros = base64url::encode([0; 32]);
    for (jwk, expected) in [
        (P256.jwk(&json!({"x": "AA"})), KeyFault::MalformedNumber),
        (P256.jwk(&json!({"y": 1})), KeyFault::MalformedNumber),
        (P256.jwk(&json!({"y": zeros})), KeyFault::NoPoint),
        (json!({"kty": "EC", "crv": "P-256"}), KeyFault::MalformedNumber),
        (ED25519.jwk(&json!({"x": format!("{zeros}=")})), KeyFault::MalformedNumber),
        (ED25519.jwk(&json!({"x": base64url::encode([1; 31])})), KeyFault::MalformedNumber),
        (RSA.jwk(&json!({"n": "A+/="})), KeyFault::MalformedNumber),
        (RSA.jwk(&json!({"e": "AQAB="})), KeyFault::MalformedNumber),
        (RSA.jwk(&json!({"e": "AQAB AQAB"})), KeyFault::MalformedNumber),
    ] {
        assert_eq!(fault(&jwk), expected, "{jwk}");
    }
}

#[test]
fn keys_that_share_a_kid_are_all_skipped() {
    let document = [
        RSA.jwk(&json!({"kid": "a"})),
        P256.jwk(&json!({"kid": "a"})),
        ED25519.jwk(&json!({"kid": "b"})),
        // Not usable: it takes no `kid` from another.
        RSA.jwk(&json!({"kid": "b", "use": "enc"})),
        // Keys without `kid` share none.
        P256.jwk(&json!({})),
        P256.jwk(&json!({})),
    ];
    let keys = set(&document);
    let shared = |index| Skipped { index, fault: KeyFault::SharedKeyId };
    assert_eq!(keys.skipped(), [shared(0), shared(1), Skipped { index: 3, fault: KeyFault::OtherUse }]);
    assert!(!keys.contains("a") && keys.contains("b"));
    assert_eq!(keys.keys().len(), 3);
    let token = RSA.forge(Algorithm::Rs256, r#"{"alg":"RS256","kid":"a"}"#, &good_claims().to_string());
    assert_eq!(verify(&token, &keys, &expected()).unwrap_err(), Refused::UnknownKey);
}

#[test]
fn a_document_without_a_usable_key_is_an_error() {
    let none = |document: Value| parse(&document).unwrap_err();
    assert_eq!(none(json!({})), KeySetError::NoKeys);
    assert_eq!(none(json!({"keys": {}})), KeySetError::NoKeys);
    assert_eq!(none(json!({"keys": []})), KeySetError::NoUsableKey { skipped: vec![] });
    let skipped = vec![Skipped { index: 0, fault: KeyFault::Symmetric }];
    assert_eq!(none(json!({"keys": [{"kty": "oct", "k": "AA"}]})), KeySetError::NoUsableKey { skipped });
    assert!(matches!(none(json!([])), KeySetError::NotJson(_)));
    for text in [
        "",
        "<html>",
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[]} x"#,
        r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#,
    ] {
        assert!(matches!(KeySet::parse(text.as_bytes()), Err(KeySetError::NotJson(_))), "{text}");
    }
    let deep = format!(r#"{{"keys":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(KeySet::parse(deep.as_bytes()), Err(KeySetError::NotJson(_))));
}

#[test]
fn a_document_is_bounded() {
    let keys = |count: usize| {
        let keys: Vec<Value> = (0..count).map(|at| ED25519.jwk(&json!({"kid": at.to_string()}))).collect();
        parse(&json!({ "keys": keys }))
    };
    assert_eq!(keys(100).unwrap().keys().len(), 100);
    assert_eq!(keys(101).unwrap_err(), KeySetError::TooManyKeys);
    let mut document = json!({"keys": [ED25519.jwk(&json!({}))]}).to_string().into_bytes();
    document.resize(262_144, b' ');
    KeySet::parse(&document).unwrap();
    document.push(b' ');
    assert_eq!(KeySet::parse(&document).unwrap_err(), KeySetError::TooLong);
}

#[test]
fn a_token_without_kid_is_tried_with_each_key_that_fits_and_with_eight_at_most() {
    let others: Vec<Signer> = (0..8).map(|_| Signer::p256()).collect();
    let mut document: Vec<Value> = others.iter().take(7).map(|it| it.jwk(&json!({}))).collect();
    document.push(P256.jwk(&json!({"kid": "last"})));
    // Of another family: not counted, not tried.
    document.push(RSA.jwk(&json!({})));
    let token = P256.forge(Algorithm::Es256, r#"{"alg":"ES256"}"#, &good_claims().to_string());
    let found = verify(&token, &set(&document), &expected()).unwrap();
    assert_eq!(found.key_thumbprint, P256.public().thumbprint());
    let stranger = Signer::p256().forge(Algorithm::Es256, r#"{"alg":"ES256"}"#, &good_claims().to_string());
    assert_eq!(verify(&stranger, &set(&document), &expected()).unwrap_err(), Refused::BadSignature);
    document.push(others[7].jwk(&json!({})));
    assert_eq!(verify(&token, &set(&document), &expected()).unwrap_err(), Refused::KeyIdNeeded);
    let only_rsa = set(&[RSA.jwk(&json!({}))]);
    assert_eq!(verify(&token, &only_rsa, &expected()).unwrap_err(), Refused::NoKeyFor(Algorithm::Es256));
}

#[test]
fn sets_with_the_same_kid_do_not_stand_in_for_each_other() {
    let (ours, theirs) = (Signer::p256(), Signer::p256());
    let header = r#"{"alg":"ES256","kid":"1"}"#;
    let (our_set, their_set) =
        (set(&[ours.jwk(&json!({"kid": "1"}))]), set(&[theirs.jwk(&json!({"kid": "1"}))]));
    let token = ours.forge(Algorithm::Es256, header, &good_claims().to_string());
    verify(&token, &our_set, &expected()).unwrap();
    assert_eq!(verify(&token, &their_set, &expected()).unwrap_err(), Refused::BadSignature);
}

#[test]
fn a_key_of_4096_bits_verifies() {
    let signer = Signer::rsa(KeySize::Rsa4096);
    for (algorithm, header) in
        [(Algorithm::Rs256, r#"{"alg":"RS256"}"#), (Algorithm::Ps256, r#"{"alg":"PS256"}"#)]
    {
        let token = signer.forge(algorithm, header, &good_claims().to_string());
        verify(&token, &set(&[signer.jwk(&json!({}))]), &expected()).unwrap();
        assert_eq!(verify(&token, &three_keys(), &expected()).unwrap_err(), Refused::BadSignature);
    }
}

#[test]
fn a_discovery_document_is_that_of_the_configured_issuer_exactly() {
    let parse = |document: Value, issuer: &str| Discovery::parse(document.to_string().as_bytes(), issuer);
    let document = json!({"issuer": ISSUER, "jwks_uri": "https://issuer.example/keys?v=1", "more": [1]});
    assert_eq!(parse(document.clone(), ISSUER).unwrap().jwks_uri, "https://issuer.example/keys?v=1");
    for issuer in ["https://issuer.example/", "https://ISSUER.example", "https://issuer.example:443", ""] {
        assert_eq!(parse(document.clone(), issuer), Err(DiscoveryError::WrongIssuer));
    }
    assert_eq!(parse(json!({"jwks_uri": "https://a.example"}), ISSUER), Err(DiscoveryError::WrongIssuer));
    let with_uri = |uri: Value, issuer: &str| parse(json!({"issuer": issuer, "jwks_uri": uri}), issuer);
    for uri in [json!("/keys"), json!("file:///etc/passwd"), json!("https://u:p@h/"), json!(""), json!(1)] {
        assert_eq!(with_uri(uri, ISSUER), Err(DiscoveryError::NoKeySetUri));
    }
    assert_eq!(with_uri(json!("http://issuer.example/keys"), ISSUER), Err(DiscoveryError::Downgrade));
    assert_eq!(with_uri(json!("http://h/keys"), "not a URI"), Err(DiscoveryError::Downgrade));
    with_uri(json!("http://127.0.0.1:9/keys"), "http://127.0.0.1:9").unwrap();
    with_uri(json!("https://elsewhere.example/keys"), ISSUER).unwrap();
    assert!(matches!(Discovery::parse(b"<html>", ISSUER), Err(DiscoveryError::NotJson(_))));
    let twice = format!(r#"{{"issuer":"{ISSUER}","issuer":"{ISSUER}","jwks_uri":"https://a.example"}}"#);
    assert!(matches!(Discovery::parse(twice.as_bytes(), ISSUER), Err(DiscoveryError::NotJson(_))));
    assert_eq!(Discovery::parse(&vec![b' '; 262_145], ISSUER), Err(DiscoveryError::TooLong));
}

/// An issuer's new key reaches a server that fetches the set again.
#[test]
fn a_token_of_a_new_key_is_judged_again_with_a_newer_set() {
    let token = P256.forge(Algorithm::Es256, r#"{"alg":"ES256","kid":"new"}"#, &good_claims().to_string());
    let token = Unverified::parse(&token).unwrap();
    let before = set(&[P256.jwk(&json!({"kid": "old"}))]);
    assert_eq!(token.verify(&before, &expected()).unwrap_err(), Refused::UnknownKey);
    let after = set(&[P256.jwk(&json!({"kid": "new"}))]);
    token.verify(&after, &expected()).unwrap();
}
