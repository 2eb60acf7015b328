//! The client: endpoints, credentials and connections.

use std::{
    collections::HashMap,
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::HeaderValue;
use tokio_util::sync::CancellationToken;

use crate::{
    AdminService, DiscoveryService, JetonError, Secret, TokenService,
    clock::Clock,
    endpoint_url::EndpointUrl,
    files::{Credentials, Origins},
    lane::{CONNECT_TIME, Double, Lane},
    pacer::Pacer,
};

/// The endpoints of one listener. One of them is the current one.
pub(crate) struct Group {
    pub(crate) endpoints: Vec<EndpointUrl>,
    current: AtomicUsize,
}

impl Group {
    fn new(endpoints: Vec<EndpointUrl>) -> Arc<Self> {
        Arc::new(Self { endpoints, current: AtomicUsize::new(0) })
    }

    /// The endpoint so many places behind the current one, around the list, with its number.
    pub(crate) fn behind_current(&self, steps: usize) -> Option<(usize, &EndpointUrl)> {
        let wanted = self.current.load(Ordering::Relaxed).wrapping_add(steps);
        let number = wanted.checked_rem(self.endpoints.len())?;
        Some((number, self.endpoints.get(number)?))
    }

    pub(crate) fn set_current(&self, number: usize) {
        self.current.store(number, Ordering::Relaxed);
    }
}

/// Makes the calls of jeton. Clones share its connections. It lives in the tokio runtime that its calls are made in.
#[derive(Clone)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    pub(crate) deadline: Option<Duration>,
    /// Whether each endpoint is asked once for a call.
    pub(crate) in_one_round: bool,
}

pub(crate) struct Shared {
    pub(crate) public: Arc<Group>,
    pub(crate) admin: Arc<Group>,
    pub(crate) clock: Clock,
    pub(crate) closed: CancellationToken,
    pub(crate) pacer: Pacer,
    credentials: Credentials,
    lanes: Mutex<HashMap<EndpointUrl, Arc<Lane>>>,
    connect_time: Duration,
    double: Option<Arc<dyn Double>>,
}

impl Client {
    /// A client of the server at `endpoint`: `https://host[:port]`, or `http://host[:port]` for plaintext.
    pub fn builder(endpoint: impl Into<String>) -> ClientBuilder {
        ClientBuilder { endpoints: vec![endpoint.into()], ..ClientBuilder::default() }
    }

    /// The client of a double.
    pub(crate) fn of_double(double: Arc<dyn Double>, clock: Clock) -> Result<Self, JetonError> {
        let at = EndpointUrl::parse("https://double.invalid")?;
        let public = Group::new(vec![at]);
        let admin = Arc::clone(&public);
        let credentials = Credentials::load(Origins::default(), clock.clone())?;
        Ok(Self::of(Shared { double: Some(double), ..Shared::new(public, admin, clock, credentials) }))
    }

