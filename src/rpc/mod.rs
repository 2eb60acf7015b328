//! The only server code that uses gRPC: wire ↔ domain, caller, errors → statuses. A handler parses, calls the authority
//! and converts; it decides nothing.

mod admin_service;
mod arriving;
mod auth;
mod batch;
mod blocks;
mod clients;
mod convert;
mod discovery_service;
mod ext_authz;
mod fast_path;
mod front;
mod health;
mod judging;
mod keys;
mod methods;
mod open_call;
mod policies;
mod reflection;
mod status;
mod streaming;
mod token_service;
mod unary;
mod verdict;

use std::sync::Arc;

use http::{HeaderMap, HeaderName};
use tokio_util::sync::CancellationToken;
use tonic::{Extensions, Request, Status};

use crate::{
    authority::{Authority, Background, Caller, Credential, Error},
    proto::{
        envoy::authorization_server::AuthorizationServer,
        v1::{
            admin_service_server::AdminServiceServer, discovery_service_server::DiscoveryServiceServer,
            token_service_server::TokenServiceServer,
        },
    },
    state::Snapshot,
    token::Render,
};

use fast_path::FastPath;
use judging::Judging;
use methods::LONG_MESSAGE_BYTES_MAX;
use reflection::with_reflection;

pub use auth::AuthLayer;
pub use front::Front;
pub use health::{Health, watch_readiness};
pub use status::OVERLOADED;
pub use tonic::service::Routes;

/// The methods that are measured by name: full gRPC paths without the leading slash.
pub const METHODS: [&str; 26] = [
    "jeton.v1.TokenService/Issue",
    "jeton.v1.TokenService/Refresh",
    "jeton.v1.TokenService/Validate",
    "jeton.v1.TokenService/BatchValidate",
    "jeton.v1.TokenService/StreamValidate",
    "jeton.v1.TokenService/Revoke",
    "jeton.v1.DiscoveryService/GetJwks",
    "jeton.v1.DiscoveryService/GetServerInfo",
    "jeton.v1.AdminService/ListReplicas",
    "jeton.v1.AdminService/ListSessions",
    "jeton.v1.AdminService/ListAuditEvents",
    "jeton.v1.AdminService/GetPolicy",
    "jeton.v1.AdminService/ListPolicies",
    "jeton.v1.AdminService/UpdatePolicy",
    "jeton.v1.AdminService/DeletePolicy",
    "jeton.v1.AdminService/ListKeys",
    "jeton.v1.AdminService/RotateKey",
    "jeton.v1.AdminService/CreateClient",
    "jeton.v1.AdminService/GetClient",
    "jeton.v1.AdminService/ListClients",
    "jeton.v1.AdminService/UpdateClient",
    "jeton.v1.AdminService/DeleteClient",
    "jeton.v1.AdminService/CreateApiKey",
    "jeton.v1.AdminService/DeleteApiKey",
    "envoy.service.auth.v3.Authorization/Check",
    "grpc.health.v1.Health/Check",
];

/// W3C Trace Context section 3.2.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The encoding of custom claims in verdicts.
pub const RENDER: Render = verdict::render;

/// The listener that a call came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Listener {
    /// Serves every service but `AdminService`.
    Public,
    /// For people and break-glass identities: wide targets are allowed.
    Admin,
    /// For probes: nothing but health.
    Ops,
}

impl Listener {
    /// The name in flags, logs and refusals.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
            Self::Ops => "ops",
        }
    }
}

/// The state that every service of a listener has.
#[derive(Clone)]
struct Context {
    authority: Arc<Authority>,
    /// Runs work that waits for the database to its end, even if the caller goes away.
    background: Background,
    listener: Listener,
    /// Cancelled when this process is to end: streams end with it.
    stop: CancellationToken,
}

