//! Requests that differ in their edge alone, and their refusals.

use std::collections::HashMap;

use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, attribute_context};
use http::{HeaderMap, HeaderName, HeaderValue};
use jeton::proto::v1::{self as pb, revocation_target::Kind};
use loona_hpack::Decoder;
use prost::Message;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::world::{
    framed,
    frames::{DATA, END_STREAM, Frames, HEADERS, RST_STREAM, WINDOW_UPDATE, frame, head},
    issue_request, revoke_request, validate_request,
};

/// The time when the message comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum When {
    /// With the head of the request.
    Whole,
    /// In a later packet.
    Late,
}

/// A way to an operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Edge {
    Validate(When),
    Stream(When),
    Batch,
    Introspect,
    Check,
    Issue(When),
    Session(When),
    Refresh(When),
    Revoke(When),
    RevokeForm,
}

/// The ways to judge a token.
pub const JUDGING: [Edge; 7] = [
    Edge::Validate(When::Whole),
    Edge::Validate(When::Late),
    Edge::Stream(When::Whole),
    Edge::Stream(When::Late),
    Edge::Batch,
    Edge::Introspect,
    Edge::Check,
];
/// The ways to a new token.
pub const ISSUING: [Edge; 4] = [
    Edge::Issue(When::Whole),
    Edge::Issue(When::Late),
    Edge::Session(When::Whole),
    Edge::Session(When::Late),
];
pub const REFRESHING: [Edge; 2] = [Edge::Refresh(When::Whole), Edge::Refresh(When::Late)];
pub const REVOKING: [Edge; 3] = [Edge::Revoke(When::Whole), Edge::Revoke(When::Late), Edge::RevokeForm];

/// The message of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body<'a> {
    /// A good one, about this token where it needs one.
    Good(&'a str),
    /// Without what it must have: a token, or a subject.
    Empty,
    /// With a thumbprint that is none.
    Thumbprint,
    /// With a scope that is none.
    Scope,
    /// No message of the method.
    Undecodable,
    /// Said to be longer than any method takes.
    TooLarge,
}

/// What a message of this length is above.
const TOO_LARGE: u32 = 20_000_000;
const FORM: &str = "application/x-www-form-urlencoded";

/// A refusal, without its frame: numbers and the place of a request in a larger message are left out of the text.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Told {
    /// By gRPC: code, reason, message.
    Grpc(Code, String, String),
    /// By HTTP: status, error, description.
    Http(u16, String, String),
}

impl Told {
    /// The same as HTTP has it.
    pub fn in_http(&self) -> Self {
        let Self::Grpc(code, reason, message) = self else { return self.clone() };
        let (status, error) = match (code, reason.as_str()) {
            (Code::Unauthenticated, _) => (401, "invalid_client"),
            (Code::PermissionDenied, _) => (403, "unauthorized_client"),
            (Code::ResourceExhausted, "RATE_LIMITED") => (429, "slow_down"),
            (Code::ResourceExhausted, "OVERLOADED") | (Code::Unavailable, _) => {
                (503, "temporarily_unavailable")
            }
            (Code::InvalidArgument, "MESSAGE_TOO_LARGE") => (413, "invalid_request"),
            (Code::InvalidArgument, _) => (400, "invalid_request"),
            other => panic!("{other:?} has no form in HTTP"),
        };
        Self::Http(status, error.to_owned(), message.clone())
    }
}

fn without_frame(text: &str) -> String {
    let text = text.replace("request.", "").replace("requests[0].", "");
    let mut plain = String::new();
    for c in text.chars() {
        if !c.is_ascii_digit() {
            plain.push(c);
        } else if !plain.ends_with('#') {
            plain.push('#');
        }
    }
    plain
}