    fn of(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), deadline: None, in_one_round: false }
    }

    /// The same client, whose calls take no longer than this. Without it a call has the time that clients/README.md
    /// gives its method.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// The same client, which asks each endpoint at most once for a call, in one round without pauses: for those who
    /// repeat calls by themselves.
    #[must_use]
    pub fn in_one_round(&self) -> Self {
        Self { in_one_round: true, ..self.clone() }
    }

    /// The calls of `TokenService`, with its messages. They print no secret, but hold secrets as texts, which do:
    /// [`Client::issue`], [`Client::refresh`], [`Client::validate`] and [`Client::revoke_token`] keep them as [`Secret`].
    #[must_use]
    pub fn token_service(&self) -> TokenService {
        TokenService(self.clone())
    }

    /// The calls of `AdminService`, at the admin endpoints.
    #[must_use]
    pub fn admin_service(&self) -> AdminService {
        AdminService(self.clone())
    }

    /// The calls of `DiscoveryService`.
    #[must_use]
    pub fn discovery_service(&self) -> DiscoveryService {
        DiscoveryService(self.clone())
    }

    /// Ends all connections. Calls that are under way, and later ones, fail by [`ErrorKind::Closed`](crate::ErrorKind).
    /// Dropping all clones does the same.
    pub fn close(&self) {
        self.shared.closed.cancel();
        self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Shared {
    fn new(public: Arc<Group>, admin: Arc<Group>, clock: Clock, credentials: Credentials) -> Self {
        Self {
            public,
            admin,
            clock,
            closed: CancellationToken::new(),
            pacer: Pacer::new(),
            credentials,
            lanes: Mutex::default(),
            connect_time: CONNECT_TIME,
            double: None,
        }
    }

    /// The channel to an endpoint, made at its first use and when the files of TLS have changed; and the credential of
    /// a call.
    pub(crate) fn lane(&self, at: &EndpointUrl) -> (Arc<Lane>, Option<HeaderValue>) {
        let found = self.credentials.latest();
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(at).filter(|lane| !at.is_tls() || lane.version == found.version) {
            return (Arc::clone(lane), found.authorization.clone());
        }
        let lane = Arc::new(match &self.double {
            Some(double) => Lane::of_double(at.clone(), Arc::clone(double)),
            None => Lane::new(at.clone(), found.tls.clone(), found.version, self.connect_time),
        });
        if !self.closed.is_cancelled() {
            // Calls in flight hold the one before, and end on it.
            lanes.insert(at.clone(), Arc::clone(&lane));
        }
        (lane, found.authorization.clone())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoints: Vec<_> = self.shared.public.endpoints.iter().map(ToString::to_string).collect();
        f.debug_struct("Client").field("endpoints", &endpoints).finish_non_exhaustive()
    }
}

/// What a client is made of. Nothing is sent before its first call.
#[derive(Clone, Default, Debug)]
#[must_use]
pub struct ClientBuilder {
    endpoints: Vec<String>,
    admin_endpoints: Vec<String>,
    origins: Origins,
    allow_plaintext: bool,
    connect_time: Option<Duration>,
}

impl ClientBuilder {
    /// Adds an endpoint, which is asked when those before it do not answer.
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoints.push(endpoint.into());
        self
    }

    /// Adds an endpoint of the admin listener. Without one, `AdminService` is asked at the other endpoints.
    pub fn admin_endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.admin_endpoints.push(endpoint.into());
        self
    }

    /// The API key.
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        self.origins.api_key = Some(key.into());
        self
    }

    /// The file of the API key, which is read again when it changes.
    pub fn api_key_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.origins.api_key_file = Some(path.into());
        self
    }

    /// The file of the authorities of the server's certificate, PEM; without it, those of the system. It is read again
    /// when it changes.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.origins.ca_file = Some(path.into());
        self
    }

    /// The files of the client's certificate and its key, PEM. They are read again when they change.
    pub fn certificate_files(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.origins.cert_file = Some(certificate.into());
        self.origins.key_file = Some(key.into());
        self
    }

    /// Lets the API key go over plaintext that leaves this machine, as within a mesh that encrypts.
    pub fn allow_plaintext(mut self) -> Self {
        self.allow_plaintext = true;
        self
    }

    /// Gives a connection up that is not made after so long; without it, after 5 s.
    pub fn connect_timeout(mut self, longest: Duration) -> Self {
        self.connect_time = Some(longest);
        self
    }

    /// Makes the client, and reads the files.
    pub fn build(self) -> Result<Client, JetonError> {
        let Self { endpoints, admin_endpoints, mut origins, allow_plaintext, connect_time } = self;
        let public = EndpointUrl::parse_all(&endpoints)?;
        let admin =
            if admin_endpoints.is_empty() { Vec::new() } else { EndpointUrl::parse_all(&admin_endpoints)? };
        let all = || public.iter().chain(&admin);
        let is_exposed = |at: &&EndpointUrl| !at.is_tls() && !at.is_loopback();
        if let Some(at) = all().find(is_exposed).filter(|_| origins.has_key() && !allow_plaintext) {
            return Err(JetonError::endpoint_invalid(format!(
                "The API key would go to {at} in plaintext. Use https://, or allow_plaintext within a mesh."
            )));
        }
        origins.uses_tls = all().any(EndpointUrl::is_tls);
        let clock = Clock::Machine;
        let credentials = Credentials::load(origins, clock.clone())?;
        let public = Group::new(public);
        let admin = if admin.is_empty() { Arc::clone(&public) } else { Group::new(admin) };
        let connect_time = connect_time.unwrap_or(CONNECT_TIME);
        Ok(Client::of(Shared { connect_time, ..Shared::new(public, admin, clock, credentials) }))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use http::{Request, header};
    use tokio::net::TcpListener;
    use tonic::body::Body;

    use crate::{Code, ErrorKind, ValidateRequest, lane::Answering};

    use super::*;

    const KEY: &str = "jtk_0123456789_aaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn a_key_goes_over_plaintext_only_if_the_caller_says_so() {
        let build = |url: &str| Client::builder(url).api_key(KEY);
        let refused = build("http://jeton.example:7070").build().unwrap_err();
        assert_eq!(refused.kind().name(), "EndpointInvalid");
        for good in [
            build("http://127.0.0.1:7070"),
            build("https://jeton.example"),
            build("http://jeton.example:7070").allow_plaintext(),
        ] {
            let text = format!("{good:?} {:?}", good.clone().build().unwrap());
            assert!(!text.contains(KEY) && !text.contains("aaaaaaaa"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_connection_that_cannot_be_made_says_why_before_the_first_call() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = Client::builder(format!("https://{address}")).connect_timeout(Duration::from_millis(20));
        let late = silent.build().unwrap().connect().await.unwrap_err();
        assert_eq!((late.is_answer(), late.cause()), (false, Some("no connection within 0.02 s")));
        drop(listener);
        let refused = Client::builder(format!("http://{address}")).build().unwrap().connect().await;
        let refused = refused.unwrap_err();
        assert_eq!(*refused.kind(), ErrorKind::Unreachable { endpoint: format!("http://{address}") });
        assert!(refused.cause().unwrap().starts_with("Connection refused"), "{refused:?}");
    }

    /// Refuses each call, and keeps its path and whether it came with a credential.
    #[derive(Default)]
    struct Recorder(Mutex<Vec<(String, bool)>>);

    impl Double for Recorder {
        fn serve(self: Arc<Self>, request: Request<Body>) -> Answering {
            let has_key = request.headers().contains_key(header::AUTHORIZATION);
            self.0.lock().unwrap().push((request.uri().path().to_owned(), has_key));
            Box::pin(async { tonic::Status::internal("recorded").into_http() })
        }
    }

    #[tokio::test]
    async fn a_question_about_health_takes_no_credential_with_it() {
        let origins = Origins { api_key: Some(KEY.into()), ..Origins::default() };
        let credentials = Credentials::load(origins, Clock::Machine).unwrap();
        let group = Group::new(vec![EndpointUrl::parse("https://double.invalid").unwrap()]);
        let recorder = Arc::new(Recorder::default());
        let double: Arc<dyn Double> = Arc::<Recorder>::clone(&recorder);
        let shared = Shared::new(Arc::clone(&group), group, Clock::Machine, credentials);
        let client = Client::of(Shared { double: Some(double), ..shared });
        assert_eq!(client.health("").await.unwrap_err().code(), Code::Internal);
        assert_eq!(client.validate(ValidateRequest::default()).await.unwrap_err().code(), Code::Internal);
        let seen = recorder.0.lock().unwrap().clone();
        let path = |path: &str| path.to_owned();
        let expected =
            [(path("/grpc.health.v1.Health/Check"), false), (path("/jeton.v1.TokenService/Validate"), true)];
        assert_eq!(seen, expected);
    }
}
