//! Bytes that no stub would send. They are the caller's own fault: `INVALID_ARGUMENT` with the texts of the catalogue,
//! and the connection lives on.

use http::{HeaderName, HeaderValue};
use jeton::proto::v1::{self as pb, TokenStatus};
use prost::Message;
use tonic::{Code, Status};

use crate::world::{
    Raw, RawAnswer, Refused, World, api_key, frame, framed,
    frames::{self, Frames, headers},
    issue_request, validate_request,
};

const VALIDATE: &str = "/jeton.v1.TokenService/Validate";
const BATCH: &str = "/jeton.v1.TokenService/BatchValidate";
const ISSUE: &str = "/jeton.v1.TokenService/Issue";
const REVOKE: &str = "/jeton.v1.TokenService/Revoke";
const REFRESH: &str = "/jeton.v1.TokenService/Refresh";

/// A good call on the same connection, as proof that it lives.
async fn assert_lives(raw: &Raw, token: &str) {
    let answer = raw.send(VALIDATE, &validate_request(token, &["api"])).await;
    answer.result().unwrap();
    let verdict = pb::ValidateResponse::decode(&answer.body[5..]).unwrap().verdict.unwrap();
    assert_eq!(verdict.status(), TokenStatus::Active);
    assert_eq!(raw.opened(), 1, "the connection lives on");
}

/// Lists in lists, as a `Struct` of claims.
fn bomb(levels: usize, lists: bool) -> Vec<u8> {
    let mut value = Vec::new();
    let field = |tag: u8, inner: &[u8]| {
        let mut out = vec![tag];
        prost::encoding::encode_varint(inner.len() as u64, &mut out);
        out.extend_from_slice(inner);
        out
    };
    for _ in 0..levels {
        // Value.list_value = 6 of ListValue.values = 1, or Value.struct_value = 5 of Struct.fields = 1.
        value = if lists {
            field(0x32, &field(0x0a, &value))
        } else {
            field(0x2a, &field(0x0a, &[field(0x0a, b"a"), field(0x12, &value)].concat()))
        };
    }
    let entry = [field(0x0a, b"a"), field(0x12, &value)].concat();
    let mut request = issue_request("user:7", &["api"]).encode_to_vec();
    // IssueRequest.claims = 4 of Struct.fields = 1.
    request.extend(field(0x22, &field(0x0a, &entry)));
    request
}

#[tokio::test]
async fn v1_a_message_that_cannot_be_read_is_an_invalid_argument_and_the_connection_lives_on() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let good = validate_request(&token, &["api"]).encode_to_vec();
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("a varint cut short", vec![0x0a, 0x80]),
        ("a varint without end", [vec![0x0a], vec![0xff; 20]].concat()),
        ("a length beyond the message", vec![0x0a, 0x7f, b'x']),
        ("a length of 2^63", [vec![0x0a], vec![0xff; 8], vec![0x7f]].concat()),
        ("the wrong wire type: varint", vec![0x08, 0x01]),
        ("the wrong wire type: fixed 64", [vec![0x09], vec![0; 8]].concat()),
        ("the wrong wire type: fixed 32", [vec![0x0d], vec![0; 4]].concat()),
        ("a group that is not closed", vec![0x0b]),
        ("a group that was not opened", vec![0x0c]),
        ("wire type 6", vec![0x0e, 0x01]),
        ("wire type 7", vec![0x0f, 0x01]),
        ("field number 0", vec![0x02, 0x01, b'x']),
        ("a string that is not UTF-8", vec![0x0a, 0x02, 0xc3, 0x28]),
        ("a surrogate in a string", vec![0x0a, 0x03, 0xed, 0xa0, 0x80]),
        ("good, then a byte too many", [good.clone(), vec![0xff]].concat()),
        ("good, then cut", good[..good.len() - 1].to_vec()),
        ("unknown groups, nested deep", vec![0xa3; 5_000]),
        ("zeros", vec![0; 100]),
        ("ones", vec![0xff; 100]),
    ];
    for (name, body) in &bodies {
        for path in [VALIDATE, BATCH, ISSUE, REVOKE, REFRESH] {
            let answer = raw.call(path, frame(body)).await;
            let refused = answer.result().refused();
            assert_eq!(refused.code, Code::InvalidArgument, "{name} to {path}: {answer:?}");
            assert_eq!(refused.reason, "FIELD_INVALID", "{name} to {path}");
        }
        assert_lives(&raw, &token).await;
    }
    for levels in [90, 101, 1_000, 20_000] {
        for lists in [false, true] {
            let answer = raw.call(ISSUE, frame(&bomb(levels, lists))).await;
            let refused = answer.result().refused();
            assert_eq!(refused.code, Code::InvalidArgument, "{levels} levels: {answer:?}");
            assert_lives(&raw, &token).await;
        }
    }
    // Unknown fields are no fault: newer clients send them.
    let newer = [good, vec![0xfa, 0x07, 0x03, b'n', b'e', b'w']].concat();
    raw.call(VALIDATE, frame(&newer)).await.result().unwrap();
}

