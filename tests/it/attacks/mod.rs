//! E15: the memory that peers can make a server hold, and the effect on other clients: in plaintext and with TLS,
//! before and after authentication. Each attack is a function here; the tests check its bounds, and `make attacks`
//! prints its effect on a machine.

mod bounds;
mod means;
mod measure;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use jeton::proto::v1 as pb;
use prost::Message;
use tokio::task::JoinSet;

use means::{Site, call, head_of, message, parts};

use crate::world::{
    api_key, framed,
    frames::{DATA, END_STREAM, Frames, HEADERS, frame, head, headers},
    validate_request,
};

const VALIDATE: &str = "/jeton.v1.TokenService/Validate";
const BATCH: &str = "/jeton.v1.TokenService/BatchValidate";
const STREAM: &str = "/jeton.v1.TokenService/StreamValidate";
const ISSUE: &str = "/jeton.v1.TokenService/Issue";
const INFO: &str = "/jeton.v1.DiscoveryService/GetServerInfo";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const JWKS: &str = "/.well-known/jwks.json";

/// An attack: connections that do all they can, and are then held.
type Attack = fn(&Arc<Site>) -> JoinSet<Frames>;

/// Every attack, by name.
const ATTACKS: [(&str, Attack); 10] = [
    ("messages that do not arrive, of strangers", unfinished_of_strangers),
    ("messages that do not arrive, of a client", unfinished_of_a_client),
    ("answers to batches that are not taken", untaken_batches),
    ("answers of streams that are not taken, of a client", untaken_streams),
    ("answers of streams that are not taken, of strangers", untaken_reflection),
    ("small answers that are not taken, of strangers", untaken_documents),
    ("calls that stay open, of strangers", watches_of_strangers),
    ("calls that stay open, of a client", watches_of_a_client),
    ("heads that refer to what was sent before", heads),
    ("batches of bad signatures, of a client", bad_signatures),
];

/// So many connections, each of which does this.
fn connections(
    site: &Arc<Site>,
    count: usize,
    act: impl Fn(Arc<Site>, usize) -> BoxFuture<'static, Frames>,
) -> JoinSet<Frames> {
    let mut all = JoinSet::new();
    for place in 0..count {
        all.spawn(act(Arc::clone(site), place));
    }
    all
}

/// Calls whose messages arrive only in part.
async fn unfinished(
    mut peer: Frames,
    key: &str,
    path: &str,
    (announced, sent): (u32, usize),
    calls: u32,
) -> Frames {
    let body = framed(0, announced, &vec![0x0a; sent]);
    for number in 0..calls {
        let stream = number * 2 + 1;
        let parts = parts(&body).map(|part| frame(DATA, 0, stream, part));
        let parts: Vec<u8> = parts.flatten().collect();
        peer.write(&[head_of(stream, path, key), parts].concat()).await;
        // It has read the part before more arrives, because the windows are small.
        if number % 2 == 1 {
            peer.until_pong().await;
        }
    }
    peer.until_pong().await;
    peer
}

fn unfinished_of_strangers(site: &Arc<Site>) -> JoinSet<Frames> {
    connections(site, 60, |site, place| {
        Box::pin(async move {
            // One byte more than takes little, or nearly all.
            let sent = [1_025, 16_000][place % 2];
            unfinished(site.public().await, "", INFO, (16 << 10, sent), 20).await
        })
    })
}

fn unfinished_of_a_client(site: &Arc<Site>) -> JoinSet<Frames> {
    connections(site, 30, |site, place| {
        Box::pin(async move {
            let kinds = [(VALIDATE, 16 << 10, 16_000), (ISSUE, 64 << 10, 60_000), (BATCH, 9 << 20, 1 << 20)];
            let (path, announced, sent) = kinds[place % 3];
            unfinished(site.public().await, &api_key("service"), path, (announced, sent), 60).await
        })
    })
}

/// A call whose message is longer than the windows: each part once the server has read those before. False: it has ended.
async fn call_in_parts(peer: &mut Frames, head: &[u8], stream: u32, message: &[u8]) -> bool {
    let body = framed(0, message.len().try_into().unwrap(), message);
    peer.write(head).await;
    let mut parts = parts(&body).peekable();
    let mut count = 0;
    while let Some(part) = parts.next() {
        let end = if parts.peek().is_none() { END_STREAM } else { 0 };
        peer.write(&frame(DATA, end, stream, part)).await;
        count += 1;
        if end == 0 && count % 3 == 0 && peer.until_pong().await.is_empty() {
            return false;
        }
    }
    true
}

/// Calls whose answers the peer does not take.
async fn untaken(mut peer: Frames, key: &str, path: &str, message: &[u8], calls: u32) -> Frames {
    for number in 0..calls {
        let stream = number * 2 + 1;
        if !call_in_parts(&mut peer, &head_of(stream, path, key), stream, message).await {
            return peer;
        }
        peer.until_pong().await;
    }
    peer
}

/// A thousand tokens of the greatest length each.
fn untaken_batches(site: &Arc<Site>) -> JoinSet<Frames> {
    let requests = vec![validate_request(&site.long_token, &["api"]); 1_000];
    let batch = Arc::new(pb::BatchValidateRequest { requests }.encode_to_vec());
    connections(site, 3, move |site, place| {
        let batch = Arc::clone(&batch);
        // No window at all, or one byte for each.
        let window = u32::try_from(place % 2).unwrap();
        Box::pin(async move {
            untaken(site.public_with(window).await, &api_key("service"), BATCH, &batch, 20).await
        })
    })
}

