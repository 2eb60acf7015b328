//! DPoP proofs: RFC 9449 section 4.3, item by item.

use aws_lc_rs::hmac;
use jeton_token::{base64url, sha256};
use serde_json::{Value, json};

use super::super::{Algorithm, HttpUri, KeyFault, Proof, ProofExpectation, Refused};
use super::{ED25519, NOW_MS, NOW_S, P256, RSA, Signer, object, signers, with};

const METHOD: &str = "POST";
const URI: &str = "https://jeton.example/oauth2/token";

fn good_claims() -> Value {
    json!({"jti": "a1", "htm": METHOD, "htu": URI, "iat": NOW_S})
}

fn good_header(algorithm: Algorithm, signer: &Signer) -> Value {
    json!({"typ": "dpop+jwt", "alg": algorithm.as_str(), "jwk": signer.jwk(&json!({}))})
}

fn verify_with(
    proof: &str,
    now_ms: i64,
    access_token: Option<&str>,
    nonces: Option<&[&str]>,
) -> Result<Proof, Refused> {
    let uri = HttpUri::parse(URI).unwrap();
    let expectation =
        ProofExpectation { method: METHOD, uri: &uri, now_ms, access_token, nonces, age_max_ms: 60_000 };
    Proof::verify(proof, &expectation)
}

fn verify(proof: &str) -> Result<Proof, Refused> {
    verify_with(proof, NOW_MS, None, None)
}

fn proof(claims: &Value) -> String {
    let header = good_header(Algorithm::Es256, &P256);
    P256.forge(Algorithm::Es256, &header.to_string(), &claims.to_string())
}

/// The refusal of a proof whose claims have these changes, or none.
fn refusal(changes: &Value) -> Option<Refused> {
    verify(&proof(&with(&good_claims(), changes))).err()
}

/// The refusal of a proof whose header has these changes; null removes a member.
fn header_refusal(changes: &Value) -> Option<Refused> {
    let header = with(&good_header(Algorithm::Es256, &P256), changes);
    verify(&P256.forge(Algorithm::Es256, &header.to_string(), &good_claims().to_string())).err()
}

fn is_wrong_form(claim: &str, refused: Option<Refused>) -> bool {
    matches!(refused, Some(Refused::WrongForm { claim: found, .. }) if found == claim)
}

#[test]
fn a_proof_of_each_algorithm_names_its_key() {
    for (algorithm, signer) in signers() {
        let header = good_header(algorithm, signer).to_string();
        let found = verify(&signer.forge(algorithm, &header, &good_claims().to_string())).unwrap();
        assert_eq!(found.key_thumbprint, signer.public().thumbprint());
        assert_eq!((found.token_id.as_str(), found.issue_time_ms, found.nonce), ("a1", NOW_MS, None));
        assert_eq!(found.accepted_until_ms, NOW_MS + 120_000);
        // Signed by another key than that in the header.
        for stranger in [Signer::rsa(aws_lc_rs::rsa::KeySize::Rsa2048), Signer::p256(), Signer::ed25519()] {
            let forged = stranger.forge(algorithm, &header, &good_claims().to_string());
            assert_eq!(verify(&forged), Err(Refused::BadSignature));
        }
        // The algorithm of another key.
        for (other, _) in signers().into_iter().filter(|(it, _)| it.family() != algorithm.family()) {
            let header = good_header(other, signer).to_string();
            let forged = signer.forge(algorithm, &header, &good_claims().to_string());
            assert_eq!(verify(&forged), Err(Refused::KeyDoesNotFit(other)));
        }
    }
}

#[test]
fn typ_is_that_of_a_proof() {
    for typ in [json!("JWT"), json!("at+jwt"), json!(""), json!("dpop"), Value::Null] {
        assert_eq!(header_refusal(&json!({ "typ": typ })), Some(Refused::WrongType), "{typ}");
    }
    assert_eq!(header_refusal(&json!({"typ": 1})), Some(Refused::HeaderNotString("typ")));
    for typ in ["dpop+jwt", "DPoP+JWT", "application/dpop+jwt"] {
        assert_eq!(header_refusal(&json!({ "typ": typ })), None, "{typ}");
    }
}

