//! A database of an issuer, and the means to make tokens for it without a server.

use std::{hint::black_box, sync::Arc};

use jeton::{
    mint::MasterKey,
    replica::Keys,
    state::{Client, Permission},
    store::{NewAudit, NewClient, Store},
};
use jeton_postgres::ScratchCluster;
use jeton_state::clock::Clock;
use jeton_token::{
    Algorithm, ApiKey, Claims, RawToken, Revision, SigningKey, UnixSeconds, base64url, new_uuid_v7,
};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{calls::AUDIENCE, cpu};

pub const ISSUER: &str = "http://jeton.bench";
/// Calls of a bare primitive: enough for a steady figure, a fraction of a second.
const BARE_CALLS: u32 = 5_000;

pub struct Issuer {
    pub database_url: String,
    /// Opens the keys: as text.
    pub master_key: String,
    pub api_key: String,
    key: Arc<SigningKey>,
}

impl Issuer {
    /// With a new database of this name, a client that may do everything, and keys.
    pub async fn new(cluster: &ScratchCluster, name: &str) -> Self {
        let mut connection = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
        connection.execute(AssertSqlSafe(format!("create database {name}"))).await.unwrap();
        let database_url = cluster.url(name);
        let master_key = MasterKey::generate().unwrap().to_text().as_str().to_owned();
        let keys = Keys::new(MasterKey::parse(&master_key).unwrap(), Arc::new(Clock::system()));
        let store = Store::new(&database_url).unwrap().sealed(keys.row_seal());
        store.migrate(Clock::system().now()).await.unwrap();
        store.make_partitions(Clock::system().now()).await.unwrap();
        let api_key = register(&store).await;
        keys.ensure(&store).await.unwrap();
        let key = Arc::clone(keys.all(&store).await.unwrap().signers.signer(Algorithm::Es256).unwrap());
        store.close().await;
        Self { database_url, master_key, api_key, key }
    }

    /// So many distinct tokens, made here with the server's own key.
    pub fn tokens(&self, count: usize) -> Vec<String> {
        let half = count / 2;
        std::thread::scope(|scope| {
            let rest = scope.spawn(|| self.mint(count - half));
            let mut tokens = self.mint(half);
            tokens.extend(rest.join().unwrap());
            tokens
        })
    }

    fn mint(&self, count: usize) -> Vec<String> {
        let clock = Clock::system();
        (0..count).map(|_| self.key.mint(&claims(clock.now_ms())).unwrap()).collect()
    }

    /// Seconds of CPU that a bare verification takes.
    pub fn bare_verify(&self) -> f64 {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
        let token = self.mint(1).remove(0);
        let raw = RawToken::parse(&token).unwrap();
        let public = public_point(&self.key.public_jwk());
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).unwrap();
        cpu::per_call(BARE_CALLS, || {
            key.verify_sig(black_box(raw.signing_input().as_bytes()), black_box(raw.signature())).unwrap();
        })
    }

    /// Seconds of CPU that a bare signature with a kept key takes.
    pub fn bare_sign(&self) -> f64 {
        let token = self.mint(1).remove(0);
        let raw = RawToken::parse(&token).unwrap();
        cpu::per_call(BARE_CALLS, || {
            black_box(self.key.sign(black_box(raw.signing_input().as_bytes())).unwrap());
        })
    }
}

/// Ids as those of tokens that were issued just now.
pub fn fresh_jtis(count: usize) -> impl Iterator<Item = String> {
    let clock = Clock::system();
    (0..count).map(move |_| new_uuid_v7(clock.now_ms()).to_string())
}

fn claims(now_ms: i64) -> Claims<'static> {
    let issue_time = UnixSeconds::new(now_ms.div_euclid(1000));
    Claims {
        issuer: ISSUER.into(),
        subject: "svc:bench".into(),
        audiences: vec![AUDIENCE.into()],
        scopes: vec!["read".into(), "write".into()],
        client_id: "bench".into(),
        jti: new_uuid_v7(now_ms),
        session_id: None,
        issue_time,
        not_before: None,
        expire_time: issue_time.saturating_add(3_600),
        revision: Revision::ZERO,
        certificate_thumbprint: None,
        identity_provider: None,
        actor: None,
        custom: serde_json::from_str(
            r#"{"tenant": "a-tenant-of-some-length", "roles": ["reader", "writer", "auditor"]}"#,
        )
        .unwrap(),
    }
}

/// The uncompressed point of a public P-256 JWK.
fn public_point(jwk: &str) -> Vec<u8> {
    let jwk: serde_json::Value = serde_json::from_str(jwk).unwrap();
    let coordinate = |name: &str| base64url::decode(jwk[name].as_str().unwrap()).unwrap();
    [vec![4], coordinate("x"), coordinate("y")].concat()
}

/// Registers a client for every audience and subject, and gives its API key.
async fn register(store: &Store) -> String {
    let key = ApiKey::generate();
    let any = || vec!["*".to_owned()];
    let new = NewClient::new(
        Client {
            client_id: "bench".into(),
            revision: Revision::ZERO,
            permissions: Permission::ALL.to_vec(),
            audiences: any(),
            certificate_uris: Vec::new(),
            subjects: any(),
            own_subject: String::new(),
            disabled: false,
        },
        &key,
    );
    let audit = NewAudit::new(new_uuid_v7(Clock::system().now_ms()), "bench", "PutClient");
    store.put_client(&new, &audit).await.unwrap();
    key.expose().to_owned()
}
