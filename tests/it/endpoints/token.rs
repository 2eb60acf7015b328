//! O1 to O6: tokens for software that speaks OAuth (RFC 6749, RFC 8707).

use jeton::{
    proto::v1::{self as pb, TokenStatus},
    state::Permission,
};
use jeton_token::ApiKey;
use serde_json::{Value, json};

use super::{TOKEN, introspect};
use crate::world::{HttpAnswer, Secure, World, api_key, basic, http, http_request, post_form};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const GRANTS: [&str; 4] = [
    "client_credentials",
    "refresh_token",
    "urn:ietf:params:oauth:grant-type:jwt-bearer",
    "urn:ietf:params:oauth:grant-type:token-exchange",
];
const GRANT: &str = "grant_type=client_credentials";

/// A client with one audience, `api`, and itself among its subjects.
async fn worker(world: &World) -> String {
    world.register("worker", &[Permission::Issue, Permission::Validate], &["api"], &["worker", "svc:*"]).await
}

async fn ask(world: &World, client_id: &str, key: &str, form: &str) -> HttpAnswer {
    post_form(&world.server.ready.public, TOKEN, &basic(client_id, key), form).await
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&jeton_token::base64url::decode(payload).unwrap()).unwrap()
}

#[track_caller]
fn assert_error(answer: &HttpAnswer, status: u16, error: &str) {
    assert_eq!((answer.status, answer.error().as_str()), (status, error), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(answer.json()["error_description"].is_string(), "{answer:?}");
}

#[tokio::test]
async fn o1_client_credentials_gives_a_token_that_is_good_and_dies_by_its_revocation() {
    let world = World::start().await;
    let key = worker(&world).await;
    let answer = ask(&world, "worker", &key, GRANT).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let said = answer.json();
    let token = said["access_token"].as_str().unwrap();
    let claims = claims(token);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("worker"), &json!("worker")));
    assert_eq!(claims["aud"], json!(["api"]));
    assert_eq!(said["token_type"], "Bearer");
    assert_eq!(said["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert_eq!(said["expires_in"], lifetime);
    let refresh_in = said["refresh_in"].as_i64().unwrap();
    assert!(refresh_in > 0 && refresh_in < lifetime, "{said}");
    assert_eq!((said.get("refresh_token"), said.get("scope")), (None, None), "neither was asked for");
    assert_eq!(introspect(&world, "service", token).await.json()["active"], true);
    let mut admin = world.api("admin").await;
    assert_eq!(admin.status(token, "api").await, TokenStatus::Active);
    let revoked = post_form(
        &world.server.ready.public,
        super::REVOKE,
        &basic("worker", &key),
        &format!("token={token}"),
    )
    .await;
    assert_eq!(revoked.status, 200);
    assert_eq!(admin.status(token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn o2_a_client_speaks_for_its_own_subject_which_must_be_one_of_its_subjects() {
    let world = World::start().await;
    let key = worker(&world).await;
    let mut admin = world.api("admin").await;
    let subject = |answer: HttpAnswer| claims(answer.json()["access_token"].as_str().unwrap())["sub"].clone();
    assert_eq!(subject(ask(&world, "worker", &key, GRANT).await), "worker");
    let with = |own: &str, subjects: &[&str]| pb::UpdateClientRequest {
        client: Some(pb::Client {
            client_id: "worker".to_owned(),
            own_subject: own.to_owned(),
            subjects: subjects.iter().map(|it| (*it).to_owned()).collect(),
            ..Default::default()
        }),
        update_mask: Some(prost_types::FieldMask {
            paths: vec!["own_subject".to_owned(), "subjects".to_owned()],
        }),
    };
    admin.admin.update_client(with("svc:worker", &["svc:*"])).await.unwrap();
    assert_eq!(subject(ask(&world, "worker", &key, GRANT).await), "svc:worker");
    admin.admin.update_client(with("", &["svc:*"])).await.unwrap();
    // Its name is not among its subjects.
    let refused = ask(&world, "worker", &key, GRANT).await;
    assert_error(&refused, 400, "unauthorized_client");
    assert!(refused.json()["error_description"].as_str().unwrap().contains("'worker'"), "{refused:?}");
}

#[tokio::test]
async fn o3_the_target_is_audience_or_resource_or_the_only_one_that_is_registered() {
    let world = World::start().await;
    let key =
        world.register("two", &[Permission::Issue], &["a", "https://b.example/", "urn:c"], &["*"]).await;
    let any = api_key("service");
    let audiences = |answer: &HttpAnswer| {
        claims(answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{answer:?}")))["aud"].clone()
    };
    for (target, expected) in [
        ("audience=a", json!(["a"])),
        ("resource=https%3A%2F%2Fb.example%2F", json!(["https://b.example/"])),
        ("resource=urn%3Ac", json!(["urn:c"])),
        ("audience=a&resource=urn%3Ac", json!(["a", "urn:c"])),
        ("audience=a&audience=urn:c", json!(["a", "urn:c"])),
        ("resource=https%3A%2F%2Fb.example%2F&resource=urn%3Ac", json!(["https://b.example/", "urn:c"])),
    ] {
        assert_eq!(audiences(&ask(&world, "two", &key, &format!("{GRANT}&{target}")).await), expected);
    }
    for target in [
        "x=y",
        "audience=",
        "audience=b",
        "audience=a&audience=a",
        "audience=a&resource=a",
        "resource=a",
        "resource=https%3A%2F%2Fb.example%2F%23part",
        "audience=a%0A",
        "audience=*",
    ] {
        let answer = ask(&world, "two", &key, &format!("{GRANT}&{target}")).await;
        assert_error(&answer, 400, "invalid_target");
    }
    // Registered for any: none of them is the only one.
    assert_error(&ask(&world, "service", &any, GRANT).await, 400, "invalid_target");
}

#[tokio::test]
async fn o4_scope_and_ttl_are_those_of_the_policy_and_errors_are_those_of_oauth() {
    let world = World::start().await;
    let key = worker(&world).await;
    let mut admin = world.api("admin").await;
    let policy = pb::Policy {
        audience: "api".to_owned(),
        client_id: "*".to_owned(),
        allowed_scopes: vec!["read".to_owned(), "write".to_owned()],
        max_ttl: Some(crate::world::seconds(600)),
        ..Default::default()
    };
    admin
        .admin
        .update_policy(pb::UpdatePolicyRequest {
            policy: Some(policy),
            allow_missing: true,
            ..Default::default()
        })
        .await
        .unwrap();
    let good = ask(&world, "worker", &key, &format!("{GRANT}&scope=read+write&ttl=77")).await.json();
    assert_eq!((&good["scope"], &good["expires_in"]), (&json!("read write"), &json!(77)), "{good}");
    assert_eq!(claims(good["access_token"].as_str().unwrap())["scope"], "read write");
    for (more, error) in [
        ("&scope=admin", "invalid_scope"),
        ("&scope=read+read", "invalid_scope"),
        ("&scope=%22", "invalid_scope"),
        ("&ttl=601", "invalid_request"),
        ("&ttl=0", "invalid_request"),
        ("&ttl=-5", "invalid_request"),
        ("&ttl=%2B5", "invalid_request"),
        ("&ttl=1.5", "invalid_request"),
        ("&ttl=99999999999999999999", "invalid_request"),
        ("&refreshable=yes", "invalid_request"),
        ("&certificate_bound=true", "invalid_request"),
        ("&requested_token_type=urn:ietf:params:oauth:token-type:saml2", "invalid_request"),
        ("&scope=read&scope=write", "invalid_request"),
        ("&grant_type=client_credentials", "invalid_request"),
        ("&client_secret=x", "invalid_request"),
    ] {
        assert_error(&ask(&world, "worker", &key, &format!("{GRANT}{more}")).await, 400, error);
    }
    for (form, error) in [
        ("", "invalid_request"),
        ("grant_type=", "invalid_request"),
        ("grant_type=password&username=a&password=b", "unsupported_grant_type"),
        ("grant_type=authorization_code&code=x", "unsupported_grant_type"),
        ("grant_type=Client_Credentials", "unsupported_grant_type"),
        ("grant_type=refresh_token", "invalid_request"),
        ("grant_type=refresh_token&refresh_token=x", "invalid_grant"),
    ] {
        assert_error(&ask(&world, "worker", &key, form).await, 400, error);
    }
    // Without the permission, whatever is asked.
    let reader = world.register("reader", &[Permission::Validate], &["api"], &["*"]).await;
    for form in [GRANT, "grant_type=refresh_token&refresh_token=x", "grant_type=password"] {
        assert_error(&ask(&world, "reader", &reader, form).await, 400, "unauthorized_client");
    }
}

#[tokio::test]
async fn o5_a_session_is_opened_on_demand_and_each_refresh_token_is_spent_once() {
    let world = World::start().await;
    let key = worker(&world).await;
    let first = ask(&world, "worker", &key, &format!("{GRANT}&refreshable=true")).await.json();
    let spent = first["refresh_token"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
    let refresh = |token: &str| format!("grant_type=refresh_token&refresh_token={token}");
    // Not that of another client, and then it is not spent.
    let other = api_key("service");
    assert_error(&ask(&world, "service", &other, &refresh(&spent)).await, 400, "invalid_grant");
    let second = ask(&world, "worker", &key, &refresh(&spent)).await.json();
    let next = second["refresh_token"].as_str().unwrap_or_else(|| panic!("{second}")).to_owned();
    assert_ne!(spent, next);
    let (old, new) =
        (claims(first["access_token"].as_str().unwrap()), claims(second["access_token"].as_str().unwrap()));
    assert_eq!((&old["sid"], &old["sub"], &old["aud"]), (&new["sid"], &new["sub"], &new["aud"]));
    assert_ne!(old["jti"], new["jti"]);
    // By the admin listener the session ends; then the refresh token is of no use.
    let revoked = post_form(
        &world.server.ready.public,
        super::REVOKE,
        &basic("worker", &key),
        &format!("token={next}"),
    )
    .await;
    assert_eq!(revoked.status, 200, "{revoked:?}");
    assert_error(&ask(&world, "worker", &key, &refresh(&next)).await, 400, "invalid_grant");
    let token = second["access_token"].as_str().unwrap();
    assert_eq!(world.api("admin").await.status(token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn o6_a_client_authenticates_by_its_headers_or_by_its_form_and_every_bad_credential_gets_one_answer() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let name = "svc:orders+100%";
    let key = world.register(name, &[Permission::Issue], &["api"], &["*"]).await;
    let by_form = format!("{GRANT}&client_id=svc%3Aorders%2B100%25&client_secret={key}");
    let answer = http(public, "POST", TOKEN, &[FORM], &by_form).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    // RFC 6749 section 2.3.1: encoded in the header, too.
    let basic_encoded = basic("svc%3Aorders%2B100%25", &key);
    assert_eq!(post_form(public, TOKEN, &basic_encoded, GRANT).await.status, 200);
    let named = format!("{GRANT}&client_id=svc%3Aorders%2B100%25");
    assert_eq!(post_form(public, TOKEN, &basic_encoded, &named).await.status, 200);

    let unknown = ApiKey::generate();
    let mut answers = std::collections::BTreeSet::new();
    for form in [
        GRANT.to_owned(),
        named,
        format!("{GRANT}&client_id=nobody"),
        format!("{GRANT}&client_id=nobody&client_secret={}", unknown.expose()),
        format!("{GRANT}&client_id=worker&client_secret={key}"),
        format!("{GRANT}&client_id=svc%3Aorders%2B100%25&client_secret={}", unknown.expose()),
        format!("{GRANT}&client_id=svc%3Aorders%2B100%25&client_secret=x"),
        format!("{GRANT}&client_id=svc%3Aorders%2B100%25&client_secret="),
    ] {
        let answer = http(public, "POST", TOKEN, &[FORM], &form).await;
        assert_error(&answer, 401, "invalid_client");
        assert!(!answer.headers("www-authenticate").is_empty(), "{answer:?}");
        answers.insert(answer.body);
    }
    let answer = post_form(public, TOKEN, &basic("nobody", unknown.expose()), GRANT).await;
    assert_error(&answer, 401, "invalid_client");
    answers.insert(answer.body);
    assert_eq!(answers.len(), 1, "no oracle: {answers:?}");
    let nameless = http(public, "POST", TOKEN, &[FORM], &format!("{GRANT}&client_secret={key}")).await;
    assert_error(&nameless, 400, "invalid_request");
    let typed = [("content-type", "application/json")];
    let typed = http(public, "POST", TOKEN, &typed, r#"{"grant_type":"client_credentials"}"#).await;
    assert_error(&typed, 415, "invalid_request");
    assert_eq!(http(public, "GET", TOKEN, &[], "").await.status, 405);
}

#[tokio::test]
async fn o7_a_certificate_authenticates_a_client_and_binds_its_token_on_demand() {
    let secure = Secure::start().await;
    let uri = "spiffe://example.org/worker";
    secure.register("worker", uri).await;
    let leaf = secure.clients.client(uri);
    let dialer = secure.dialer(Some(&leaf));
    let ask = async |form: &str| {
        dialer
            .ask(
                secure.public(),
                &http_request("POST", TOKEN, &[FORM], &format!("{GRANT}&audience=api{form}")),
            )
            .await
    };
    for (form, thumbprint) in [
        ("", None),
        ("&client_id=worker&certificate_bound=false", None),
        ("&client_id=worker&certificate_bound=true", Some(leaf.thumbprint())),
    ] {
        let answer = ask(form).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let claims = claims(answer.json()["access_token"].as_str().unwrap());
        assert_eq!(claims["client_id"], "worker");
        let bound = claims.get("cnf").map(|cnf| cnf["x5t#S256"].as_str().unwrap().to_owned());
        assert_eq!(bound, thumbprint, "{form}");
    }
    assert_error(&ask("&client_id=service").await, 401, "invalid_client");
    let metadata = dialer
        .ask(secure.public(), &http_request("GET", "/.well-known/oauth-authorization-server", &[], ""))
        .await;
    let methods = &metadata.json()["token_endpoint_auth_methods_supported"];
    assert_eq!(*methods, json!(["client_secret_basic", "client_secret_post", "tls_client_auth"]));
    assert_eq!(metadata.json()["grant_types_supported"], json!(GRANTS));
}
