//! Shared by these tests: tokens that nobody should make, and their judgement.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::{mint::MasterKey, proto::v1 as pb, replica::Keys};
use jeton_state::clock::Clock;
use jeton_token::Algorithm;
use serde_json::Value;

use crate::world::{Api, Database, Forge, World, master_key_text, validate_request};

/// A token and the one status that it must get.
pub struct Case {
    pub name: String,
    pub token: String,
    pub status: pb::TokenStatus,
}

pub fn case(name: impl Into<String>, token: impl Into<String>, status: pb::TokenStatus) -> Case {
    Case { name: name.into(), token: token.into(), status }
}

/// Judges every case alone and all in batches: by both the status must be the expected one.
pub async fn judge(api: &mut Api, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        match api.validate(&case.token, &["api"]).await {
            Ok(verdict) if verdict.status() == case.status => {}
            Ok(verdict) => {
                wrong.push(format!("{}: {:?}, not {:?}", case.name, verdict.status(), case.status));
            }
            Err(status) => wrong.push(format!("{}: an error: {status:?}", case.name)),
        }
    }
    for chunk in cases.chunks(1_000) {
        let requests = chunk.iter().map(|case| validate_request(&case.token, &["api"])).collect();
        let verdicts = batch(api, requests).await;
        assert_eq!(verdicts.len(), chunk.len());
        for (case, verdict) in chunk.iter().zip(verdicts) {
            if verdict.status() != case.status {
                let name = &case.name;
                wrong.push(format!("{name} in a batch: {:?}, not {:?}", verdict.status(), case.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The verdicts on a batch.
pub async fn batch(api: &mut Api, requests: Vec<pb::ValidateRequest>) -> Vec<pb::Verdict> {
    api.tokens.batch_validate(pb::BatchValidateRequest { requests }).await.unwrap().into_inner().verdicts
}

/// The means to sign with the issuer's key of an algorithm.
pub async fn forge_with(world: &World, algorithm: Algorithm) -> Forge {
    let master = MasterKey::parse(&master_key_text()).unwrap();
    let keys = Keys::new(master, Arc::new(Clock::system())).all(&world.store()).await.unwrap();
    Forge {
        key: Arc::clone(keys.signers.signer(algorithm).unwrap()),
        issuer: world.server.ready.issuer.clone(),
    }
}

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token of any two segments, signed as they are.
pub fn sign_segments(forge: &Forge, header: &str, payload: &str) -> String {
    let input = format!("{header}.{payload}");
    let signature = b64(forge.key.sign(input.as_bytes()).unwrap());
    format!("{input}.{signature}")
}

/// The three segments of a token.
pub fn segments(token: &str) -> [&str; 3] {
    let mut parts = token.split('.');
    [parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap()]
}

/// The signature of a token.
pub fn signature_of(token: &str) -> [u8; 64] {
    URL_SAFE_NO_PAD.decode(segments(token)[2]).unwrap().try_into().unwrap()
}

/// The token with another signature.
pub fn with_signature(token: &str, signature: impl AsRef<[u8]>) -> String {
    let [header, payload, _] = segments(token);
    format!("{header}.{payload}.{}", b64(signature))
}

/// The claims with one changed, or without it.
pub fn with(claims: &Value, name: &str, value: Option<Value>) -> Value {
    let mut claims = claims.clone();
    let members = claims.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(name.to_owned(), value),
        None => members.remove(name),
    };
    claims
}

pub fn now_ms() -> i64 {
    Clock::system().now_ms()
}

/// Changes a client behind the server's back and says so in the log.
pub async fn change_client(database: &Database, client_id: &str, statement: &str) {
    let sql = format!("begin; {statement}; select log_change(2::smallint, '{client_id}'); commit");
    database.execute(&sql).await;
}

/// Sets a bit of the last letter that stands for nothing, where there is one.
pub fn trailing_bits(segment: &str, before: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = segment.split_at(segment.len() - 1);
    let place = ALPHABET.iter().position(|letter| *letter == last.as_bytes()[0]).unwrap();
    let place = if segment.len().is_multiple_of(4) { place } else { place | 1 };
    format!("{before}{rest}{}", char::from(ALPHABET[place]))
}
