//! `envoy.service.auth.v3.Authorization`, on the stubs that Envoy's own definitions generate.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            HeaderMap, HeaderValue, HeaderValueOption, header_value_option::HeaderAppendAction,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest, CheckResponse, attribute_context,
            authorization_client::AuthorizationClient, check_response::HttpResponse,
        },
    },
    google::protobuf::{Struct, value::Kind},
};
use jeton::proto::v1::{self as pb, revocation_target::Kind as Target};
use jeton_token::Thumbprint;
use tonic::{Code, Request, Status};

use crate::world::{Refused, World, api_key, channel, issue_request, until};

const TOLD: [&str; 5] =
    ["x-jeton-subject", "x-jeton-client-id", "x-jeton-jti", "x-jeton-session-id", "x-jeton-scope"];

/// Envoy's attributes for a request with this `authorization`.
fn attributes(authorization: &str) -> AttributeContext {
    let smuggled = TOLD.map(|name| (name, "smuggled"));
    let headers = smuggled.into_iter().chain([("authorization", authorization), (":path", "/orders")]);
    let http = attribute_context::HttpRequest {
        headers: headers.filter(|(_, value)| !value.is_empty()).map(owned).collect(),
        ..Default::default()
    };
    let request = attribute_context::Request { http: Some(http), ..Default::default() };
    AttributeContext { request: Some(request), ..Default::default() }
}

fn owned((name, value): (&str, &str)) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

async fn check(
    world: &World,
    client_id: &str,
    attributes: AttributeContext,
) -> Result<CheckResponse, Status> {
    let mut request = Request::new(CheckRequest { attributes: Some(attributes) });
    request.metadata_mut().insert("authorization", format!("Bearer {}", api_key(client_id)).parse().unwrap());
    let mut envoy = AuthorizationClient::new(channel(&world.server.ready.public));
    Ok(envoy.check(request).await?.into_inner())
}

fn value(option: &HeaderValueOption) -> (String, String) {
    #[expect(deprecated, reason = "what Envoy reads")]
    let append = option.append.as_ref().map(|append| append.value);
    assert_eq!(append, Some(false), "set, never appended");
    assert_eq!(option.append_action, i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd));
    let header = option.header.clone().unwrap();
    (header.key, header.value)
}

/// The headers that a passing request gets. Headers of ours without a value are removed.
fn passed(response: &CheckResponse) -> BTreeMap<String, String> {
    assert_eq!(response.status.as_ref().unwrap().code, 0, "{response:?}");
    let Some(HttpResponse::OkResponse(ok)) = &response.http_response else { panic!("{response:?}") };
    let set: BTreeMap<_, _> = ok.headers.iter().map(value).collect();
    let covered: BTreeSet<_> = set.keys().chain(&ok.headers_to_remove).map(String::as_str).collect();
    assert_eq!(covered, BTreeSet::from(TOLD), "C3: no client brings its own");
    assert!(ok.headers_to_remove.iter().all(|name| !set.contains_key(name)));
    set
}

/// The status and the challenge of a request that does not.
fn denied(response: &CheckResponse) -> (i32, String) {
    assert_ne!(response.status.as_ref().unwrap().code, 0, "{response:?}");
    let Some(HttpResponse::DeniedResponse(denied)) = &response.http_response else { panic!("{response:?}") };
    let headers: BTreeMap<_, _> = denied.headers.iter().map(value).collect();
    assert!(response.dynamic_metadata.is_none(), "nothing of a bad token");
    (denied.status.as_ref().unwrap().code, headers["www-authenticate"].clone())
}

