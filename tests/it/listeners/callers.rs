//! C3, C6: who a caller is by the certificate of its connection, and how long that stands.

use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, authorization_client::AuthorizationClient,
};
use jeton::proto::v1::{self as pb, TokenStatus};
use tonic::Request;

use super::{BILLING, assert_unknown, introspection};
use crate::world::{Api, Http, Secure, Stream, api_key, basic, issue_request, until, until_within};

/// The client that a token was issued to.
fn client_of(token: &str) -> String {
    let (_, claims) = jeton_token::inspect_unverified(token).unwrap();
    claims["client_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn c3_a_registered_certificate_is_a_caller_over_grpc_and_at_the_doors() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let leaf = secure.clients.client(BILLING);
    let mut billing = secure.api_of(&leaf);
    let token = billing.token("user:7", "api").await;
    assert_eq!(client_of(&token.access_token), "billing", "the client that the certificate names");
    assert_eq!(billing.status(&token.access_token, "api").await, TokenStatus::Active);
    assert_eq!(Stream::open(&billing).await.ask(&token.access_token).await.unwrap(), TokenStatus::Active);
    // So is Envoy.
    let mut envoy = AuthorizationClient::new(secure.channel(secure.public(), Some(&leaf)));
    let asked = CheckRequest { attributes: Some(AttributeContext::default()) };
    envoy.check(asked).await.expect("an answer about the request, not to the caller");
    // On the admin listener, too: known, and without the permission.
    let status = billing.admin.list_replicas(pb::ListReplicasRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status:?}");

    let dialer = secure.dialer(Some(&leaf));
    let answer = dialer.ask(secure.public(), &introspection(&token.access_token, &[])).await;
    assert_eq!((answer.status, &answer.json()["active"]), (200, &true.into()), "{answer:?}");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let request =
        crate::world::http_request("POST", "/oauth2/revoke", &form, &format!("token={}", token.access_token));
    assert_eq!(dialer.ask(secure.public(), &request).await.status, 200);
    assert_eq!(billing.status(&token.access_token, "api").await, TokenStatus::Revoked);
    // The metadata says that it may be shown.
    let metadata = dialer.get(secure.public(), "/.well-known/oauth-authorization-server").await.json();
    let methods = metadata["introspection_endpoint_auth_methods_supported"].to_string();
    assert!(methods.contains("tls_client_auth"), "{metadata}");
}

#[tokio::test]
async fn c3_a_certificate_through_an_intermediate_is_good_and_without_it_not() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let below = secure.clients.below(crate::world::authority("intermediate"));
    let leaf = below.client(BILLING);
    secure.api_of(&leaf).token("user:7", "api").await;
    let dialer = secure.dialer(Some(&leaf));
    assert_eq!(dialer.ask(secure.public(), &introspection("x", &[])).await.status, 200);
}

#[tokio::test]
async fn c3_an_api_key_goes_before_the_certificate() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let leaf = secure.clients.client(BILLING);
    let token = secure.api_showing(Some(&leaf), &api_key("service")).token("user:7", "api").await;
    assert_eq!(client_of(&token.access_token), "service");
    // A bad one is not made good by a certificate.
    assert_unknown(secure.api_showing(Some(&leaf), "jtk_x").validate("x", &["api"]).await);
    let dialer = secure.dialer(Some(&leaf));
    for bad in ["Bearer x".to_owned(), basic("billing", "x"), "Digest x".to_owned(), String::new()] {
        let request = introspection(&token.access_token, &[("authorization", &bad)]);
        assert_eq!(dialer.ask(secure.public(), &request).await.status, 401, "{bad}");
    }
    let good = basic("service", &api_key("service"));
    let request = introspection(&token.access_token, &[("authorization", &good)]);
    assert_eq!(dialer.ask(secure.public(), &request).await.status, 200);
}

#[tokio::test]
async fn c6_a_disabled_client_with_a_certificate_is_refused_at_once_on_open_connections_and_streams() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let leaf = secure.clients.client(BILLING);
    let mut billing = secure.api_of(&leaf);
    let token = billing.token("user:7", "api").await.access_token;
    let mut connection = secure.dialer(Some(&leaf)).http(secure.public()).await;
    for _ in 0..3 {
        let mut stream = Stream::open(&billing).await;
        assert_eq!(stream.ask(&token).await.unwrap(), TokenStatus::Active);
        connection.write(&introspection(&token, &[])).await;
        assert_eq!(connection.read(false).await.status, 200);
        secure.set_disabled("billing", true).await;
        assert_unknown(stream.ask(&token).await);
        assert_unknown(billing.validate(&token, &["api"]).await);
        assert_unknown(billing.issue(issue_request("user:7", &["api"])).await);
        connection.write(&introspection(&token, &[])).await;
        assert_eq!(connection.read(false).await.status, 401);
        // A new connection does no better.
        assert_unknown(secure.api_of(&leaf).validate(&token, &["api"]).await);
        assert_eq!(secure.api("service").status(&token, "api").await, TokenStatus::Active);
        secure.set_disabled("billing", false).await;
        assert_eq!(billing.status(&token, "api").await, TokenStatus::Active);
    }
}