impl Context {
    /// A snapshot, and the caller as it stands there. Refused if the state cannot be proven fresh, if the caller is
    /// no client any more, and if it calls too often.
    async fn snapshot(&self, origin: &RpcOrigin) -> Result<(Snapshot, Caller), Error> {
        let snapshot = self.authority.snapshot().await?;
        let caller = self.authority.caller(&snapshot, &origin.credential, &origin.trace_id)?;
        Ok((snapshot, caller))
    }

    /// Like [`Self::snapshot`]; refused also while the clocks are too far apart.
    async fn clock_checked_snapshot(&self, origin: &RpcOrigin) -> Result<(Snapshot, Caller), Error> {
        let snapshot = self.authority.clock_checked_snapshot().await?;
        let caller = self.authority.caller(&snapshot, &origin.credential, &origin.trace_id)?;
        Ok((snapshot, caller))
    }

    /// Runs `work` to its end even if the caller goes away: a statement that was sent to the database is not cancelled.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Status> {
        match self.background.spawn(work).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Error::Internal("a task ended before its answer".to_owned()).into()),
        }
    }
}

/// The sender of a request: its credential and its trace id.
#[derive(Clone)]
struct RpcOrigin {
    credential: Arc<Credential>,
    trace_id: String,
}

impl RpcOrigin {
    fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let trace_id = trace_id_of(request.metadata().as_ref());
        Ok(Self { credential: credential(request.extensions())?, trace_id })
    }
}

/// The credential that the auth layer found. Without it, the call did not pass that layer.
fn credential(extensions: &Extensions) -> Result<Arc<Credential>, Status> {
    Ok(extensions.get::<Arc<Credential>>().cloned().ok_or(Error::Unauthenticated)?)
}

fn trace_id_of(headers: &HeaderMap) -> String {
    trace_id(headers.get(&TRACEPARENT).and_then(|value| value.to_str().ok()))
}

/// The trace id of W3C `traceparent`, or an empty text.
#[must_use]
pub fn trace_id(traceparent: Option<&str>) -> String {
    let id = traceparent.and_then(|text| text.split('-').nth(1));
    id.filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).unwrap_or_default().to_owned()
}

/// The services of a listener.
pub struct Services {
    listener: Listener,
    routes: Routes,
    /// Tried before the others.
    fast_path: Option<FastPath>,
}

impl Services {
    /// The services of jeton.
    #[must_use]
    pub fn of(
        listener: Listener,
        authority: &Arc<Authority>,
        background: &Background,
        health: &Health,
        stop: &CancellationToken,
    ) -> Self {
        let context = Context {
            authority: Arc::clone(authority),
            background: background.clone(),
            listener,
            stop: stop.clone(),
        };
        let tokens = TokenServiceServer::new(token_service::TokenRpc(context.clone()))
            .max_decoding_message_size(LONG_MESSAGE_BYTES_MAX);
        let tokens = Judging::before(tokens, context.clone());
        let fast_path = Some(FastPath::of(context.clone()));
        let routes = Routes::new(health.service(listener));
        match listener {
            Listener::Ops => Self { listener, routes, fast_path: None },
            Listener::Public => {
                let routes = routes
                    .add_service(tokens)
                    .add_service(
                        AuthorizationServer::new(ext_authz::ExtAuthzRpc(context.clone()))
                            .max_decoding_message_size(LONG_MESSAGE_BYTES_MAX),
                    )
                    .add_service(
                        DiscoveryServiceServer::new(discovery_service::DiscoveryRpc(context))
                            .max_decoding_message_size(LONG_MESSAGE_BYTES_MAX),
                    );
                Self { listener, routes, fast_path }
            }
            Listener::Admin => {
                let admin = AdminServiceServer::new(admin_service::AdminRpc(context))
                    .max_decoding_message_size(LONG_MESSAGE_BYTES_MAX);
                let routes = with_reflection(routes.add_service(tokens).add_service(admin));
                Self { listener, routes, fast_path }
            }
        }
    }

    /// Adds other services.
    #[must_use]
    pub fn beside(self, add: impl FnOnce(Routes) -> Routes) -> Self {
        Self { routes: add(self.routes), ..self }
    }
}
