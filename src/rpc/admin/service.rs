//! `AdminService`. A method without a handler here answers UNIMPLEMENTED, by the generated stubs.

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use crate::{
    authority::{
        AuditQuery, Authority, Caller, ClientUpdate, Error, Invalid, IssuerUpdate, LockRequest, PolicyUpdate,
        Question, RotateRequest, SessionQuery, UnlockRequest,
    },
    edge::Origin,
    proto::{v1 as pb, v1::admin_service_server::AdminService},
    rpc::{
        Context,
        admin::{
            bulk,
            clients::{self, api_key, client},
            explain, issuers, keys, locks,
            policies::{effective_policy, policy, policy_update},
        },
        convert::{audit_event, etag_of, lock, replica, session, time_of},
    },
    state::{FAMILY_ANY, Permission, Snapshot},
    store::{ClientRow, IssuerRow},
};
use jeton_token::Revision;

pub(in crate::rpc) struct AdminRpc(pub(in crate::rpc) Context);

/// What an act runs with.
struct Admitted {
    authority: Arc<Authority>,
    snapshot: Snapshot,
    caller: Caller,
}

impl AdminRpc {
    /// The shape of every method: read the request, admit the caller, act. The act runs to its end even if the caller
    /// goes away.
    async fn run<Q, R, A, F>(
        &self,
        request: Request<Q>,
        read: impl FnOnce(Q) -> Result<R, Invalid> + Send,
        act: impl FnOnce(Admitted, R) -> F + Send + 'static,
    ) -> Result<Response<A>, Status>
    where
        R: Send + 'static,
        A: Send + 'static,
        F: Future<Output = Result<A, Error>> + Send,
    {
        let origin = Origin::of(request.extensions())?;
        let read = read(request.into_inner())?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (snapshot, caller) = context.snapshot(&origin).await?;
            act(Admitted { authority: context.authority, snapshot, caller }, read).await
        });
        Ok(Response::new(answer.await?))
    }
}

#[tonic::async_trait]
impl AdminService for AdminRpc {
    async fn bulk_revoke(
        &self,
        request: Request<Streaming<pb::BulkRevokeRequest>>,
    ) -> Result<Response<bulk::Answers>, Status> {
        bulk::bulk_revoke(self.0.clone(), request)
    }

    async fn lock(&self, request: Request<pb::LockRequest>) -> Result<Response<pb::LockResponse>, Status> {
        let act = |by: Admitted, it: LockRequest| async move {
            let locked = by.authority.lock(&by.snapshot, &by.caller, &it).await?;
            Ok(locks::locked(locked, by.caller.client.may(Permission::AdminRead)))
        };
        self.run(request, locks::lock_request, act).await
    }

    async fn unlock(
        &self,
        request: Request<pb::UnlockRequest>,
    ) -> Result<Response<pb::UnlockResponse>, Status> {
        let act = |by: Admitted, it: UnlockRequest| async move {
            let unlocked = by.authority.unlock(&by.snapshot, &by.caller, &it).await?;
            Ok(locks::unlocked(unlocked, by.caller.client.may(Permission::AdminRead)))
        };
        self.run(request, locks::unlock_request, act).await
    }

    async fn list_locks(
        &self,
        request: Request<pb::ListLocksRequest>,
    ) -> Result<Response<pb::ListLocksResponse>, Status> {
        let act = |by: Admitted, it: pb::ListLocksRequest| async move {
            let (locks, next_page_token) =
                by.authority.list_locks(&by.snapshot, &by.caller, it.page_size, &it.page_token)?;
            let in_full = by.caller.client.may(Permission::AdminRead);
            let locks = locks.iter().map(|it| lock(it, in_full)).collect();
            Ok(pb::ListLocksResponse { locks, next_page_token })
        };
        self.run(request, Ok, act).await
    }

    async fn explain(
        &self,
        request: Request<pb::ExplainRequest>,
    ) -> Result<Response<pb::ExplainResponse>, Status> {
        let act = |by: Admitted, question: Question| async move {
            let in_full = by.caller.client.may(Permission::AdminRead);
            Ok(explain::answer(by.authority.explain(&by.snapshot, &by.caller, &question).await?, in_full))
        };
        self.run(request, explain::question, act).await
    }

