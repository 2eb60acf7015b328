//! Token sources, guards and layers on the double of jeton: as with a server, and without one.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, StreamBody};
use jeton_client::{
    Code, EventKind, Guard, GuardMode, Health, IssueRequest, ReplayBody, Secret, TokenSource,
    TokenSourceBuilder, Verdict, WatchedBody, testing::Double,
};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tower::{Layer as _, Service as _, ServiceExt as _, service_fn};

const SOON: Duration = Duration::ZERO;
const HOUR: Duration = Duration::from_hours(1);

fn source(double: &Double) -> TokenSourceBuilder {
    TokenSource::builder(&double.client().unwrap()).subject("svc:a").audiences(["orders"])
}

/// Waits until something holds.
async fn until(holds: impl Fn() -> bool) {
    for _ in 0..30_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    unreachable!("it does not come about");
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn a_hundred_callers_cause_one_call_and_nothing_is_left_after_close() {
    let double = Double::new();
    let before = tasks();
    let source = source(&double).build().unwrap();
    assert_eq!((double.calls("Issue"), source.current().is_none()), (0, true));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let source = source.clone();
            tokio::spawn(async move { source.get().await.unwrap().jti().to_owned() })
        })
        .collect();
    let mut seen = Vec::new();
    for caller in callers {
        seen.push(caller.await.unwrap());
    }
    seen.dedup();
    assert_eq!((seen.len(), double.calls("Issue")), (1, 1));
    source.close().await;
    assert_eq!(source.get().await.unwrap_err().kind().name(), "Closed");
    until(|| tasks() == before).await;
}

