//! Stands before the handlers of a server, and judges the token of each call.

mod body;
mod grpc;
mod http;
mod options;
mod pipeline;
mod watch;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ::http::{Extensions, HeaderMap, header};

pub use body::{GuardedBody, WatchedBody};
pub use grpc::{GrpcGuard, GrpcGuardLayer};
pub use http::{HttpGuard, HttpGuardLayer};
pub use options::{GuardBuilder, GuardMode};

use crate::{Client, Code, JetonError, Refused, Secret, Verdict, proto as pb, thumbprint};
use pipeline::Pipeline;

/// jeton takes no longer token.
const TOKEN_MAX: usize = 8 << 10;
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);

/// The certificate that the peer presented on a connection, in DER form: a server puts it into the extensions of its
/// requests, so that the guard can check tokens that are bound to one.
#[derive(Clone, Debug)]
pub struct PeerCertificate(pub Vec<u8>);

/// Judges the token of each call. No verdict is kept for another call. Clones are the same guard.
#[derive(Clone)]
pub struct Guard(Arc<Shared>);

struct Shared {
    options: GuardBuilder,
    pipeline: Option<Pipeline>,
    complained: Mutex<HashMap<String, Duration>>,
}

impl Shared {
    fn new(options: GuardBuilder) -> Self {
        let stream = options.mode == GuardMode::Stream;
        let pipeline = stream.then(|| Pipeline::new(&options.client, options.max_waiting, options.deadline));
        Self { options, pipeline, complained: Mutex::default() }
    }
}

/// What the peer of a call presented.
#[derive(Clone, Debug)]
struct Presented {
    token: Secret,
    thumbprint: String,
}

impl Guard {
    /// A guard that asks the client's server.
    pub fn builder(client: &Client) -> GuardBuilder {
        GuardBuilder::new(client)
    }

    fn of(options: GuardBuilder) -> Self {
        Self(Arc::new(Shared::new(options)))
    }

    /// The layer for a gRPC server, such as tonic's. Handlers find the [`Verdict`] in the extensions of the request.
    #[must_use]
    pub fn grpc_layer(&self) -> GrpcGuardLayer {
        GrpcGuardLayer(self.clone())
    }

    /// The layer for an HTTP server, such as axum's. Handlers find the [`Verdict`] in the extensions of the request.
    #[must_use]
    pub fn http_layer(&self) -> HttpGuardLayer {
        HttpGuardLayer { guard: self.clone(), scopes: Arc::new([]) }
    }

    /// Ends the stream of verdicts, if there is one. Dropping all clones does the same.
    pub async fn close(&self) {
        if let Some(pipeline) = &self.0.pipeline {
            pipeline.close().await;
        }
    }