    async fn list_revocations(
        &self,
        request: Request<pb::ListRevocationsRequest>,
    ) -> Result<Response<pb::ListRevocationsResponse>, Status> {
        let act = |by: Admitted, it: pb::ListRevocationsRequest| async move {
            let (revocations, next_page_token) =
                by.authority.list_revocations(&by.caller, it.wide_only, it.page_size, &it.page_token).await?;
            let root = &by.snapshot.root;
            let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
            Ok(pb::ListRevocationsResponse {
                revocations: revocations.into_iter().map(explain::in_force).collect(),
                next_page_token,
                token_count: count(root.tokens.len()),
                session_count: count(root.sessions.len()),
                wide_count: count(root.marks.len()),
            })
        };
        self.run(request, Ok, act).await
    }

    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let read = |it: pb::ListSessionsRequest| {
            Ok(SessionQuery {
                subject: it.subject,
                client_id: it.client_id,
                show_ended: it.show_ended,
                page_size: it.page_size,
                page_token: it.page_token,
            })
        };
        let act = |by: Admitted, query: SessionQuery| async move {
            let listed = by.authority.list_sessions(&by.snapshot, &by.caller, &query).await?;
            Ok(pb::ListSessionsResponse {
                sessions: listed.rows.into_iter().map(session).collect(),
                next_page_token: listed.next_page_token,
                similar_subjects: listed.similar_subjects,
            })
        };
        self.run(request, read, act).await
    }

    async fn list_audit_events(
        &self,
        request: Request<pb::ListAuditEventsRequest>,
    ) -> Result<Response<pb::ListAuditEventsResponse>, Status> {
        let read = |it: pb::ListAuditEventsRequest| {
            Ok(AuditQuery {
                subject: it.subject,
                jti: it.jti,
                session_id: it.session_id,
                actor: it.actor,
                start_time: it.start_time.map(|time| time_of("start_time", time)).transpose()?,
                end_time: it.end_time.map(|time| time_of("end_time", time)).transpose()?,
                client_id: it.client_id,
                key_id: it.key_id,
                action: it.action,
                note: it.note,
                show_canaries: it.show_canaries,
                page_size: it.page_size,
                page_token: it.page_token,
            })
        };
        let act = |by: Admitted, query: AuditQuery| async move {
            let listed = by.authority.list_audit_events(&by.caller, &query).await?;
            let applied = by.authority.applied_by_replicas().await?;
            Ok(pb::ListAuditEventsResponse {
                audit_events: listed.rows.into_iter().map(|row| audit_event(row, &applied)).collect(),
                next_page_token: listed.next_page_token,
                similar_subjects: listed.similar_subjects,
            })
        };
        self.run(request, read, act).await
    }

    async fn list_replicas(
        &self,
        request: Request<pb::ListReplicasRequest>,
    ) -> Result<Response<pb::ListReplicasResponse>, Status> {
        let read = |pb::ListReplicasRequest {}| Ok(());
        let act = |by: Admitted, ()| async move {
            let (replicas, most_replicas_of_last_day) = by.authority.list_replicas(&by.caller).await?;
            let replicas = replicas.into_iter().map(replica).collect();
            Ok(pb::ListReplicasResponse { replicas, most_replicas_of_last_day })
        };
        self.run(request, read, act).await
    }

    async fn get_policy(
        &self,
        request: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::GetPolicyResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::GetPolicyRequest| async move {
            let client_id = if it.client_id.is_empty() { FAMILY_ANY.to_owned() } else { it.client_id };
            let (stored, effective) =
                by.authority.get_policy(&by.snapshot, &by.caller, &it.audience, &client_id)?;
            Ok(pb::GetPolicyResponse {
                policy: stored.map(policy),
                effective_policy: Some(effective_policy(effective, client_id)),
            })
        };
        self.run(request, read, act).await
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::ListPoliciesRequest| async move {
            let (policies, next_page_token) =
                by.authority.list_policies(&by.caller, it.page_size, &it.page_token).await?;
            let policies = policies.into_iter().map(policy).collect();
            Ok(pb::ListPoliciesResponse { policies, next_page_token })
        };
        self.run(request, read, act).await
    }

    async fn update_policy(
        &self,
        request: Request<pb::UpdatePolicyRequest>,
    ) -> Result<Response<pb::UpdatePolicyResponse>, Status> {
        let read = policy_update;
        let act = |by: Admitted, update: PolicyUpdate| async move {
            let written = by.authority.update_policy(&by.caller, &update).await?;
            Ok(pb::UpdatePolicyResponse { policy: Some(policy(written)) })
        };
        self.run(request, read, act).await
    }

    async fn delete_policy(
        &self,
        request: Request<pb::DeletePolicyRequest>,
    ) -> Result<Response<pb::DeletePolicyResponse>, Status> {
        let read = |it: pb::DeletePolicyRequest| Ok((etag_of("etag", &it.etag)?, it));
        let act = |by: Admitted, (etag, it): (Option<Revision>, pb::DeletePolicyRequest)| async move {
            by.authority.delete_policy(&by.caller, &it.audience, &it.client_id, etag).await?;
            Ok(pb::DeletePolicyResponse {})
        };
        self.run(request, read, act).await
    }

    async fn create_client(
        &self,
        request: Request<pb::CreateClientRequest>,
    ) -> Result<Response<pb::CreateClientResponse>, Status> {
        let read = clients::new_client;
        let act = |by: Admitted, new: ClientRow| async move {
            let created = by.authority.create_client(&by.caller, new).await?;
            Ok(pb::CreateClientResponse { client: Some(client(created)) })
        };
        self.run(request, read, act).await
    }

    async fn get_client(
        &self,
        request: Request<pb::GetClientRequest>,
    ) -> Result<Response<pb::GetClientResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::GetClientRequest| async move {
            let row = by.authority.get_client(&by.snapshot, &by.caller, &it.client_id).await?;
            Ok(pb::GetClientResponse { client: Some(client(row)) })
        };
        self.run(request, read, act).await
    }

    async fn list_clients(
        &self,
        request: Request<pb::ListClientsRequest>,
    ) -> Result<Response<pb::ListClientsResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::ListClientsRequest| async move {
            let (page_size, page_token) = (it.page_size, &it.page_token);
            let (rows, next_page_token) =
                by.authority.list_clients(&by.snapshot, &by.caller, page_size, page_token).await?;
            let clients = rows.into_iter().map(client).collect();
            Ok(pb::ListClientsResponse { clients, next_page_token })
        };
        self.run(request, read, act).await
    }

    async fn update_client(
        &self,
        request: Request<pb::UpdateClientRequest>,
    ) -> Result<Response<pb::UpdateClientResponse>, Status> {
        let read = clients::client_update;
        let act = |by: Admitted, update: ClientUpdate| async move {
            let written = by.authority.update_client(&by.snapshot, &by.caller, &update).await?;
            Ok(pb::UpdateClientResponse { client: Some(client(written)) })
        };
        self.run(request, read, act).await
    }

    async fn delete_client(
        &self,
        request: Request<pb::DeleteClientRequest>,
    ) -> Result<Response<pb::DeleteClientResponse>, Status> {
        let read = |it: pb::DeleteClientRequest| Ok((etag_of("etag", &it.etag)?, it.client_id));
        let act = |by: Admitted, (etag, client_id): (Option<Revision>, String)| async move {
            by.authority.delete_client(&by.snapshot, &by.caller, &client_id, etag).await?;
            Ok(pb::DeleteClientResponse {})
        };
        self.run(request, read, act).await
    }

    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let read = |it: pb::CreateApiKeyRequest| Ok((clients::ttl_s(it.ttl)?, it.client_id));
        let act = |by: Admitted, (ttl_s, client_id): (Option<i64>, String)| async move {
            let new = by.authority.create_api_key(&by.caller, &client_id, ttl_s).await?;
            let secret = new.key.expose().to_owned();
            Ok(pb::CreateApiKeyResponse { secret, api_key: Some(api_key(new.facts)) })
        };
        self.run(request, read, act).await
    }

    async fn delete_api_key(
        &self,
        request: Request<pb::DeleteApiKeyRequest>,
    ) -> Result<Response<pb::DeleteApiKeyResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::DeleteApiKeyRequest| async move {
            by.authority.delete_api_key(&by.caller, &it.client_id, &it.api_key_id).await?;
            Ok(pb::DeleteApiKeyResponse {})
        };
        self.run(request, read, act).await
    }

    async fn create_issuer(
        &self,
        request: Request<pb::CreateIssuerRequest>,
    ) -> Result<Response<pb::CreateIssuerResponse>, Status> {
        let read = issuers::new_issuer;
        let act = |by: Admitted, new: IssuerRow| async move {
            let row = by.authority.create_issuer(&by.caller, new).await?;
            Ok(pb::CreateIssuerResponse { issuer: Some(issuers::issuer(row, String::new())) })
        };
        self.run(request, read, act).await
    }

    async fn get_issuer(
        &self,
        request: Request<pb::GetIssuerRequest>,
    ) -> Result<Response<pb::GetIssuerResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::GetIssuerRequest| async move {
            let row = by.authority.get_issuer(&by.caller, &it.issuer_id).await?;
            let fault = by.authority.keys_fault(&row.issuer_id);
            Ok(pb::GetIssuerResponse { issuer: Some(issuers::issuer(row, fault)) })
        };
        self.run(request, read, act).await
    }

    async fn list_issuers(
        &self,
        request: Request<pb::ListIssuersRequest>,
    ) -> Result<Response<pb::ListIssuersResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::ListIssuersRequest| async move {
            let listed = by.authority.list_issuers(&by.caller, it.page_size, &it.page_token).await;
            let (rows, next_page_token) = listed?;
            let shown = |row: IssuerRow| {
                let fault = by.authority.keys_fault(&row.issuer_id);
                issuers::issuer(row, fault)
            };
            Ok(pb::ListIssuersResponse { issuers: rows.into_iter().map(shown).collect(), next_page_token })
        };
        self.run(request, read, act).await
    }

    async fn update_issuer(
        &self,
        request: Request<pb::UpdateIssuerRequest>,
    ) -> Result<Response<pb::UpdateIssuerResponse>, Status> {
        let read = issuers::issuer_update;
        let act = |by: Admitted, update: IssuerUpdate| async move {
            let row = by.authority.update_issuer(&by.caller, &update).await?;
            Ok(pb::UpdateIssuerResponse { issuer: Some(issuers::issuer(row, String::new())) })
        };
        self.run(request, read, act).await
    }

    async fn delete_issuer(
        &self,
        request: Request<pb::DeleteIssuerRequest>,
    ) -> Result<Response<pb::DeleteIssuerResponse>, Status> {
        let read = |it: pb::DeleteIssuerRequest| Ok((etag_of("etag", &it.etag)?, it.issuer_id));
        let act = |by: Admitted, (etag, issuer_id): (Option<Revision>, String)| async move {
            by.authority.delete_issuer(&by.caller, &issuer_id, etag).await?;
            Ok(pb::DeleteIssuerResponse {})
        };
        self.run(request, read, act).await
    }

    async fn test_assertion(
        &self,
        request: Request<pb::TestAssertionRequest>,
    ) -> Result<Response<pb::TestAssertionResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::TestAssertionRequest| async move {
            let (tested, refused) =
                by.authority.test_assertion(&by.snapshot, &by.caller, &it.assertion).await?;
            Ok(issuers::tested(tested, refused.as_ref()))
        };
        self.run(request, read, act).await
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Result<Response<pb::ListKeysResponse>, Status> {
        let read = Ok;
        let act = |by: Admitted, it: pb::ListKeysRequest| async move {
            Ok(keys::page(by.authority.list_keys(&by.caller, it.page_size, &it.page_token).await?))
        };
        self.run(request, read, act).await
    }

    async fn rotate_key(
        &self,
        request: Request<pb::RotateKeyRequest>,
    ) -> Result<Response<pb::RotateKeyResponse>, Status> {
        let read = |it| keys::rotate_request(&it);
        let act = |by: Admitted, request: RotateRequest| async move {
            Ok(keys::rotated(by.authority.rotate_key(&by.caller, request).await?))
        };
        self.run(request, read, act).await
    }
}
