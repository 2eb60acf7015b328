//! E5: how much one connection may hold, and one request.

use std::collections::BTreeSet;

use prost::Message;
use tonic::Code;

use crate::world::{
    Http, Raw, Refused, World, api_key, frame, framed,
    frames::{
        self, COMPRESSION_ERROR, CONTINUATION, ENHANCE_YOUR_CALM, Frames, GOAWAY, HEADERS, REFUSED_STREAM,
        RST_STREAM, SETTINGS, headers, reset,
    },
    http_request, issue_request,
};

const STREAMS_MAX: u32 = 256;
const ISSUE: &str = "/jeton.v1.TokenService/Issue";
/// A method that needs no credential.
const INFO: &str = "/jeton.v1.DiscoveryService/GetServerInfo";

#[tokio::test]
async fn e5_streams_of_a_connection_are_limited_and_the_limit_is_said() {
    let world = World::start().await;
    let mut frames = Frames::open(&world.server.ready.public).await;
    let first = frames.next().await.unwrap();
    assert_eq!(first.kind, SETTINGS);
    let said = first.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("it is said");
    assert_eq!(u32::from_be_bytes(said[2..].try_into().unwrap()), STREAMS_MAX);

    let bearer = format!("Bearer {}", api_key("service"));
    let open = |places: std::ops::Range<u32>| -> Vec<u8> {
        places.flat_map(|place| headers(2 * place + 1, ISSUE, &[("authorization", &bearer)], 0)).collect()
    };
    let mut refused = BTreeSet::new();
    frames.write(&open(0..STREAMS_MAX)).await;
    let came = frames.until_pong().await;
    assert!(came.iter().all(|it| it.kind != RST_STREAM), "all of them are served: {came:?}");
    for place in STREAMS_MAX..STREAMS_MAX + 3 {
        frames.write(&open(place..place + 1)).await;
        let came = frames.until_pong().await;
        refused.extend(came.iter().filter(|it| it.error() == Some(REFUSED_STREAM)).map(|it| it.stream));
    }
    let expected: BTreeSet<_> = (STREAMS_MAX..STREAMS_MAX + 3).map(|place| 2 * place + 1).collect();
    assert_eq!(refused, expected, "those beyond");
    // A client that ends one may open another.
    frames.write(&[reset(1), open(STREAMS_MAX + 3..STREAMS_MAX + 4)].concat()).await;
    let came = frames.until_pong().await;
    assert!(came.iter().all(|it| it.error() != Some(REFUSED_STREAM)), "{came:?}");
}

#[tokio::test]
async fn e5_headers_above_the_limit_are_refused_and_the_connection_lives_on() {
    let world = World::start().await;
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let good = frame(&issue_request("user:7", &["api"]).encode_to_vec());
    let call = async |bytes: usize| {
        let value = "x".repeat(bytes);
        raw.call_with(ISSUE, good.clone(), &[("x-filler", &value)]).await
    };
    call(15 * 1024).await.result().unwrap();
    let answer = call(17 * 1024).await;
    assert_eq!(answer.http_status, 431, "{answer:?}");
    call(0).await.result().unwrap();
    assert_eq!(raw.opened(), 1, "on one connection");

    // Over HTTP/1.1 the bytes of a head are limited, in one header or in many.
    for (name, count, bytes) in [("one", 1, 96 * 1024), ("many", 96, 1_024), ("very many", 500, 1)] {
        let names: Vec<String> = (0..count).map(|place| format!("x-filler-{place}")).collect();
        let value = "x".repeat(bytes);
        let fillers: Vec<_> = names.iter().map(|name| (name.as_str(), value.as_str())).collect();
        let mut connection = Http::open(&world.server.ready.public).await;
        let request = http_request("GET", super::JWKS, &fillers, "");
        let _closed = connection.try_write(&request).await;
        let answer = connection.try_read(false).await;
        // A reset may overtake the answer where more was sent than is read.
        assert!(answer.as_ref().map_or(true, |answer| answer.status == 431), "{name}: {answer:?}");
        assert!(connection.is_closed().await, "{name}");
    }
    let answer = crate::world::http(&world.server.ready.public, "GET", super::JWKS, &[], "").await;
    assert_eq!(answer.status, 200);
}

/// CVE-2024-27316: headers without an end cost memory or time only until the server stops reading.
#[tokio::test]
async fn e5_headers_that_do_not_end_end_the_connection() {
    let world = World::start().await;
    let half = (1_u32 << 20).to_be_bytes();
    // A literal that announces a megabyte, and many short ones.
    let long = [&[0, 1, b'x', 0x7f, 0x81, 0xff, 0x3f][..], &half].concat();
    let many: Vec<u8> = [0, 1, b'x', 1, b'y'].repeat(3_000);
    for (name, first, next) in
        [("one long value", long, vec![b'x'; 16_000]), ("many values", many.clone(), many)]
    {
        let mut peer = Frames::open(&world.server.ready.public).await;
        peer.write(&frames::frame(HEADERS, 0, 1, &first)).await;
        let mut sent = 0;
        for _ in 0..60 {
            peer.write(&frames::frame(CONTINUATION, 0, 1, &next)).await;
            sent += next.len();
        }
        let mut went = None;
        while let Some(came) = peer.next().await {
            if came.kind == GOAWAY {
                went = came.error();
            }
        }
        assert!(matches!(went, Some(COMPRESSION_ERROR | ENHANCE_YOUR_CALM)), "{name}: {went:?} after {sent}");
    }
}

#[tokio::test]
async fn e5_a_message_above_the_limit_of_its_service_is_refused_by_what_it_says_of_itself() {
    let world = World::start().await;
    let ready = &world.server.ready;
    let kib = |kib: u32| kib << 10;
    for (address, path, bytes_max) in [
        (&ready.public, "/jeton.v1.TokenService/Validate", kib(16)),
        (&ready.public, "/jeton.v1.TokenService/StreamValidate", kib(16)),
        (&ready.public, "/jeton.v1.TokenService/Refresh", kib(16)),
        (&ready.public, "/jeton.v1.TokenService/Revoke", kib(16)),
        (&ready.public, ISSUE, kib(64)),
        (&ready.public, "/jeton.v1.TokenService/BatchValidate", 9 * kib(1_024)),
        (&ready.public, "/envoy.service.auth.v3.Authorization/Check", kib(64)),
        (&ready.public, INFO, kib(16)),
        (&ready.public, "/grpc.health.v1.Health/Check", kib(16)),
        (&ready.admin, ISSUE, kib(64)),
        (&ready.admin, "/jeton.v1.AdminService/ListPolicies", kib(16)),
        (&ready.admin, "/jeton.v1.AdminService/UpdatePolicy", kib(64)),
        (&ready.ops, "/grpc.health.v1.Health/Check", kib(16)),
    ] {
        let raw = Raw::open(address, &api_key("admin")).await;
        // Its first bytes say how long it is: no more of it is waited for.
        let answer = raw.call_unfinished(path, framed(0, bytes_max + 1, b"x")).await.unwrap();
        let refused = answer.result().refused();
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "MESSAGE_TOO_LARGE"),
            "{path}"
        );
        assert_eq!(
            [refused.get("size"), refused.get("maxSize")],
            [(bytes_max + 1).to_string(), bytes_max.to_string()],
            "{path}"
        );
        // A message of the greatest length is read: the fault of this one is that it is cut.
        let answer = raw.call(path, framed(0, bytes_max, b"x")).await;
        assert_eq!(answer.result().refused().reason, "FIELD_INVALID", "{path}");
        assert_eq!(raw.opened(), 1, "{path}");
    }
}
