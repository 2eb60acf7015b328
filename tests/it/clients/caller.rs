//! `GetCaller`: who a caller is, what it may do, and how long its credential lives.

use jeton::proto::v1::{self as pb, Permission};

use super::{add_key, client, create};
use crate::world::{Api, Refused, Secure, World};

async fn caller(api: &mut Api) -> pb::GetCallerResponse {
    api.tokens.get_caller(pb::GetCallerRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn c9_a_caller_of_any_permission_is_told_who_it_is_and_until_when_its_key_lives() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    create(&mut admin, pb::Client { permissions: Vec::new(), ..client("billing") }).await.unwrap();
    let key = add_key(&mut admin, "billing", Some(86_400)).await.unwrap();
    let mut billing = world.api_with_key(&key.secret).await;
    let told = caller(&mut billing).await;
    let facts = key.api_key.unwrap();
    assert_eq!((told.api_key_id, told.credential_expire_time), (facts.api_key_id, facts.expire_time));
    assert!(told.certificate_uri.is_empty());
    let registered = told.client.unwrap();
    assert_eq!((registered.client_id.as_str(), registered.permissions.len()), ("billing", 0));
    assert!(registered.api_keys.is_empty() && registered.certificate_uris.is_empty(), "{registered:?}");
    // A key without an end; and on the admin listener.
    let mut narrow = world.api("narrow").await;
    let told = narrow.wide.get_caller(pb::GetCallerRequest {}).await.unwrap().into_inner();
    assert!(told.credential_expire_time.is_none() && !told.api_key_id.is_empty(), "{told:?}");
    let registered = told.client.unwrap();
    let permissions: Vec<_> = registered.permissions().collect();
    assert_eq!(permissions, [Permission::Issue, Permission::Validate]);
    assert_eq!(registered.subjects, ["user:*", "svc:billing"]);
    let mut nobody = world.api_with_key("").await;
    let refused = nobody.tokens.get_caller(pb::GetCallerRequest {}).await.refused();
    assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED");
}

#[tokio::test]
async fn c9_a_caller_with_a_certificate_is_told_its_uri_and_its_end() {
    const URI: &str = "spiffe://example.org/billing";
    let secure = Secure::start().await;
    secure.register("billing", URI).await;
    let told = caller(&mut secure.api_of(&secure.clients.client(URI))).await;
    assert_eq!((told.certificate_uri.as_str(), told.api_key_id.as_str()), (URI, ""));
    assert!(told.credential_expire_time.is_some(), "the end of the certificate");
    assert_eq!(told.client.unwrap().client_id, "billing");
}
