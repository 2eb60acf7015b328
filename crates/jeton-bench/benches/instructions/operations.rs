//! The operations whose instructions are counted, without cryptography: the instructions of the library depend on the
//! machine. The key is that of RFC 7515 appendix A.3; the signature is invalid, and never checked.
//!
//! Not fixed: the seeds of hash tables and the cache's secret, which change a count by some instructions if entries
//! collide; so each look-up is for another id.

use std::{hint::black_box, sync::Arc};

use jeton::state::{
    Accepted, Entry, Issuing, Judge, KeyLife, KeyRecord, KeyRing, KeyState, KnownToken, Reason, Root, Status,
    VerifiedCache,
};
use jeton_token::{Claims, RawToken, Revision, UnixSeconds, Verified, VerifyingKey, base64url};
use uuid::{Builder, Uuid};

const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
const ISSUER: &str = "https://tokens.example";
/// 2027-01-15T08:00:00Z.
const NOW_S: i64 = 1_800_000_000;
/// Entries of the denylist: few, because the cost of adding them varies from run to run.
const REVOKED: i64 = 1_000;

/// The inputs of the operations.
pub struct Bench {
    root: Root,
    cache: VerifiedCache,
    claims: Claims<'static>,
    key_id: Arc<str>,
    text: String,
    audiences: [String; 1],
    revoked: Vec<Uuid>,
    others: Vec<Uuid>,
}

/// The second argument counts.
pub type Operation = fn(&Bench, usize);

/// Each operation with its number of runs: enough that the rest of the process does not matter.
pub const ALL: [(&str, Operation, u64); 7] = [
    ("evaluate a token seen before", evaluate, 100_000),
    ("evaluate a token never seen, but for its signature", evaluate_unseen, 10_000),
    ("RawToken::parse", parse, 10_000),
    ("Claims::parse", read_claims, 10_000),
    ("Claims::to_json", write_claims, 30_000),
    ("Denylist::get, revoked", hit, 1_000_000),
    ("Denylist::get, not revoked", miss, 1_000_000),
];

impl Bench {
    pub fn new() -> Self {
        let verifying = VerifyingKey::from_jwk(JWK).unwrap();
        let key_id: Arc<str> = verifying.key_id().into();
        let life = KeyLife {
            state: KeyState::Active,
            activate_time: UnixSeconds::new(0),
            expire_time: None,
            published: Revision::ZERO,
        };
        let keys = KeyRing::new(vec![KeyRecord { verifying, life }]);
        let root = Root::new(Revision::ZERO, keys, Issuing::default());
        let revoked: Vec<Uuid> = (0..REVOKED).map(jti).collect();
        let expire_time = UnixSeconds::new(NOW_S + 900);
        for id in &revoked {
            root.apply(Entry::Token { id: *id, expire_time, reason: Reason::Logout });
        }
        let claims = claims();
        let header = format!(r#"{{"alg":"ES256","kid":"{key_id}","typ":"at+jwt"}}"#);
        let parts = [header.into_bytes(), claims.to_json(), vec![7; 64]];
        let text = parts.map(base64url::encode).join(".");
        let cache = VerifiedCache::with_capacity(1024 * 1024);
        let bench = Self {
            root,
            cache,
            claims,
            key_id,
            text,
            audiences: ["api".to_owned()],
            revoked,
            others: (REVOKED..2 * REVOKED).map(jti).collect(),
        };
        bench.remember(&bench.claims);
        bench
    }

    fn remember(&self, claims: &Claims<'_>) {
        let verified = Verified::new(claims, Arc::clone(&self.key_id));
        self.cache.insert(self.cache.place(&self.text), &Arc::new(KnownToken::new(verified, None)));
    }
}

fn evaluate(bench: &Bench, _: usize) {
    let judge = Judge { root: &bench.root, cache: &bench.cache, issuer: ISSUER };
    let accepted = Accepted { audiences: Some(&bench.audiences), scopes: &[], thumbprint: None };
    let verdict = judge.evaluate(black_box(&bench.text), accepted, || NOW_S * 1_000);
    assert!(black_box(verdict).status == Status::Active);
}

/// The part of [`Judge::verify`] beside the signature, and the rest.
fn evaluate_unseen(bench: &Bench, turn: usize) {
    let raw = RawToken::parse(black_box(&bench.text)).unwrap();
    let keys = bench.root.keys.load();
    assert!(keys.find(raw.key_id(), UnixSeconds::new(NOW_S)).is_some());
    bench.remember(&Claims::parse(raw.payload()).unwrap());
    evaluate(bench, turn);
}

fn parse(bench: &Bench, _: usize) {
    black_box(RawToken::parse(black_box(&bench.text)).unwrap());
}

fn read_claims(bench: &Bench, _: usize) {
    let payload = bench.text.split('.').nth(1).unwrap();
    let payload = base64url::decode(black_box(payload)).unwrap();
    black_box(Claims::parse(&payload).unwrap());
}

fn write_claims(bench: &Bench, _: usize) {
    black_box(black_box(&bench.claims).to_json());
}

fn hit(bench: &Bench, turn: usize) {
    assert!(bench.root.tokens.get(black_box(&bench.revoked[turn % bench.revoked.len()])).is_some());
}

fn miss(bench: &Bench, turn: usize) {
    assert!(bench.root.tokens.get(black_box(&bench.others[turn % bench.others.len()])).is_none());
}

fn jti(number: i64) -> Uuid {
    let millis = u64::try_from(NOW_S * 1_000 + number).unwrap();
    Builder::from_unix_timestamp_millis(millis, &[0xAB; 10]).into_uuid()
}

fn claims() -> Claims<'static> {
    Claims {
        issuer: ISSUER.into(),
        subject: "user:7".into(),
        audiences: vec!["api".into()],
        scopes: vec!["read".into(), "write".into()],
        client_id: "service".into(),
        jti: jti(-1),
        session_id: None,
        issue_time: UnixSeconds::new(NOW_S),
        not_before: None,
        expire_time: UnixSeconds::new(NOW_S + 900),
        revision: Revision::ZERO,
        certificate_thumbprint: None,
        identity_provider: None,
        actor: None,
        custom: serde_json::from_str(
            r#"{"tenant": "a-tenant-of-some-length", "roles": ["reader", "writer"]}"#,
        )
        .unwrap(),
    }
}
