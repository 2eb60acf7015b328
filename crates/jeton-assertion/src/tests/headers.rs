//! Algorithms, keys and types: what the header of a token may say.

use aws_lc_rs::hmac;
use aws_lc_rs::signature::KeyPair as _;
use jeton_token::base64url;
use serde_json::{Value, json};

use super::super::{Algorithm, Expectation, Refused, Typ, Unverified};
use super::{Assertion, ED25519, P256, RSA, Signer, expected, good_claims, set, signers, three_keys, verify};

/// A token of the Ed25519 key with this header.
fn judged(header: &Value, typ: Typ<'_>) -> Result<Assertion, Refused> {
    let token = ED25519.forge(Algorithm::EdDsa, &header.to_string(), &good_claims().to_string());
    verify(&token, &three_keys(), &Expectation { typ, ..expected() })
}

fn refused(header: &Value) -> Refused {
    judged(header, Typ::ORDINARY).unwrap_err()
}

#[test]
fn each_algorithm_verifies_by_its_key_and_by_no_other() {
    for (algorithm, signer) in signers() {
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        let token = signer.forge(algorithm, &header, &good_claims().to_string());
        let found = verify(&token, &three_keys(), &expected()).unwrap();
        assert_eq!(found.key_thumbprint, signer.public().thumbprint());
        for (index, _) in token.match_indices('.') {
            // One character of the signed text, or of the signature, is another.
            let mut changed = token.clone().into_bytes();
            changed[index + 3] = if changed[index + 3] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let Err(error) = verify(&changed, &three_keys(), &expected()) else {
                unreachable!("a changed token is accepted")
            };
            assert!(matches!(error, Refused::BadSignature | Refused::NotJson(..)), "{error:?}");
        }
        for other in Algorithm::ALL.into_iter().filter(|other| *other != algorithm) {
            let header = format!(r#"{{"alg":"{other}"}}"#);
            let token = signer.forge(algorithm, &header, &good_claims().to_string());
            assert_eq!(verify(&token, &three_keys(), &expected()).unwrap_err(), Refused::BadSignature);
        }
    }
}

/// RFC 8725 section 2.1: the public key of the issuer is known to everybody, also as a secret of HMAC.
#[test]
fn the_public_key_is_no_secret_of_hs256() {
    let Signer::Rsa(pair) = &*RSA else { unreachable!("an RSA key") };
    let jwk = RSA.jwk(&json!({"kid": "rsa"}));
    let n = jwk["n"].as_str().unwrap();
    let secrets = [
        pair.public_key().as_ref().to_vec(),
        n.into(),
        base64url::decode(n).unwrap(),
        jwk.to_string().into(),
    ];
    for (secret, alg) in
        secrets.iter().flat_map(|secret| ["HS256", "RS256", "ES256", "EdDSA"].map(|alg| (secret, alg)))
    {
        let header = format!(r#"{{"alg":"{alg}","kid":"rsa"}}"#);
        let input = format!("{}.{}", base64url::encode(header), base64url::encode(good_claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
        let token = format!("{input}.{}", base64url::encode(tag));
        let error = verify(&token, &three_keys(), &expected()).unwrap_err();
        let good = [
            Refused::UnknownAlgorithm,
            Refused::BadSignature,
            Refused::KeyDoesNotFit(Algorithm::Es256),
            Refused::KeyDoesNotFit(Algorithm::EdDsa),
        ];
        assert!(good.contains(&error), "{alg}: {error:?}");
        assert_eq!(error == Refused::UnknownAlgorithm, alg == "HS256");
    }
}

#[test]
fn alg_is_one_of_four_in_its_own_case() {
    for alg in [
        "none", "None", "NONE", "", "HS256", "HS512", "RS512", "ES384", "es256", "ES256 ", "Ed25519",
        "RSA1_5",
    ] {
        assert_eq!(refused(&json!({"alg": alg})), Refused::UnknownAlgorithm, "{alg}");
    }
    assert_eq!(refused(&json!({})), Refused::UnknownAlgorithm);
    assert_eq!(refused(&json!({"alg": ["EdDSA"]})), Refused::HeaderNotString("alg"));
    // Without a signature, as `none` has it.
    for alg in ["none", "EdDSA"] {
        let header = json!({"alg": alg, "kid": "ed25519"}).to_string();
        let token =
            format!("{}.{}.", base64url::encode(header), base64url::encode(good_claims().to_string()));
        let error = verify(&token, &three_keys(), &expected()).unwrap_err();
        assert_eq!(error, if alg == "none" { Refused::UnknownAlgorithm } else { Refused::BadSignature });
    }
}

#[test]
fn alg_is_one_that_the_issuer_is_configured_with() {
    for (algorithm, signer) in signers() {
        let header = format!(r#"{{"alg":"{algorithm}"}}"#);
        let token = signer.forge(algorithm, &header, &good_claims().to_string());
        let others: Vec<_> = Algorithm::ALL.into_iter().filter(|it| *it != algorithm).collect();
        for algorithms in [&others[..], &[]] {
            let error = verify(&token, &three_keys(), &Expectation { algorithms, ..expected() });
            assert_eq!(error.unwrap_err(), Refused::AlgorithmNotAllowed(algorithm));
        }
        let algorithms = &[algorithm][..];
        verify(&token, &three_keys(), &Expectation { algorithms, ..expected() }).unwrap();
    }
}

#[test]
fn alg_fits_the_key_that_kid_names() {
    let keys = set(&[RSA.jwk(&json!({"kid": "a", "alg": "PS256"})), P256.jwk(&json!({"kid": "b"}))]);
    let judged = |signer: &Signer, algorithm: Algorithm, kid: &str| {
        let header = format!(r#"{{"alg":"{algorithm}","kid":"{kid}"}}"#);
        let token = signer.forge(algorithm, &header, &good_claims().to_string());
        verify(&token, &keys, &expected()).map(|_| ())
    };
    assert_eq!(judged(&RSA, Algorithm::Ps256, "a"), Ok(()));
    // The key is for PS256, though RS256 would take it.
    assert_eq!(judged(&RSA, Algorithm::Rs256, "a"), Err(Refused::KeyDoesNotFit(Algorithm::Rs256)));
    assert_eq!(judged(&P256, Algorithm::Es256, "a"), Err(Refused::KeyDoesNotFit(Algorithm::Es256)));
    assert_eq!(judged(&RSA, Algorithm::Ps256, "b"), Err(Refused::KeyDoesNotFit(Algorithm::Ps256)));
    assert_eq!(judged(&P256, Algorithm::Es256, "b"), Ok(()));
}

#[test]
fn a_header_that_brings_a_key_or_an_extension_is_refused() {
    let jwk = ED25519.jwk(&json!({}));
    for (name, value) in [
        ("jwk", jwk),
        ("jwk", Value::Null),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["MIIB"])),
        ("x5c", json!([])),
    ] {
        let header = json!({"alg": "EdDSA", "kid": "ed25519", name: value});
        assert_eq!(refused(&header), Refused::BringsKey(name));
    }
    for crit in [json!(["b64"]), json!(["exp"]), json!([]), Value::Null] {
        let header = json!({"alg": "EdDSA", "kid": "ed25519", "b64": false, "crit": crit});
        assert_eq!(refused(&header), Refused::Critical);
    }
    // What chooses no key is ignored.
    judged(
        &json!({"alg": "EdDSA", "kid": "ed25519", "x5t": "AA", "cty": "x", "new": {"a": 1}}),
        Typ::ORDINARY,
    )
    .unwrap();
}

#[test]
fn kid_is_only_looked_up() {
    for kid in [
        "../../etc/passwd",
        "/dev/null",
        "' OR '1'='1",
        "a'; DROP TABLE keys; --",
        "https://evil.example/key",
        "%s%n",
        "ed25519 ",
        "ED25519",
        "0",
        " ",
        &"x".repeat(255),
    ] {
        assert_eq!(refused(&json!({"alg": "EdDSA", "kid": kid})), Refused::UnknownKey, "{kid}");
    }
    for kid in ["", "\0", "ed25519\0", "a\nb", "é", "\u{7f}", &"x".repeat(256)] {
        assert_eq!(refused(&json!({"alg": "EdDSA", "kid": kid})), Refused::MalformedKeyId, "{kid}");
    }
    for kid in [json!(1), Value::Null, json!(["ed25519"])] {
        assert_eq!(refused(&json!({"alg": "EdDSA", "kid": kid})), Refused::HeaderNotString("kid"));
    }
    // One of these names is a name like any other, if the issuer has such a key.
    let keys = set(&[ED25519.jwk(&json!({"kid": "../' OR 1=1"}))]);
    let header = json!({"alg": "EdDSA", "kid": "../' OR 1=1"}).to_string();
    let token = ED25519.forge(Algorithm::EdDsa, &header, &good_claims().to_string());
    verify(&token, &keys, &expected()).unwrap();
    assert_eq!(Unverified::parse(&token).unwrap().key_id(), Some("../' OR 1=1"));
}

#[test]
fn typ_says_what_a_token_is_for() {
    let judged = |typ: Option<&str>, rule: Typ<'_>| {
        let mut header = json!({"alg": "EdDSA"});
        if let Some(typ) = typ {
            header["typ"] = json!(typ);
        }
        judged(&header, rule).map(|_| ())
    };
    let wrong = Err(Refused::WrongType);
    for typ in
        [None, Some("JWT"), Some("jwt"), Some("JOSE"), Some("application/jwt"), Some("Application/JOSE")]
    {
        assert_eq!(judged(typ, Typ::ORDINARY), Ok(()), "{typ:?}");
        assert_eq!(judged(typ, Typ::ID_JAG), wrong, "{typ:?}");
    }
    for typ in
        ["at+jwt", "AT+JWT", "application/at+jwt", "dpop+jwt", "oauth-id-jag+jwt", "logout+jwt", "", "x/jwt"]
    {
        assert_eq!(judged(Some(typ), Typ::ORDINARY), wrong, "{typ}");
    }
    for typ in ["at+jwt", "application/at+jwt", "JWT"] {
        assert_eq!(judged(Some(typ), Typ::OrdinaryOr(&["at+jwt"])), Ok(()), "{typ}");
    }
    assert_eq!(judged(Some("dpop+jwt"), Typ::OrdinaryOr(&["at+jwt"])), wrong);
    for typ in ["oauth-id-jag+jwt", "application/oauth-id-jag+jwt", "OAuth-ID-JAG+JWT"] {
        assert_eq!(judged(Some(typ), Typ::ID_JAG), Ok(()), "{typ}");
    }
    for typ in [
        "at+jwt",
        "oauth-id-jag",
        "application/x/oauth-id-jag+jwt",
        "application/application/oauth-id-jag+jwt",
    ] {
        assert_eq!(judged(Some(typ), Typ::ID_JAG), wrong, "{typ}");
    }
    assert_eq!(judged(Some("application/image/x"), Typ::Only("image/x")), wrong);
    assert_eq!(judged(Some("image/x"), Typ::Only("image/x")), Ok(()));
    assert_eq!(refused(&json!({"alg": "EdDSA", "typ": 1})), Refused::HeaderNotString("typ"));
}
