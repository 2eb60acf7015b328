//! Public facts: keys, clock, limits, health, and the list of services.

use jeton::proto::v1 as pb;
use tokio_stream::{StreamExt, iter};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::{
    v1::{
        self, server_reflection_request::MessageRequest as Ask,
        server_reflection_response::MessageResponse as Answer,
    },
    v1alpha,
};

use crate::world::{Refused, World, channel};

#[tokio::test]
async fn the_published_keys_verify_a_token_by_any_library() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let mut anybody = world.api_with_key("").await;
    let published = anybody.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner();
    let set: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&published.jwks_json).unwrap();
    let header = jsonwebtoken::decode_header(&token).unwrap();
    let key = set.find(&header.kid.unwrap()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(header.alg);
    validation.set_audience(&["api"]);
    validation.set_issuer(&[&world.server.ready.issuer]);
    let decoding = jsonwebtoken::DecodingKey::from_jwk(key).unwrap();
    let claims = jsonwebtoken::decode::<serde_json::Value>(&token, &decoding, &validation).unwrap().claims;
    assert_eq!(claims["sub"], "user:7");
    let private = ["\"d\"", "\"p\"", "\"k\""];
    assert!(!private.iter().any(|member| published.jwks_json.contains(member)), "public halves alone");
    assert_eq!(set.keys.len(), 2, "one of each algorithm");
}

#[tokio::test]
async fn a_key_set_that_is_still_current_is_answered_without_a_body() {
    let world = World::start().await;
    let mut anybody = world.api_with_key("").await;
    let first = anybody.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner();
    assert!(
        first.etag.starts_with('"') && first.etag.ends_with('"') && first.etag.len() > 2,
        "{}",
        first.etag
    );
    assert!(first.max_age.unwrap().seconds > 0);
    let request = pb::GetJwksRequest { etag: first.etag.clone() };
    let again = anybody.discovery.get_jwks(request).await.unwrap().into_inner();
    assert_eq!((again.jwks_json.as_str(), again.etag), ("", first.etag));
    let request = pb::GetJwksRequest { etag: "\"another\"".to_owned() };
    let other = anybody.discovery.get_jwks(request).await.unwrap().into_inner();
    assert_eq!(other.jwks_json, first.jwks_json);
}

#[tokio::test]
async fn e6_the_server_says_its_time_how_far_the_database_is_and_its_limits() {
    let world = World::start().await;
    let mut anybody = world.api_with_key("").await;
    let before = jeton_state::clock::Clock::system().now_ms();
    let info = anybody.discovery.get_server_info(pb::GetServerInfoRequest {}).await.unwrap().into_inner();
    let after = jeton_state::clock::Clock::system().now_ms();
    let time = info.server_time.unwrap();
    let said = time.seconds * 1_000 + i64::from(time.nanos) / 1_000_000;
    assert!((before..=after).contains(&said), "{before} {said} {after}");
    let offset = info.store_clock_offset.expect("set, be it zero");
    assert_eq!(offset.seconds, 0, "one machine has one clock");
    assert_eq!(info.issuer, world.server.ready.issuer);
    assert_eq!(info.replica, world.server.ready.replica);
    assert_eq!(info.version, env!("CARGO_PKG_VERSION"));
    assert!(info.revision.starts_with("1."), "{}", info.revision);
    let mut limits: Vec<_> = info.limits.iter().map(|(name, limit)| (name.as_str(), *limit)).collect();
    limits.sort_unstable();
    let expected = [
        ("batch_size_max", 1_000),
        ("page_size_max", 1_000),
        ("token_bytes_max", 4_096),
        ("ttl_seconds_cap", 86_400),
    ];
    assert_eq!(limits, expected);
}

#[tokio::test]
async fn health_is_answered_to_anybody_of_what_a_listener_serves() {
    let world = World::start().await;
    let ready = &world.server.ready;
    let (tokens, admin) = ("jeton.v1.TokenService", "jeton.v1.AdminService");
    let (discovery, envoy) = ("jeton.v1.DiscoveryService", "envoy.service.auth.v3.Authorization");
    for (address, served, not_served) in [
        (&ready.public, &["", tokens, discovery, envoy][..], &[admin, "no.such.Service"][..]),
        (&ready.admin, &["", tokens, admin], &[discovery, envoy, "x"]),
        (&ready.ops, &["", tokens, admin, discovery, envoy], &["x"]),
    ] {
        let mut client = HealthClient::new(channel(address));
        let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
        for service in served {
            let checked = client.check(request(service)).await.unwrap().into_inner();
            assert_eq!(checked.status, 1, "SERVING: {service} at {address}");
            let mut watched = client.watch(request(service)).await.unwrap().into_inner();
            assert_eq!(watched.message().await.unwrap().unwrap().status, 1, "{service} at {address}");
        }
        for service in not_served {
            let refused = client.check(request(service)).await.refused();
            assert_eq!((refused.code, refused.reason.as_str()), (tonic::Code::NotFound, "NOT_FOUND"));
            // It may be served later: the stream stays open, as the health protocol has it.
            let mut watched = client.watch(request(service)).await.unwrap().into_inner();
            assert_eq!(watched.message().await.unwrap().unwrap().status, 3, "SERVICE_UNKNOWN: {service}");
            let more = tokio::time::timeout(std::time::Duration::from_millis(500), watched.message()).await;
            assert!(more.is_err(), "{service}: {more:?}");
        }
    }
}

#[tokio::test]
async fn reflection_of_both_versions_names_the_services_on_the_admin_listener() {
    let world = World::start().await;
    let endpoint = &world.server.ready.admin;

    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel(endpoint));
    let ask = |ask| v1::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let asked = [
        ask(Ask::ListServices(String::new())),
        ask(Ask::FileContainingSymbol("jeton.v1.TokenService".to_owned())),
    ];
    let mut answers = client.server_reflection_info(iter(asked)).await.unwrap().into_inner();
    let Answer::ListServicesResponse(list) = answers.next().await.unwrap().unwrap().message_response.unwrap()
    else {
        panic!("a list");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for name in ["jeton.v1.TokenService", "jeton.v1.AdminService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let Answer::FileDescriptorResponse(files) =
        answers.next().await.unwrap().unwrap().message_response.unwrap()
    else {
        panic!("files");
    };
    assert!(declares(&files.file_descriptor_proto, "TokenService"));

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel(endpoint));
    let asked = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(
            "jeton.v1.TokenService".to_owned(),
        )),
    };
    let mut answers = client.server_reflection_info(iter([asked])).await.unwrap().into_inner();
    let answer = answers.next().await.unwrap().unwrap().message_response.unwrap();
    let v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(files) = answer else {
        panic!("files");
    };
    assert!(declares(&files.file_descriptor_proto, "TokenService"));
}

fn declares(files: &[Vec<u8>], service: &str) -> bool {
    files.iter().any(|file| {
        let file: prost_types::FileDescriptorProto = prost::Message::decode(file.as_slice()).unwrap();
        file.service.iter().any(|declared| declared.name() == service)
    })
}

#[tokio::test]
async fn reflection_is_not_served_to_every_service() {
    let world = World::start().await;
    let endpoint = &world.server.ready.public;
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel(endpoint));
    let asked = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(Ask::ListServices(String::new())),
    };
    let refused = client.server_reflection_info(iter([asked])).await.err().map(|status| status.code());
    assert_eq!(refused, Some(tonic::Code::Unimplemented));
}