#[test]
fn alg_is_asymmetric_and_hmac_with_the_public_key_proves_nothing() {
    for alg in ["none", "HS256", "ES384", "RS512", ""] {
        assert_eq!(header_refusal(&json!({ "alg": alg })), Some(Refused::UnknownAlgorithm), "{alg}");
    }
    let secret = json!({"kty": "oct", "k": base64url::encode([7; 32])});
    for (alg, jwk) in [("HS256", secret.clone()), ("ES256", secret)] {
        let header = json!({"typ": "dpop+jwt", "alg": alg, "jwk": jwk}).to_string();
        let input = format!("{}.{}", base64url::encode(header), base64url::encode(good_claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), input.as_bytes());
        let error = verify(&format!("{input}.{}", base64url::encode(tag))).unwrap_err();
        let good = [Refused::UnknownAlgorithm, Refused::ProofKey(KeyFault::Symmetric)];
        assert!(good.contains(&error), "{error:?}");
    }
}

#[test]
fn jwk_is_a_public_key_and_no_other_key_is_named() {
    assert_eq!(header_refusal(&json!({"jwk": null})), Some(Refused::NoProofKey));
    let refused = |jwk: Value| header_refusal(&json!({ "jwk": jwk }));
    assert_eq!(refused(json!("a")), Some(Refused::ProofKey(KeyFault::NotObject)));
    assert_eq!(refused(json!({})), Some(Refused::ProofKey(KeyFault::UnknownKind)));
    assert_eq!(refused(P256.jwk(&json!({"d": "AA"}))), Some(Refused::ProofKey(KeyFault::Private)));
    assert_eq!(refused(RSA.jwk(&json!({"p": "AA"}))), Some(Refused::ProofKey(KeyFault::Private)));
    assert_eq!(refused(P256.jwk(&json!({"use": "enc"}))), Some(Refused::ProofKey(KeyFault::OtherUse)));
    assert_eq!(refused(ED25519.jwk(&json!({}))), Some(Refused::KeyDoesNotFit(Algorithm::Es256)));
    assert_eq!(refused(P256.jwk(&json!({"use": "sig", "kid": "x", "alg": "ES256"}))), None);
    for name in ["jku", "x5u", "x5c"] {
        assert_eq!(header_refusal(&json!({ name: "x" })), Some(Refused::BringsKey(name)));
    }
    assert_eq!(header_refusal(&json!({"crit": []})), Some(Refused::Critical));
}

#[test]
fn each_claim_is_needed() {
    for name in ["jti", "htm", "htu", "iat"] {
        assert_eq!(refusal(&json!({ name: null })), Some(Refused::Missing(name)));
    }
    for (name, value) in
        [("jti", json!(1)), ("htm", json!(["POST"])), ("htu", json!({})), ("iat", json!("1"))]
    {
        assert!(is_wrong_form(name, refusal(&json!({ name: value }))), "{name}");
    }
    assert!(is_wrong_form("jti", refusal(&json!({"jti": ""}))));
    assert!(is_wrong_form("jti", refusal(&json!({"jti": "x".repeat(256)}))));
    assert_eq!(refusal(&json!({"jti": "x".repeat(255)})), None);
}

#[test]
fn htm_and_htu_are_those_of_the_request() {
    for htm in ["GET", "post", "", "POST "] {
        assert_eq!(refusal(&json!({ "htm": htm })), Some(Refused::WrongMethod), "{htm}");
    }
    for htu in [
        "https://jeton.example/oauth2/token?a=b#c",
        "HTTPS://JETON.example:443/oauth2/./token",
        "https://jeton.example/oauth2/%74oken",
    ] {
        assert_eq!(refusal(&json!({ "htu": htu })), None, "{htu}");
    }
    for htu in [
        "http://jeton.example/oauth2/token",
        "https://jeton.example:8443/oauth2/token",
        "https://jeton.example/oauth2/token/",
        "https://jeton.example/oauth2/Token",
        "https://evil.example/oauth2/token",
        "https://u@jeton.example/oauth2/token",
        "/oauth2/token",
        "",
    ] {
        assert_eq!(refusal(&json!({ "htu": htu })), Some(Refused::WrongUri), "{htu}");
    }
}

