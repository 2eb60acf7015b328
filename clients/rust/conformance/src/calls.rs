//! Calls of a client by the names of methods, with protojson.

use std::sync::LazyLock;

use jeton_client::Client;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use serde_json::{Value, json};

use crate::failure::Failure;

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(jeton_proto::FILE_DESCRIPTOR_SET).unwrap_or_default());

macro_rules! methods {
    ($given:ident, $client:ident, $json:ident; $($service:ident { $($name:literal $method:ident,)+ })+) => {
        match $given {
            $($($name => {
                let asked = concat!("jeton.v1.", $name, "Request");
                let answered = concat!("jeton.v1.", $name, "Response");
                let request = encoded(asked, $json)?;
                let request = prost::Message::decode(request.as_slice()).map_err(other)?;
                let answer = $client.$service().$method(request).await.map_err(Failure::Jeton)?;
                decoded(answered, &answer.encode_to_vec())
            })+)+
            _ => Err(Failure::Unsupported),
        }
    };
}

pub(crate) async fn call(client: &Client, method: &str, request: &Value) -> Result<Value, Failure> {
    Box::pin(async move {
        methods! {
            method, client, request;
            token_service {
                "Issue" issue,
                "Refresh" refresh,
                "Validate" validate,
                "BatchValidate" batch_validate,
                "Revoke" revoke,
                "GetCaller" get_caller,
            }
            admin_service {
                "Lock" lock,
                "Unlock" unlock,
                "ListLocks" list_locks,
                "Explain" explain,
                "ListRevocations" list_revocations,
                "ListSessions" list_sessions,
                "ListAuditEvents" list_audit_events,
                "GetPolicy" get_policy,
                "ListPolicies" list_policies,
                "UpdatePolicy" update_policy,
                "DeletePolicy" delete_policy,
                "CreateClient" create_client,
                "GetClient" get_client,
                "ListClients" list_clients,
                "UpdateClient" update_client,
                "DeleteClient" delete_client,
                "CreateApiKey" create_api_key,
                "DeleteApiKey" delete_api_key,
                "CreateIssuer" create_issuer,
                "GetIssuer" get_issuer,
                "ListIssuers" list_issuers,
                "UpdateIssuer" update_issuer,
                "DeleteIssuer" delete_issuer,
                "TestAssertion" test_assertion,
                "ListKeys" list_keys,
                "RotateKey" rotate_key,
                "ListReplicas" list_replicas,
                "ListWatchers" list_watchers,
            }
            discovery_service {
                "GetJwks" get_jwks,
                "GetServerInfo" get_server_info,
            }
        }
    })
    .await
}

fn descriptor(name: &str) -> Result<MessageDescriptor, Failure> {
    POOL.get_message_by_name(name).ok_or_else(|| Failure::Other(format!("{name} is not in the API")))
}

fn encoded(name: &str, json: &Value) -> Result<Vec<u8>, Failure> {
    let message = DynamicMessage::deserialize(descriptor(name)?, json.clone()).map_err(other)?;
    Ok(message.encode_to_vec())
}

fn decoded(name: &str, bytes: &[u8]) -> Result<Value, Failure> {
    let message = DynamicMessage::decode(descriptor(name)?, bytes).map_err(other)?;
    let options = SerializeOptions::new();
    let json = message.serialize_with_options(serde_json::value::Serializer, &options).map_err(other)?;
    Ok(json!({ "response": json }))
}

fn other(error: impl std::fmt::Display) -> Failure {
    Failure::Other(error.to_string())
}