fn text(metadata: &Struct, name: &str) -> String {
    match metadata.fields.get(name).and_then(|value| value.kind.clone()) {
        Some(Kind::StringValue(text)) => text,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn c3_a_good_token_passes_with_headers_that_no_client_can_have_set() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let request = pb::IssueRequest {
        scopes: vec!["orders:read".to_owned(), "100%".to_owned()],
        refreshable: true,
        ..issue_request("user:7", &["api"])
    };
    let issued = service.issue(request).await.unwrap();
    let response =
        check(&world, "narrow", attributes(&format!("bearer {}", issued.access_token))).await.unwrap();
    let expected = [
        ("x-jeton-subject", "user:7"),
        ("x-jeton-client-id", "service"),
        ("x-jeton-jti", &issued.jti),
        ("x-jeton-session-id", &issued.session_id),
        ("x-jeton-scope", "orders:read 100%25"),
    ];
    assert_eq!(passed(&response), expected.map(owned).into());
    let metadata = response.dynamic_metadata.unwrap();
    assert_eq!((text(&metadata, "sub"), text(&metadata, "jti")), ("user:7".to_owned(), issued.jti));
    let end = f64::from(u32::try_from(issued.expire_time.unwrap().seconds).unwrap());
    assert_eq!(metadata.fields["exp"].kind, Some(Kind::NumberValue(end)));

    // Headers for absent claims are removed. A subject may be any text, a header may not.
    let plain = service.token("Zoë 100%", "api").await;
    let response =
        check(&world, "narrow", attributes(&format!("Bearer   {} ", plain.access_token))).await.unwrap();
    let set = passed(&response);
    assert_eq!(set["x-jeton-subject"], "Zo%C3%AB 100%25");
    assert!(!set.contains_key("x-jeton-scope") && !set.contains_key("x-jeton-session-id"));
    assert_eq!(text(&response.dynamic_metadata.unwrap(), "sub"), "Zoë 100%");
}

#[tokio::test]
async fn what_is_not_a_good_token_is_denied_in_the_words_of_rfc_6750() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let good = admin.token("user:7", "api").await.access_token;
    let revoked = admin.token("user:7", "api").await.access_token;
    admin.revoke(Target::Token(revoked.clone())).await.unwrap();
    let elsewhere = admin.token("user:7", "edge").await.access_token;
    let session = admin.session("user:7", "api").await;
    let refresh = session.refresh.unwrap().refresh_token;
    for token in [
        revoked,
        elsewhere,
        refresh,
        format!("{good}x"),
        format!("{good},Bearer {good}"),
        "x".to_owned(),
        // Spaces alone do not count (RFC 6750 section 2.1).
        format!("\u{3000}{good}"),
        format!("\t{good}"),
        format!("{good}\u{a0}"),
    ] {
        let told = denied(&check(&world, "narrow", attributes(&format!("Bearer {token}"))).await.unwrap());
        assert_eq!(told, (401, "Bearer realm=\"jeton\", error=\"invalid_token\"".to_owned()));
    }
    for none in ["", "Bearer", "Bearer ", "Basic eDp5", &good] {
        let told = denied(&check(&world, "narrow", attributes(none)).await.unwrap());
        assert_eq!(told, (401, "Bearer realm=\"jeton\"".to_owned()), "without a token, no error: {none}");
    }
    let nothing = check(&world, "narrow", AttributeContext::default()).await.unwrap();
    assert_eq!(denied(&nothing).0, 401);
    passed(&check(&world, "narrow", attributes(&format!("Bearer {good}"))).await.unwrap());
}

#[tokio::test]
async fn a_route_asks_for_scopes_and_audiences_within_its_registration() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let request =
        pb::IssueRequest { scopes: vec!["orders:read".to_owned()], ..issue_request("user:7", &["api"]) };
    let token = service.issue(request).await.unwrap().access_token;
    let edge = service.token("user:7", "edge").await.access_token;
    let asked = async |client_id: &str, token: &str, extensions: &[(&str, &str)]| {
        let extensions: HashMap<_, _> = extensions.iter().copied().map(owned).collect();
        let attributes =
            AttributeContext { context_extensions: extensions, ..attributes(&format!("Bearer {token}")) };
        check(&world, client_id, attributes).await
    };
    for good in
        [&[][..], &[("scopes", "orders:read"), ("audiences", "api")], &[("scopes", "")], &[("else", "x")]]
    {
        passed(&asked("narrow", &token, good).await.unwrap());
    }
    let told = denied(&asked("narrow", &token, &[("scopes", "orders:read orders:write")]).await.unwrap());
    let challenge =
        "Bearer realm=\"jeton\", error=\"insufficient_scope\", scope=\"orders:read orders:write\"";
    assert_eq!(told, (403, challenge.to_owned()));
    // `*` is any audience, unless the route says which.
    passed(&asked("service", &edge, &[]).await.unwrap());
    assert_eq!(denied(&asked("service", &edge, &[("audiences", "api web")]).await.unwrap()).0, 401);
    passed(&asked("service", &edge, &[("audiences", "api edge")]).await.unwrap());
    let refused = asked("narrow", &edge, &[("audiences", "edge")]).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "AUDIENCE_NOT_ALLOWED"));
    let refused = asked("narrow", &token, &[("scopes", "a\"b")]).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
}

