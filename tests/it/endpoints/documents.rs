//! The key set and the metadata, as caches and discovering clients fetch them.

use jeton::proto::v1::{self as pb, RotateKeyRequest};

use crate::world::{HttpAnswer, ServerOptions, World, http};

const JWKS: &str = "/.well-known/jwks.json";
const METADATA: &str = "/.well-known/oauth-authorization-server";

async fn get(world: &World, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    http(&world.server.ready.public, "GET", path, headers, "").await
}

#[tokio::test]
async fn the_key_set_is_what_the_rpc_answers_and_may_be_kept_as_long() {
    let world = World::start().await;
    let answer = get(&world, JWKS, &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    let mut anybody = world.api_with_key("").await;
    let told = anybody.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap().into_inner();
    assert_eq!(answer.body, told.jwks_json);
    assert_eq!(answer.header("etag"), Some(told.etag.as_str()));
    let max_age = format!("public, max-age={}", told.max_age.unwrap().seconds);
    assert_eq!(answer.header("cache-control"), Some(max_age.as_str()));
}

#[tokio::test]
async fn a_document_that_is_current_is_answered_without_its_body_and_a_change_with_it() {
    let world = World::start().await;
    for path in [JWKS, METADATA] {
        let first = get(&world, path, &[]).await;
        let etag = first.header("etag").unwrap().to_owned();
        for known in [etag.clone(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".to_owned()] {
            let again = get(&world, path, &[("if-none-match", &known)]).await;
            assert_eq!((again.status, again.body.as_str()), (304, ""), "{known}");
            assert_eq!(again.header("etag"), Some(etag.as_str()));
            assert_eq!(again.header("cache-control"), first.header("cache-control"));
        }
        for unknown in ["\"x\"", "", "x", &etag[1..]] {
            let whole = get(&world, path, &[("if-none-match", unknown)]).await;
            assert_eq!((whole.status, whole.body.as_str()), (200, first.body.as_str()), "{unknown}");
        }
        let two = get(&world, path, &[("if-none-match", "\"x\""), ("if-none-match", &etag)]).await;
        assert_eq!(two.status, 304, "{path}: a list may stand on two lines");
        let head = http(&world.server.ready.public, "HEAD", path, &[], "").await;
        assert_eq!((head.status, head.header("etag")), (200, Some(etag.as_str())));
        assert_eq!(head.header("content-length").unwrap(), first.body.len().to_string());
    }
    let before = get(&world, JWKS, &[]).await;
    let rotate = RotateKeyRequest { emergency: true, ..Default::default() };
    world.api("admin").await.admin.rotate_key(rotate).await.unwrap();
    let after = get(&world, JWKS, &[("if-none-match", before.header("etag").unwrap())]).await;
    assert_eq!(after.status, 200, "another key, another tag");
    assert_ne!(after.header("etag"), before.header("etag"));
    let count = |answer: &HttpAnswer| answer.json()["keys"].as_array().unwrap().len();
    assert_eq!(count(&after), count(&before) + 1, "the key before it still verifies");
}

#[tokio::test]
async fn the_metadata_says_what_there_is_and_nothing_that_is_not() {
    let world = World::start().await;
    let answer = get(&world, METADATA, &[]).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    let issuer = &world.server.ready.issuer;
    let expected = serde_json::json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}{JWKS}"),
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "grant_types_supported": [
            "client_credentials",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "Bearer"],
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
        "tls_client_certificate_bound_access_tokens": true,
    });
    assert_eq!(answer.json(), expected);
    assert_eq!(get(&world, &format!("{METADATA}/eu"), &[]).await.status, 404, "of an issuer elsewhere");
}

#[tokio::test]
async fn e13_any_page_may_read_the_public_documents_and_nothing_else() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let origin = [("origin", "https://app.example")];
    for path in [JWKS, METADATA] {
        let read = get(&world, path, &origin).await;
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some("*")), "{path}");
        assert_eq!(read.header("access-control-expose-headers"), Some("etag"));
        assert_eq!(read.header("access-control-allow-credentials"), None);
        let etag = read.header("etag").unwrap().to_owned();
        let known = get(&world, path, &[origin[0], ("if-none-match", &etag)]).await;
        assert_eq!((known.status, known.header("access-control-allow-origin")), (304, Some("*")), "{path}");
        let asked = [
            origin[0],
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "if-none-match"),
        ];
        let may = http(public, "OPTIONS", path, &asked, "").await;
        assert_eq!((may.status, may.body.as_str()), (204, ""), "{path}");
        assert_eq!(may.header("access-control-allow-origin"), Some("*"));
        assert_eq!(may.header("access-control-allow-methods"), Some("GET, HEAD"));
        assert_eq!(may.header("access-control-allow-headers"), Some("if-none-match"));
    }
    for path in ["/oauth2/introspect", "/oauth2/revoke", "/else"] {
        for method in ["OPTIONS", "POST"] {
            let answer = http(public, method, path, &origin, "").await;
            assert!(answer.status >= 400, "{method} {path}: {answer:?}");
            assert_eq!(answer.header("access-control-allow-origin"), None, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_has_its_doors_below_it_and_at_the_root() {
    let options =
        ServerOptions { issuer: Some("http://jeton.test/eu/1".to_owned()), ..ServerOptions::default() };
    let world = World::start_with(options).await;
    let inserted = get(&world, &format!("{METADATA}/eu/1"), &[]).await;
    assert_eq!(inserted.json()["issuer"], "http://jeton.test/eu/1");
    assert_eq!(inserted.json()["jwks_uri"], format!("http://jeton.test/eu/1{JWKS}"));
    for path in [METADATA.to_owned(), format!("/eu/1{METADATA}")] {
        assert_eq!(get(&world, &path, &[]).await.body, inserted.body, "{path}");
    }
    let keys = get(&world, JWKS, &[]).await;
    assert_eq!(get(&world, &format!("/eu/1{JWKS}"), &[]).await.body, keys.body);
    let elsewhere = [
        format!("{METADATA}/eu"),
        format!("{METADATA}/eu/1/"),
        format!("/eu{JWKS}"),
        format!("/eu/12{JWKS}"),
        "/eu/1".to_owned(),
    ];
    for path in elsewhere {
        assert_eq!(get(&world, &path, &[]).await.status, 404, "{path}");
    }
    let stranger = http(&world.server.ready.public, "POST", "/eu/1/oauth2/introspect", &[], "").await;
    assert_eq!(stranger.status, 401);
}

#[tokio::test]
async fn what_is_not_served_is_said_in_json() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    for path in [
        "/",
        "/oauth2",
        "/oauth2/introspect/",
        "/oauth2/authorize",
        "/jeton.v1.TokenService/Issue",
        "/metrics",
    ] {
        let answer = http(public, "GET", path, &[], "").await;
        assert_eq!((answer.status, answer.error().as_str()), (404, "not_found"), "{path}");
    }
    for (method, path, allowed) in [
        ("GET", "/oauth2/introspect?token=x", "POST"),
        ("PUT", "/oauth2/revoke", "POST"),
        ("POST", JWKS, "GET,HEAD,OPTIONS"),
        ("DELETE", METADATA, "GET,HEAD,OPTIONS"),
        ("OPTIONS", "/oauth2/revoke", "POST"),
    ] {
        let answer = http(public, method, path, &[], "").await;
        assert_eq!((answer.status, answer.error().as_str()), (405, "invalid_request"), "{method} {path}");
        assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
    }
    let admin = http(&world.server.ready.admin, "GET", JWKS, &[], "").await;
    assert_eq!(admin.status, 404, "on the public listener alone");
}
