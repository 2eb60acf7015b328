//! `--retry`: calls that are sent again while the server is unavailable. Only calls are repeated of which a second one
//! does no harm; what a first one may have done is not known.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http_body_util::Full;
use jiff::SignedDuration;
use tokio::time::{Instant, sleep};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{Body as _, Bytes, Service, http},
    transport::Channel,
};
use tonic_types::StatusExt as _;

use crate::{
    invocation::Cli,
    remote::{failover::first_that_answers, source::DevHome, tls::Files},
    term::{output, time},
};

/// The pause before the next attempt.
const PAUSE: Duration = Duration::from_secs(1);

/// How long to go on.
#[derive(Clone, Debug)]
pub struct Patience {
    until: Instant,
    /// The same as a time of day, for people.
    shown: String,
    /// It was said what is waited for.
    said: Arc<AtomicBool>,
}

impl Patience {
    /// The patience that `--retry` asks for. It is one for all calls of a run.
    pub fn of(cli: &Cli<'_>) -> Option<Self> {
        static ONE: OnceLock<Patience> = OnceLock::new();
        let asked = cli.globals.retry?;
        let one = ONE.get_or_init(|| {
            let end = (cli.env.now)().saturating_add(asked).ok();
            let shown = time::show_time_of_day(end.map(time::to_wire_timestamp).as_ref());
            let started = Instant::now();
            let until = started.checked_add(of_positive(asked)).unwrap_or(started);
            Self { until, shown, said: Arc::default() }
        });
        Some(one.clone())
    }

    /// The time that is left.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Waits for a moment, after having said once what is waited for. Returns false if the time is over.
    pub async fn wait(&self, why: &str) -> bool {
        let left = self.left();
        if left.is_zero() {
            return false;
        }
        if !self.said.swap(true, Ordering::Relaxed) {
            output::talk(&format!("{why} Trying again until {}; Ctrl-C ends it.", self.shown));
        }
        sleep(PAUSE.min(left)).await;
        true
    }
}

fn of_positive(duration: SignedDuration) -> Duration {
    duration.try_into().unwrap_or_default()
}

/// The servers that a call may go to.
#[derive(Debug)]
pub struct Ways {
    /// At least one.
    pub urls: Vec<String>,
    /// If those are the servers of `jeton dev`: where it writes which they are now.
    pub dev: Option<DevHome>,
    /// The files for TLS.
    pub tls: Files,
    /// The longest wait for a connection.
    pub timeout: Duration,
}

impl Ways {
    /// The servers as they are known now: those of `jeton dev` have other ports when it was started again.
    fn now(&self) -> Vec<String> {
        self.dev.as_ref().and_then(DevHome::urls).unwrap_or_else(|| self.urls.clone())
    }
}

/// A channel that sends some calls again.
#[derive(Clone, Debug)]
pub struct Line {
    channel: Channel,
    again: Option<(Patience, Arc<Ways>)>,
}

impl Line {
    /// The channel; with patience, it repeats calls, to whichever of the servers then answers.
    #[must_use]
    pub fn new(channel: Channel, patience: Option<Patience>, ways: Ways) -> Self {
        Self { channel, again: patience.map(|patience| (patience, Arc::new(ways))) }
    }
}

type AnyError = Box<dyn Error + Send + Sync>;
type Answer = Result<http::Response<Body>, AnyError>;

impl Service<http::Request<Body>> for Line {
    type Response = http::Response<Body>;
    type Error = AnyError;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AnyError>> {
        self.channel.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        // The one that is ready makes the call.
        let next = self.channel.clone();
        let mut ready = std::mem::replace(&mut self.channel, next);
        match &self.again {
            Some((patience, ways)) if is_repeatable(request.uri().path()) => {
                Box::pin(repeat(ready, patience.clone(), Arc::clone(ways), request))
            }
            _ => Box::pin(async move { ready.call(request).await.map_err(Into::into) }),
        }
    }
}

/// Returns whether a second call of this method does no harm, whatever became of the first.
fn is_repeatable(path: &str) -> bool {
    let method = path.rsplit('/').next().unwrap_or_default();
    let reads = ["Get", "List"].iter().any(|verb| method.starts_with(verb));
    reads || ["Validate", "BatchValidate", "Revoke", "Check", "Explain"].contains(&method)
}

async fn repeat(
    mut ready: Channel,
    patience: Patience,
    ways: Arc<Ways>,
    request: http::Request<Body>,
) -> Answer {
    let (head, body) = request.into_parts();
    let mut at = String::new();
    let message = whole(body).await?;
    loop {
        let again = http::Request::from_parts(head.clone(), Body::new(Full::new(message.clone())));
        let answer = match poll_fn(|cx| ready.poll_ready(cx)).await {
            Ok(()) => ready.call(again).await,
            Err(error) => Err(error),
        };
        let why = match &answer {
            Ok(response) => Status::from_header_map(response.headers())
                .and_then(|status| passing(&status, head.uri.path())),
            Err(_) => Some(format!("The server does not answer. {}", meanwhile(head.uri.path(), "it"))),
        };
        match why {
            // The server may have gone for good, and another one wait: each attempt looks at all of them.
            Some(why) if patience.wait(&why).await => {
                let timeout = ways.timeout.min(patience.left());
                if let Ok(found) = first_that_answers(&ways.now(), &ways.tls, timeout).await {
                    if found.url != at {
                        found.tell();
                    }
                    (ready, at) = (found.channel, found.url);
                }
            }
            _ => return answer.map_err(Into::into),
        }
    }
}

/// The message of a call that sends one.
async fn whole(body: Body) -> Result<Bytes, AnyError> {
    let mut body = pin!(body);
    let mut message = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
        if let Ok(data) = frame?.into_data() {
            message.extend_from_slice(&data);
        }
    }
    Ok(message.into())
}

/// A sentence on a refusal that passes by itself; `None` if it does not.
fn passing(status: &Status, path: &str) -> Option<String> {
    if !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) {
        return None;
    }
    let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    if reason == "STORE_UNAVAILABLE" {
        return Some(format!("The server does not reach Postgres. {}", meanwhile(path, "Postgres")));
    }
    Some(format!("The server cannot answer now. {}", meanwhile(path, "it")))
}

/// What holds in the meantime.
fn meanwhile(path: &str, what: &str) -> String {
    if !path.ends_with("/Revoke") {
        return "Nothing was changed.".to_owned();
    }
    format!(
        "Nothing validates while {what} is away, as soon as the leases have run out (within seconds); this revocation \
         takes effect when {what} is back."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_do_no_harm_twice_are_repeated() {
        for path in [
            "/jeton.v1.TokenService/Revoke",
            "/jeton.v1.AdminService/ListClients",
            "/x/Validate",
            "/x/GetCaller",
        ] {
            assert!(is_repeatable(path), "{path}");
        }
        for path in
            ["Issue", "Refresh", "CreateApiKey", "BulkRevoke", "StreamValidate", "RotateKey", "DeleteApiKey"]
        {
            assert!(!is_repeatable(&format!("/jeton.v1.TokenService/{path}")), "{path}");
        }
    }

    #[test]
    fn what_holds_meanwhile_is_said() {
        let revoke = passing(&Status::unavailable("x"), "/jeton.v1.TokenService/Revoke").unwrap_or_default();
        assert!(revoke.contains("Nothing validates") && revoke.contains("takes effect"), "{revoke}");
        assert_eq!(passing(&Status::not_found("x"), "/jeton.v1.TokenService/Revoke"), None);
    }
}
