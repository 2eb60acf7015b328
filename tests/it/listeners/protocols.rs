//! ALPN: gRPC and plain HTTP clients on one port with TLS.

use jeton::proto::v1::{self as pb, TokenStatus};

use super::JWKS;
use crate::world::{Dialer, Http, Secure, api_key, http_request};

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
