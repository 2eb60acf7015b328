//! The front of a listener: gRPC goes through the auth layer to the services, everything else to plain HTTP.

use std::{
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, StatusCode, Version,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, RETRY_AFTER},
};
use hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};
use tokio::{runtime::Handle, time::timeout};
use tonic::body::Body;
use tower::Service;

use crate::{
    edge::OVERLOADED,
    listen::{Call, Connection, HOST_RULE, Handler, StrangerCall, names_one_host},
    rpc::{AuthLayer, wire::unary},
};

/// The content type of every gRPC request (gRPC over HTTP/2, "Requests").
const GRPC: &[u8] = b"application/grpc";

/// The longest time until the answer to a plain HTTP request begins: a revocation waits a few seconds at most, and a
/// body that does not arrive frees its connection.
const HTTP_MAX: Duration = Duration::from_secs(30);

/// The OAuth error for refusals after which a retry is safe.
const UNAVAILABLE: &str = "temporarily_unavailable";
const LATE: &str = "The answer did not begin within 30 s. What was asked may have been done: to repeat a revocation is safe.";

/// The time and the bytes for which the body of an answered request may go on arriving.
const REST: (Duration, usize) = (Duration::from_secs(10), 4 * 1024 * 1024);
/// Over HTTP/1.1 the connection is closed after the answer if more than this is left.
const REST_HTTP_1: (Duration, usize) = (Duration::from_secs(1), 16 * 1024);

/// The services of a listener.
#[derive(Clone)]
pub struct Front<H> {
    auth: AuthLayer,
    http: H,
}

impl<H> Front<H> {
    /// The services behind the auth layer, and beside them `http`, which is always ready.
    #[must_use]
    pub fn new(auth: AuthLayer, http: H) -> Self {
        Self { auth, http }
    }
}

impl<H, B> Handler for Front<H>
where
    H: Service<Request<Unread>, Response = Response<B>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static,
    B: HttpBody<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    type Body = Body;

    async fn handle(mut self, request: Request<Incoming>, call: Call) -> Response<Body> {
        match form(&request) {
            Form::Grpc => return self.auth.call(request, call).await,
            Form::OtherMessages => return self.auth.refuse_form(&request),
            Form::Plain => {}
        }
        let turn = call.turn();
        let rest = if request.version() == Version::HTTP_2 { REST } else { REST_HTTP_1 };
        let mut request = request.map(|body| Unread { body: Some(body), rest });
        request.extensions_mut().insert(turn);
        if !names_one_host(&request) {
            let mut response = refused(StatusCode::BAD_REQUEST, "invalid_request", HOST_RULE);
            // Where this request ends may be another's guess, too.
            if request.version() != Version::HTTP_2 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            return response;
        }
        if label(&request).is_some() {
            return not_served();
        }
        let Some(connection) = request.extensions().get::<Arc<Connection>>() else {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "A defect on our side.");
        };
        let counted = match connection.has_room().and_then(|()| connection.stranger()) {
            Ok(counted) => counted,
            Err(_full) => return refused(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, OVERLOADED),
        };
        // On the heap: otherwise each gRPC call in flight would keep room for it.
        Box::pin(timeout(HTTP_MAX, self.http.call(request))).await.map_or_else(
            |_late| refused(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, LATE),
            |answered| match answered {
                Ok(response) => {
                    response.map(|body| Body::new(Counted { body: Box::pin(body), _counted: counted }))
                }
                Err(never) => match never {},
            },
        )
    }
}