    /// Judges a token. The thumbprint is that of the certificate that its bearer presented on this connection, if any:
    /// see [`thumbprint`]. The scopes are needed beside those of the guard.
    pub async fn judge(
        &self,
        token: &Secret,
        thumbprint: Option<&str>,
        scopes: &[String],
    ) -> Result<Verdict, Refused> {
        let text = token.reveal();
        if text.is_empty() {
            return Err(Refused::no_token());
        }
        if text.len() > TOKEN_MAX || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refused::of_status("MALFORMED"));
        }
        let options = &self.0.options;
        let needed: Vec<_> = options.scopes.iter().chain(scopes).cloned().collect();
        let request = pb::ValidateRequest {
            token: text.to_owned(),
            audiences: options.audiences.clone(),
            scopes: needed.clone(),
            min_revision: String::new(),
            certificate_thumbprint: thumbprint.unwrap_or_default().to_owned(),
        };
        let answer = if let Some(pipeline) = &self.0.pipeline {
            pipeline.ask(request).await
        } else {
            let service = options.client.within(options.deadline).token_service();
            service.validate(request).await.map(|answer| answer.verdict.unwrap_or_default())
        };
        match answer {
            Ok(verdict) => self.passes(verdict, needed),
            Err(error) => {
                self.complain(&error);
                Err(Refused::no_verdict())
            }
        }
    }

    fn passes(&self, verdict: pb::Verdict, needed: Vec<String>) -> Result<Verdict, Refused> {
        match pb::TokenStatus::try_from(verdict.status) {
            Ok(pb::TokenStatus::Active) => Ok(verdict.into()),
            Ok(pb::TokenStatus::MissingScope) => Err(Refused::missing_scope(needed)),
            Err(_) | Ok(pb::TokenStatus::Unspecified) => {
                let message = "jeton answered a status of a token that this library does not know.";
                let kind = crate::ErrorKind::UnexpectedError;
                self.complain(&JetonError::new(kind, Code::Internal, message));
                Err(Refused::no_verdict())
            }
            Ok(status) => {
                let name = status.as_str_name();
                Err(Refused::of_status(name.strip_prefix("TOKEN_STATUS_").unwrap_or(name)))
            }
        }
    }

    /// Tells the log of the server what is wrong with the guard's own calls, once a minute for each reason.
    fn complain(&self, error: &JetonError) {
        let key = format!("{} {}", error.kind().name(), error.reason());
        let now = self.0.options.client.shared.clock.now();
        {
            let mut complained = self.0.complained.lock().unwrap_or_else(PoisonError::into_inner);
            let before = complained.get(&key);
            if before.is_some_and(|before| now.saturating_sub(*before) < COMPLAIN_EVERY) {
                return;
            }
            complained.insert(key, now);
        }
        let text = "calls are refused, because jeton gives the guard no verdict";
        if matches!(error.code(), Code::Unavailable | Code::DeadlineExceeded) {
            tracing::warn!(error = %error, "{text}");
        } else {
            tracing::error!(error = %error, "{text}");
        }
    }

    fn is_excepted(&self, path: &str) -> bool {
        self.0.options.except.iter().any(|except| except == path)
    }

    fn presented(&self, headers: &HeaderMap, extensions: &Extensions) -> Presented {
        let certificate = match &self.0.options.certificate {
            Some(find) => find(extensions),
            None => extensions
                .get::<PeerCertificate>()
                .map(|it| it.0.clone())
                .or_else(|| grpc::certificate(extensions)),
        };
        let thumbprint = certificate.map(|der| thumbprint(&der)).unwrap_or_default();
        Presented { token: bearer(headers), thumbprint }
    }

    async fn judge_presented(&self, presented: &Presented, scopes: &[String]) -> Result<Verdict, Refused> {
        self.judge(&presented.token, Some(&presented.thumbprint), scopes).await
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.options.fmt(f)
    }
}

/// The token of a call; empty if there is none. Several headers count as none.
fn bearer(headers: &HeaderMap) -> Secret {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Secret::default() };
    let Ok(text) = value.to_str() else {
        // It is no token, but something stands there that claims to be one.
        let begin = value.as_bytes().get(..7).unwrap_or_default();
        return if begin.eq_ignore_ascii_case(b"bearer ") { Secret::new("\u{0}") } else { Secret::default() };
    };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Secret::new(token.trim_matches(' '))
        }
        _ => Secret::default(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use ::http::HeaderValue;

    use super::*;

    #[test]
    fn a_call_has_one_bearer_token_or_none() {
        let token = |values: &[&'static [u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
            }
            bearer(&headers).reveal().to_owned()
        };
        assert_eq!(token(&[b"Bearer abc"]), "abc");
        assert_eq!(token(&[b"bEARER  abc "]), "abc");
        for none in [
            vec![],
            vec![&b"Bearer"[..]],
            vec![b"Bearer "],
            vec![b"Basic abc"],
            vec![b"Bearer a", b"Bearer a"],
            vec![b"\xff"],
        ] {
            assert_eq!(token(&none), "", "{none:?}");
        }
        assert_eq!(token(&[b"Bearer \xff"]), "\u{0}", "it is refused as malformed");
    }
}
