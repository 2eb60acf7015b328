//! `DiscoveryService`: public facts.

use tonic::{Request, Response, Status};

use crate::{
    authority::{JWKS_MAX_AGE_S, LIMITS},
    proto::{v1 as pb, v1::discovery_service_server::DiscoveryService},
    rpc::{
        Context,
        convert::{duration_ms, duration_s, millis},
    },
};

/// Optional features that a client may look for.
const FEATURES: [&str; 2] = ["introspection", "ext_authz"];

pub(super) struct DiscoveryRpc(pub(super) Context);

#[tonic::async_trait]
impl DiscoveryService for DiscoveryRpc {
    async fn get_jwks(
        &self,
        request: Request<pb::GetJwksRequest>,
    ) -> Result<Response<pb::GetJwksResponse>, Status> {
        let jwks = self.0.authority.jwks();
        let current = request.get_ref().etag == jwks.etag;
        Ok(Response::new(pb::GetJwksResponse {
            jwks_json: if current { String::new() } else { jwks.json },
            etag: jwks.etag,
            max_age: Some(duration_s(JWKS_MAX_AGE_S)),
        }))
    }

    async fn get_server_info(
        &self,
        _request: Request<pb::GetServerInfoRequest>,
    ) -> Result<Response<pb::GetServerInfoResponse>, Status> {
        let authority = &self.0.authority;
        let info = authority.server_info();
        Ok(Response::new(pb::GetServerInfoResponse {
            issuer: authority.issuer.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            replica: authority.replica.clone(),
            server_time: Some(millis(info.server_time_ms)),
            store_clock_offset: Some(duration_ms(info.clock_offset_ms)),
            revision: info.revision.to_string(),
            features: FEATURES.map(str::to_owned).into(),
            limits: LIMITS.into_iter().map(|(name, limit)| (name.to_owned(), limit)).collect(),
        }))
    }
}
