//! Published vectors, and jsonwebtoken's opinion of tokens minted here.

use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
use jsonwebtoken::{DecodingKey, Validation};
use serde_json::Value;

use super::super::{RawToken, Rejected, SigningKey, VerifyingKey, base64url, jwks};
use super::{ALGORITHMS, Algorithm, NOW, assert_says, forge, full_claims, header_of, least_claims};

const RFC7515_A3_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const RFC7515_A3_INPUT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const RFC7515_A3_SIGNATURE: &str =
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

const RFC8037_A1_SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const RFC8037_A2_JWK: &str =
    r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
const RFC8037_A3_THUMBPRINT: &str = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
const RFC8037_A4_INPUT: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
const RFC8037_A4_SIGNATURE: &str =
    "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

fn agrees(jwk: &str, input: &str, signature: &str) {
    let key = VerifyingKey::from_jwk(jwk).unwrap();
    let signature: [u8; 64] = base64url::decode_array(signature).unwrap();
    assert!(key.verify_bytes(input.as_bytes(), &signature));
    for index in 0..64 {
        let mut bad = signature;
        bad[index] ^= 1;
        assert!(!key.verify_bytes(input.as_bytes(), &bad), "byte {index}");
    }
    assert!(!key.verify_bytes(format!("{input}A").as_bytes(), &signature));
}

#[test]
fn rfc_7515_a3_es256_verifies() {
    agrees(RFC7515_A3_JWK, RFC7515_A3_INPUT, RFC7515_A3_SIGNATURE);
}

#[test]
fn rfc_8037_a4_ed25519_verifies_and_is_signed_the_same() {
    agrees(RFC8037_A2_JWK, RFC8037_A4_INPUT, RFC8037_A4_SIGNATURE);
    let seed: [u8; 32] = base64url::decode_array(RFC8037_A1_SEED).unwrap();
    let pair = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
    for document in [pair.to_pkcs8v1().unwrap(), pair.to_pkcs8().unwrap()] {
        let key = SigningKey::from_pkcs8(document.as_ref()).unwrap();
        let signature = key.sign(RFC8037_A4_INPUT.as_bytes()).unwrap();
        assert_eq!(base64url::encode(signature), RFC8037_A4_SIGNATURE);
        assert_eq!(key.key_id(), RFC8037_A3_THUMBPRINT);
    }
}

#[test]
fn rfc_8037_a3_and_jsonwebtoken_agree_on_thumbprints() {
    assert_eq!(VerifyingKey::from_jwk(RFC8037_A2_JWK).unwrap().key_id(), RFC8037_A3_THUMBPRINT);
    for text in [RFC8037_A2_JWK, RFC7515_A3_JWK] {
        let theirs: Jwk = serde_json::from_str(text).unwrap();
        let key = VerifyingKey::from_jwk(text).unwrap();
        assert_eq!(key.key_id(), theirs.thumbprint(ThumbprintHash::SHA256).unwrap());
        let again = VerifyingKey::from_jwk(key.jwk()).unwrap();
        assert_eq!((again.key_id(), again.jwk()), (key.key_id(), key.jwk()));
    }
}

/// I5, I9.
#[test]
fn jsonwebtoken_reads_what_is_minted_here() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate(algorithm).unwrap();
        let jwk: Jwk = serde_json::from_str(&key.public_jwk()).unwrap();
        let theirs = DecodingKey::from_jwk(&jwk).unwrap();
        let mut validation = Validation::new(algorithm.as_str().parse().unwrap());
        validation.validate_exp = false;
        validation.set_audience(&["billing"]);
        validation.set_issuer(&["https://tokens.example"]);
        for claims in [full_claims(), least_claims()] {
            let token = key.mint(&claims).unwrap();
            let read = jsonwebtoken::decode::<Value>(&token, &theirs, &validation).unwrap();
            assert_eq!(read.header.kid.as_deref(), Some(key.key_id()));
            assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
            assert_eq!(read.claims["sub"], claims.subject.as_ref());
            assert_eq!(read.claims["exp"], NOW.get() + 900);
            assert_eq!(read.claims["rev"], (3_i64 << 40) + 77);
            let ours = key.verifying().verify(&RawToken::parse(&token).unwrap()).unwrap();
            assert_says(&ours, &claims);
            assert_eq!(&*ours.key_id, key.key_id());
        }
    }
}