#[test]
fn iat_lies_in_the_window() {
    for (age_s, expected) in [
        (0, None),
        (120, None),
        (121, Some(Refused::TooOld)),
        (NOW_S, Some(Refused::TooOld)),
        (-60, None),
        (-61, Some(Refused::IssuedInFuture)),
    ] {
        assert_eq!(refusal(&json!({"iat": NOW_S - age_s})), expected, "{age_s}");
    }
    for iat in [json!(1e300), json!(-1), json!(u64::MAX)] {
        assert!(is_wrong_form("iat", refusal(&json!({ "iat": iat }))), "{iat}");
    }
    // As long as it says, and no longer.
    let proof = proof(&good_claims());
    let until_ms = verify(&proof).unwrap().accepted_until_ms;
    let at = |now_ms| verify_with(&proof, now_ms, None, None).err();
    assert_eq!((at(until_ms), at(until_ms + 1)), (None, Some(Refused::TooOld)));
}

#[test]
fn ath_is_the_hash_of_the_access_token() {
    let judged = |ath: Option<&str>, access_token: Option<&str>| {
        let claims = with(&good_claims(), &json!({ "ath": ath }));
        verify_with(&proof(&claims), NOW_MS, access_token, None).err()
    };
    let hash = base64url::encode(sha256(&[b"token"]));
    assert_eq!(judged(Some(&hash), Some("token")), None);
    assert_eq!(judged(Some(&hash), Some("Token")), Some(Refused::WrongAccessToken));
    assert_eq!(judged(Some(&format!("{hash}=")), Some("token")), Some(Refused::WrongAccessToken));
    assert_eq!(judged(Some(""), Some("token")), Some(Refused::WrongAccessToken));
    assert_eq!(judged(None, Some("token")), Some(Refused::Missing("ath")));
    // Where no token comes with the proof, there is nothing to compare.
    assert_eq!(judged(Some(&hash), None), None);
}

#[test]
fn a_nonce_is_one_that_the_server_takes() {
    let judged = |nonce: Value, nonces: Option<&[&str]>| {
        let proof = proof(&with(&good_claims(), &json!({ "nonce": nonce })));
        verify_with(&proof, NOW_MS, None, nonces).map(|it| it.nonce)
    };
    let ours: Option<&[&str]> = Some(&["current", "previous"]);
    for nonce in ["current", "previous"] {
        assert_eq!(judged(json!(nonce), ours), Ok(Some(nonce.to_owned())));
    }
    for nonce in [Value::Null, json!(""), json!("curren"), json!("CURRENT")] {
        assert_eq!(judged(nonce.clone(), ours), Err(Refused::NonceNeeded), "{nonce}");
    }
    assert_eq!(judged(json!("current"), Some(&[])), Err(Refused::NonceNeeded));
    assert_eq!(judged(json!("any"), None), Ok(Some("any".to_owned())));
    assert!(is_wrong_form("nonce", judged(json!(1), None).err()));
}

/// A proof is no assertion, and an assertion no proof.
#[test]
fn a_proof_is_not_taken_for_an_assertion() {
    let proof = proof(&good_claims());
    assert_eq!(super::super::Unverified::parse(&proof).unwrap_err(), Refused::BringsKey("jwk"));
    let header = object(&good_header(Algorithm::Es256, &P256));
    assert!(header.contains_key("jwk"));
    let bare = P256.forge(Algorithm::Es256, r#"{"alg":"ES256"}"#, &good_claims().to_string());
    assert_eq!(verify(&bare), Err(Refused::WrongType));
}
