//! What is measured: the real server function on a real Postgres, in this process, with one serving
//! thread.

use std::{hint::black_box, num::NonZero, sync::Arc};

use jeton::{
    clock::Clock,
    dev::ScratchCluster,
    replica::Keys,
    serve::{Access, Bounds, Listeners, Settings, serve},
    state::{Client, Permission},
    store::{NewAudit, NewClient, Store},
    token::{Algorithm, ApiKey, Claims, MasterKey, RawToken, Revision, SigningKey, UnixSeconds, new_uuid_v7},
};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{cpu, empty::Empty};

const ISSUER: &str = "http://jeton.bench";
/// Calls of a bare primitive: enough for a steady figure, a fraction of a second.
const BARE_CALLS: u32 = 5_000;

/// A server, and the means to make tokens for it.
pub struct Subject {
    pub address: String,
    pub api_key: String,
    key: Arc<SigningKey>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    _cluster: ScratchCluster,
}

impl Subject {
    pub async fn start(large: bool) -> Self {
        let binaries = std::env::var_os("JETON_POSTGRES_BIN");
        let cluster = ScratchCluster::start(binaries.as_ref().map(AsRef::as_ref)).unwrap();
        let url = cluster.url("postgres");
        let store = Store::new(&url).unwrap();
        store.migrate(Clock::system().now()).await.unwrap();
        let api_key = register(&store, &[Permission::Issue, Permission::Validate]).await;
        if large {
            revoke_millions(&url).await;
        }
        let master = MasterKey::generate().unwrap();
        let text = master.to_text();
        let keys = Keys::new(MasterKey::parse(&text).unwrap(), Arc::new(Clock::system()));
        keys.ensure(&store).await.unwrap();
        let key = Arc::clone(keys.ring(&store).await.unwrap().signer(Algorithm::Es256).unwrap());
        let stop = CancellationToken::new();
        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = public.local_addr().unwrap().to_string();
        let listeners = Listeners {
            public,
            admin: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            ops: TcpListener::bind("127.0.0.1:0").await.unwrap(),
        };
        let settings = Settings {
            database_url: url,
            master_key: master,
            issuer: Some(ISSUER.into()),
            replica: "bench".into(),
            ready_file: None,
            previous_master_key: None,
            schedule: jeton::replica::Schedule::default(),
            advertise: None,
            prober: None,
            clock: Clock::system().into(),
            access: Access::default(),
            bounds: Bounds::default(),
            threads: NonZero::<usize>::MIN,
            beside: |routes| routes.add_service(Empty),
        };
        let asked = stop.clone();
        let serving = tokio::spawn(async move { serve(listeners, settings, asked).await.unwrap() });
        Self { address, api_key, key, stop, serving, _cluster: cluster }
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
        (0..count)
            .map(|_| {
                let now_ms = clock.now_ms();
                self.key.mint(&claims(now_ms)).unwrap()
            })
            .collect()
    }

    /// Seconds of CPU that a bare verification takes.
    pub fn bare_verify(&self) -> f64 {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
        let token = self.tokens(1).remove(0);
        let raw = RawToken::parse(&token).unwrap();
        let public = public_point(&self.key.public_jwk());
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public).unwrap();
        cpu::per_call(BARE_CALLS, || {
            key.verify_sig(black_box(raw.signing_input().as_bytes()), black_box(raw.signature())).unwrap();
        })
    }

    /// Seconds of CPU that a bare signature with a kept key takes.
    pub fn bare_sign(&self) -> f64 {
        let token = self.tokens(1).remove(0);
        let raw = RawToken::parse(&token).unwrap();
        cpu::per_call(BARE_CALLS, || {
            black_box(self.key.sign(black_box(raw.signing_input().as_bytes())).unwrap());
        })
    }

    pub async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

fn claims(now_ms: i64) -> Claims {
    let issue_time = UnixSeconds::new(now_ms.div_euclid(1000));
    Claims {
        issuer: ISSUER.into(),
        subject: "svc:bench".into(),
        audiences: vec!["api".into()],
        scopes: vec!["read".into(), "write".into()],
        client_id: "bench".into(),
        jti: new_uuid_v7(now_ms),
        session_id: None,
        issue_time,
        not_before: None,
        expire_time: issue_time.saturating_add(3_600),
        revision: Revision::ZERO,
        certificate_thumbprint: None,
        custom: serde_json::from_str(
            r#"{"tenant": "a-tenant-of-some-length", "roles": ["reader", "writer", "auditor"]}"#,
        )
        .unwrap(),
    }
}

/// The uncompressed point of a public P-256 JWK.
fn public_point(jwk: &str) -> Vec<u8> {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let jwk: serde_json::Value = serde_json::from_str(jwk).unwrap();
    let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
    [vec![4], coordinate("x"), coordinate("y")].concat()
}

/// Registers a client for every audience and subject, and gives its API key.
pub async fn register(store: &Store, permissions: &[Permission]) -> String {
    let key = ApiKey::generate();
    let any = || vec!["*".to_owned()];
    let new = NewClient::new(
        Client {
            client_id: "bench".into(),
            revision: Revision::ZERO,
            permissions: permissions.to_vec(),
            audiences: any(),
            certificate_uris: Vec::new(),
            subjects: any(),
            disabled: false,
        },
        &key,
    );
    let audit = NewAudit::new(new_uuid_v7(Clock::system().now_ms()), "bench", "PutClient");
    store.put_client(&new, &audit).await.unwrap();
    key.expose().to_owned()
}

/// Ten million live revocations and a million marks, none of which hits what is measured.
async fn revoke_millions(url: &str) {
    let pool = PgPool::connect(url).await.unwrap();
    let statements = [
        "update log_head set seq = seq + 1",
        "insert into revocation (id, kind, expire_time, revision, reason)
         select gen_random_uuid(), 1, now() + interval '20 hours', 1099511627777, 1 from generate_series(1, 10000000)",
        "insert into mark (kind, target, revision, position, cutoff_s, reason, expire_time)
         select 3, 'user:' || i, 1099511627777, 1099511627777, 0, 1, now() + interval '20 hours'
           from generate_series(1, 1000000) i",
    ];
    for statement in statements {
        pool.execute(AssertSqlSafe(statement)).await.unwrap();
    }
    pool.close().await;
}
