//! The permissions of every RPC, for every role.

use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, authorization_client::AuthorizationClient};
use jeton::{
    edge::METHODS,
    proto::{FILE_DESCRIPTOR_SET, v1 as pb},
    state::Permission,
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio_stream::{StreamExt, iter, once};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::client;
use crate::world::{Api, World, channel, issue_request, policy, revoke_request, validate_request};

/// Envoy's question.
const CHECK: &str = "envoy.service.auth.v3.Authorization/Check";
/// Public facts, for everybody.
const OPEN: [&str; 3] =
    ["DiscoveryService/GetJwks", "DiscoveryService/GetServerInfo", "grpc.health.v1.Health/Check"];

/// The permissions that allow an RPC: one of these; if there are none, a good credential is enough.
fn needs(method: &str) -> &'static [Permission] {
    match method {
        "TokenService/Issue" | "TokenService/Refresh" => &[Permission::Issue],
        "TokenService/Validate" | "TokenService/BatchValidate" | "TokenService/StreamValidate" | CHECK => {
            &[Permission::Validate]
        }
        // A bare jti belongs to nobody. K5 covers the others.
        "TokenService/Revoke" | "AdminService/BulkRevoke" => &[Permission::RevokeAny],
        "TokenService/GetCaller" => &[],
        "AdminService/Explain" => &[Permission::AdminRead, Permission::RevokeAny],
        "AdminService/Lock" | "AdminService/Unlock" => &[Permission::RevokeWide],
        "AdminService/ListLocks" => &[Permission::AdminRead, Permission::RevokeWide],
        "AdminService/ListSessions"
        | "AdminService/ListRevocations"
        | "AdminService/ListAuditEvents"
        | "AdminService/GetPolicy"
        | "AdminService/ListPolicies"
        | "AdminService/GetClient"
        | "AdminService/ListClients"
        | "AdminService/GetIssuer"
        | "AdminService/ListIssuers"
        | "AdminService/TestAssertion"
        | "AdminService/ListKeys"
        | "AdminService/ListReplicas"
        | "AdminService/ListWatchers" => &[Permission::AdminRead],
        "AdminService/UpdatePolicy"
        | "AdminService/DeletePolicy"
        | "AdminService/CreateClient"
        | "AdminService/UpdateClient"
        | "AdminService/DeleteClient"
        | "AdminService/CreateApiKey"
        | "AdminService/DeleteApiKey"
        | "AdminService/CreateIssuer"
        | "AdminService/UpdateIssuer"
        | "AdminService/DeleteIssuer"
        | "AdminService/RotateKey" => &[Permission::AdminWrite],
        other => panic!("who may call {other}?"),
    }
}

/// Every RPC that is not open to everybody: those of the descriptors, and Envoy's.
fn methods() -> Vec<String> {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let services = set.file.into_iter().flat_map(|file| file.service);
    let names = services.flat_map(|service| {
        let name = service.name().to_owned();
        service.method.into_iter().map(move |method| format!("{name}/{}", method.name()))
    });
    names.chain([CHECK.to_owned()]).filter(|name| !OPEN.contains(&name.as_str())).collect()
}

/// Every RPC that some listener serves, by the same names.
fn served() -> Vec<&'static str> {
    METHODS.iter().map(|method| method.strip_prefix("jeton.v1.").unwrap_or(method)).collect()
}

/// Methods whose service is not served at all.
fn is_to_come(method: &str) -> bool {
    let service = |method: &str| method.split('/').next().unwrap().to_owned();
    served().iter().all(|other| service(other) != service(method))
}

