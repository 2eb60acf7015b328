//! A caller of jeton, on generated stubs, as any user is.

use std::collections::HashMap;

use jeton::proto::v1::{
    self as pb, admin_service_client::AdminServiceClient, discovery_service_client::DiscoveryServiceClient,
    revocation_target::Kind, token_service_client::TokenServiceClient,
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt;

use super::{patience::Patience, server::Ready};

/// Adds the credential to each call.
#[derive(Clone)]
pub struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

pub type Authenticated = InterceptedService<Channel, Bearer>;

/// Bytes: larger than anything that the server lets in.
const BIG: usize = 64 * 1024 * 1024;

/// Every service, as one caller. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    /// On the public listener.
    pub tokens: TokenServiceClient<Authenticated>,
    /// On the admin listener: wide targets.
    pub wide: TokenServiceClient<Authenticated>,
    pub admin: AdminServiceClient<Authenticated>,
    pub discovery: DiscoveryServiceClient<Authenticated>,
}

impl Api {
    /// Connects lazily. An empty key is no credential at all.
    pub fn connect(ready: &Ready, api_key: &str) -> Self {
        Self::over(channel(&ready.public), channel(&ready.admin), api_key)
    }

    /// The same on channels to the public and the admin listener.
    pub fn over(public: Channel, admin: Channel, api_key: &str) -> Self {
        let bearer = (!api_key.is_empty()).then(|| format!("Bearer {api_key}").parse().unwrap());
        let with = |channel| InterceptedService::new(channel, Bearer(bearer.clone()));
        Self {
            tokens: TokenServiceClient::new(with(public.clone()))
                .max_encoding_message_size(BIG)
                .max_decoding_message_size(BIG),
            wide: TokenServiceClient::new(with(admin.clone())),
            admin: AdminServiceClient::new(with(admin)),
            discovery: DiscoveryServiceClient::new(with(public)),
        }
    }

    /// Issues, with whatever the request says.
    pub async fn issue(&mut self, request: pb::IssueRequest) -> Result<pb::IssuedToken, Status> {
        Ok(self.tokens.issue(request).await?.into_inner().token.unwrap())
    }

    /// Issues; a refusal for now is asked again.
    pub async fn issued(&mut self, request: pb::IssueRequest) -> pb::IssuedToken {
        let patience = Patience::begin();
        loop {
            match self.issue(request.clone()).await {
                Err(status) if patience.bears(&status).await => {}
                done => return done.unwrap(),
            }
        }
    }

    /// An access token for (subject, audience).
    pub async fn token(&mut self, subject: &str, audience: &str) -> pb::IssuedToken {
        self.issued(issue_request(subject, &[audience])).await
    }

    /// A session for (subject, audience): its first token.
    pub async fn session(&mut self, subject: &str, audience: &str) -> pb::IssuedToken {
        self.issued(pb::IssueRequest { refreshable: true, ..issue_request(subject, &[audience]) }).await
    }

    /// Refreshes with all of the session's scopes and the policy's lifetime.
    pub async fn refresh(&mut self, refresh_token: &str) -> Result<pb::IssuedToken, Status> {
        let request = pb::RefreshRequest { refresh_token: refresh_token.to_owned(), ..Default::default() };
        Ok(self.tokens.refresh(request).await?.into_inner().token.unwrap())
    }

    /// Judges a token, accepting these audiences.
    pub async fn validate(&mut self, token: &str, audiences: &[&str]) -> Result<pb::Verdict, Status> {
        let request = validate_request(token, audiences);
        Ok(self.tokens.validate(request).await?.into_inner().verdict.unwrap())
    }

    /// The status of a token for an audience. A refusal for now is no answer: it is asked again.
    pub async fn status(&mut self, token: &str, audience: &str) -> pb::TokenStatus {
        let patience = Patience::begin();
        loop {
            match self.validate(token, &[audience]).await {
                Err(status) if patience.bears(&status).await => {}
                done => return done.unwrap().status(),
            }
        }
    }

