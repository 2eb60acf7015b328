//! Tests of the crate as a whole, with real keys and signatures.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod claims;
mod dpop;

mod forms;
mod headers;
mod keys;
mod rules;
mod templates;
mod texts;
mod uri;
mod vectors;

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256,
};
use jeton_token::base64url;
use serde_json::{Map, Value, json};

use super::{
    Algorithm, Assertion, Audience, Expectation, Issuer, KeySet, PublicKey, Refused, Typ, Unverified,
};

/// The time of all tests: 2027-01-15T08:00:00Z.
const NOW_S: i64 = 1_800_000_000;
const NOW_MS: i64 = NOW_S * 1_000;
const ISSUER: &str = "https://issuer.example";
const AUDIENCE: &str = "https://jeton.example";

/// A key of somebody else.
enum Signer {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

static RSA: LazyLock<Signer> = LazyLock::new(|| Signer::rsa(KeySize::Rsa2048));
static P256: LazyLock<Signer> = LazyLock::new(Signer::p256);
static ED25519: LazyLock<Signer> = LazyLock::new(Signer::ed25519);

/// Each algorithm, with a key for it.
fn signers() -> [(Algorithm, &'static Signer); 4] {
    [
        (Algorithm::Rs256, &RSA),
        (Algorithm::Ps256, &RSA),
        (Algorithm::Es256, &P256),
        (Algorithm::EdDsa, &ED25519),
    ]
}

impl Signer {
    fn rsa(size: KeySize) -> Self {
        Self::Rsa(RsaKeyPair::generate(size).unwrap())
    }

    fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    /// The public JWK, with further members.
    fn jwk(&self, more: &Value) -> Value {
        let mut jwk = match self {
            Self::Rsa(pair) => {
                let numbers = PublicKeyComponents::<Vec<u8>>::from(pair.public_key());
                let (n, e) = (base64url::encode(numbers.n), base64url::encode(numbers.e));
                json!({"kty": "RSA", "n": n, "e": e})
            }
            Self::P256(pair) => {
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                let (x, y) = (base64url::encode(x), base64url::encode(y));
                json!({"kty": "EC", "crv": "P-256", "x": x, "y": y})
            }
            Self::Ed25519(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "x": base64url::encode(pair.public_key())})
            }
        };
        jwk.as_object_mut().unwrap().extend(object(more));
        jwk
    }

    fn public(&self) -> PublicKey {
        PublicKey::from_jwk(&object(&self.jwk(&json!({})))).unwrap()
    }

    fn sign(&self, algorithm: Algorithm, input: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                let encoding: &'static dyn aws_lc_rs::signature::RsaEncoding =
                    if algorithm == Algorithm::Ps256 { &RSA_PSS_SHA256 } else { &RSA_PKCS1_SHA256 };
                pair.sign(encoding, &random, input.as_bytes(), &mut signature).unwrap();
                signature
            }
            Self::P256(pair) => pair.sign(&random, input.as_bytes()).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(input.as_bytes()).as_ref().to_vec(),
        }
    }

    /// A token of any header and payload, as texts, with a good signature.
    fn forge(&self, algorithm: Algorithm, header: &str, payload: &str) -> String {
        let input = format!("{}.{}", base64url::encode(header), base64url::encode(payload));
        let signature = self.sign(algorithm, &input);
        format!("{input}.{}", base64url::encode(signature))
    }
}

fn object(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// A set with the three keys, whose `kid` are `rsa`, `p256` and `ed25519`.
fn three_keys() -> KeySet {
    set(&[
        RSA.jwk(&json!({"kid": "rsa"})),
        P256.jwk(&json!({"kid": "p256"})),
        ED25519.jwk(&json!({"kid": "ed25519"})),
    ])
}

/// What most tests expect; they change a part of it.
fn expected() -> Expectation<'static> {
    Expectation {
        issuer: Issuer::Exact(ISSUER),
        algorithms: &Algorithm::ALL,
        typ: Typ::ORDINARY,
        audience: Audience::AnyOf(&[AUDIENCE]),
        age_max_ms: None,
        life_max_ms: None,
        now_ms: NOW_MS,
    }
}

/// Claims that meet it.
fn good_claims() -> Value {
    json!({"iss": ISSUER, "sub": "system:serviceaccount:prod:billing", "aud": [AUDIENCE], "exp": NOW_S + 600})
}

/// These claims with some replaced; null removes one.
fn with(claims: &Value, changes: &Value) -> Value {
    let mut claims = object(claims);
    for (name, value) in object(changes) {
        if value.is_null() {
            claims.remove(&name);
        } else {
            claims.insert(name, value);
        }
    }
    Value::Object(claims)
}

fn verify(token: &str, keys: &KeySet, expectation: &Expectation<'_>) -> Result<Assertion, Refused> {
    Unverified::parse(token)?.verify(keys, expectation)
}

/// Verifies claims that the Ed25519 key signed.
fn judge(claims: &Value, expectation: &Expectation<'_>) -> Result<Assertion, Refused> {
    let token = ED25519.forge(Algorithm::EdDsa, r#"{"alg":"EdDSA","kid":"ed25519"}"#, &claims.to_string());
    verify(&token, &three_keys(), expectation)
}