#[tokio::test]
async fn a_token_is_renewed_in_time_and_events_are_told_in_order() {
    let double = Double::new();
    let source = source(&double).build().unwrap();
    let mut events = source.events();
    let first = source.get().await.unwrap();
    double.advance(HOUR.mul_f64(0.7));
    assert_eq!(source.get().await.unwrap().jti(), first.jti());
    double.advance(HOUR.mul_f64(0.15));
    until(|| source.current().is_some_and(|token| token.jti() != first.jti())).await;
    double.set_away(true);
    double.advance(HOUR.mul_f64(0.95));
    let kinds = [EventKind::Refreshed, EventKind::Refreshed, EventKind::WillExpire];
    for kind in kinds {
        assert_eq!(events.next().await.unwrap().kind, kind);
    }
    source.get().await.unwrap();
    double.advance(HOUR);
    let error = source.get_within(SOON).await.unwrap_err();
    assert!(["Unreachable", "DeadlineExceeded"].contains(&error.kind().name()), "{error:?}");
    double.set_away(false);
    double.advance(HOUR);
    source.get().await.unwrap();
    drop(source);
    assert_eq!(events.next().await.unwrap().kind, EventKind::Refreshed);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn a_session_lives_on_in_a_file_until_it_is_revoked() {
    let double = Double::new();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session");
    let open = || source(&double).refreshable().refresh_token_file(&path).build().unwrap();
    let first = open().get().await.unwrap();
    let source = open();
    let mut events = source.events();
    let second = source.get().await.unwrap();
    assert_eq!((double.calls("Issue"), double.calls("Refresh")), (1, 1));
    assert_eq!(first.session_id(), second.session_id());
    double.revoke_session(second.session_id());
    double.advance(HOUR.mul_f64(0.85));
    assert_eq!(events.next().await.unwrap().kind, EventKind::Refreshed);
    let ended = events.next().await.unwrap();
    assert_eq!((ended.kind, ended.session_id.as_str()), (EventKind::SessionEnded, second.session_id()));
    assert_eq!(source.get().await.unwrap_err().kind().name(), "SessionRevoked");
    assert!(!path.exists());
}

#[tokio::test]
async fn a_refusal_that_lasts_is_given_at_once() {
    let double = Double::new();
    let source = source(&double).ttl(Duration::from_hours(48)).build().unwrap();
    let error = source.get_within(HOUR).await.unwrap_err();
    assert_eq!((error.kind().name(), error.code()), ("TtlExceedsMaximum", Code::InvalidArgument));
    let nobody = TokenSource::builder(&double.client().unwrap()).build().unwrap_err();
    assert_eq!(nobody.kind().name(), "FieldRequired");
}

fn token(double: &Double, scopes: &[&str]) -> Secret {
    double.issue(IssueRequest {
        subject: "svc:a".to_owned(),
        audiences: vec!["orders".to_owned()],
        scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        ..Default::default()
    })
}

#[tokio::test]
async fn a_guard_judges_by_calls_and_by_a_stream() {
    for mode in [GuardMode::Unary, GuardMode::Stream] {
        let double = Double::new();
        let client = double.client().unwrap();
        let guard = Guard::builder(&client).audiences(["orders"]).scopes(["read"]).mode(mode).build();
        let (good, poor) = (token(&double, &["read", "write"]), token(&double, &[]));
        let reason = async |secret: &Secret| {
            guard.judge(secret, None, &[]).await.err().map(|it| it.reason().to_owned())
        };
        let verdict = guard.judge(&good, None, &[]).await.unwrap();
        assert_eq!((verdict.subject.as_str(), verdict.is_active()), ("svc:a", true));
        assert!(verdict.require(&["write"]).is_ok() && verdict.require(&["admin"]).is_err());
        assert_eq!(reason(&poor).await.as_deref(), Some("MISSING_SCOPE"));
        assert_eq!(reason(&"rubbish".into()).await.as_deref(), Some("MALFORMED"));
        assert_eq!(reason(&Secret::default()).await.as_deref(), Some("NO_TOKEN"));
        double.revoke_token(&verdict.jti);
        assert_eq!(reason(&good).await.as_deref(), Some("REVOKED"));
        double.set_away(true);
        assert_eq!(reason(&good).await.as_deref(), Some("NO_VERDICT"));
        double.set_away(false);
        assert_eq!(reason(&good).await.as_deref(), Some("REVOKED"));
        let asked = if mode == GuardMode::Stream { "StreamValidate" } else { "Validate" };
        assert!(double.calls(asked) > 0);
        guard.close().await;
    }
}

#[tokio::test]
async fn a_call_whose_token_is_revoked_is_made_once_more_with_another() {
    let double = Double::new();
    let client = double.client().unwrap();
    let guard = Guard::builder(&client).audiences(["orders"]).build();
    let served = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let (parts, body) = request.into_parts();
        let verdict = parts.extensions.get::<Verdict>().unwrap().jti.clone();
        let body = body.collect().await.unwrap().to_bytes();
        Ok::<_, Infallible>(Response::new(Full::new([verdict.into(), body].concat().into())))
    });
    let source = source(&double).build().unwrap();
    let mut service = source.layer().layer(guard.http_layer().layer(served));
    let mut ask = async |text: &'static str| {
        let request = Request::post("http://orders/x").body(Full::new(Bytes::from_static(text.as_bytes())));
        let answer = service.ready().await.unwrap().call(request.unwrap()).await.unwrap();
        let status = answer.status();
        (status, String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap())
    };
    let first = source.get().await.unwrap();
    assert_eq!(ask(" one").await, (StatusCode::OK, format!("{} one", first.jti())));
    double.revoke_token(first.jti());
    let (status, text) = ask(" two").await;
    assert_eq!((status, double.calls("Issue")), (StatusCode::OK, 2));
    assert!(text.ends_with(" two") && !text.starts_with(first.jti()));
    double.refuse("Validate", Code::PermissionDenied, "AUDIENCE_NOT_ALLOWED", HashMap::new());
    assert_eq!(ask("").await.0, StatusCode::SERVICE_UNAVAILABLE, "the guard's own call was refused");
}

