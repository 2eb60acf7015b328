//! ALPN: gRPC and plain HTTP clients on one port with TLS.

use jeton::proto::v1::{self as pb, TokenStatus};
use prost::Message as _;
use tonic::Code;

use super::JWKS;
use crate::world::{
    Dialer, Http, Raw, Refused, Secure, World, api_key, frame, http_request, validate_request,
};

#[tokio::test]
async fn grpc_and_http_1_1_meet_on_the_port_and_without_alpn_it_is_http_1_1() {
    let secure = Secure::start().await;
    let mut service = secure.api("service");
    let token = service.token("user:7", "api").await.access_token;
    assert_eq!(service.status(&token, "api").await, TokenStatus::Active);
    let grpc = service.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner();

    for (offers, agreed) in [
        (&["http/1.1"][..], Some("http/1.1")),
        (&[], None),
        (&["h2", "http/1.1"], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["h2"], Some("h2")),
    ] {
        let dialer = Dialer::new(&secure.servers, None, offers);
        let stream = dialer.dial(secure.public()).await.unwrap();
        let alpn = stream.get_ref().1.alpn_protocol().map(|name| String::from_utf8(name.to_vec()).unwrap());
        assert_eq!(alpn.as_deref(), agreed, "{offers:?}");
        if agreed == Some("h2") {
            continue;
        }
        let mut connection = Http::over(stream);
        // More than one on a connection.
        for path in [JWKS, "/.well-known/oauth-authorization-server", JWKS] {
            connection.write(&http_request("GET", path, &[], "")).await;
            let answer = connection.read(false).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            if path == JWKS {
                assert_eq!(answer.json()["keys"].as_array().unwrap().len(), key_count(&grpc));
            }
        }
        let bearer = format!("Bearer {}", api_key("service"));
        connection.write(&super::introspection(&token, &[("authorization", &bearer)])).await;
        assert_eq!(connection.read(false).await.json()["active"], true);
    }
}

fn key_count(answer: &pb::GetJwksResponse) -> usize {
    let set: serde_json::Value = serde_json::from_str(&answer.jwks_json).unwrap();
    set["keys"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_client_that_offers_other_protocols_alone_is_told_so_in_the_handshake() {
    let secure = Secure::start().await;
    for offers in [&["h3"][..], &["http/1.0", "spdy/3"], &["H2"]] {
        let dialer = Dialer::new(&secure.servers, None, offers);
        let error = dialer.dial(secure.public()).await.expect_err("no protocol in common");
        assert!(error.to_string().contains("NoApplicationProtocol"), "{offers:?}: {error}");
    }
}

#[tokio::test]
async fn e8_a_request_that_does_not_name_one_host_is_refused_on_every_listener() {
    let world = World::start().await;
    let ready = &world.server.ready;
    for address in [&ready.public, &ready.admin, &ready.ops] {
        for hosts in
            ["", "host: a\r\nhost: b\r\n", "host: a\r\nHost: a\r\n", "host: a b\r\n", "host: u@a\r\n"]
        {
            let mut connection = Http::open(address).await;
            connection.write(&format!("GET /livez HTTP/1.1\r\n{hosts}\r\n")).await;
            let answer = connection.read(false).await;
            assert_eq!(answer.status, 400, "{address} {hosts:?}: {answer:?}");
            assert!(answer.body.contains("exactly one Host header"), "{answer:?}");
            assert!(connection.is_closed().await, "{address} {hosts:?}");
        }
        let mut connection = Http::open(address).await;
        connection.write("GET /nothing HTTP/1.0\r\n\r\n").await;
        assert_eq!(connection.read(false).await.status, 404, "HTTP/1.0 has none");
    }
}

#[tokio::test]
async fn e8_messages_that_are_not_in_protobuf_are_refused_on_every_listener() {
    let world = World::start().await;
    let ready = &world.server.ready;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let check = tonic_health::pb::HealthCheckRequest::default();
    let health = ("/grpc.health.v1.Health/Check", check.encode_to_vec());
    let validate = ("/jeton.v1.TokenService/Validate", validate_request(&token, &["api"]).encode_to_vec());
    for (address, (path, message)) in
        [(&ready.public, validate), (&ready.admin, health.clone()), (&ready.ops, health)]
    {
        let raw = Raw::open(address, &api_key("service")).await;
        for label in ["application/grpc+json", "application/grpc+thrift; x=y", "application/grpc+proto3"] {
            let refused =
                raw.call_with(path, frame(&message), &[("content-type", label)]).await.result().refused();
            assert_eq!(
                (refused.code, refused.reason.as_str()),
                (Code::Unimplemented, "NOT_SERVED_HERE"),
                "{label}"
            );
        }
        for label in ["application/grpc", "application/grpc+proto", "application/grpc+proto; x=y"] {
            raw.call_with(path, frame(&message), &[("content-type", label)]).await.result().unwrap();
        }
    }
}