#[tokio::test]
async fn v10_a_bound_token_passes_only_with_the_certificate_that_its_bearer_showed_to_envoy() {
    let world = World::start().await;
    let certificate = || rcgen::generate_simple_self_signed(vec!["client.test".to_owned()]).unwrap().cert;
    let (own, other) = (certificate(), certificate());
    let request = pb::IssueRequest {
        certificate_thumbprint: Thumbprint::of_certificate(own.der()).to_string(),
        ..issue_request("user:7", &["api"])
    };
    let token = world.api("service").await.issue(request).await.unwrap().access_token;
    // As Envoy sends it: PEM, percent-encoded.
    let encoded = |pem: &str| {
        let byte = |byte: u8| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        };
        pem.bytes().map(byte).collect::<String>()
    };
    let asked = async |certificate: String| {
        let source = attribute_context::Peer { certificate, ..Default::default() };
        let attributes = AttributeContext { source: Some(source), ..attributes(&format!("Bearer {token}")) };
        check(&world, "narrow", attributes).await.unwrap()
    };
    passed(&asked(encoded(&own.pem())).await);
    for bad in [String::new(), encoded(&other.pem()), encoded("x"), "%".to_owned()] {
        assert_eq!(denied(&asked(bad).await).0, 401);
    }
}

#[tokio::test]
async fn raw_headers_are_read_too_and_two_tokens_are_none() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let raw = |name: &str, value: &str| HeaderValue {
        key: name.to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..Default::default()
    };
    let bearer = format!("Bearer {token}");
    let asked = async |headers: Vec<HeaderValue>| {
        let http =
            attribute_context::HttpRequest { header_map: Some(HeaderMap { headers }), ..Default::default() };
        let request = attribute_context::Request { http: Some(http), ..Default::default() };
        let attributes = AttributeContext { request: Some(request), ..Default::default() };
        check(&world, "narrow", attributes).await.unwrap()
    };
    passed(&asked(vec![raw("x", "y"), raw("authorization", &bearer)]).await);
    assert_eq!(
        denied(&asked(vec![raw("authorization", &bearer), raw("Authorization", &bearer)]).await).0,
        401
    );
    assert_eq!(denied(&asked(vec![raw("x", &bearer)]).await).0, 401);
}

#[tokio::test]
async fn c4_envoy_itself_needs_a_credential_and_the_permission() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let bearer = format!("Bearer {token}");
    let mut nobody = AuthorizationClient::new(channel(&world.server.ready.public));
    let refused = nobody.check(CheckRequest { attributes: Some(attributes(&bearer)) }).await.refused();
    assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED", "the token in the request is not Envoy's own");
    for authorization in [bearer.as_str(), ""] {
        let refused = check(&world, "reader", attributes(authorization)).await.refused();
        assert_eq!(refused.get("permission"), "PERMISSION_VALIDATE");
    }
}

#[tokio::test]
async fn e3_without_the_database_envoy_is_told_that_nothing_was_decided() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let bearer = format!("Bearer {token}");
    world.database.cut_off().await;
    until("it is refused", async || match check(&world, "narrow", attributes(&bearer)).await {
        Ok(response) => {
            passed(&response);
            false
        }
        Err(status) => {
            assert_eq!(status.code(), Code::Unavailable);
            true
        }
    })
    .await;
}
