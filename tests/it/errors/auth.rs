//! C4, C5: who has no credential is refused before the body is looked at, and often only for a while.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicU32, Ordering},
};

use http::uri::PathAndQuery;
use jeton::proto::v1 as pb;
use tonic::{Code, Request, Status, client::Grpc, transport::Endpoint};

use tonic_types::StatusExt;

use crate::world::{ErrorFacts, Refused, ServerOptions, World, api_key, issue_request, until};

/// Sends a message of another method, with these `authorization` headers: field 1 is a number here, and a text or a
/// message there.
pub async fn unreadable(address: &str, path: &'static str, authorization: &[&str]) -> Result<(), Status> {
    // From an address of its own: what fails too often from one is told so (C5).
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let from = Ipv4Addr::new(127, 1, 0, 1).to_bits() + NEXT.fetch_add(1, Ordering::Relaxed);
    unreadable_from(Ipv4Addr::from_bits(from).into(), address, path, authorization).await
}

async fn unreadable_from(
    from: IpAddr,
    address: &str,
    path: &'static str,
    authorization: &[&str],
) -> Result<(), Status> {
    let endpoint = Endpoint::new(format!("http://{address}")).unwrap().local_address(Some(from));
    let mut grpc = Grpc::new(endpoint.connect_lazy());
    grpc.ready().await.unwrap();
    let mut request = Request::new(pb::ListPoliciesRequest { page_size: 1, page_token: String::new() });
    for value in authorization {
        request.metadata_mut().append("authorization", value.parse().unwrap());
    }
    let codec = tonic_prost::ProstCodec::<pb::ListPoliciesRequest, pb::ListPoliciesResponse>::default();
    grpc.unary(request, PathAndQuery::from_static(path), codec).await.map(drop)
}

#[tokio::test]
async fn c4_a_bad_credential_is_refused_before_the_body_is_looked_at() {
    let world = World::start().await;
    let ready = &world.server.ready;
    let good = api_key("admin");
    let (id, secret) = good.rsplit_once('_').unwrap();
    let flipped =
        secret.strip_prefix('A').map_or_else(|| format!("A{}", &secret[1..]), |rest| format!("B{rest}"));
    let bearer = format!("Bearer {good}");
    let bad: Vec<Vec<String>> = vec![
        vec![],
        vec![String::new()],
        vec!["Bearer".to_owned()],
        vec!["Bearer ".to_owned()],
        vec![good.clone()],
        vec![format!("Basic {good}")],
        vec![format!("Token {good}")],
        vec![format!("Bearer\t{good}")],
        vec![format!("Bearer {good}x")],
        vec![format!("Bearer {id}_{flipped}")],
        vec![format!("Bearer {}", good.to_uppercase())],
        vec![format!("Bearer {good}, Bearer {good}")],
        // Two are none, were they the same.
        vec![bearer.clone(), bearer.clone()],
        vec!["Bearer x".to_owned(), bearer.clone()],
        vec![bearer.clone(), "Basic eDp5".to_owned()],
    ];
    let methods = [
        (&ready.public, "/jeton.v1.TokenService/Issue"),
        (&ready.public, "/jeton.v1.TokenService/Refresh"),
        (&ready.public, "/jeton.v1.TokenService/Validate"),
        (&ready.public, "/jeton.v1.TokenService/BatchValidate"),
        (&ready.public, "/jeton.v1.TokenService/Revoke"),
        (&ready.admin, "/jeton.v1.AdminService/UpdatePolicy"),
        (&ready.admin, "/jeton.v1.AdminService/GetPolicy"),
        (&ready.admin, "/jeton.v1.TokenService/Issue"),
    ];
    for (address, path) in methods {
        for authorization in &bad {
            let headers: Vec<_> = authorization.iter().map(String::as_str).collect();
            let facts = unreadable(address, path, &headers).await.refused();
            assert_eq!(
                (facts.code, facts.reason.as_str()),
                (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
                "{path} with {authorization:?}"
            );
        }
        // The scheme is in any case (RFC 9110 section 11.1): now the body is looked at.
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let facts = unreadable(address, path, &[&format!("{scheme} {good}")]).await.refused();
            assert_eq!(
                (facts.code, facts.reason.as_str(), facts.get("field")),
                (Code::InvalidArgument, "FIELD_INVALID", "message"),
                "{path} with {scheme}"
            );
        }
    }
}

#[tokio::test]
async fn c4_a_method_that_does_not_exist_tells_a_stranger_nothing() {
    let world = World::start().await;
    let ready = &world.server.ready;
    for path in ["/jeton.v1.TokenService/Nothing", "/jeton.v1.AdminService/ListPolicies", "/nothing.Here/At"]
    {
        let facts = unreadable(&ready.public, path, &[]).await.refused();
        assert_eq!(facts.reason, "CALLER_UNAUTHENTICATED", "{path}");
        let bearer = format!("Bearer {}", api_key("admin"));
        let known = unreadable(&ready.public, path, &[&bearer]).await.refused();
        assert_eq!(known.reason, "NOT_SERVED_HERE", "{path}: not on this listener");
    }
}

/// The refusal that comes of calling too often. Many calls are in flight at once: on a slow machine, too, more than a
/// second is good for.
async fn met_limit(call: impl AsyncFn() -> Option<Status>) -> ErrorFacts {
    let mut refused = None;
    until("a limit is met", async || {
        let called = futures_util::future::join_all((0..100).map(|_| call())).await;
        refused = called.into_iter().flatten().next();
        refused.is_some()
    })
    .await;
    let status = refused.unwrap();
    assert!(status.get_details_retry_info().is_some_and(|info| info.retry_delay.is_some()), "{status:?}");
    Err::<(), _>(status).refused()
}

#[tokio::test]
async fn c5_failed_authentications_from_one_address_are_limited() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let path = "/jeton.v1.TokenService/Issue";
    let from: IpAddr = Ipv4Addr::new(127, 2, 0, 1).into();
    let facts = met_limit(async || {
        let answer = unreadable_from(from, public, path, &["Bearer x"]).await;
        answer.err().filter(|status| status.code() != Code::Unauthenticated)
    })
    .await;
    assert_eq!((facts.code, facts.reason.as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    assert_eq!(facts.get("limitPerSecond"), "20");
    // Callers with a good credential, or at other addresses, are not affected.
    let good = unreadable_from(from, public, path, &[&format!("Bearer {}", api_key("admin"))]).await;
    assert_eq!(good.refused().reason, "FIELD_INVALID");
    let elsewhere = unreadable(public, path, &["Bearer x"]).await;
    assert_eq!(elsewhere.refused().code, Code::Unauthenticated);
}

#[tokio::test]
async fn c5_calls_of_a_client_are_limited_where_that_is_asked_for() {
    let arguments = ["--client-rate", "5"].map(str::to_owned).to_vec();
    let world = World::start_with(ServerOptions { arguments, ..ServerOptions::default() }).await;
    let service = world.api("service").await;
    let facts =
        met_limit(async || service.clone().issue(issue_request("user:1", &["api"])).await.err()).await;
    assert_eq!((facts.code, facts.reason.as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    assert_eq!(facts.get("limitPerSecond"), "5");
    world
        .api("other")
        .await
        .issue(issue_request("user:1", &["api"]))
        .await
        .expect("another client has its own");
}