impl Edge {
    fn path(self) -> &'static str {
        match self {
            Self::Validate(_) => "/jeton.v1.TokenService/Validate",
            Self::Stream(_) => "/jeton.v1.TokenService/StreamValidate",
            Self::Batch => "/jeton.v1.TokenService/BatchValidate",
            Self::Introspect => "/oauth2/introspect",
            Self::Check => "/envoy.service.auth.v3.Authorization/Check",
            Self::Issue(_) | Self::Session(_) => "/jeton.v1.TokenService/Issue",
            Self::Refresh(_) => "/jeton.v1.TokenService/Refresh",
            Self::Revoke(_) => "/jeton.v1.TokenService/Revoke",
            Self::RevokeForm => "/oauth2/revoke",
        }
    }

    fn is_form(self) -> bool {
        matches!(self, Self::Introspect | Self::RevokeForm)
    }

    fn is_late(self) -> bool {
        matches!(
            self,
            Self::Validate(When::Late)
                | Self::Stream(When::Late)
                | Self::Issue(When::Late)
                | Self::Session(When::Late)
                | Self::Refresh(When::Late)
                | Self::Revoke(When::Late)
        )
    }

    /// The bytes of the message; `None` if the edge has none that is like this.
    fn body(self, body: Body<'_>) -> Option<Vec<u8>> {
        if self.is_form() {
            return match body {
                Body::Good(token) => Some(format!("token={token}").into_bytes()),
                Body::Empty => Some(b"token=".to_vec()),
                Body::Thumbprint if self == Self::Introspect => {
                    Some(b"token=x&certificate_thumbprint=x".to_vec())
                }
                Body::TooLarge => Some(Vec::new()),
                Body::Thumbprint | Body::Scope | Body::Undecodable => None,
            };
        }
        let message = match body {
            Body::TooLarge => return Some(framed(0, TOO_LARGE, &[])),
            Body::Undecodable => vec![0x0a, 0x7f, b'x'],
            Body::Good(_) | Body::Empty | Body::Thumbprint | Body::Scope => self.message(body)?,
        };
        Some(framed(0, message.len().try_into().unwrap(), &message))
    }

    fn message(self, body: Body<'_>) -> Option<Vec<u8>> {
        let text = |name: &str| if body == Body::Empty { String::new() } else { name.to_owned() };
        let token = if let Body::Good(token) = body { token } else { "x" };
        let certificate_thumbprint = if body == Body::Thumbprint { "x".to_owned() } else { String::new() };
        let scopes = if body == Body::Scope { vec!["a\"b".to_owned()] } else { Vec::new() };
        let judged = pb::ValidateRequest {
            certificate_thumbprint: certificate_thumbprint.clone(),
            scopes: scopes.clone(),
            ..validate_request(&text(token), &["api"])
        };
        Some(match self {
            Self::Validate(_) => judged.encode_to_vec(),
            Self::Stream(_) => pb::StreamValidateRequest { request: Some(judged) }.encode_to_vec(),
            // As many as are shed.
            Self::Batch => pb::BatchValidateRequest { requests: vec![judged; 9] }.encode_to_vec(),
            Self::Check if matches!(body, Body::Good(_) | Body::Scope) => check(token, &scopes),
            Self::Issue(_) | Self::Session(_) => pb::IssueRequest {
                certificate_thumbprint,
                scopes,
                refreshable: matches!(self, Self::Session(_)),
                ..issue_request(&text("user:7"), &["api"])
            }
            .encode_to_vec(),
            Self::Refresh(_) if matches!(body, Body::Good(_)) => {
                pb::RefreshRequest { refresh_token: "jtr_x".to_owned(), ..Default::default() }.encode_to_vec()
            }
            Self::Revoke(_) if matches!(body, Body::Good(_) | Body::Empty) => {
                revoke_request(Kind::Token(text(token))).encode_to_vec()
            }
            Self::Check | Self::Refresh(_) | Self::Revoke(_) | Self::Introspect | Self::RevokeForm => {
                return None;
            }
        })
    }

    /// The frames of a request: those of the first packet, and those of the second.
    pub fn request(self, stream: u32, key: Option<&str>, body: Body<'_>) -> Option<[Vec<u8>; 2]> {
        let data = self.body(body)?;
        let bearer = key.map(|key| format!("Bearer {key}"));
        let length = TOO_LARGE.to_string();
        let mut headers = if self.is_form() {
            vec![("content-type", FORM)]
        } else {
            vec![("content-type", "application/grpc"), ("te", "trailers")]
        };
        headers.extend(bearer.as_ref().map(|bearer| ("authorization", bearer.as_str())));
        let head = |headers: &[_]| head(stream, "POST", self.path(), headers, 0);
        if self.is_form() && body == Body::TooLarge {
            headers.push(("content-length", &length));
            // It is refused by what it says.
            return Some([head(&headers), Vec::new()]);
        }
        let data = frame(DATA, END_STREAM, stream, &data);
        Some(if self.is_late() {
            [head(&headers), data]
        } else {
            [[head(&headers), data].concat(), Vec::new()]
        })
    }

    /// The refusal in an answer; `None` if it is none.
    pub fn told(self, answer: &Answer) -> Option<Told> {
        if self.is_form() {
            let status = answer.headers[":status"].parse().unwrap();
            if status == 200 {
                return None;
            }
            let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
            let text = |name: &str| json[name].as_str().unwrap().to_owned();
            return Some(Told::Http(status, text("error"), without_frame(&text("error_description"))));
        }
        let named = answer.headers.iter().filter_map(|(name, value)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
        });
        let status = Status::from_header_map(&named.collect::<HeaderMap>()).expect("a status");
        if status.code() == Code::Ok {
            return None;
        }
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        // OAuth has no double quotes in its texts (RFC 6749 section 5.2).
        Some(Told::Grpc(status.code(), reason, without_frame(&status.message().replace('"', "'"))))
    }

    /// Asks on a connection of its own, and reads the refusal.
    pub async fn ask(self, address: &str, key: Option<&str>, body: Body<'_>) -> Option<Option<Told>> {
        let [first, second] = self.request(1, key, body)?;
        let mut connection = Connection::open(address).await;
        connection.frames.write(&first).await;
        if !second.is_empty() {
            // What came so far has been read, and looked at.
            connection.pong().await;
            connection.frames.write(&second).await;
        }
        let answers = connection.answers(1).await;
        Some(self.told(&answers[&1]))
    }
}