/// Messages of streams, as many as the windows let through, whose answers the peer takes one byte of.
async fn stream_on(mut peer: Frames, key: &str, path: &str, message: &[u8]) -> Frames {
    let one = framed(0, message.len().try_into().unwrap(), message);
    let count = 60_000 / one.len();
    for stream in [1, 3, 5, 7] {
        let body = one.repeat(count);
        let data: Vec<u8> = parts(&body).flat_map(|part| frame(DATA, 0, stream, part)).collect();
        peer.write(&[head_of(stream, path, key), data].concat()).await;
        peer.until_pong().await;
    }
    peer
}

fn untaken_streams(site: &Arc<Site>) -> JoinSet<Frames> {
    let request = Some(validate_request(&site.token, &["api"]));
    let message = Arc::new(pb::StreamValidateRequest { request }.encode_to_vec());
    connections(site, 150, move |site, _| {
        let message = Arc::clone(&message);
        Box::pin(
            async move { stream_on(site.public_with(1).await, &api_key("service"), STREAM, &message).await },
        )
    })
}

/// The admin listener answers reflection without a credential.
fn untaken_reflection(site: &Arc<Site>) -> JoinSet<Frames> {
    let symbol = b"jeton.v1.TokenService";
    // `file_containing_symbol`.
    let message = Arc::new([&[0x22, u8::try_from(symbol.len()).unwrap()], &symbol[..]].concat());
    connections(site, 150, move |site, _| {
        let message = Arc::clone(&message);
        Box::pin(async move { stream_on(site.admin_with(1).await, "", REFLECTION, &message).await })
    })
}

fn untaken_documents(site: &Arc<Site>) -> JoinSet<Frames> {
    connections(site, 150, |site, _| {
        Box::pin(async move {
            let mut peer = site.public_with(1).await;
            for round in 0..10 {
                let streams = (round * 25)..((round + 1) * 25);
                let asks = streams.flat_map(|number| head(number * 2 + 1, "GET", JWKS, &[], END_STREAM));
                peer.write(&asks.collect::<Vec<u8>>()).await;
                peer.until_pong().await;
            }
            peer
        })
    })
}

/// A name of the greatest length.
fn watch(stream: u32) -> Vec<u8> {
    let name = [&[0x0a, 0xc0, 0x7c][..], &[b'x'; 15_936]].concat();
    call(stream, WATCH, "", &name)
}

fn watches_of_strangers(site: &Arc<Site>) -> JoinSet<Frames> {
    connections(site, 500, |site, _| {
        Box::pin(async move {
            let mut peer = site.public().await;
            for number in 0..8 {
                peer.write(&watch(number * 2 + 1)).await;
            }
            peer.until_pong().await;
            peer
        })
    })
}

fn watches_of_a_client(site: &Arc<Site>) -> JoinSet<Frames> {
    connections(site, 50, |site, _| {
        Box::pin(async move {
            let mut peer = site.public().await;
            peer.write(&call(1, VALIDATE, &api_key("service"), &message(&site.token))).await;
            peer.until_pong().await;
            for number in 1..200 {
                peer.write(&watch(number * 2 + 1)).await;
                peer.until_pong().await;
            }
            peer
        })
    })
}

/// Some bytes refer to headers that were sent before, and expand to the greatest length of a head.
fn heads(site: &Arc<Site>) -> JoinSet<Frames> {
    connections(site, 40, |site, _| {
        Box::pin(async move {
            let mut peer = site.public().await;
            peer.write(&call(1, VALIDATE, &api_key("service"), &message(&site.token))).await;
            peer.until_pong().await;
            for number in 1..200 {
                let stream = number * 2 + 1;
                let mut block = headers(stream, INFO, &[], 0)[9..].to_vec();
                if number == 1 {
                    // A header to be remembered (RFC 7541 section 6.2.1): its index is 62.
                    block.extend([0x40, 1, b'x', 1, b'y']);
                }
                block.extend(std::iter::repeat_n(0x80 | 0x3e, 400));
                peer.write(&frame(HEADERS, 4, stream, &block)).await;
            }
            peer.until_pong().await;
            peer
        })
    })
}

/// Each signature is one that was never seen, and none is good.
fn bad_signatures(site: &Arc<Site>) -> JoinSet<Frames> {
    connections(site, 8, |site, place| {
        Box::pin(async move {
            let mut peer = site.public().await;
            let (signed, signature) = site.token.rsplit_once('.').unwrap();
            for number in 0..4 {
                let requests = (0..1_000).map(|token| {
                    let begin = format!("{place}{number}{token:04}");
                    validate_request(&format!("{signed}.{begin}{}", &signature[begin.len()..]), &["api"])
                });
                let batch = pb::BatchValidateRequest { requests: requests.collect() }.encode_to_vec();
                let stream = number * 2 + 1;
                let head = head_of(stream, BATCH, &api_key("service"));
                call_in_parts(&mut peer, &head, stream, &batch).await;
                while let Some(came) = peer.next().await {
                    if came.stream == stream && came.kind == HEADERS && came.flags & END_STREAM != 0 {
                        break;
                    }
                }
            }
            peer
        })
    })
}