/// Asks as Envoy does.
async fn check(world: &World, key: &str) -> Result<(), Status> {
    let mut request = Request::new(CheckRequest::default());
    if !key.is_empty() {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    AuthorizationClient::new(channel(&world.server.ready.public)).check(request).await.map(drop)
}

fn jti() -> String {
    jeton_token::new_uuid_v7(jiff::Timestamp::now().as_millisecond()).to_string()
}

/// A call that can be refused only for its caller, or for what it names.
async fn call(world: &World, key: &str, method: &str) -> Result<(), Status> {
    if method == CHECK {
        return check(world, key).await;
    }
    let api = world.api_with_key(key).await;
    if method.starts_with("AdminService/") {
        return administer(api, method).await;
    }
    let Api { mut tokens, mut wide, .. } = api;
    match method {
        "TokenService/Issue" => tokens.issue(issue_request("user:7", &["api"])).await.map(drop),
        "TokenService/Refresh" => tokens
            .refresh(pb::RefreshRequest { refresh_token: "jtr_x".into(), ..Default::default() })
            .await
            .map(drop),
        "TokenService/Validate" => tokens.validate(validate_request("x", &["api"])).await.map(drop),
        "TokenService/BatchValidate" => {
            let requests = vec![validate_request("x", &["api"])];
            tokens.batch_validate(pb::BatchValidateRequest { requests }).await.map(drop)
        }
        "TokenService/StreamValidate" => {
            let request = pb::StreamValidateRequest { request: Some(validate_request("x", &["api"])) };
            let mut answers = tokens.stream_validate(once(request)).await?.into_inner();
            answers.next().await.unwrap().map(drop)
        }
        "TokenService/Revoke" => {
            let asked = || revoke_request(pb::revocation_target::Kind::Jti(jti()));
            let (public, admin) = (tokens.revoke(asked()).await, wide.revoke(asked()).await);
            assert_eq!(public.is_ok(), admin.is_ok(), "the same on both listeners");
            public.map(drop)
        }
        "TokenService/GetCaller" => tokens.get_caller(pb::GetCallerRequest {}).await.map(drop),
        other => panic!("how is {other} called?"),
    }
}

/// The same of `AdminService`.
async fn administer(api: Api, method: &str) -> Result<(), Status> {
    let mut admin = api.admin;
    let new = || client(&format!("new-{}", jti()));
    let gone = || "gone".to_owned();
    match method {
        "AdminService/BulkRevoke" => {
            admin.bulk_revoke(iter([pb::BulkRevokeRequest::default()])).await.map(drop)
        }
        "AdminService/Explain" => {
            let question = Some(pb::explain_request::Question::Jti(jti()));
            admin.explain(pb::ExplainRequest { question }).await.map(drop)
        }
        "AdminService/Lock" => admin.lock(pb::LockRequest::default()).await.map(drop),
        "AdminService/Unlock" => admin.unlock(pb::UnlockRequest::default()).await.map(drop),
        "AdminService/ListLocks" => admin.list_locks(pb::ListLocksRequest::default()).await.map(drop),
        "AdminService/ListSessions" => {
            let request = pb::ListSessionsRequest { subject: "user:7".into(), ..Default::default() };
            admin.list_sessions(request).await.map(drop)
        }
        "AdminService/ListRevocations" => {
            admin.list_revocations(pb::ListRevocationsRequest::default()).await.map(drop)
        }
        "AdminService/ListAuditEvents" => {
            admin.list_audit_events(pb::ListAuditEventsRequest::default()).await.map(drop)
        }
        "AdminService/GetPolicy" => admin
            .get_policy(pb::GetPolicyRequest { audience: "api".into(), client_id: String::new() })
            .await
            .map(drop),
        "AdminService/ListPolicies" => {
            admin.list_policies(pb::ListPoliciesRequest::default()).await.map(drop)
        }
        "AdminService/UpdatePolicy" => {
            let policy = pb::Policy { allowed_scopes: vec!["read".into()], ..policy("other") };
            let request =
                pb::UpdatePolicyRequest { policy: Some(policy), allow_missing: true, ..Default::default() };
            admin.update_policy(request).await.map(drop)
        }
        "AdminService/DeletePolicy" => {
            let request =
                pb::DeletePolicyRequest { audience: gone(), client_id: "*".into(), etag: String::new() };
            admin.delete_policy(request).await.map(drop)
        }
        "AdminService/CreateClient" => {
            admin.create_client(pb::CreateClientRequest { client: Some(new()) }).await.map(drop)
        }
        "AdminService/GetClient" => {
            admin.get_client(pb::GetClientRequest { client_id: gone() }).await.map(drop)
        }
        "AdminService/ListClients" => admin.list_clients(pb::ListClientsRequest::default()).await.map(drop),
        "AdminService/UpdateClient" => {
            let request = pb::UpdateClientRequest { client: Some(new()), update_mask: None };
            admin.update_client(request).await.map(drop)
        }
        "AdminService/DeleteClient" => admin
            .delete_client(pb::DeleteClientRequest { client_id: gone(), etag: String::new() })
            .await
            .map(drop),
        "AdminService/CreateApiKey" => {
            admin.create_api_key(pb::CreateApiKeyRequest { client_id: gone(), ttl: None }).await.map(drop)
        }
        "AdminService/DeleteApiKey" => {
            let api_key_id = "0000000000000000000000".to_owned();
            admin.delete_api_key(pb::DeleteApiKeyRequest { client_id: gone(), api_key_id }).await.map(drop)
        }
        "AdminService/CreateIssuer" => {
            admin.create_issuer(pb::CreateIssuerRequest::default()).await.map(drop)
        }
        "AdminService/GetIssuer" => {
            admin.get_issuer(pb::GetIssuerRequest { issuer_id: "gone".to_owned() }).await.map(drop)
        }
        "AdminService/ListIssuers" => admin.list_issuers(pb::ListIssuersRequest::default()).await.map(drop),
        "AdminService/UpdateIssuer" => {
            admin.update_issuer(pb::UpdateIssuerRequest::default()).await.map(drop)
        }
        "AdminService/DeleteIssuer" => {
            let request = pb::DeleteIssuerRequest { issuer_id: "gone".to_owned(), etag: String::new() };
            admin.delete_issuer(request).await.map(drop)
        }
        "AdminService/TestAssertion" => {
            admin.test_assertion(pb::TestAssertionRequest { assertion: "x".to_owned() }).await.map(drop)
        }
        "AdminService/ListKeys" => admin.list_keys(pb::ListKeysRequest::default()).await.map(drop),
        "AdminService/RotateKey" => admin.rotate_key(pb::RotateKeyRequest::default()).await.map(drop),
        "AdminService/ListReplicas" => admin.list_replicas(pb::ListReplicasRequest {}).await.map(drop),
        "AdminService/ListWatchers" => {
            admin.list_watchers(pb::ListWatchersRequest::default()).await.map(drop)
        }
        other => panic!("how is {other} called?"),
    }
}

/// The reason of a refusal, and the permission that it names.
fn refusal(status: &Status) -> (Code, String, String) {
    let info = status.get_details_error_info();
    let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
    (status.code(), reason, metadata.get("permission").cloned().unwrap_or_default())
}

#[tokio::test]
async fn every_rpc_takes_exactly_the_permission_that_the_api_says() {
    let world = World::start().await;
    let mut roles = Vec::new();
    for permission in Permission::ALL {
        let name = permission.name().to_lowercase();
        let key = world.register(&name, &[permission], &["*"], &["*"]).await;
        roles.push((Some(permission), key));
    }
    let key = world.register("without", &[], &["*"], &["*"]).await;
    roles.push((None, key));
    let methods = methods();
    assert!(methods.len() >= 26, "{methods:?}");
    for method in methods.iter().filter(|method| !is_to_come(method)) {
        let served = served().contains(&method.as_str());
        for (role, key) in &roles {
            let answer = call(&world, key, method).await;
            let told = answer.as_ref().map_err(refusal);
            if !served {
                assert!(matches!(&told, Err((Code::Unimplemented, ..))), "{method}: {answer:?}");
                continue;
            }
            let needs = needs(method);
            if needs.is_empty() || role.is_some_and(|role| needs.contains(&role)) {
                let refused = matches!(&told, Err((Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented, reason, _)) if reason != "REFRESH_TOKEN_INVALID");
                assert!(!refused, "{method} by {role:?}: {answer:?}");
                continue;
            }
            let expected =
                (Code::PermissionDenied, "CALLER_FORBIDDEN".to_owned(), needs[0].name().to_owned());
            assert_eq!(told, Err(expected), "{method} by {role:?}");
        }
    }
}

#[tokio::test]
async fn no_rpc_says_anything_to_whoever_is_not_authenticated() {
    let world = World::start().await;
    let unknown = jeton_token::ApiKey::generate();
    for key in ["", "nonsense", unknown.expose()] {
        for method in methods().iter().filter(|method| !is_to_come(method)) {
            // Too many failures from one address are refused otherwise, still without a word on the call.
            let told = refusal(&call(&world, key, method).await.unwrap_err());
            let unauthenticated = (Code::Unauthenticated, "CALLER_UNAUTHENTICATED".to_owned(), String::new());
            let limited = (Code::ResourceExhausted, "RATE_LIMITED".to_owned(), String::new());
            assert!([unauthenticated, limited].contains(&told), "{method}: {told:?}");
        }
    }
}

#[test]
fn every_rpc_that_is_served_is_in_the_matrix_or_open_to_everybody() {
    let (methods, open) = (methods(), OPEN.map(str::to_owned));
    let unknown: Vec<_> =
        served().into_iter().filter(|name| !methods.iter().chain(&open).any(|known| known == name)).collect();
    assert_eq!(unknown, [""; 0], "who may call it?");
}