#[tokio::test]
async fn c3_a_connection_that_outlives_its_certificate_is_refused() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let issuing = secure.clients.client(BILLING);
    let token = secure.api_of(&issuing).token("user:7", "api").await.access_token;
    // Long enough to open three connections with it on a machine that stands still for seconds meanwhile.
    let leaf = secure.clients.client_for(BILLING, Duration::from_secs(15));
    let mut billing = secure.api_of(&leaf);
    let mut stream = Stream::open(&billing).await;
    assert_eq!(stream.ask(&token).await.unwrap(), TokenStatus::Active);
    let mut connection = secure.dialer(Some(&leaf)).http(secure.public()).await;
    connection.write(&introspection(&token, &[])).await;
    assert_eq!(connection.read(false).await.status, 200);

    until_within(Duration::from_mins(1), "it is refused", async || {
        match billing.validate(&token, &["api"]).await {
            Ok(_) => false,
            Err(status) => {
                assert_unknown(Err::<(), _>(status));
                true
            }
        }
    })
    .await;
    assert_unknown(stream.ask(&token).await);
    connection.write(&introspection(&token, &[])).await;
    assert_eq!(connection.read(false).await.status, 401);
}

#[tokio::test]
async fn c3_no_identity_is_read_from_a_header() {
    let secure = Secure::start().await;
    secure.register("billing", BILLING).await;
    let leaf = secure.clients.client(BILLING);
    let pem = leaf.pem().replace('\n', "%0A").replace(' ', "%20");
    let xfcc = format!("By=spiffe://example.org/jeton;Hash={};URI={BILLING}", "0".repeat(64));
    let forged = [
        ("x-forwarded-client-cert", xfcc.as_str()),
        ("x-ssl-client-cert", &pem),
        ("x-client-cert", &pem),
        ("ssl-client-cert", &pem),
        ("x-amzn-mtls-clientcert", &pem),
        ("client-cert", ":x:"),
        ("x-spiffe-id", BILLING),
        ("x-client-id", "billing"),
        ("x-jeton-client-id", "billing"),
        ("x-forwarded-user", "billing"),
        ("forwarded", "for=127.0.0.1"),
    ];
    for (name, value) in forged {
        // A connection without a certificate, and one with a certificate of another client.
        let other = secure.clients.client("spiffe://example.org/other");
        for shows in [None, Some(&other)] {
            let mut request = Request::new(crate::world::validate_request("x", &["api"]));
            request.metadata_mut().insert(name, value.parse().unwrap());
            let mut api: Api = secure.api_showing(shows, "");
            assert_unknown(api.tokens.validate(request).await);
            let request = introspection("x", &[(name, value)]);
            assert_eq!(secure.dialer(shows).ask(secure.public(), &request).await.status, 401, "{name}");
        }
    }
    // Nor does it take anything away from a client that has one.
    let request = introspection("x", &forged);
    assert_eq!(secure.dialer(Some(&leaf)).ask(secure.public(), &request).await.status, 200);
}

#[tokio::test]
async fn c3_on_a_plaintext_listener_there_is_no_certificate_to_show() {
    let world = crate::world::World::start().await;
    let mut connection = Http::open(&world.server.ready.public).await;
    connection.write(&introspection("x", &[("x-forwarded-client-cert", BILLING)])).await;
    assert_eq!(connection.read(false).await.status, 401);
    let metadata = crate::world::http(
        &world.server.ready.public,
        "GET",
        "/.well-known/oauth-authorization-server",
        &[],
        "",
    )
    .await
    .json();
    assert!(!metadata.to_string().contains("tls_client_auth"), "{metadata}");
}

#[tokio::test]
async fn c5_calls_by_certificate_count_for_its_client_and_failures_for_its_address() {
    let secure = Secure::start_with(|_, _| ["--client-rate", "5"].map(str::to_owned).to_vec()).await;
    secure.register("billing", BILLING).await;
    let limited = async |api: &mut Api, plain: tonic::Code| {
        let mut limited = None;
        // Many at once: on a slow machine, too, more than a second is good for.
        until("a limit is met", async || {
            let call = || {
                let mut api = api.clone();
                async move { api.validate("x", &["api"]).await.err() }
            };
            let called = futures_util::future::join_all((0..100).map(|_| call())).await;
            limited = called.into_iter().flatten().find(|status| status.code() != plain);
            limited.is_some()
        })
        .await;
        limited.unwrap()
    };
    let ok = tonic::Code::Ok;
    let status = limited(&mut secure.api_of(&secure.clients.client(BILLING)), ok).await;
    assert_limited(status, "5");
    // Another certificate of the same client shares in it; another client does not.
    let status = limited(&mut secure.api_of(&secure.clients.client(BILLING)), ok).await;
    assert_limited(status, "5");
    secure.api("other").validate("x", &["api"]).await.unwrap();
    let stranger = secure.clients.client("spiffe://example.org/stranger");
    let status = limited(&mut secure.api_of(&stranger), tonic::Code::Unauthenticated).await;
    assert_limited(status, "20");
}

fn assert_limited(status: tonic::Status, per_second: &str) {
    use tonic_types::StatusExt;

    use crate::world::Refused;
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay);
    assert!(wait.is_some_and(|wait| !wait.is_zero()), "{status:?}");
    let refused = Err::<(), _>(status).refused();
    assert_eq!((refused.code, refused.reason.as_str()), (tonic::Code::ResourceExhausted, "RATE_LIMITED"));
    assert_eq!(refused.get("limitPerSecond"), per_second);
}