/// Envoy's question about a request that bears this token.
fn check(token: &str, scopes: &[String]) -> Vec<u8> {
    let headers = HashMap::from([("authorization".to_owned(), format!("Bearer {token}"))]);
    let http = attribute_context::HttpRequest { headers, ..Default::default() };
    let request = attribute_context::Request { http: Some(http), ..Default::default() };
    let context_extensions = HashMap::from([("scopes".to_owned(), scopes.join(" "))]);
    let attributes = AttributeContext { request: Some(request), context_extensions, ..Default::default() };
    CheckRequest { attributes: Some(attributes) }.encode_to_vec()
}

/// An answer: its head, with the trailers, and its body.
#[derive(Default, Debug)]
pub struct Answer {
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

/// A connection, and the answers on it so far.
pub struct Connection {
    pub frames: Frames,
    decoder: Decoder<'static>,
    answers: HashMap<u32, Answer>,
    ended: usize,
}

impl Connection {
    pub async fn open(address: &str) -> Self {
        let mut frames = Frames::open(address).await;
        let window = 16_u32 * 1024 * 1024;
        frames.write(&frame(WINDOW_UPDATE, 0, 0, &window.to_be_bytes())).await;
        // It says how much it takes at once.
        frames.until_pong().await;
        Self { frames, decoder: Decoder::new(), answers: HashMap::new(), ended: 0 }
    }

    /// Waits until the server has read what was written.
    pub async fn pong(&mut self) {
        for came in self.frames.until_pong().await {
            self.take(&came);
        }
    }

    /// The answers, once so many are whole.
    pub async fn answers(mut self, count: usize) -> HashMap<u32, Answer> {
        while self.ended < count {
            let next = self.frames.next().await.expect("every call is answered");
            self.take(&next);
        }
        self.answers
    }

    fn take(&mut self, came: &crate::world::frames::Frame) {
        // Only after a whole answer: a body that was not waited for.
        assert!(came.kind == RST_STREAM || came.error().is_none(), "{came:?}");
        if came.stream == 0 || came.kind > HEADERS {
            return;
        }
        let answer = self.answers.entry(came.stream).or_default();
        if came.kind == HEADERS {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
            let fields = self.decoder.decode(&came.payload).unwrap();
            answer.headers.extend(fields.into_iter().map(|(name, value)| (text(name), text(value))));
        } else {
            answer.body.extend_from_slice(&came.payload);
        }
        self.ended += usize::from(came.flags & END_STREAM != 0);
    }
}
