//! The services of jeton, method by method, with the messages of the API.

use tokio_stream::Stream;

use crate::{Client, JetonError, proto as pb, stream::Answers};

macro_rules! service {
    (
        $(#[doc = $doc:literal])+
        $service:ident at $group:ident {
            $($(#[doc = $says:literal])+ $method:ident $path:literal $request:ident -> $answer:ident,)+
        }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub struct $service(pub(crate) Client);

        impl $service {
            $(
                $(#[doc = $says])+
                pub async fn $method(&self, request: pb::$request) -> Result<pb::$answer, JetonError> {
                    self.0.unary(&self.0.shared.$group, $path, request, None).await
                }
            )+
        }
    };
}

service! {
    /// The calls of `TokenService`.
    TokenService at public {
        /// Mints an access token and, on demand, opens a refreshable session.
        issue "/jeton.v1.TokenService/Issue" IssueRequest -> IssueResponse,
        /// Spends a refresh token: returns its successor and a new access token.
        refresh "/jeton.v1.TokenService/Refresh" RefreshRequest -> RefreshResponse,
        /// Judges one token. A bad token is an OK answer with a status, not an error.
        validate "/jeton.v1.TokenService/Validate" ValidateRequest -> ValidateResponse,
        /// Judges up to 1000 tokens. Verdicts come in request order; one bad token fails none.
        batch_validate "/jeton.v1.TokenService/BatchValidate" BatchValidateRequest -> BatchValidateResponse,
        /// Revokes. When it returns OK with `propagation.complete` and a reach of `REPLICAS` or more, no Validate
        /// that starts later, on any replica, answers ACTIVE for what it hit.
        revoke "/jeton.v1.TokenService/Revoke" RevokeRequest -> RevokeResponse,
        /// Says who the caller is, what it may do, and how long its credential lives. Needs no permission.
        get_caller "/jeton.v1.TokenService/GetCaller" GetCallerRequest -> GetCallerResponse,
    }
}

service! {
    /// The calls of `AdminService`.
    AdminService at admin {
        /// Locks a subject or a client: nothing is issued for it until the lock ends. Locked again, the later
        /// end holds. The last administrator that is not locked cannot be. In effect on every replica when it
        /// returns. Needs `PERMISSION_REVOKE_WIDE`.
        lock "/jeton.v1.AdminService/Lock" LockRequest -> LockResponse,
        /// Ends a lock at once. OK as well where there is none. In effect on every replica when it returns.
        /// Needs `PERMISSION_REVOKE_WIDE`.
        unlock "/jeton.v1.AdminService/Unlock" UnlockRequest -> UnlockResponse,
        /// Lists the locks that hold, newest first. Needs `PERMISSION_ADMIN_READ` or `PERMISSION_REVOKE_WIDE`.
        list_locks "/jeton.v1.AdminService/ListLocks" ListLocksRequest -> ListLocksResponse,
        /// Tells all that is known about a token, a session or a subject: what it is, whose, whether it is in
        /// force, and which revocations hit it, by whom and why. Needs `PERMISSION_ADMIN_READ` or
        /// `PERMISSION_REVOKE_ANY`; without the first, the acts behind the revocations are left out, and so are
        /// sessions and subjects by name.
        explain "/jeton.v1.AdminService/Explain" ExplainRequest -> ExplainResponse,
        /// Lists the revocations in force, newest first.
        list_revocations "/jeton.v1.AdminService/ListRevocations" ListRevocationsRequest -> ListRevocationsResponse,
        /// Lists live sessions of a subject or a client.
        list_sessions "/jeton.v1.AdminService/ListSessions" ListSessionsRequest -> ListSessionsResponse,
        /// Lists the audit trail, newest first.
        list_audit_events "/jeton.v1.AdminService/ListAuditEvents" ListAuditEventsRequest -> ListAuditEventsResponse,
        /// Reads a policy, as stored and as it takes effect.
        get_policy "/jeton.v1.AdminService/GetPolicy" GetPolicyRequest -> GetPolicyResponse,
        /// Lists policies.
        list_policies "/jeton.v1.AdminService/ListPolicies" ListPoliciesRequest -> ListPoliciesResponse,
        /// Writes a policy. In effect on every replica when it returns.
        update_policy "/jeton.v1.AdminService/UpdatePolicy" UpdatePolicyRequest -> UpdatePolicyResponse,
        /// Removes a policy: the wider ones apply.
        delete_policy "/jeton.v1.AdminService/DeletePolicy" DeletePolicyRequest -> DeletePolicyResponse,
        /// Registers a client.
        create_client "/jeton.v1.AdminService/CreateClient" CreateClientRequest -> CreateClientResponse,
        /// Reads a client.
        get_client "/jeton.v1.AdminService/GetClient" GetClientRequest -> GetClientResponse,
        /// Lists clients.
        list_clients "/jeton.v1.AdminService/ListClients" ListClientsRequest -> ListClientsResponse,
        /// Changes a client. In effect on every replica when it returns.
        update_client "/jeton.v1.AdminService/UpdateClient" UpdateClientRequest -> UpdateClientResponse,
        /// Removes a client and revokes what it obtained.
        delete_client "/jeton.v1.AdminService/DeleteClient" DeleteClientRequest -> DeleteClientResponse,
        /// Adds an API key. Its secret is in the answer and nowhere else.
        create_api_key "/jeton.v1.AdminService/CreateApiKey" CreateApiKeyRequest -> CreateApiKeyResponse,
        /// Removes an API key.
        delete_api_key "/jeton.v1.AdminService/DeleteApiKey" DeleteApiKeyRequest -> DeleteApiKeyResponse,
        /// Registers a trusted issuer. In effect on every replica when it returns.
        create_issuer "/jeton.v1.AdminService/CreateIssuer" CreateIssuerRequest -> CreateIssuerResponse,
        /// Reads a trusted issuer.
        get_issuer "/jeton.v1.AdminService/GetIssuer" GetIssuerRequest -> GetIssuerResponse,
        /// Lists trusted issuers.
        list_issuers "/jeton.v1.AdminService/ListIssuers" ListIssuersRequest -> ListIssuersResponse,
        /// Changes the fields of a trusted issuer that the mask names. In effect on every replica when it returns.
        update_issuer "/jeton.v1.AdminService/UpdateIssuer" UpdateIssuerRequest -> UpdateIssuerResponse,
        /// Removes a trusted issuer. What was obtained by its assertions lives on.
        delete_issuer "/jeton.v1.AdminService/DeleteIssuer" DeleteIssuerRequest -> DeleteIssuerResponse,
        /// Judges an assertion, and says which rule it meets and why others do not. It obtains nothing.
        test_assertion "/jeton.v1.AdminService/TestAssertion" TestAssertionRequest -> TestAssertionResponse,
        /// Lists signing keys with their state.
        list_keys "/jeton.v1.AdminService/ListKeys" ListKeysRequest -> ListKeysResponse,
        /// Publishes a new signing key and schedules the switch to it. Where one is published already, answers
        /// that one and changes nothing.
        rotate_key "/jeton.v1.AdminService/RotateKey" RotateKeyRequest -> RotateKeyResponse,
        /// Lists replicas with the revision that each has applied.
        list_replicas "/jeton.v1.AdminService/ListReplicas" ListReplicasRequest -> ListReplicasResponse,
        /// Lists watchers with their lag. Not served yet: UNIMPLEMENTED.
        list_watchers "/jeton.v1.AdminService/ListWatchers" ListWatchersRequest -> ListWatchersResponse,
    }
}

service! {
    /// The calls of `DiscoveryService`.
    DiscoveryService at public {
        /// The public keys.
        get_jwks "/jeton.v1.DiscoveryService/GetJwks" GetJwksRequest -> GetJwksResponse,
        /// Clock, version, limits and features.
        get_server_info "/jeton.v1.DiscoveryService/GetServerInfo" GetServerInfoRequest -> GetServerInfoResponse,
    }
}

impl TokenService {
    /// Issue, in one round: for those who pause between attempts by themselves.
    pub(crate) async fn issue_once(
        &self,
        request: pb::IssueRequest,
    ) -> Result<pb::IssueResponse, JetonError> {
        const PATH: &str = "/jeton.v1.TokenService/Issue";
        self.0.unary(&self.0.shared.public, PATH, request, Some(1)).await
    }

    /// Refresh, in one round.
    pub(crate) async fn refresh_once(
        &self,
        request: pb::RefreshRequest,
    ) -> Result<pb::RefreshResponse, JetonError> {
        const PATH: &str = "/jeton.v1.TokenService/Refresh";
        self.0.unary(&self.0.shared.public, PATH, request, Some(1)).await
    }

    /// Opens a stream of verdicts, in the order of the requests. It is not repeated.
    pub async fn stream_validate(
        &self,
        requests: impl Stream<Item = pb::StreamValidateRequest> + Send + 'static,
    ) -> Result<Answers<pb::StreamValidateResponse>, JetonError> {
        self.stream_validate_behind(0, requests).await
    }

    /// The same at the endpoint so many places behind the current one.
    pub(crate) async fn stream_validate_behind(
        &self,
        skip: usize,
        requests: impl Stream<Item = pb::StreamValidateRequest> + Send + 'static,
    ) -> Result<Answers<pb::StreamValidateResponse>, JetonError> {
        const PATH: &str = "/jeton.v1.TokenService/StreamValidate";
        self.0.streaming(&self.0.shared.public, skip, PATH, requests).await
    }
}

impl AdminService {
    /// Revokes many targets; one answer comes for each chunk. It is not repeated.
    pub async fn bulk_revoke(
        &self,
        requests: impl Stream<Item = pb::BulkRevokeRequest> + Send + 'static,
    ) -> Result<Answers<pb::BulkRevokeResponse>, JetonError> {
        const PATH: &str = "/jeton.v1.AdminService/BulkRevoke";
        self.0.streaming(&self.0.shared.admin, 0, PATH, requests).await
    }
}

#[cfg(test)]
mod tests {
    /// The unary methods of a definition.
    fn defined(text: &str) -> Vec<&str> {
        let methods = text.lines().filter_map(|line| line.trim().strip_prefix("rpc "));
        methods.filter(|line| !line.contains("(stream ")).filter_map(|line| line.split('(').next()).collect()
    }

    #[test]
    fn every_method_of_the_api_is_here() {
        let own = include_str!("services.rs");
        for (service, text) in [
            ("TokenService", include_str!("../../../proto/jeton/v1/token_service.proto")),
            ("AdminService", include_str!("../../../proto/jeton/v1/admin_service.proto")),
            ("DiscoveryService", include_str!("../../../proto/jeton/v1/discovery_service.proto")),
        ] {
            let methods = defined(text);
            assert!(methods.len() > 1, "{service} was read");
            for method in methods {
                assert!(own.contains(&format!("\"/jeton.v1.{service}/{method}\"")), "{service}/{method}");
            }
        }
    }
}
