//! Random bytes and mutated tokens: never a defect, never ACTIVE.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use jeton_token::Algorithm;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use prost::Message;
use tonic::Code;

use super::support::{batch, forge_with};
use crate::world::{
    Raw, Refused, World, api_key, frame, issue_request, revoke_request, until, validate_request,
};

/// A runner with a new seed at each run, which is printed on failure.
fn runner() -> (TestRunner, [u8; 32]) {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(jeton_token::new_uuid_v7(super::support::now_ms()).as_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    (TestRunner::new_with_rng(Config::default(), rng), seed)
}

const METHODS: [&str; 6] = ["Validate", "BatchValidate", "Issue", "Revoke", "Refresh", "StreamValidate"];

/// Bytes at random to any method, and good messages that were bent a little to their own.
fn bodies(good: Vec<(&'static str, Vec<u8>)>) -> impl Strategy<Value = (&'static str, Vec<u8>)> {
    let change = (any::<prop::sample::Index>(), any::<u8>(), 0..4_u8);
    let bent = (prop::sample::select(good), prop::collection::vec(change, 1..4)).prop_map(
        |((method, mut bytes), changes)| {
            for (place, byte, how) in changes {
                if bytes.is_empty() {
                    break;
                }
                let place = place.index(bytes.len());
                match how {
                    0 => bytes[place] = byte,
                    1 => bytes[place] ^= 1 << (byte % 8),
                    2 => bytes.truncate(place),
                    _ => bytes.insert(place, byte),
                }
            }
            (method, bytes)
        },
    );
    let any_method = prop::sample::select(METHODS.to_vec());
    // Tags of fields that there are, with lengths that fit more often than not.
    let tags = prop::collection::vec(prop_oneof![0_u8..0x60, 0_u8..4, any::<u8>()], 0..80);
    prop_oneof![
        (any_method.clone(), prop::collection::vec(any::<u8>(), 0..300)),
        (any_method, tags),
        bent.clone(),
        bent,
    ]
}

#[tokio::test]
async fn v1_random_bodies_meet_no_defect_and_the_server_lives_on() {
    let mut world = World::start().await;
    let mut api = world.api("service").await;
    let session = api.session("user:7", "api").await;
    let token = session.access_token.clone();
    let refresh = session.refresh.unwrap().refresh_token;
    let claims = prost_types::Struct { fields: [("a".to_owned(), prost_types::Value::from(1.5))].into() };
    let issue = pb::IssueRequest {
        claims: Some(claims),
        expiration: Some(pb::issue_request::Expiration::Ttl(crate::world::seconds(60))),
        ..issue_request("user:7", &["api"])
    };
    let request = validate_request(&token, &["api"]);
    let several = pb::BatchValidateRequest { requests: vec![request.clone(); 3] };
    let spent = pb::RefreshRequest { refresh_token: refresh, ..Default::default() };
    let good = vec![
        ("Validate", request.encode_to_vec()),
        ("BatchValidate", several.encode_to_vec()),
        ("StreamValidate", pb::StreamValidateRequest { request: Some(request) }.encode_to_vec()),
        ("Issue", issue.encode_to_vec()),
        ("Issue", pb::IssueRequest { refreshable: true, ..issue }.encode_to_vec()),
        ("Revoke", revoke_request(Kind::Token(token.clone())).encode_to_vec()),
        ("Revoke", revoke_request(Kind::Token("x".to_owned())).encode_to_vec()),
        ("Refresh", spent.encode_to_vec()),
    ];
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let wide = Raw::open(&world.server.ready.admin, &api_key("service")).await;
    let strategy = bodies(good);
    let (mut runner, seed) = runner();
    let mut met = std::collections::HashMap::new();
    for round in 0..3_000 {
        let (method, body) = strategy.new_tree(&mut runner).unwrap().current();
        let path = format!("/jeton.v1.TokenService/{method}");
        let connection = if round % 4 == 0 { &wide } else { &raw };
        let mut answer = None;
        until(&format!("{method} is answered to {body:?}, seed {seed:?}"), async || {
            let called = connection.call(&path, frame(&body)).await;
            // A machine that stood still has let the lease run out: the same is asked again.
            let is_away = called.status().code() == Code::Unavailable;
            answer = Some(called);
            !is_away
        })
        .await;
        let answer = answer.unwrap();
        let code = answer.status().code();
        let defect = matches!(code, Code::Internal | Code::Unknown | Code::DataLoss);
        assert!(!defect, "{method} with {body:?}, seed {seed:?}: {:?}", answer.status());
        if code != Code::Ok {
            answer.result().refused();
        }
        *met.entry(code).or_insert(0) += 1;
    }
    assert!(met.get(&Code::Ok).is_some_and(|n| *n > 100), "some were good: {met:?}");
    assert!(met.get(&Code::InvalidArgument).is_some_and(|n| *n > 500), "most were not: {met:?}");
    assert_eq!((raw.opened(), wide.opened()), (1, 1), "both connections live");
    assert!(world.server.is_running(), "it is the same process");
    let fresh = api.token("user:8", "api").await;
    assert_eq!(api.status(&fresh.access_token, "api").await, TokenStatus::Active);
    assert!(!world.server.logged().contains("panicked"), "and it never panicked");
}

/// Judges texts in batches: a verdict for each, and none ACTIVE.
async fn assert_none_active(api: &mut crate::world::Api, texts: Vec<String>) {
    for chunk in texts.chunks(1_000) {
        let requests = chunk.iter().map(|text| validate_request(text, &["api"])).collect();
        for (text, verdict) in chunk.iter().zip(batch(api, requests).await) {
            let status = verdict.status();
            let refused = matches!(
                status,
                TokenStatus::Malformed | TokenStatus::UnknownKey | TokenStatus::BadSignature
            );
            assert!(refused, "{status:?} for {text:?}");
            assert!(verdict.jti.is_empty(), "nothing of it is told: {verdict:?}");
        }
    }
}

#[tokio::test]
async fn v1_a_token_with_any_byte_changed_is_refused() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let forge = forge_with(&world, algorithm).await;
        let token = forge.sign(&forge.claims());
        assert_eq!(api.status(&token, "api").await, TokenStatus::Active);
        let mut texts = Vec::new();
        for place in 0..token.len() {
            let (before, after) = (&token[..place], &token[place + 1..]);
            let here = token.as_bytes()[place];
            texts.push(format!("{before}{after}"));
            for other in *b"AZaz09-_. =+\n\0" {
                if other != here {
                    texts.push(format!("{before}{}{after}", char::from(other)));
                }
            }
            for bit in 0..7 {
                texts.push(format!("{before}{}{after}", char::from(here ^ (1 << bit))));
            }
            texts.push(token[..place].to_owned());
        }
        // An empty text is no token, but a field that is missing.
        texts.retain(|text| !text.is_empty());
        assert_none_active(&mut api, texts).await;
    }
}

#[tokio::test]
async fn v1_random_texts_and_shuffled_tokens_are_refused() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let (mut runner, _seed) = runner();
    let tokens: Vec<String> =
        vec![api.token("user:7", "api").await.access_token, api.token("user:8", "api").await.access_token];
    let segments: Vec<String> = tokens.iter().flat_map(|token| token.split('.').map(str::to_owned)).collect();
    // One header, two payloads, two signatures: only the pairs that belong together are good.
    let strategy = prop_oneof![
        any::<String>(),
        "[A-Za-z0-9_-]{0,80}\\.[A-Za-z0-9_-]{0,200}\\.[A-Za-z0-9_-]{86}",
        "[A-Za-z0-9_.-]{1,300}",
        prop::collection::vec(prop::sample::select(segments), 1..5).prop_map(|parts| parts.join(".")),
    ];
    let mut texts = Vec::new();
    while texts.len() < 6_000 {
        let text = strategy.new_tree(&mut runner).unwrap().current();
        if !text.is_empty() && !tokens.contains(&text) {
            texts.push(text);
        }
    }
    assert_none_active(&mut api, texts).await;
}