#[tokio::test]
async fn v1_a_frame_that_cannot_be_read_is_refused_and_the_connection_lives_on() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let good = validate_request(&token, &["api"]).encode_to_vec();
    let len = u32::try_from(good.len()).unwrap();
    let frames: Vec<(&str, Vec<u8>)> = vec![
        ("an empty body", Vec::new()),
        ("half a frame's head", vec![0, 0]),
        ("a head without a message", framed(0, len, &[])),
        ("a message cut short", framed(0, len, &good[..good.len() - 1])),
        ("said to be compressed, without an encoding", framed(1, len, &good)),
        ("an unknown flag", framed(2, len, &good)),
        ("the flag 255", framed(255, len, &good)),
        ("a length of 4 GiB", framed(0, u32::MAX, &good)),
        ("a length above the limit", framed(0, 12 * 1024 * 1024 + 1, &good)),
    ];
    for (name, body) in &frames {
        for path in [VALIDATE, ISSUE, REVOKE] {
            let answer = raw.call(path, body.clone()).await;
            let refused = answer.result().refused();
            assert_eq!(refused.code, Code::InvalidArgument, "{name} to {path}: {answer:?}");
        }
        assert_lives(&raw, &token).await;
    }
    let empty = raw.call(VALIDATE, frame(&[])).await.result().refused();
    assert_eq!((empty.reason.as_str(), empty.get("field")), ("FIELD_REQUIRED", "token"));
    // In a compression that the server does not support.
    let answer = raw.call_with(VALIDATE, framed(1, len, &good), &[("grpc-encoding", "gzip")]).await;
    let refused = answer.result().refused();
    assert_eq!((refused.code, refused.get("encoding")), (Code::Unimplemented, "gzip"));
    assert_eq!(answer.headers["grpc-accept-encoding"], "identity", "what to send instead");
    assert_lives(&raw, &token).await;
}

#[tokio::test]
async fn v11_a_frame_of_a_stream_that_cannot_be_read_ends_it_and_the_connection_lives_on() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let request = Some(validate_request(&token, &["api"]));
    let good = pb::StreamValidateRequest { request }.encode_to_vec();
    let len = u32::try_from(good.len()).unwrap();
    for (name, bad) in [
        ("no protobuf", frame(&[0xff; 50])),
        ("a varint cut short", frame(&[0x0a, 0x80])),
        ("no UTF-8", frame(&[0x0a, 0x04, 0x0a, 0x02, 0xc3, 0x28])),
        ("nothing asked", frame(&[])),
        ("said to be compressed", framed(1, len, &good)),
        ("an unknown flag", framed(7, len, &good)),
        ("above the limit", framed(0, u32::MAX, &good)),
    ] {
        let body = [frame(&good), frame(&good), bad, frame(&good)].concat();
        let answer = raw.call("/jeton.v1.TokenService/StreamValidate", body).await;
        assert_eq!(answer.result().refused().code, Code::InvalidArgument, "{name}: {answer:?}");
        let answered = answer.body.windows(36).filter(|bytes| *bytes == jti(&token).as_bytes()).count();
        assert_eq!(answered, 2, "{name}: those before it were answered, those after it were not");
        assert_lives(&raw, &token).await;
    }
    // A stream that ends in the middle of a frame.
    let cut = [frame(&good), framed(0, len, &good[..10])].concat();
    let answer = raw.call("/jeton.v1.TokenService/StreamValidate", cut).await;
    assert_eq!(answer.result().refused().code, Code::InvalidArgument, "{answer:?}");
    assert_lives(&raw, &token).await;
}

/// The `jti` that a token says.
fn jti(token: &str) -> String {
    let (_, claims) = jeton_token::inspect_unverified(token).unwrap();
    claims["jti"].as_str().unwrap().to_owned()
}

