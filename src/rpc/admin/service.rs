//! `AdminService`. A method without a handler here answers UNIMPLEMENTED, by the generated stubs.

use tonic::{Request, Response, Status};

use crate::{
    authority::{AuditQuery, SessionQuery},
    edge::Origin,
    proto::{v1 as pb, v1::admin_service_server::AdminService},
    rpc::{
        Context,
        admin::{
            clients::{self, api_key, client},
            keys,
            policies::{effective_policy, policy, policy_update},
        },
        convert::{audit_event, etag_of, replica, session, time_of},
    },
    state::FAMILY_ANY,
};

pub(in crate::rpc) struct AdminRpc(pub(in crate::rpc) Context);

#[tonic::async_trait]
impl AdminService for AdminRpc {
    async fn list_sessions(
        &self,
        request: Request<pb::ListSessionsRequest>,
    ) -> Result<Response<pb::ListSessionsResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let query = SessionQuery {
            subject: request.subject,
            client_id: request.client_id,
            show_ended: request.show_ended,
            page_size: request.page_size,
            page_token: request.page_token,
        };
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (snapshot, caller) = context.snapshot(&origin).await?;
            let listed = context.authority.list_sessions(&snapshot, &caller, &query).await?;
            Ok(pb::ListSessionsResponse {
                sessions: listed.rows.into_iter().map(session).collect(),
                next_page_token: listed.next_page_token,
                similar_subjects: listed.similar_subjects,
            })
        });
        Ok(Response::new(answer.await?))
    }

    async fn list_audit_events(
        &self,
        request: Request<pb::ListAuditEventsRequest>,
    ) -> Result<Response<pb::ListAuditEventsResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let query = AuditQuery {
            subject: request.subject,
            jti: request.jti,
            session_id: request.session_id,
            actor: request.actor,
            start_time: request.start_time.map(|time| time_of("start_time", time)).transpose()?,
            end_time: request.end_time.map(|time| time_of("end_time", time)).transpose()?,
            client_id: request.client_id,
            key_id: request.key_id,
            action: request.action,
            note: request.note,
            show_canaries: request.show_canaries,
            page_size: request.page_size,
            page_token: request.page_token,
        };
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let listed = context.authority.list_audit_events(&caller, &query).await?;
            Ok(pb::ListAuditEventsResponse {
                audit_events: listed.rows.into_iter().map(audit_event).collect(),
                next_page_token: listed.next_page_token,
                similar_subjects: listed.similar_subjects,
            })
        });
        Ok(Response::new(answer.await?))
    }

    async fn list_replicas(
        &self,
        request: Request<pb::ListReplicasRequest>,
    ) -> Result<Response<pb::ListReplicasResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let (replicas, most_replicas_of_last_day) = context.authority.list_replicas(&caller).await?;
            let replicas = replicas.into_iter().map(replica).collect();
            Ok(pb::ListReplicasResponse { replicas, most_replicas_of_last_day })
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_policy(
        &self,
        request: Request<pb::GetPolicyRequest>,
    ) -> Result<Response<pb::GetPolicyResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let pb::GetPolicyRequest { audience, client_id } = request.into_inner();
        let client_id = if client_id.is_empty() { FAMILY_ANY.to_owned() } else { client_id };
        let (snapshot, caller) = self.0.snapshot(&origin).await?;
        let (stored, effective) = self.0.authority.get_policy(&snapshot, &caller, &audience, &client_id)?;
        Ok(Response::new(pb::GetPolicyResponse {
            policy: stored.map(policy),
            effective_policy: Some(effective_policy(effective, client_id)),
        }))
    }

    async fn list_policies(
        &self,
        request: Request<pb::ListPoliciesRequest>,
    ) -> Result<Response<pb::ListPoliciesResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let (policies, next_page_token) =
                context.authority.list_policies(&caller, request.page_size, &request.page_token).await?;
            Ok(pb::ListPoliciesResponse {
                policies: policies.into_iter().map(policy).collect(),
                next_page_token,
            })
        });
        Ok(Response::new(answer.await?))
    }

    async fn update_policy(
        &self,
        request: Request<pb::UpdatePolicyRequest>,
    ) -> Result<Response<pb::UpdatePolicyResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let update = policy_update(request.into_inner())?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let written = context.authority.update_policy(&caller, &update).await?;
            Ok(pb::UpdatePolicyResponse { policy: Some(policy(written)) })
        });
        Ok(Response::new(answer.await?))
    }

    async fn delete_policy(
        &self,
        request: Request<pb::DeletePolicyRequest>,
    ) -> Result<Response<pb::DeletePolicyResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let etag = etag_of("etag", &request.etag)?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            context.authority.delete_policy(&caller, &request.audience, &request.client_id, etag).await?;
            Ok(pb::DeletePolicyResponse {})
        });
        Ok(Response::new(answer.await?))
    }
    async fn create_client(
        &self,
        request: Request<pb::CreateClientRequest>,
    ) -> Result<Response<pb::CreateClientResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let new = clients::new_client(request.into_inner())?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let created = context.authority.create_client(&caller, new).await?;
            Ok(pb::CreateClientResponse { client: Some(client(created)) })
        });
        Ok(Response::new(answer.await?))
    }

    async fn get_client(
        &self,
        request: Request<pb::GetClientRequest>,
    ) -> Result<Response<pb::GetClientResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let client_id = request.into_inner().client_id;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (snapshot, caller) = context.snapshot(&origin).await?;
            let row = context.authority.get_client(&snapshot, &caller, &client_id).await?;
            Ok(pb::GetClientResponse { client: Some(client(row)) })
        });
        Ok(Response::new(answer.await?))
    }

    async fn list_clients(
        &self,
        request: Request<pb::ListClientsRequest>,
    ) -> Result<Response<pb::ListClientsResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (snapshot, caller) = context.snapshot(&origin).await?;
            let (rows, next_page_token) = context
                .authority
                .list_clients(&snapshot, &caller, request.page_size, &request.page_token)
                .await?;
            let clients = rows.into_iter().map(client).collect();
            Ok(pb::ListClientsResponse { clients, next_page_token })
        });
        Ok(Response::new(answer.await?))
    }

    async fn update_client(
        &self,
        request: Request<pb::UpdateClientRequest>,
    ) -> Result<Response<pb::UpdateClientResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let update = clients::client_update(request.into_inner())?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (snapshot, caller) = context.snapshot(&origin).await?;
            let written = context.authority.update_client(&snapshot, &caller, &update).await?;
            Ok(pb::UpdateClientResponse { client: Some(client(written)) })
        });
        Ok(Response::new(answer.await?))
    }

    async fn delete_client(
        &self,
        request: Request<pb::DeleteClientRequest>,
    ) -> Result<Response<pb::DeleteClientResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let etag = etag_of("etag", &request.etag)?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (snapshot, caller) = context.snapshot(&origin).await?;
            context.authority.delete_client(&snapshot, &caller, &request.client_id, etag).await?;
            Ok(pb::DeleteClientResponse {})
        });
        Ok(Response::new(answer.await?))
    }

    async fn create_api_key(
        &self,
        request: Request<pb::CreateApiKeyRequest>,
    ) -> Result<Response<pb::CreateApiKeyResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let ttl_s = clients::ttl_s(request.ttl)?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let new = context.authority.create_api_key(&caller, &request.client_id, ttl_s).await?;
            Ok(pb::CreateApiKeyResponse {
                secret: new.key.expose().to_owned(),
                api_key: Some(api_key(new.facts)),
            })
        });
        Ok(Response::new(answer.await?))
    }

    async fn delete_api_key(
        &self,
        request: Request<pb::DeleteApiKeyRequest>,
    ) -> Result<Response<pb::DeleteApiKeyResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let (client_id, api_key_id) = (&request.client_id, &request.api_key_id);
            context.authority.delete_api_key(&caller, client_id, api_key_id).await?;
            Ok(pb::DeleteApiKeyResponse {})
        });
        Ok(Response::new(answer.await?))
    }

    async fn list_keys(
        &self,
        request: Request<pb::ListKeysRequest>,
    ) -> Result<Response<pb::ListKeysResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = request.into_inner();
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            let page = context.authority.list_keys(&caller, request.page_size, &request.page_token).await?;
            Ok(keys::page(page))
        });
        Ok(Response::new(answer.await?))
    }

    async fn rotate_key(
        &self,
        request: Request<pb::RotateKeyRequest>,
    ) -> Result<Response<pb::RotateKeyResponse>, Status> {
        let origin = Origin::of(request.extensions())?;
        let request = keys::rotate_request(request.get_ref())?;
        let context = self.0.clone();
        let answer = self.0.detached(async move {
            let (_, caller) = context.snapshot(&origin).await?;
            Ok(keys::rotated(context.authority.rotate_key(&caller, request).await?))
        });
        Ok(Response::new(answer.await?))
    }
}