#[test]
fn the_key_set_is_one_that_jsonwebtoken_reads() {
    let keys: Vec<VerifyingKey> =
        ALGORITHMS.iter().map(|algorithm| SigningKey::generate(*algorithm).unwrap().verifying()).collect();
    let set: JwkSet = serde_json::from_str(&jwks(keys.iter())).unwrap();
    assert_eq!(set.keys.len(), 2);
    assert!(keys.iter().all(|key| set.find(key.key_id()).is_some()));
    assert_eq!(jwks([].into_iter()), r#"{"keys":[]}"#);
}

#[test]
fn a_token_of_another_key_or_algorithm_is_a_bad_signature() {
    let keys: Vec<SigningKey> = [ALGORITHMS, ALGORITHMS]
        .concat()
        .into_iter()
        .map(|algorithm| SigningKey::generate(algorithm).unwrap())
        .collect();
    for (i, signer) in keys.iter().enumerate() {
        let token = signer.mint(&full_claims()).unwrap();
        let raw = RawToken::parse(&token).unwrap();
        for (j, key) in keys.iter().enumerate() {
            assert_eq!(key.verifying().verify(&raw).is_ok(), i == j);
        }
    }
    // V4: the header names the key, and another algorithm than the key's.
    let key = &keys[0];
    let header = header_of(key).replace("ES256", "EdDSA");
    let token = forge(key, &header, &full_claims().to_json());
    assert_eq!(
        key.verifying().verify(&RawToken::parse(&token).unwrap()).unwrap_err(),
        Rejected::BadSignature
    );
}

/// I13, C2.
#[test]
fn keys_come_back_from_their_documents_and_check_themselves() {
    for algorithm in ALGORITHMS {
        let key = SigningKey::generate(algorithm).unwrap();
        key.self_check().unwrap();
        let again = SigningKey::from_pkcs8(key.pkcs8()).unwrap();
        assert_eq!(again.key_id(), key.key_id());
        assert_eq!(again.pkcs8(), key.pkcs8());
        let pem = format!(
            "# a comment\n-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.pkcs8().as_slice())
        );
        assert_eq!(SigningKey::from_pem(&pem).unwrap().key_id(), key.key_id());
        assert!(!format!("{key:?}").contains("pkcs8"));
    }
}

/// RFC 5958: the public key may follow the private one. Ed25519's second version is met above.
#[test]
fn a_p256_key_comes_in_both_versions_of_pkcs8() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let public = key.verifying();
    let jwk: Value = serde_json::from_str(public.jwk()).unwrap();
    let number = |name: &str| base64url::decode(jwk[name].as_str().unwrap()).unwrap();
    let mut der = key.pkcs8().to_vec();
    der.extend([&[0x81, 66, 0, 4], number("x").as_slice(), &number("y")].concat());
    assert_eq!(der[..2], [0x30, 0x81]);
    der[2] += 68;
    der[5] = 1;
    let again = SigningKey::from_pkcs8(&der).unwrap();
    assert_eq!((again.key_id(), again.pkcs8()), (key.key_id(), key.pkcs8()));
    // Another public key than the private one's, something after it, and every cut.
    for index in [0, 2, 5, der.len() - 1] {
        let mut bad = der.clone();
        bad[index] ^= 2;
        assert!(SigningKey::from_pkcs8(&bad).is_err(), "byte {index}");
    }
    assert!(SigningKey::from_pkcs8(&[der.as_slice(), &[0]].concat()).is_err());
    for len in 0..der.len() {
        assert!(SigningKey::from_pkcs8(&der[..len]).is_err(), "{len} bytes");
    }
}

#[test]
fn keys_of_other_kinds_are_refused() {
    let p384 = EcdsaKeyPair::generate(&aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    assert!(!p384.public_key().as_ref().is_empty());
    assert!(SigningKey::from_pkcs8(p384.to_pkcs8v1().unwrap().as_ref()).is_err());
    assert!(SigningKey::from_pkcs8(b"").is_err());
    assert!(SigningKey::from_pem("").is_err());
    let mut cut = SigningKey::generate(Algorithm::Es256).unwrap().pkcs8().to_vec();
    cut.truncate(100);
    assert!(SigningKey::from_pkcs8(&cut).is_err());
}

#[test]
fn public_keys_that_say_more_or_other_than_they_may_are_refused() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let bad = [
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","d":"{x}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","x":"{x}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","alg":"ES256"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"enc"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{x}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"X25519","x":"{x}"}}"#),
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}="}}"#),
        format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{x}"}}"#),
        format!(r#"{{"kty":"oct","k":"{x}"}}"#),
        "{}".to_owned(),
        "[]".to_owned(),
    ];
    for jwk in bad {
        assert!(VerifyingKey::from_jwk(&jwk).is_err(), "{jwk}");
    }
}