// A message that has arrived completely takes another path than one in pieces: both with the same result.
#[tokio::test]
async fn v1_a_message_that_comes_in_pieces_is_answered_as_one_that_comes_whole() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let validate = frame(&validate_request(&token, &["api"]).encode_to_vec());
    let mut issue = issue_request("user:7", &["api"]);
    let once = frame(&issue.encode_to_vec());
    issue.refreshable = true;
    let session = frame(&issue.encode_to_vec());
    for (path, body, refreshable) in
        [(VALIDATE, validate, false), (ISSUE, once, false), (ISSUE, session, true)]
    {
        let each: Vec<Vec<u8>> = body.iter().take(40).map(|byte| vec![*byte]).collect();
        let rest = vec![body[each.len()..].to_vec()];
        for pieces in [
            vec![body.clone()],
            vec![body.clone(), Vec::new()],
            vec![Vec::new(), body.clone()],
            vec![body[..5].to_vec(), body[5..].to_vec()],
            vec![body[..7].to_vec(), body[7..].to_vec(), Vec::new()],
            [each, rest].concat(),
        ] {
            let answer = raw.call_in_pieces(path, pieces).await;
            answer.result().unwrap();
            if path == VALIDATE {
                let verdict = pb::ValidateResponse::decode(&answer.body[5..]).unwrap().verdict.unwrap();
                assert_eq!((verdict.status(), verdict.subject.as_str()), (TokenStatus::Active, "user:7"));
            } else {
                let issued = pb::IssueResponse::decode(&answer.body[5..]).unwrap().token.unwrap();
                assert_eq!(
                    (issued.refresh.is_some(), !issued.session_id.is_empty()),
                    (refreshable, refreshable)
                );
            }
        }
        // A second message is one too many, and the first is not acted upon alone.
        let twice = raw.call_in_pieces(path, vec![body.clone(), body.clone()]).await;
        let whole = raw.call(path, [body.clone(), body].concat()).await;
        assert_eq!(twice.status().code(), whole.status().code(), "{twice:?} {whole:?}");
    }
    assert_lives(&raw, &token).await;
}

#[tokio::test]
async fn v1_nothing_is_done_for_a_call_whose_deadline_has_passed() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let message = frame(&validate_request(&token, &["api"]).encode_to_vec());
    let bearer = format!("Bearer {}", api_key("service"));
    // A client would not wait for the answer itself.
    let mut frames = Frames::open(&world.server.ready.public).await;
    let (mut decoder, mut told) = (loona_hpack::Decoder::new(), Vec::new());
    for (stream, more) in [(1, &[("grpc-timeout", "1n")][..]), (3, &[])] {
        let more = [&[("authorization", bearer.as_str())], more].concat();
        frames.write(&headers(stream, VALIDATE, &more, 0)).await;
        frames.write(&frames::frame(frames::DATA, frames::END_STREAM, stream, &message)).await;
        while let Some(came) = frames.next().await {
            if came.kind == frames::HEADERS {
                told.push(decoder.decode(&came.payload).unwrap());
            }
            if (came.stream, came.flags & frames::END_STREAM) == (stream, frames::END_STREAM) {
                break;
            }
        }
    }
    // It refuses as every refusal does (E8).
    let refused = told.remove(0).into_iter().filter_map(|(name, value)| {
        Some((HeaderName::from_bytes(&name).ok()?, HeaderValue::from_bytes(&value).ok()?))
    });
    let refused = refused.collect();
    let refused = Err::<(), _>(Status::from_header_map(&refused).unwrap()).refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    let counted = async |code: &str| {
        let labels = format!("rpc_method=\"{}\",rpc_response_status_code=\"{code}\"", &VALIDATE[1..]);
        world
            .metric(&format!("rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",{labels}}}"))
            .await
    };
    let judged = world.metric("jeton_validations_total{status=\"ACTIVE\"}").await;
    let found = [counted("DEADLINE_EXCEEDED").await, counted("OK").await, judged];
    assert!(found.iter().all(|count| (count - 1.0).abs() < f64::EPSILON), "{found:?}");
}

#[tokio::test]
async fn v1_a_message_above_the_limit_is_refused_and_the_connection_lives_on() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    for mib in [13, 20, 13] {
        let answer = raw.call(VALIDATE, frame(&vec![b'a'; mib << 20])).await;
        let refused = answer.result().refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "MESSAGE_TOO_LARGE"));
        assert_eq!(refused.get("size"), (mib << 20).to_string());
        assert!(refused.get("maxSize").parse::<usize>().unwrap() < mib << 20, "{refused:?}");
        assert_lives(&raw, &token).await;
    }
    // Large, but allowed: a bad token, not a fault.
    let large = validate_request(&"a".repeat(15 << 10), &["api"]);
    let answer = raw.send(VALIDATE, &large).await;
    answer.result().unwrap();
    let verdict = pb::ValidateResponse::decode(&answer.body[5..]).unwrap().verdict.unwrap();
    assert_eq!(verdict.status(), TokenStatus::Malformed);
    assert_lives(&raw, &token).await;
}

