//! E15: what the other ends of connections can make a server hold is bounded, whoever they are, and what does not come
//! or is not taken ends.

use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use jeton::proto::v1::{self as pb, TokenStatus};
use prost::Message;
use tokio::task::JoinSet;
use tonic::Code;

use crate::world::{
    Raw, Refused, Secure, World, api_key, frame, framed,
    frames::{self, DATA, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE, RST_STREAM, headers},
    open, until, validate_request,
};

/// Over rest, under any attack.
const MORE_MAX: u64 = 32 << 20;
/// What a test adds that is none of it: the cache of tokens, pages of tables.
const SLACK: u64 = 4 << 20;

const VALIDATE: &str = "/jeton.v1.TokenService/Validate";
const BATCH: &str = "/jeton.v1.TokenService/BatchValidate";
const ISSUE: &str = "/jeton.v1.TokenService/Issue";
const INFO: &str = "/jeton.v1.DiscoveryService/GetServerInfo";
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// A message that says how long it is, and of which so much is sent.
fn part(announced: u32, sent: usize) -> Vec<u8> {
    framed(0, announced, &vec![0x0a; sent])
}

/// Calls of one connection whose messages do not arrive: as many as there may be, and until they are refused.
async fn unfinished(
    address: String,
    key: String,
    path: &'static str,
    announced: u32,
    sent: usize,
) -> Vec<Code> {
    let raw = Raw::open(&address, &key).await;
    let calls = (0..60).map(|_| raw.call_unfinished(path, part(announced, sent)));
    let answers: Vec<_> = stream::iter(calls).buffer_unordered(60).collect().await;
    // A peer that goes on sending to streams that were refused is told to go.
    let code = |answer: Result<crate::world::RawAnswer, _>| {
        answer.map_or(Code::ResourceExhausted, |answer| answer.status().code())
    };
    answers.into_iter().map(code).collect()
}