#[tokio::test]
async fn a_long_stream_ends_when_its_token_is_revoked_and_a_unary_call_is_left_alone() {
    let double = Double::new();
    let guard = Guard::builder(&double.client().unwrap()).build();
    let good = token(&double, &[]);
    let call = |body: Full<Bytes>| {
        let request = Request::post("http://orders/orders.v1.Orders/Watch");
        let request = request.header(header::CONTENT_TYPE, "application/grpc");
        request.header(header::AUTHORIZATION, format!("Bearer {}", good.reveal())).body(body).unwrap()
    };
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let served = service_fn(move |request: Request<WatchedBody<Full<Bytes>>>| {
        let receiver = Arc::clone(&receiver);
        async move {
            request.into_body().collect().await.unwrap();
            let receiver = receiver.lock().unwrap().take().unwrap();
            Ok::<_, Infallible>(Response::new(StreamBody::new(UnboundedReceiverStream::new(receiver))))
        }
    });
    let service = guard.grpc_layer().layer(served);
    let answer = service.oneshot(call(Full::default())).await.unwrap();
    let mut body = answer.into_body();
    sender.send(Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"message")))).unwrap();
    assert!(body.frame().await.unwrap().unwrap().is_data());
    let verdict = guard.judge(&good, None, &[]).await.unwrap();
    double.revoke_token(&verdict.jti);
    double.advance(Duration::from_secs(30));
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers.get("grpc-status").unwrap(), "16");
    assert!(body.frame().await.is_none() && sender.is_closed(), "the handler's stream is dropped");
}

#[tokio::test]
async fn a_stream_that_its_token_ends_has_the_token_renewed_for_the_next_one() {
    let double = Double::new();
    let source = source(&double).build().unwrap();
    let first = source.get().await.unwrap();
    let served = service_fn(async |_: Request<ReplayBody<Full<Bytes>>>| {
        let mut trailers = http::HeaderMap::new();
        trailers.insert("grpc-status", http::HeaderValue::from_static("16"));
        let frames =
            [http_body::Frame::data(Bytes::from_static(b"message")), http_body::Frame::trailers(trailers)];
        let frames = frames.map(Ok::<_, Infallible>);
        Ok::<_, Infallible>(Response::new(StreamBody::new(tokio_stream::iter(frames))))
    });
    let request = Request::post("http://orders/orders.v1.Orders/Watch");
    let request = request.header(header::CONTENT_TYPE, "application/grpc").body(Full::default()).unwrap();
    let answer = source.layer().layer(served).oneshot(request).await.unwrap();
    assert_eq!(double.calls("Issue"), 1);
    answer.into_body().collect().await.unwrap();
    until(|| source.current().is_some_and(|token| token.jti() != first.jti())).await;
}

#[tokio::test]
async fn who_repeats_calls_by_himself_gets_each_refusal() {
    let double = Double::new();
    let client = double.client().unwrap();
    let audiences = vec!["orders".to_owned()];
    let request = IssueRequest { subject: "svc:a".to_owned(), audiences, ..IssueRequest::default() };
    double.refuse("Issue", Code::Unavailable, "STORE_UNAVAILABLE", HashMap::new());
    let refused = client.in_one_round().issue(request.clone()).await.unwrap_err();
    assert_eq!((refused.reason(), refused.is_answer()), ("STORE_UNAVAILABLE", true));
    assert_eq!(double.calls("Issue"), 1);
    double.refuse("Issue", Code::Unavailable, "STORE_UNAVAILABLE", HashMap::new());
    client.issue(request).await.unwrap();
    assert_eq!(double.calls("Issue"), 3);
}

#[tokio::test]
async fn the_health_of_a_server_is_asked_once() {
    let double = Double::new();
    let client = double.client().unwrap();
    assert_eq!(client.health("").await.unwrap(), Health::Serving);
    double.refuse("Check", Code::NotFound, "", HashMap::new());
    assert_eq!(client.health("other").await.unwrap(), Health::NoSuchService);
    double.set_away(true);
    assert_eq!(client.health("").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(double.calls("Check"), 3);
}
