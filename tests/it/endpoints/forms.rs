//! Forms that are sent to endpoints, and what of them may be told to others.

use std::collections::BTreeMap;

use loona_hpack::Decoder;

use super::{INTROSPECT, REVOKE, introspect, revoke};
use crate::world::{
    ALL, Dialer, Http, HttpAnswer, Secure, World, api_key, basic,
    frames::{self, Frames},
    http, http_request, post_form, until,
};

async fn send(world: &World, path: &str, content_type: &str, body: &str) -> HttpAnswer {
    let key = basic("service", &api_key("service"));
    let headers = [("authorization", key.as_str()), ("content-type", content_type)];
    http(&world.server.ready.public, "POST", path, &headers, body).await
}

#[tokio::test]
async fn a_form_without_exactly_one_token_is_refused() {
    let world = World::start().await;
    let form = "application/x-www-form-urlencoded";
    let long = format!("token={}", "a".repeat(17 * 1024));
    let names = |count: usize| (0..count).map(|name| format!("&n{name}=")).collect::<Vec<_>>().concat();
    let (few, many) = (format!("token=x{}", names(31)), format!("token=x{}", names(32)));
    let cases = [
        (form, "", 400),
        (form, "token=", 400),
        (form, "token", 400),
        (form, "Token=x", 400),
        (form, "token_type_hint=access_token", 400),
        (form, "token=x&token=x", 400),
        (form, "token=x&token=", 400),
        (form, "token=x&token_type_hint=a&token_type_hint=a", 400),
        (form, "token=x&client_id=service&client_secret=jtk_x", 400),
        (form, long.as_str(), 413),
        (form, many.as_str(), 400),
        (form, few.as_str(), 200),
        ("application/json", "{\"token\":\"x\"}", 415),
        ("multipart/form-data; boundary=x", "--x--", 415),
        ("text/plain", "token=x", 415),
        ("", "token=x", 415),
        (form, "token=x", 200),
        (form, "token=x&token_type_hint=nonsense&unknown=1", 200),
        ("Application/X-WWW-Form-Urlencoded; charset=UTF-8", "token=x", 200),
    ];
    for path in [INTROSPECT, REVOKE] {
        for (content_type, body, status) in cases {
            let answer = send(&world, path, content_type, body).await;
            let shown = body.get(..60).unwrap_or(body);
            assert_eq!(answer.status, status, "{path} {content_type} {shown}: {answer:?}");
            if status != 200 {
                assert_eq!(answer.error(), "invalid_request", "{path} {shown}");
                assert_eq!(answer.header("cache-control"), Some("no-store"));
            }
        }
        let in_query = send(&world, &format!("{path}?token=x"), form, "").await;
        assert_eq!(in_query.status, 400, "a token in an address is none");
    }
}

#[tokio::test]
async fn a_long_body_is_not_taken_in_and_requests_behind_one_another_are_answered_in_order() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let key = basic("service", &api_key("service"));
    let form = ("content-type", "application/x-www-form-urlencoded");
    // Said to be long: refused before it comes.
    let mut connection = Http::open(public).await;
    let headers = [form, ("authorization", key.as_str()), ("content-length", "1000000000")];
    connection.write(&http_request("POST", INTROSPECT, &headers, "")).await;
    connection.write(&"a".repeat(32 * 1024)).await;
    assert_eq!(connection.read(false).await.status, 413);
    assert!(connection.is_closed().await);

    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let headers = [form, ("authorization", key.as_str())];
    let one = |token: &str| http_request("POST", INTROSPECT, &headers, &format!("token={token}"));
    let mut connection = Http::open(public).await;
    let stranger = http_request("POST", INTROSPECT, &[form], "token=x");
    connection.write(&[one(&token), one("x"), stranger, one(&token)].concat()).await;
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(connection.read(false).await);
    }
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 401, 200]);
    assert_eq!(answers[0].body, answers[3].body);
    assert_eq!(answers[1].body, "{\"active\":false}");
}

/// Requests that are answered before their body has come: method, path, content type, whether it is authenticated, bytes,
/// and the status.
const EARLY: [(&str, &str, &str, bool, usize, u16); 8] = [
    ("POST", "/nothing", FORM, false, 300_000, 404),
    ("POST", "/.well-known/jwks.json", FORM, false, 300_000, 405),
    ("DELETE", INTROSPECT, FORM, false, 300_000, 405),
    ("PUT", REVOKE, FORM, true, 300_000, 405),
    ("POST", INTROSPECT, FORM, false, 300_000, 401),
    ("POST", INTROSPECT, FORM, true, 2_000_000, 413),
    ("POST", REVOKE, "text/plain", true, 300_000, 415),
    ("POST", "/", "application/grpc-web", false, 300_000, 415),
];
const FORM: &str = "application/x-www-form-urlencoded";

