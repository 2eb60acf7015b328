//! E15: messages arrive in time or are refused, and are refused unread if none of them is needed; calls are few before
//! a caller has authenticated; others have their turn. `attacks` measures how much a server can be made to hold.

use std::time::Instant;

use jeton::proto::v1::{self as pb, TokenStatus};
use tonic::Code;

use crate::world::{
    Raw, Refused, World, api_key, frame, framed,
    frames::{self, DATA, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE, head, headers},
    open, until, validate_request,
};

const VALIDATE: &str = "/jeton.v1.TokenService/Validate";
const BATCH: &str = "/jeton.v1.TokenService/BatchValidate";
const ISSUE: &str = "/jeton.v1.TokenService/Issue";
const INFO: &str = "/jeton.v1.DiscoveryService/GetServerInfo";

/// A message that says how long it is, and of which so much is sent.
fn part(announced: u32, sent: usize) -> Vec<u8> {
    framed(0, announced, &vec![0x0a; sent])
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
    // Once a caller has authenticated on it, there are as many as streams.
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

#[tokio::test]
async fn e15_a_stranger_that_calls_on_and_takes_no_answers_is_cut_off() {
    let world = World::start().await;
    let wire = open(&world.server.ready.public).await;
    let mut peer = Frames::with_settings(wire, &[(INITIAL_WINDOW_SIZE, 1)]).await;
    // Those that are refused wait like the others.
    let asks = (0..200).flat_map(|call| head(call * 2 + 1, "GET", "/.well-known/jwks.json", &[], END_STREAM));
    peer.write(&asks.collect::<Vec<u8>>()).await;
    while peer.next().await.is_some() {}
    // One that takes them is served: the window of its connection has room for as many.
    let mut peer = Frames::open(&world.server.ready.public).await;
    for call in 0..80 {
        let stream = call * 2 + 1;
        peer.write(&head(stream, "GET", "/.well-known/jwks.json", &[], END_STREAM)).await;
        loop {
            let came = peer.next().await.expect("an answer");
            if came.stream == stream && came.flags & END_STREAM != 0 {
                break;
            }
        }
    }
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
