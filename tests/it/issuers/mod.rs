//! C10, O8 to O11: issuers of others, whose assertions are accepted by the rules of their registration.

mod assertions;
mod exchange;
mod hostile;
mod registry;

use jeton::{
    proto::v1::{self as pb, trusted_issuer::KeySource},
    state::Permission,
};
use jeton_state::clock::Clock;
use jeton_token::{Algorithm, SigningKey, base64url};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
};

use crate::world::{Api, HttpAnswer, World, http};

const TOKEN: &str = "/oauth2/token";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// What a foreign issuer answers to whoever asks for its keys: a status, a further header, and a body.
#[derive(Clone)]
struct Answer {
    status: u16,
    header: String,
    body: String,
}

impl Answer {
    fn of(body: impl Into<String>) -> Self {
        Self { status: 200, header: String::new(), body: body.into() }
    }
}

/// An issuer of others: an HTTP server of this machine, with a key. It counts who asks for its keys.
struct Foreign {
    key: SigningKey,
    url: String,
    answer: watch::Sender<Answer>,
    asked: watch::Receiver<usize>,
    server: JoinHandle<()>,
}

impl Drop for Foreign {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn key_set(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| serde_json::from_str(&key.public_jwk()).unwrap()).collect();
    json!({ "keys": keys }).to_string()
}

impl Foreign {
    async fn start() -> Self {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (answer, answers) = watch::channel(Answer::of(key_set(&[&key])));
        let (count, asked) = watch::channel(0);
        let server = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                // A peer that goes away is none of its business.
                let Ok(1..) = stream.read(&mut request).await else { continue };
                count.send_modify(|count| *count += 1);
                let Answer { status, header, body } = answers.borrow().clone();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{header}\r\n{body}",
                    body.len()
                );
                let _gone = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { key, url, answer, asked, server }
    }

    fn says(&self, answer: Answer) {
        self.answer.send_replace(answer);
    }

    /// Its registration as `id`: its subjects of `ci` are `client`, as `ci:{sub}`.
    fn registration(&self, id: &str, client: &str) -> pb::TrustedIssuer {
        pb::TrustedIssuer {
            issuer_id: id.to_owned(),
            issuer: self.url.clone(),
            key_source: Some(KeySource::JwksUri(format!("{}/keys", self.url))),
            audiences: vec!["jeton".to_owned()],
            rules: vec![rule(0, &[("group", "ci")], client, "ci:{sub}")],
            ..Default::default()
        }
    }

    /// Claims of an assertion that would be accepted.
    fn claims(&self) -> Value {
        let now = Clock::system().now_ms().div_euclid(1000);
        json!({
            "iss": self.url, "sub": "build-7", "aud": "jeton", "group": "ci", "iat": now, "nbf": now, "exp": now + 300,
            "jti": "x",
        })
    }

    fn sign(&self, claims: &Value) -> String {
        sign_by(&self.key, &json!({ "alg": "ES256", "kid": self.key.key_id(), "typ": "JWT" }), claims)
    }

    fn assertion(&self) -> String {
        self.sign(&self.claims())
    }
}

fn sign_by(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let input =
        format!("{}.{}", base64url::encode(header.to_string()), base64url::encode(claims.to_string()));
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", base64url::encode(signature))
}

fn rule(priority: i32, conditions: &[(&str, &str)], client: &str, subject: &str) -> pb::MappingRule {
    let condition = |(claim, value): &(&str, &str)| pb::ClaimCondition {
        claim: (*claim).to_owned(),
        r#match: Some(match value.strip_suffix('*') {
            Some(prefix) => pb::claim_condition::Match::Prefix(prefix.to_owned()),
            None => pb::claim_condition::Match::Exact((*value).to_owned()),
        }),
    };
    pb::MappingRule {
        priority,
        conditions: conditions.iter().map(condition).collect(),
        client_id: client.to_owned(),
        subject: subject.to_owned(),
    }
}

/// The least that an issuer has.
pub fn issuer(id: &str) -> pb::TrustedIssuer {
    pb::TrustedIssuer {
        issuer_id: id.to_owned(),
        issuer: format!("https://{id}.example"),
        key_source: Some(KeySource::OidcDiscovery(true)),
        ..Default::default()
    }
}

/// One with rules.
pub fn full(id: &str) -> pb::TrustedIssuer {
    let rules = vec![rule(0, &[("group", "ci"), ("ref", "refs/heads/*")], "service", "ci:{sub}")];
    pb::TrustedIssuer { rules, audiences: vec!["jeton".to_owned()], ..issuer(id) }
}

pub async fn get(api: &mut Api, id: &str) -> Result<pb::TrustedIssuer, tonic::Status> {
    let request = pb::GetIssuerRequest { issuer_id: id.to_owned() };
    api.admin.get_issuer(request).await.map(|answer| answer.into_inner().issuer.unwrap())
}

pub async fn delete(api: &mut Api, id: &str) -> Result<(), tonic::Status> {
    let request = pb::DeleteIssuerRequest { issuer_id: id.to_owned(), ..Default::default() };
    api.admin.delete_issuer(request).await.map(drop)
}

pub async fn create(api: &mut Api, issuer: pb::TrustedIssuer) -> Result<pb::TrustedIssuer, tonic::Status> {
    let request = pb::CreateIssuerRequest { issuer: Some(issuer) };
    api.admin.create_issuer(request).await.map(|answer| answer.into_inner().issuer.unwrap())
}

pub async fn update(
    api: &mut Api,
    issuer: pb::TrustedIssuer,
    paths: &[&str],
) -> Result<pb::TrustedIssuer, tonic::Status> {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    let update_mask = Some(prost_types::FieldMask { paths });
    let request = pb::UpdateIssuerRequest { issuer: Some(issuer), update_mask };
    api.admin.update_issuer(request).await.map(|answer| answer.into_inner().issuer.unwrap())
}

/// A world with a client `runner` that may issue for `api` and subjects of `ci:`, and a foreign issuer `ci` whose
/// assertions are this client.
async fn world() -> (World, Foreign, Api) {
    let world = World::start().await;
    let foreign = Foreign::start().await;
    world.register("runner", &[Permission::Issue], &["api"], &["ci:*"]).await;
    let mut admin = world.api("admin").await;
    create(&mut admin, foreign.registration("ci", "runner")).await.unwrap();
    (world, foreign, admin)
}

/// Asks for a token without any other authentication.
async fn ask(public: &str, form: &str) -> HttpAnswer {
    http(public, "POST", TOKEN, &[FORM], form).await
}

async fn bearer(world: &World, assertion: &str) -> HttpAnswer {
    ask(&world.server.ready.public, &format!("grant_type={JWT_BEARER}&assertion={assertion}")).await
}

fn claims_of(answer: &HttpAnswer) -> Value {
    let token = answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
    serde_json::from_slice(&base64url::decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[track_caller]
fn assert_error(answer: &HttpAnswer, status: u16, error: &str, words: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (status, error), "{answer:?}");
    let said = answer.json()["error_description"].as_str().unwrap().to_owned();
    assert!(said.contains(words), "{said:?} lacks {words:?}");
}