/// The status of an answer, by its head.
fn status_of(head: &[u8]) -> u16 {
    let fields = Decoder::new().decode(head).unwrap();
    let (_, status) = fields.into_iter().find(|(name, _)| name == b":status").unwrap();
    String::from_utf8(status).unwrap().parse().unwrap()
}

/// Sends such a request over HTTP/2 with its whole body, and reads the status. A client whose stream is reset while it
/// sends may never see the answer.
async fn early_over_http_2(mut peer: Frames, case: usize) {
    let (method, path, label, authenticated, bytes, expected) = EARLY[case];
    let key = basic("service", &api_key("service"));
    let mut headers = vec![("content-type", label)];
    headers.extend(authenticated.then_some(("authorization", key.as_str())));
    peer.write(&frames::head(1, method, path, &headers, 0)).await;
    let (mut sent, mut status) = (0, None);
    while sent < bytes {
        let part = vec![b'a'; 10_000];
        peer.write(&frames::frame(frames::DATA, 0, 1, &part)).await;
        sent += part.len();
        for came in peer.until_pong().await {
            assert_eq!(came.error(), None, "{method} {path} after {sent}");
            if (came.kind, came.stream) == (frames::HEADERS, 1) {
                status = Some(status_of(&came.payload));
            }
        }
    }
    assert_eq!(status, Some(expected), "{method} {path}");
    peer.write(&frames::frame(frames::DATA, frames::END_STREAM, 1, b"")).await;
    assert!(peer.until_pong().await.iter().all(|came| came.error().is_none()), "{method} {path}");
}

#[tokio::test]
async fn e15_over_http_2_an_answer_that_comes_before_the_body_does_not_cut_it_off() {
    let world = World::start().await;
    for case in 0..EARLY.len() {
        early_over_http_2(Frames::open(&world.server.ready.public).await, case).await;
    }
}

#[tokio::test]
async fn e15_over_tls_an_answer_that_comes_before_the_body_does_not_cut_it_off() {
    let secure = Secure::start().await;
    let dialer = Dialer::new(&secure.servers, None, &["h2"]);
    for case in 0..EARLY.len() {
        let wire = dialer.dial(secure.public()).await.unwrap();
        early_over_http_2(Frames::over(wire).await, case).await;
    }
}

#[tokio::test]
async fn e15_over_http_1_an_answer_comes_before_the_body_has() {
    let world = World::start().await;
    let key = basic("service", &api_key("service"));
    for (method, path, label, authenticated, bytes, expected) in EARLY {
        let mut connection = Http::open(&world.server.ready.public).await;
        let credential = if authenticated { format!("authorization: {key}\r\n") } else { String::new() };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: jeton.test\r\ncontent-type: {label}\r\n\
             content-length: {bytes}\r\n{credential}"
        );
        // A part of it, and no more until the answer is there.
        connection.write(&format!("{head}\r\n{}", "a".repeat(10_000))).await;
        assert_eq!(connection.read(false).await.status, expected, "{method} {path}");
    }
}