    /// Revokes on the public listener.
    pub async fn revoke(&mut self, kind: Kind) -> Result<pb::RevokeResponse, Status> {
        Ok(self.tokens.revoke(revoke_request(kind)).await?.into_inner())
    }

    /// Revokes on the public listener; a refusal for now is asked again, which is safe (K1).
    pub async fn revoked(&mut self, kind: Kind) -> pb::RevokeResponse {
        let patience = Patience::begin();
        loop {
            match self.revoke(kind.clone()).await {
                Err(status) if patience.bears(&status).await => {}
                done => return done.unwrap(),
            }
        }
    }

    /// Revokes on the admin listener, with a reason.
    pub async fn revoke_wide(&mut self, kind: Kind) -> Result<pb::RevokeResponse, Status> {
        let request =
            pb::RevokeRequest { reason: pb::RevocationReason::Compromised.into(), ..revoke_request(kind) };
        Ok(self.wide.revoke(request).await?.into_inner())
    }

    /// Writes a policy, creating it if absent.
    pub async fn set_policy(&mut self, policy: pb::Policy) -> Result<pb::Policy, Status> {
        let request =
            pb::UpdatePolicyRequest { policy: Some(policy), allow_missing: true, ..Default::default() };
        Ok(self.admin.update_policy(request).await?.into_inner().policy.unwrap())
    }
}

/// A channel to a listener, without a credential.
pub fn channel(address: &str) -> Channel {
    Endpoint::new(format!("http://{address}")).unwrap().connect_lazy()
}

pub fn issue_request(subject: &str, audiences: &[&str]) -> pb::IssueRequest {
    pb::IssueRequest {
        subject: subject.to_owned(),
        audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
        ..Default::default()
    }
}

pub fn validate_request(token: &str, audiences: &[&str]) -> pb::ValidateRequest {
    pb::ValidateRequest {
        token: token.to_owned(),
        audiences: audiences.iter().map(|audience| (*audience).to_owned()).collect(),
        ..Default::default()
    }
}

pub fn revoke_request(kind: Kind) -> pb::RevokeRequest {
    pb::RevokeRequest {
        target: Some(pb::RevocationTarget { kind: Some(kind), ..Default::default() }),
        ..Default::default()
    }
}

/// A policy of any client for an audience, with nothing set.
pub fn policy(audience: &str) -> pb::Policy {
    pb::Policy { audience: audience.to_owned(), client_id: "*".to_owned(), ..Default::default() }
}

pub fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// The content of a refusal, as a client reads it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ErrorFacts {
    pub code: tonic::Code,
    pub reason: String,
    pub metadata: HashMap<String, String>,
}

/// Reads a refusal, and holds it to E1.
pub trait Refused {
    fn refused(self) -> ErrorFacts;
}

impl<T: std::fmt::Debug> Refused for Result<T, Status> {
    fn refused(self) -> ErrorFacts {
        let status = self.expect_err("a refusal");
        let details = status.get_error_details_vec();
        let infos = details.iter().filter(|detail| matches!(detail, tonic_types::ErrorDetail::ErrorInfo(_)));
        assert_eq!(infos.count(), 1, "exactly one ErrorInfo (E1): {status:?}");
        let info = status.get_details_error_info().unwrap();
        assert_eq!(info.domain, "jeton.v1", "E1");
        assert!(status.message().chars().count() <= 300, "at most 300 characters (E1): {}", status.message());
        assert!(!status.message().contains("eyJ"), "no token text (E1): {}", status.message());
        let name = format!("ERROR_REASON_{}", info.reason);
        assert!(pb::ErrorReason::from_str_name(&name).is_some(), "a reason of the catalogue: {name}");
        ErrorFacts { code: status.code(), reason: info.reason, metadata: info.metadata }
    }
}

impl ErrorFacts {
    /// The value of a metadata key, which must be there.
    pub fn get(&self, key: &str) -> &str {
        self.metadata.get(key).unwrap_or_else(|| panic!("no {key} in {self:?}"))
    }
}
