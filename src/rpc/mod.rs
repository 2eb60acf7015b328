//! The only server code that uses gRPC: wire ↔ domain, caller, errors → statuses. A handler parses, calls the authority
//! and converts; it decides nothing.

mod admin;
mod auth;
mod convert;
mod discovery_service;
mod fast_path;
mod front;
mod health;
mod reflection;
mod status;
mod tokens;
mod wire;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    authority::{Authority, Background, Caller, Error},
    edge::{Admission, BULK_BYTES_MAX, LONG_MESSAGE_BYTES_MAX, Listener, Origin},
    proto::{
        envoy::authorization_server::AuthorizationServer,
        v1::{
            admin_service_server::AdminServiceServer, discovery_service_server::DiscoveryServiceServer,
            token_service_server::TokenServiceServer,
        },
    },
    state::{Encode, Snapshot},
};

use crate::rpc::{fast_path::FastPath, reflection::with_reflection, tokens::judging::Judging};

pub use auth::AuthLayer;
pub use front::Front;
pub use health::{Health, watch_readiness};
pub use tonic::service::Routes;

/// The encoding of custom claims in verdicts.
pub const ENCODE_CUSTOM: Encode = tokens::verdict::encode_custom;

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
    /// A snapshot, and the caller as it stands there. Refused if the state cannot be proven fresh, and if the caller is
    /// no client any more.
    async fn snapshot(&self, origin: &Origin) -> Result<(Snapshot, Caller), Error> {
        let Admission { snapshot, caller, .. } = origin.again(&self.authority).await?;
        Ok((snapshot, caller))
    }

    /// Runs `work` to its end even if the caller goes away: a statement that was sent to the database is not cancelled.
    async fn detached<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Status> {
        Ok(self.background.detached(work).await?)
    }
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
        let tokens = TokenServiceServer::new(tokens::service::TokenRpc(context.clone()))
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
                        AuthorizationServer::new(tokens::ext_authz::ExtAuthzRpc(context.clone()))
                            .max_decoding_message_size(LONG_MESSAGE_BYTES_MAX),
                    )
                    .add_service(
                        DiscoveryServiceServer::new(discovery_service::DiscoveryRpc(context))
                            .max_decoding_message_size(LONG_MESSAGE_BYTES_MAX),
                    );
                Self { listener, routes, fast_path }
            }
            Listener::Admin => {
                // Each method has its own limit, which is checked before.
                let admin = AdminServiceServer::new(admin::service::AdminRpc(context))
                    .max_decoding_message_size(BULK_BYTES_MAX);
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