#[tokio::test]
async fn e15_a_form_that_does_not_arrive_is_answered_so() {
    let world = World::start().await;
    let key = basic("service", &api_key("service"));
    for path in [INTROSPECT, REVOKE] {
        let mut connection = Http::open(&world.server.ready.public).await;
        let headers = [("authorization", key.as_str()), ("content-type", FORM), ("content-length", "10")];
        connection.write(&http_request("POST", path, &headers, "token=")).await;
        let answer = connection.read(false).await;
        assert_eq!((answer.status, answer.error().as_str()), (408, "invalid_request"), "{answer:?}");
        assert!(answer.json()["error_description"].as_str().unwrap().contains("within 10 s"), "{answer:?}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}

// The caller is known only after the lease check: until then each request counts as one of an unauthenticated peer.
#[tokio::test]
async fn e15_more_requests_of_a_stranger_than_may_wait_are_answered_so() {
    let (world, link) = World::behind_link().await;
    let key = basic("service", &api_key("service"));
    link.stall(ALL);
    until("nothing is answered from memory any more", async || {
        introspect(&world, "service", "x").await.status == 503
    })
    .await;
    let mut peer = Frames::open(&world.server.ready.public).await;
    let headers = [("content-type", FORM), ("authorization", key.as_str())];
    let streams = (1..64).step_by(2);
    let requests =
        streams.map(|stream| frames::head(stream, "POST", INTROSPECT, &headers, frames::END_STREAM));
    peer.write(&requests.collect::<Vec<_>>().concat()).await;
    // Calls that wait are answered later, with another status.
    let (mut decoder, mut heads) = (Decoder::new(), BTreeMap::new());
    let (fields, body) = loop {
        let came = peer.next().await.expect("it goes on");
        match came.kind {
            frames::HEADERS => drop(heads.insert(came.stream, decoder.decode(&came.payload).unwrap())),
            frames::DATA if String::from_utf8_lossy(&came.payload).contains("overloaded") => {
                break (&heads[&came.stream], came.payload);
            }
            _ => {}
        }
    };
    for (name, value) in
        [(":status", "503"), ("content-type", "application/json"), ("cache-control", "no-store")]
    {
        assert!(
            fields.iter().any(|(n, v)| n == name.as_bytes() && v == value.as_bytes()),
            "{name}: {fields:?}"
        );
    }
    assert!(fields.iter().any(|(name, _)| name == b"retry-after"), "{fields:?}");
    let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(said["error"], "temporarily_unavailable", "{said}");
    link.resume(ALL);
}

#[tokio::test]
async fn e15_what_speaks_grpc_in_another_way_is_told_so() {
    let world = World::start().await;
    for label in
        ["application/grpc", "application/grpc+proto", "application/grpc-web", "application/grpc-web-text"]
    {
        let headers = [("content-type", label)];
        let path = "/jeton.v1.TokenService/Validate";
        let answer = http(&world.server.ready.public, "POST", path, &headers, "").await;
        assert_eq!(answer.status, 415, "{label}");
        assert!(answer.body.contains("HTTP/2"), "{answer:?}");
    }
}

#[tokio::test]
async fn e2_nothing_of_what_is_sent_to_a_door_is_in_a_log_a_metric_or_an_answer() {
    let world = World::start().await;
    let (mut service, public) = (world.api("service").await, &world.server.ready.public);
    let token = service.token("user:7", "api").await.access_token;
    let refresh = service.session("user:7", "api").await.refresh.unwrap().refresh_token;
    let mut answers = Vec::new();
    for token in [&token, &refresh] {
        answers.push(introspect(&world, "narrow", token).await.body);
        answers.push(revoke(&world, "other", token).await.body);
        let query = format!("{INTROSPECT}?token={token}");
        let key = basic("service", &api_key("service"));
        answers.push(post_form(public, &query, &key, &format!("token={token}&token={token}")).await.body);
        answers.push(post_form(public, INTROSPECT, &basic("service", token), "token=x").await.body);
        answers.push(http(public, "GET", &format!("/{token}"), &[], "").await.body);
        answers.push(revoke(&world, "service", token).await.body);
    }
    let log = std::fs::read_to_string(&world.server.log).unwrap();
    assert!(log.contains("\"http.route\":\"/oauth2/introspect\""), "requests are traced");
    let (_, metrics) = world.server.ops("/metrics").await;
    for text in answers.iter().chain([&log, &metrics]) {
        for secret in token.split('.').chain([refresh.as_str(), &refresh[4..], &api_key("service")]) {
            assert!(!text.contains(secret), "a secret is told");
        }
        let credential = basic("service", &api_key("service"));
        assert!(!text.contains(&credential[6..]));
    }
}

#[tokio::test]
async fn e7_each_door_is_measured_by_its_name_from_the_first_scrape() {
    let world = World::start().await;
    let count = async |route: &str, status: u16| {
        let (_, text) = world.server.ops("/metrics").await;
        let id = format!(
            "http_server_request_duration_seconds_count{{http_route=\"{route}\",http_response_status_code=\"{status}\"}} "
        );
        let line = text.lines().find_map(|line| line.strip_prefix(&id).map(str::to_owned));
        line.map(|value| value.parse::<f64>().unwrap())
    };
    for route in jeton::http::ROUTES {
        assert_eq!(count(route, 200).await, Some(0.0), "{route}");
    }
    introspect(&world, "narrow", "x").await;
    introspect(&world, "reader", "x").await;
    http(&world.server.ready.public, "GET", "/nothing", &[], "").await;
    assert_eq!(count(INTROSPECT, 200).await, Some(1.0));
    assert_eq!(count(INTROSPECT, 403).await, Some(1.0));
    let (_, text) = world.server.ops("/metrics").await;
    assert!(text.contains("jeton_validations_total{status=\"MALFORMED\"} 1"), "counted as Validate counts");
}
