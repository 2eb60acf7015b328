//! The methods of jeton that the command line calls, by their requests.

use jeton_client::{Client, Health, JetonError, proto as pb};

/// A request, and what is known of its method.
pub trait Method: Clone + Send + 'static {
    /// The answer.
    type Answer: Send;
    /// Whether `--retry` repeats it. A second call does no harm, whatever became of the first.
    const REPEATS: bool;
    /// Whether it ends tokens, which is to be done as soon as the server is back.
    const REVOKES: bool = false;

    /// Makes the call.
    fn send(self, client: &Client) -> impl Future<Output = Result<Self::Answer, JetonError>> + Send;
}

/// Asks how a service is, by the health protocol of gRPC; empty: the server as a whole.
#[derive(Clone, Debug)]
pub struct HealthRequest(pub &'static str);

impl Method for HealthRequest {
    type Answer = Health;
    const REPEATS: bool = true;

    async fn send(self, client: &Client) -> Result<Health, JetonError> {
        client.health(self.0).await
    }
}

impl Method for pb::RevokeRequest {
    type Answer = pb::RevokeResponse;
    const REPEATS: bool = true;
    const REVOKES: bool = true;

    async fn send(self, client: &Client) -> Result<pb::RevokeResponse, JetonError> {
        client.token_service().revoke(self).await
    }
}

macro_rules! methods {
    ($($repeats:literal { $($service:ident.$method:ident: $request:ident -> $answer:ident,)+ })+) => {
        $($(
            impl Method for pb::$request {
                type Answer = pb::$answer;
                const REPEATS: bool = $repeats;

                async fn send(self, client: &Client) -> Result<pb::$answer, JetonError> {
                    client.$service().$method(self).await
                }
            }
        )+)+

        /// Each method, and whether it is repeated.
        #[cfg(test)]
        const ALL: &[(&str, bool)] = &[$($((stringify!($method), $repeats),)+)+];
    };
}

methods! {
    true {
        token_service.validate: ValidateRequest -> ValidateResponse,
        token_service.get_caller: GetCallerRequest -> GetCallerResponse,
        discovery_service.get_jwks: GetJwksRequest -> GetJwksResponse,
        discovery_service.get_server_info: GetServerInfoRequest -> GetServerInfoResponse,
        admin_service.explain: ExplainRequest -> ExplainResponse,
        admin_service.get_client: GetClientRequest -> GetClientResponse,
        admin_service.get_issuer: GetIssuerRequest -> GetIssuerResponse,
        admin_service.list_issuers: ListIssuersRequest -> ListIssuersResponse,
        admin_service.test_assertion: TestAssertionRequest -> TestAssertionResponse,
        admin_service.get_policy: GetPolicyRequest -> GetPolicyResponse,
        admin_service.list_audit_events: ListAuditEventsRequest -> ListAuditEventsResponse,
        admin_service.list_clients: ListClientsRequest -> ListClientsResponse,
        admin_service.list_keys: ListKeysRequest -> ListKeysResponse,
        admin_service.list_locks: ListLocksRequest -> ListLocksResponse,
        admin_service.list_policies: ListPoliciesRequest -> ListPoliciesResponse,
        admin_service.list_replicas: ListReplicasRequest -> ListReplicasResponse,
        admin_service.list_revocations: ListRevocationsRequest -> ListRevocationsResponse,
        admin_service.list_sessions: ListSessionsRequest -> ListSessionsResponse,
    }
    false {
        admin_service.create_issuer: CreateIssuerRequest -> CreateIssuerResponse,
        admin_service.update_issuer: UpdateIssuerRequest -> UpdateIssuerResponse,
        admin_service.delete_issuer: DeleteIssuerRequest -> DeleteIssuerResponse,
        token_service.issue: IssueRequest -> IssueResponse,
        token_service.refresh: RefreshRequest -> RefreshResponse,
        admin_service.create_api_key: CreateApiKeyRequest -> CreateApiKeyResponse,
        admin_service.create_client: CreateClientRequest -> CreateClientResponse,
        admin_service.delete_api_key: DeleteApiKeyRequest -> DeleteApiKeyResponse,
        admin_service.delete_client: DeleteClientRequest -> DeleteClientResponse,
        admin_service.delete_policy: DeletePolicyRequest -> DeletePolicyResponse,
        admin_service.lock: LockRequest -> LockResponse,
        admin_service.rotate_key: RotateKeyRequest -> RotateKeyResponse,
        admin_service.unlock: UnlockRequest -> UnlockResponse,
        admin_service.update_client: UpdateClientRequest -> UpdateClientResponse,
        admin_service.update_policy: UpdatePolicyRequest -> UpdatePolicyResponse,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_the_methods_beside_revoke_only_those_that_read_are_repeated() {
        for (method, repeats) in ALL {
            let reads = ["get_", "list_"].iter().any(|verb| method.starts_with(verb))
                || ["validate", "explain", "test_assertion"].contains(method);
            assert_eq!(*repeats, reads, "{method}");
        }
    }
}