/// A refusal by the front itself, in the format of OAuth, like those of the endpoints.
fn refused(status: StatusCode, error: &str, description: &str) -> Response<Body> {
    let mut response = Response::new(unary::body(in_json(error, description).into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}

/// Neither text contains a character that JSON escapes.
fn in_json(error: &str, description: &str) -> String {
    format!(r#"{{"error":"{error}","error_description":"{description}"}}"#)
}

/// The body of an answer that counts for a connection that has not authenticated.
struct Counted<B> {
    body: Pin<Box<B>>,
    _counted: Option<StrangerCall>,
}

impl<B: HttpBody> HttpBody for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.body.as_mut().poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a plain HTTP request. After the answer the rest of it may arrive for a while, unread: over HTTP/2 a
/// client whose stream is reset while it sends may never see the answer.
pub struct Unread {
    body: Option<Incoming>,
    rest: (Duration, usize),
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Incoming::size_hint).unwrap_or_default()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        // Without a runtime the connection has ended.
        if let Ok(runtime) = Handle::try_current() {
            let (within, bytes_max) = self.rest;
            runtime.spawn(timeout(within, read_rest(body, bytes_max)));
        }
    }
}

async fn read_rest(mut body: Incoming, bytes_max: usize) {
    let mut left = bytes_max;
    while let Some(Ok(frame)) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
        left = rest;
    }
}

/// The kind of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    /// gRPC, with messages in protobuf.
    Grpc,
    /// gRPC, with messages of another format (`+json`): they must not be read as if they were protobuf.
    OtherMessages,
    /// Everything else, `application/grpc-web` included.
    Plain,
}

fn form<T>(request: &Request<T>) -> Form {
    let Some(rest) = label(request).filter(|_| request.version() == Version::HTTP_2) else {
        return Form::Plain;
    };
    match rest.strip_prefix(b"+proto").unwrap_or(rest).trim_ascii_start().first() {
        None | Some(b';') => Form::Grpc,
        _ if rest.first() == Some(&b'+') => Form::OtherMessages,
        Some(_) => Form::Plain,
    }
}

/// The part of its content type that follows `application/grpc`.
fn label<T>(request: &Request<T>) -> Option<&[u8]> {
    let label = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    label.and_then(|label| label.strip_prefix(GRPC))
}

/// Refuses gRPC in a form that is not served here: `application/grpc-web`, or over HTTP/1.1.
fn not_served() -> Response<Body> {
    let reason: &'static str = "gRPC is served over HTTP/2 alone, and gRPC-Web not at all: call through a proxy that translates it.\n";
    let mut response = Response::new(unary::body(Bytes::from_static(reason.as_bytes())));
    *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn e8_messages_in_protobuf_are_told_from_others() {
        let of = |version: Version, label: &str| {
            let request = Request::post("/").version(version).header(CONTENT_TYPE, label).body(());
            request.map(|request| form(&request)).ok()
        };
        for (label, told) in [
            ("application/grpc", Form::Grpc),
            ("application/grpc+proto", Form::Grpc),
            ("application/grpc; charset=utf-8", Form::Grpc),
            ("application/grpc+proto ;x=y", Form::Grpc),
            ("application/grpc+json", Form::OtherMessages),
            ("application/grpc+proto3", Form::OtherMessages),
            ("application/grpc+thrift;x=y", Form::OtherMessages),
            ("application/grpc+", Form::OtherMessages),
            ("application/grpc-web", Form::Plain),
            ("application/grpcx", Form::Plain),
            ("application/json", Form::Plain),
        ] {
            assert_eq!(of(Version::HTTP_2, label), Some(told), "{label}");
            assert_eq!(of(Version::HTTP_11, label), Some(Form::Plain), "{label}");
        }
    }

    #[test]
    fn e1_what_is_refused_before_the_doors_is_in_the_words_of_oauth() {
        for (error, description) in [
            (UNAVAILABLE, OVERLOADED),
            (UNAVAILABLE, LATE),
            ("server_error", "A defect on our side."),
            ("invalid_request", HOST_RULE),
        ] {
            let said: Option<Value> = serde_json::from_str(&in_json(error, description)).ok();
            assert_eq!(said, Some(json!({ "error": error, "error_description": description })));
            assert!(description.is_ascii(), "RFC 6749 section 5.2: {description}");
        }
        let late = refused(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, LATE);
        let header = |name| late.headers().get(name).map(HeaderValue::as_bytes);
        assert_eq!(header(CONTENT_TYPE), Some(&b"application/json"[..]));
        assert_eq!(header(CACHE_CONTROL), Some(&b"no-store"[..]));
        assert_eq!(header(RETRY_AFTER), Some(&b"1"[..]));
    }
}