#[tokio::test]
async fn e15_messages_that_do_not_arrive_hold_little_and_others_are_answered() {
    let world = World::start().await;
    let ready = &world.server.ready;
    let mut modest = world.api("service").await;
    let token = modest.token("user:7", "api").await.access_token;
    let rest = world.server.resident();
    let mut attack = JoinSet::new();
    for _ in 0..5 {
        let mut add = |address: &String, key: &str, path, announced, sent| {
            attack.spawn(unfinished(address.clone(), key.to_owned(), path, announced, sent));
        };
        // Strangers, then clients; long ones last.
        add(&ready.public, "", INFO, 16 << 10, 16_000);
        add(&ready.public, "", CHECK, 16 << 10, 1);
        add(&ready.ops, "", CHECK, 16 << 10, 16_000);
        let service = api_key("service");
        add(&ready.public, &service, VALIDATE, 16 << 10, 16_000);
        add(&ready.public, &service, ISSUE, 64 << 10, 60_000);
        add(&ready.public, &service, BATCH, 9 << 20, 1 << 20);
    }
    let (mut most, mut answered) = (0, 0);
    while !attack.is_empty() {
        most = most.max(world.server.resident());
        // Whose calls come whole is answered all the while, and so are probes.
        assert_eq!(modest.status(&token, "api").await, TokenStatus::Active);
        assert_eq!(world.server.ops("/livez").await.0, 200);
        answered += 1;
        while let Some(codes) = attack.try_join_next() {
            let codes = codes.unwrap();
            let refused = |code: &Code| matches!(code, Code::DeadlineExceeded | Code::ResourceExhausted);
            assert!(codes.iter().all(refused), "{codes:?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(answered > 2, "{answered}");
    let more = most.saturating_sub(rest);
    assert!(more <= MORE_MAX + SLACK, "{} MiB more", more >> 20);
    // Nothing of it stays counted.
    let raw = Raw::open(&ready.public, &api_key("service")).await;
    let batch = pb::BatchValidateRequest { requests: vec![validate_request(&token, &["api"]); 1_000] };
    raw.send(BATCH, &batch).await.result().unwrap();
}

#[tokio::test]
async fn e15_a_message_that_does_not_arrive_within_10_s_is_refused() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    for (key, path) in [("", INFO), ("service", VALIDATE), ("service", BATCH)] {
        let key = if key.is_empty() { String::new() } else { api_key(key) };
        let (raw, begun) = (Raw::open(public, &key).await, Instant::now());
        let answer = raw.call_unfinished(path, part(1_000, 999)).await.unwrap();
        assert_eq!(answer.result().refused().reason, "DEADLINE_EXCEEDED", "{path}");
        assert!(begun.elapsed().as_secs() >= 9, "{path}: {:?}", begun.elapsed());
        // The connection lives on.
        assert_ne!(raw.call(path, frame(&[])).await.status().code(), Code::Unavailable);
        assert_eq!(raw.opened(), 1);
    }
}

#[tokio::test]
async fn e15_who_may_not_is_refused_before_anything_of_the_message_is_read() {
    let world = World::start().await;
    let ready = &world.server.ready;
    for (address, client, path) in [
        (&ready.public, "validator", ISSUE),
        (&ready.public, "validator", "/jeton.v1.TokenService/Refresh"),
        (&ready.public, "nobody", VALIDATE),
        (&ready.public, "nobody", BATCH),
        (&ready.public, "nobody", "/jeton.v1.TokenService/StreamValidate"),
        (&ready.public, "nobody", "/envoy.service.auth.v3.Authorization/Check"),
        (&ready.admin, "nobody", "/jeton.v1.AdminService/ListClients"),
        (&ready.admin, "reader", "/jeton.v1.AdminService/CreateClient"),
    ] {
        let mut frames = Frames::open(address).await;
        let bearer = format!("Bearer {}", api_key(client));
        // No byte of a message is ever sent.
        frames.write(&headers(1, path, &[("authorization", &bearer)], 0)).await;
        loop {
            let came = frames.next().await.expect("an answer");
            if (came.kind, came.stream) == (HEADERS, 1) {
                let text = String::from_utf8_lossy(&came.payload).into_owned();
                assert!(came.flags & END_STREAM != 0, "{path}: {text}");
                break;
            }
        }
    }
    let raw = Raw::open(&ready.public, &api_key("validator")).await;
    assert_eq!(raw.call(ISSUE, frame(&[])).await.result().refused().reason, "CALLER_FORBIDDEN");
}

/// Batches whose answers are long, on a connection whose peer takes nothing of them.
async fn take_nothing(mut frames: Frames, key: &str, batch: &[u8], calls: u32) -> Frames {
    let bearer = format!("Bearer {key}");
    for call in 0..calls {
        let stream = call * 2 + 1;
        frames.write(&headers(stream, BATCH, &[("authorization", &bearer)], 0)).await;
        let body = framed(0, batch.len().try_into().unwrap(), batch);
        let mut parts = body.chunks(16_000).peekable();
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() { END_STREAM } else { 0 };
            frames.write(&frames::frame(DATA, end, stream, part)).await;
        }
        // It is read before the next one comes: the windows are small.
        frames.until_pong().await;
    }
    frames
}

#[tokio::test]
async fn e15_answers_that_are_not_taken_hold_little_and_their_streams_are_reset() {
    let secure = Secure::start().await;
    let mut modest = secure.api("service");
    let token = modest.token("user:7", "api").await.access_token;
    // Few bytes ask for many.
    let requests = vec![validate_request(&token, &["api"]); 60];
    let batch = pb::BatchValidateRequest { requests }.encode_to_vec();
    let rest = secure.world.server.resident();
    let mut most = rest;
    let mut connections = Vec::new();
    for place in 0..6 {
        let dialer = crate::world::Dialer::new(&secure.servers, None, &["h2"]);
        let wire = dialer.dial(secure.public()).await.unwrap();
        // No room at all, or for one byte of each.
        let frames = Frames::with_settings(wire, &[(INITIAL_WINDOW_SIZE, place % 2)]).await;
        connections.push(take_nothing(frames, &api_key("service"), &batch, 200).await);
        most = most.max(secure.world.server.resident());
        assert_eq!(modest.status(&token, "api").await, TokenStatus::Active);
    }
    let more = most.saturating_sub(rest);
    assert!(more <= MORE_MAX + SLACK, "{} MiB more", more >> 20);
    // What is not taken does not stay: its stream is reset, or its connection ends.
    for mut frames in connections {
        let ended = async {
            while let Some(came) = frames.next().await {
                if came.kind == RST_STREAM {
                    break;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(90), ended).await.expect("a reset, or the end");
    }
}

#[tokio::test]
async fn e15_a_connection_that_has_not_authenticated_has_few_calls_and_one_that_has_many() {
    let world = World::start().await;
    let mut peer = Frames::open(&world.server.ready.public).await;
    let watch = |stream: u32, more: &[(&str, &str)]| {
        let head = headers(stream, "/grpc.health.v1.Health/Watch", more, 0);
        [head, frames::frame(DATA, END_STREAM, stream, &frame(&[]))].concat()
    };
    // The head alone is an answer that says no; a Watch is answered with a head, and goes on.
    let refuses = async |peer: &mut Frames, stream: u32| {
        loop {
            let came = peer.next().await.expect("an answer");
            if (came.kind, came.stream) == (HEADERS, stream) {
                return came.flags & END_STREAM != 0;
            }
        }
    };
    for call in 0..8 {
        peer.write(&watch(call * 2 + 1, &[])).await;
        assert!(!refuses(&mut peer, call * 2 + 1).await, "{call}");
    }
    peer.write(&watch(17, &[])).await;
    assert!(refuses(&mut peer, 17).await);
    // Ends one, another may begin.
    let mut stream = 17;
    peer.write(&frames::reset(1)).await;
    until("there is room", async || {
        stream += 2;
        peer.write(&watch(stream, &[])).await;
        !refuses(&mut peer, stream).await
    })
    .await;
    // Once somebody has authenticated on it, there are as many as streams.
    let bearer = format!("Bearer {}", api_key("service"));
    stream += 2;
    let head = headers(stream, VALIDATE, &[("authorization", bearer.as_str())], 0);
    peer.write(&[head, frames::frame(DATA, END_STREAM, stream, &frame(&[]))].concat()).await;
    assert!(refuses(&mut peer, stream).await, "for want of a token");
    for _ in 0..50 {
        stream += 2;
        peer.write(&watch(stream, &[])).await;
        assert!(!refuses(&mut peer, stream).await);
    }
}

/// Some bytes refer to headers that were sent before, and stand for as many as a head may have.
#[tokio::test]
async fn e15_heads_that_refer_to_what_was_sent_before_hold_little() {
    let world = World::start().await;
    let mut modest = world.api("service").await;
    let token = modest.token("user:7", "api").await.access_token;
    let rest = world.server.resident();
    let mut most = rest;
    let mut peers = Vec::new();
    for _ in 0..20 {
        let mut peer = Frames::over(open(&world.server.ready.public).await).await;
        for call in 0..200_u32 {
            let mut block = headers(call * 2 + 1, INFO, &[], 0)[9..].to_vec();
            if call == 0 {
                // One to be remembered (RFC 7541 section 6.2.1): its place is 62.
                block.extend([0x40, 1, b'x', 1, b'y']);
            }
            block.extend(std::iter::repeat_n(0x80 | 0x3e, 400));
            peer.write(&frames::frame(HEADERS, 4, call * 2 + 1, &block)).await;
        }
        peer.until_pong().await;
        most = most.max(world.server.resident());
        assert_eq!(modest.status(&token, "api").await, TokenStatus::Active);
        peers.push(peer);
    }
    let more = most.saturating_sub(rest);
    assert!(more <= MORE_MAX + SLACK, "{} MiB more", more >> 20);
    until("they end", async || world.server.resident() < most + SLACK).await;
}

/// The admin listener has one thread, whatever the machine.
#[tokio::test]
async fn e15_others_are_answered_while_batches_are_judged() {
    let world = World::start().await;
    let mut modest = world.api("service").await;
    let token = modest.token("user:7", "api").await.access_token;
    let other = modest.token("user:8", "api").await.access_token;
    // Never remembered, so its signature is verified at each look.
    let forged = format!("{}.{}", other.rsplit_once('.').unwrap().0, token.rsplit_once('.').unwrap().1);
    let requests = vec![validate_request(&forged, &["api"]); 1_000];
    let mut wide = modest.wide.clone();
    let mut between = 0;
    // A machine that stalls here lets the batch go on alone: then it is asked once more.
    for _ in 0..20 {
        let (mut asking, requests) = (wide.clone(), requests.clone());
        let batch = tokio::spawn(async move {
            asking.batch_validate(pb::BatchValidateRequest { requests }).await.unwrap().into_inner().verdicts
        });
        let mut answered = 0;
        while !batch.is_finished() {
            wide.validate(validate_request(&token, &["api"])).await.unwrap();
            answered += 1;
        }
        let verdicts = batch.await.unwrap();
        assert!(verdicts.iter().all(|verdict| verdict.status() == TokenStatus::BadSignature));
        between = between.max(answered);
        if between > 10 {
            return;
        }
    }
    panic!("at most {between} calls were answered while a batch was judged");
}
