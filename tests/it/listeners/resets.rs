//! E5: streams that are opened to be reset, by either side.

use crate::world::{
    World,
    frames::{
        DATA, END_STREAM, ENHANCE_YOUR_CALM, Frame, Frames, GOAWAY, PRIORITY, RST_STREAM, WINDOW_UPDATE,
        frame, headers, reset,
    },
};

/// A method that waits for its message: no credential is asked for.
const WAITS: &str = "/jeton.v1.DiscoveryService/GetServerInfo";

/// The identifiers of a client's streams.
fn streams(count: u32) -> impl Iterator<Item = u32> {
    (0..count).map(|place| 2 * place + 1)
}

fn calmed(came: &[Frame]) -> bool {
    came.iter().any(|it| it.kind == GOAWAY && it.error() == Some(ENHANCE_YOUR_CALM))
}

#[tokio::test]
async fn e5_a_peer_that_opens_streams_and_resets_them_at_once_is_told_to_go_away() {
    let world = World::start().await;
    // CVE-2023-44487: pairs of HEADERS and RST_STREAM, as fast as they can be sent.
    for (pairs, goes) in [(50, false), (1_000, true)] {
        let mut frames = Frames::open(&world.server.ready.public).await;
        let attack: Vec<u8> = streams(pairs)
            .flat_map(|stream| [headers(stream, WAITS, &[], 0), reset(stream)].concat())
            .collect();
        frames.write(&attack).await;
        let came = frames.until_pong().await;
        assert_eq!(calmed(&came), goes, "{pairs} pairs: {came:?}");
        if goes {
            assert_eq!(frames.next().await, None, "the connection ends");
        }
    }
    // Nobody else notices.
    world.api("service").await.token("user:7", "api").await;
}

/// CVE-2025-8671: what makes the server reset a stream itself, which costs the peer nothing of its own limit.
#[tokio::test]
async fn e5_a_peer_that_provokes_a_hundred_resets_is_told_to_go_away() {
    type Provoke = fn(u32) -> Vec<u8>;
    let world = World::start().await;
    let overflow: Provoke = |stream| {
        let update = frame(WINDOW_UPDATE, 0, stream, &0x7fff_ffff_u32.to_be_bytes());
        [headers(stream, WAITS, &[], 0), update].concat()
    };
    let short: Provoke = |stream| headers(stream, WAITS, &[("content-length", "5")], END_STREAM);
    let long: Provoke = |stream| {
        let data = frame(DATA, END_STREAM, stream, b"123456");
        [headers(stream, WAITS, &[("content-length", "5")], 0), data].concat()
    };
    let itself: Provoke = |stream| {
        // A stream that depends on itself (RFC 7540 section 5.3.1).
        let priority = [&stream.to_be_bytes()[..], &[16]].concat();
        [headers(stream, WAITS, &[], 0), frame(PRIORITY, 0, stream, &priority)].concat()
    };
    for (name, provoke) in [
        ("a window that overflows", overflow),
        ("a body shorter than it was said to be", short),
        ("a body longer than it was said to be", long),
        ("a stream that depends on itself", itself),
    ] {
        let mut frames = Frames::open(&world.server.ready.public).await;
        let mut resets = 0;
        let mut gone = false;
        // One after the other: the answer to each is seen before the next is sent.
        for stream in streams(300) {
            frames.write(&provoke(stream)).await;
            let came = frames.until_pong().await;
            resets += came.iter().filter(|it| it.kind == RST_STREAM).count();
            gone = calmed(&came);
            if gone || came.is_empty() {
                break;
            }
        }
        assert!(gone, "{name}: {resets} resets, and it goes on");
        assert_eq!(resets, 100, "not before a hundred: {name}");
    }
    world.api("service").await.token("user:7", "api").await;
}
