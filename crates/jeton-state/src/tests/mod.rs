//! Tests of the evaluator, its cache and the lease: pure functions of a root, a text and a time.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking"
)]

mod cache;
mod evaluator;
mod lease;

use std::sync::Arc;

use serde_json::Map;
use uuid::{Builder, Uuid};

use super::{
    Accepted, Judge, KeyLife, KeyRecord, KeyRing, KeyState, KnownToken, Leeway, Root, Verdict, VerifiedCache,
};
use jeton_token::{Algorithm, Claims, Revision, SigningKey, UnixSeconds, Verified, base64url};

const ISSUER: &str = "https://tokens.example";
/// 2027-01-15T08:00:00Z.
const NOW_S: i64 = 1_800_000_000;
const NOW_MS: i64 = NOW_S * 1_000;

fn uuid_at(unix_s: i64, salt: u8) -> Uuid {
    Builder::from_unix_timestamp_millis(u64::try_from(unix_s * 1_000).unwrap(), &[salt; 10]).into_uuid()
}

fn revision(place: i64) -> Revision {
    Revision::from_i64(place).unwrap()
}

/// A policy of the audience `lenient` alone.
struct Lenient;

impl Leeway for Lenient {
    fn leeway_s(&self, token: &Verified) -> i64 {
        if token.audiences().eq(["lenient"]) { 5 } else { 0 }
    }
}

/// The state of a replica with one key, and the means to mint with it.
struct Bench {
    root: Root<Lenient>,
    cache: VerifiedCache,
    key: SigningKey,
}

impl Bench {
    fn new() -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let root = Root::new(revision(100), KeyRing::default(), Lenient);
        let bench = Self { root, cache: VerifiedCache::with_capacity(1024 * 1024), key };
        bench.set_key(KeyState::Active, None);
        bench
    }

    /// Puts the key into this state.
    fn set_key(&self, state: KeyState, expire_s: Option<i64>) {
        let life = KeyLife {
            state,
            activate_time: UnixSeconds::new(0),
            expire_time: expire_s.map(UnixSeconds::new),
            published: Revision::ZERO,
        };
        let record = KeyRecord { verifying: self.key.verifying(), life };
        self.root.keys.store(Arc::new(KeyRing::new(vec![record])));
    }

    fn judge(&self) -> Judge<'_, Lenient> {
        Judge { root: &self.root, cache: &self.cache, issuer: ISSUER }
    }

    /// Judges at a millisecond, for any audience.
    fn at(&self, text: &str, now_ms: i64) -> Verdict {
        self.judge().evaluate(text, Accepted { audiences: None, scopes: &[], thumbprint: None }, || now_ms)
    }

    /// The cached token of a text.
    fn known(&self, text: &str) -> Option<Arc<KnownToken>> {
        self.cache.get(self.cache.place(text))
    }

    fn mint(&self, claims: &Claims<'_>) -> String {
        self.key.mint(claims).unwrap()
    }

    /// Signs claims that the key would not mint.
    fn sign(&self, claims: &[u8]) -> String {
        let (alg, kid) = (self.key.algorithm(), self.key.key_id());
        let header = base64url::encode(format!(r#"{{"alg":"{alg}","kid":"{kid}","typ":"at+jwt"}}"#));
        let input = format!("{header}.{}", base64url::encode(claims));
        format!("{input}.{}", base64url::encode(self.key.sign(input.as_bytes()).unwrap()))
    }
}

/// Claims of a token that was issued at `NOW_S` for 900 s.
fn claims() -> Claims<'static> {
    Claims {
        issuer: ISSUER.into(),
        subject: "user:7".into(),
        audiences: vec!["api".into()],
        scopes: vec!["read".into()],
        client_id: "service".into(),
        jti: uuid_at(NOW_S, 0xAB),
        session_id: None,
        issue_time: UnixSeconds::new(NOW_S),
        not_before: None,
        expire_time: UnixSeconds::new(NOW_S + 900),
        revision: revision(50),
        certificate_thumbprint: None,
        identity_provider: None,
        actor: None,
        custom: Map::new(),
    }
}