/// A call that is not served is refused in the words of the catalogue.
fn assert_not_served(answer: &RawAnswer, path: &str, listener: &str) {
    let refused = answer.result().refused();
    let service = path.trim_start_matches('/').split('/').next().unwrap();
    assert_eq!(
        (refused.code, refused.reason.as_str(), refused.get("service"), refused.get("listener")),
        (Code::Unimplemented, "NOT_SERVED_HERE", service, listener),
        "{path}: {answer:?}"
    );
}

#[tokio::test]
async fn e8_what_is_not_served_is_unimplemented_and_says_where_it_is() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let public = Raw::open(&world.server.ready.public, &api_key("admin")).await;
    let admin = Raw::open(&world.server.ready.admin, &api_key("admin")).await;
    for path in [
        "/jeton.v1.TokenService/Frobnicate",
        "/jeton.v1.TokenService/validate",
        "/jeton.v1.TokenService/Validate/",
        "/jeton.v1.TokenService",
        "/jeton.v2.TokenService/Validate",
        "/jeton.v1.RevocationService/WatchRevocations",
        "/",
        "/healthz",
    ] {
        for (raw, listener) in [(&public, "public"), (&admin, "admin")] {
            let answer = raw.call(path, frame(&[])).await;
            assert_not_served(&answer, path, listener);
        }
    }
    // Nor what needs no credential, on a listener that is not for it.
    let open = [
        (&world.server.ready.admin, "admin", "/jeton.v1.DiscoveryService/GetJwks"),
        (&world.server.ready.ops, "ops", "/jeton.v1.DiscoveryService/GetJwks"),
        (&world.server.ready.public, "public", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
        (&world.server.ready.ops, "ops", "/grpc.health.v1.Health/Nothing"),
    ];
    for (address, listener, path) in open {
        let answer = Raw::open(address, "").await.call(path, frame(&[])).await;
        assert_not_served(&answer, path, listener);
    }
    // Administration is not served on the public listener.
    for method in ["GetPolicy", "UpdatePolicy", "ListSessions", "ListAuditEvents", "ListPolicies"] {
        let path = format!("/jeton.v1.AdminService/{method}");
        let answer = public.call(&path, frame(&[])).await;
        assert_not_served(&answer, &path, "public");
        assert!(answer.status().message().contains("admin listener"), "where it is: {answer:?}");
    }
    // Named in the API, not served yet: said so by every one of them.
    let served = jeton::edge::METHODS;
    let methods = admin_methods();
    assert!(methods.len() > 10, "{methods:?}");
    for method in methods {
        let path = format!("jeton.v1.AdminService/{method}");
        let answer = admin.call(&format!("/{path}"), frame(&[])).await;
        let unimplemented = answer.status().code() == Code::Unimplemented;
        assert_eq!(unimplemented, !served.contains(&path.as_str()), "{path}: {answer:?}");
        if unimplemented {
            assert_not_served(&answer, &path, "admin");
        }
    }
    assert_lives(&public, &token).await;
}

/// The methods of `AdminService`, by the descriptors.
fn admin_methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(jeton::proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.iter().flat_map(|file| &file.service);
    let admin = services.filter(|service| service.name() == "AdminService");
    admin.flat_map(|service| service.method.iter().map(|method| method.name().to_owned())).collect()
}

#[tokio::test]
async fn v1_a_request_that_is_no_grpc_harms_nobody() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = Raw::open(&world.server.ready.public, &api_key("service")).await;
    let good = frame(&validate_request(&token, &["api"]).encode_to_vec());
    for headers in [
        [("content-type", "application/json")],
        [("content-type", "")],
        [("content-type", "application/grpc-web")],
        [("te", "")],
        [("grpc-timeout", "x")],
        [("grpc-timeout", "99999999999S")],
        [("grpc-timeout", "-1S")],
        [("grpc-encoding", "\u{1F600}x")],
        [("traceparent", "00-\u{e9}-x")],
    ] {
        let headers = headers.map(|(name, value)| (name, if value.is_ascii() { value } else { "?" }));
        let answer = raw.call_with(VALIDATE, good.clone(), &headers).await;
        let code = answer.headers.get("grpc-status").map(|value| value.to_str().unwrap().to_owned());
        assert!(!matches!(code.as_deref(), Some("13" | "2")), "{headers:?}: {answer:?}");
        assert_lives(&raw, &token).await;
    }
    for key in ["", "x", "jtk_", "jtk_x_y", &"a".repeat(8_000)] {
        let raw = Raw::open(&world.server.ready.public, key).await;
        // Refused before the body is looked at, whatever it is.
        for body in [good.clone(), vec![0xff; 100], Vec::new()] {
            let refused = raw.call(VALIDATE, body).await.result().refused();
            assert_eq!(refused.code, Code::Unauthenticated);
        }
        assert_eq!(raw.opened(), 1);
    }
}
