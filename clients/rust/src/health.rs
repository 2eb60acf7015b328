//! The health protocol of gRPC (`grpc.health.v1`), as far as a client asks by it.

use prost::Message;

use crate::{Client, Code, JetonError};

/// The method that is asked.
pub(crate) const CHECK: &str = "/grpc.health.v1.Health/Check";

/// The statuses of the protocol that say something.
pub(crate) const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

/// How a service of a server is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Health {
    /// It serves.
    Serving,
    /// It does not serve.
    NotServing,
    /// The server does not know yet.
    Unknown,
    /// The server has no service of this name.
    NoSuchService,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    pub(crate) status: i32,
}

impl Client {
    /// Asks how a service is, by the health protocol of gRPC. The empty name is the server as a whole. No credential is
    /// sent, and a server that answers badly is not asked again.
    pub async fn health(&self, service: impl Into<String>) -> Result<Health, JetonError> {
        let request = HealthCheckRequest { service: service.into() };
        let answer: Result<HealthCheckResponse, _> =
            self.unary(&self.shared.public, CHECK, request, Some(1)).await;
        match answer {
            Ok(HealthCheckResponse { status: SERVING }) => Ok(Health::Serving),
            Ok(HealthCheckResponse { status: NOT_SERVING }) => Ok(Health::NotServing),
            Ok(_) => Ok(Health::Unknown),
            Err(error) if error.code() == Code::NotFound => Ok(Health::NoSuchService),
            Err(error) => Err(error),
        }
    }
}
