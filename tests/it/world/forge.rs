//! Makes tokens that the issuer would not: with its own key, which only a test can have.

use std::sync::Arc;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jeton::{mint::MasterKey, replica::Keys, store::Store};
use jeton_state::clock::Clock;
use jeton_token::{Algorithm, SigningKey, new_uuid_v7};
use serde_json::{Value, json};

/// A signing key of the issuer, opened.
pub struct Forge {
    pub key: Arc<SigningKey>,
    pub issuer: String,
}

impl Forge {
    pub async fn open(store: &Store, issuer: &str) -> Self {
        let master = MasterKey::parse(&super::master_key_text()).unwrap();
        let keys = Keys::new(master, Arc::new(Clock::system())).all(store).await.unwrap();
        let key = Arc::clone(keys.signers.signer(Algorithm::Es256).unwrap());
        Self { key, issuer: issuer.to_owned() }
    }

    /// Claims of a token that would be good for `api`: change them, then sign.
    pub fn claims(&self) -> Value {
        let now_ms = Clock::system().now_ms();
        let now = now_ms.div_euclid(1000);
        json!({
            "iss": self.issuer, "sub": "user:7", "aud": ["api"], "client_id": "service", "iat": now, "exp": now + 900,
            "jti": new_uuid_v7(now_ms).to_string(), "rev": 1_099_511_627_776_i64,
        })
    }

    pub fn header(&self) -> Value {
        json!({ "alg": self.key.algorithm().as_str(), "kid": self.key.key_id(), "typ": "at+jwt" })
    }

    /// A signed token of these claims.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_text(&self.header().to_string(), &claims.to_string())
    }

    /// A signed token of any two texts.
    pub fn sign_text(&self, header: &str, claims: &str) -> String {
        let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A private key as a file has it.
pub fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"))
}

/// A key as `openssl genpkey` writes it, where there is one; else the same from our own library.
pub fn foreign_key(algorithm: Algorithm) -> String {
    let arguments: &[&str] = match algorithm {
        Algorithm::Es256 => &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
        Algorithm::EdDsa => &["genpkey", "-algorithm", "ed25519"],
    };
    match std::process::Command::new("openssl").args(arguments).output() {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout).unwrap(),
        _ => pem(SigningKey::generate(algorithm).unwrap().pkcs8()),
    }
}
