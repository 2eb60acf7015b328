//! O8: what an assertion is good for.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use serde_json::json;

use super::{EXCHANGE, JWT_BEARER, ask, assert_error, bearer, claims_of, create, rule, update, world};
use crate::world::{Fleet, Refused as _, api_key, basic, http, post_form, until};

#[tokio::test]
async fn o8_an_assertion_obtains_a_token_by_each_way_that_ends_no_later_and_names_its_issuer() {
    let (world, foreign, _admin) = world().await;
    let public = &world.server.ready.public;
    let assertion = foreign.assertion();
    let type_of = "client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let jwt = "subject_token_type=urn:ietf:params:oauth:token-type:jwt";
    for form in [
        format!("grant_type={JWT_BEARER}&assertion={assertion}"),
        format!("grant_type={JWT_BEARER}&assertion={assertion}&client_id=runner&scope=&ttl=3000"),
        format!("grant_type=client_credentials&{type_of}&client_assertion={assertion}"),
        format!("grant_type={EXCHANGE}&subject_token={assertion}&{jwt}&audience=api"),
    ] {
        let answer = ask(public, &form).await;
        assert_eq!(answer.status, 200, "{form}: {answer:?}");
        let claims = claims_of(&answer);
        assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("ci:build-7"), &json!("runner")));
        assert_eq!((&claims["idp"], &claims["aud"]), (&json!("ci"), &json!(["api"])));
        let end = foreign.claims()["exp"].as_i64().unwrap();
        assert!(claims["exp"].as_i64().unwrap() <= end, "{claims}");
        assert_eq!(answer.json()["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    }
    // As a bearer credential of a call: the caller is the client, and what it obtains names the issuer.
    let mut api = world.api_with_key(&assertion).await;
    let caller = api.tokens.get_caller(pb::GetCallerRequest {}).await.unwrap().into_inner();
    assert_eq!(caller.client.unwrap().client_id, "runner");
    let issued = api.token("ci:other", "api").await;
    let mut service = world.api("service").await;
    let request = pb::ValidateRequest {
        token: issued.access_token,
        audiences: vec!["api".to_owned()],
        ..Default::default()
    };
    let verdict = service.tokens.validate(request).await.unwrap().into_inner().verdict.unwrap();
    assert_eq!((verdict.status(), verdict.identity_provider.as_str()), (TokenStatus::Active, "ci"));
}

#[tokio::test]
async fn o8_every_fault_of_an_assertion_is_refused_in_words_and_nothing_of_it_is_repeated() {
    let (world, foreign, _admin) = world().await;
    let now = foreign.claims()["iat"].as_i64().unwrap();
    let with = |name: &str, value: serde_json::Value| {
        let mut claims = foreign.claims();
        claims[name] = value;
        foreign.sign(&claims)
    };
    let without = |name: &str| {
        let mut claims = foreign.claims();
        claims.as_object_mut().unwrap().remove(name);
        foreign.sign(&claims)
    };
    for (assertion, words) in [
        ("x.y.z".to_owned(), "refused"),
        (with("iss", json!("https://other.example")), "its issuer is not trusted here"),
        (without("iss"), "its issuer is not trusted here"),
        (with("aud", json!("other")), "the claim aud names another audience"),
        (with("aud", json!([])), "the claim aud is not"),
        (without("aud"), "the claim aud is missing"),
        (without("exp"), "the claim exp is missing"),
        (with("exp", json!(now - 61)), "the token has expired"),
        (with("exp", json!(1e300)), "the claim exp is not"),
        (with("exp", json!("tomorrow")), "the claim exp is not"),
        (with("nbf", json!(now + 120)), "the token is not valid yet"),
        (with("iat", json!(now + 120)), "the token was issued in the future"),
        (with("iat", json!(now - 4000)), "the token was issued too long ago"),
        (with("group", json!("people")), "no rule of its issuer fits its claims"),
        (with("sub", json!("a\u{7}")), "no rule of its issuer fits its claims"),
    ] {
        let answer = bearer(&world, &assertion).await;
        assert_error(&answer, 400, "invalid_grant", words);
        assert!(!answer.body.contains("build-7") && !answer.body.contains("people"), "{answer:?}");
    }
    let header = |header: serde_json::Value| super::sign_by(&foreign.key, &header, &foreign.claims());
    let kid = foreign.key.key_id();
    for (assertion, words) in [
        (header(json!({ "alg": "none", "kid": kid })), "alg"),
        (header(json!({ "alg": "HS256", "kid": kid })), "alg"),
        (header(json!({ "alg": "RS256", "kid": kid })), "not one for the algorithm"),
        (header(json!({ "alg": "ES256", "kid": "../../etc/passwd" })), "no key with the header"),
        (header(json!({ "alg": "ES256", "kid": kid, "jku": "http://127.0.0.1:1/" })), "jku"),
        (header(json!({ "alg": "ES256", "kid": kid, "jwk": {} })), "jwk"),
        (header(json!({ "alg": "ES256", "kid": kid, "crit": ["x"] })), "crit"),
        (header(json!({ "alg": "ES256", "kid": kid, "typ": "at+jwt" })), "typ"),
    ] {
        assert_error(&bearer(&world, &assertion).await, 400, "invalid_grant", words);
    }
    // As the authentication of a client the same is invalid_client; as a bearer credential, a bad credential.
    let bad = with("aud", json!("other"));
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let form = format!("grant_type=client_credentials&client_assertion_type={kind}&client_assertion={bad}");
    assert_error(&ask(&world.server.ready.public, &form).await, 401, "invalid_client", "another audience");
    let refused = world.api_with_key(&bad).await.tokens.get_caller(pb::GetCallerRequest {}).await.refused();
    assert_eq!(refused.reason, "CALLER_UNAUTHENTICATED");
    // A token of ours is no assertion.
    let ours = world.api("service").await.token("user:7", "api").await.access_token;
    assert_eq!(bearer(&world, &ours).await.status, 401);
}

#[tokio::test]
async fn o8_rules_are_tried_in_their_order_and_a_token_may_be_tested() {
    let (world, foreign, mut admin) = world().await;
    let registration = pb::TrustedIssuer {
        rules: vec![
            rule(5, &[("group", "c*")], "service", "ci:late"),
            rule(1, &[("group", "ci"), ("sub", "build-8")], "service", "ci:eight"),
            rule(1, &[("group", "ci")], "runner", "ci:first-{sub}"),
        ],
        ..foreign.registration("ci", "runner")
    };
    update(&mut admin, registration, &["rules"]).await.unwrap();
    let claims = claims_of(&bearer(&world, &foreign.assertion()).await);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("ci:first-build-7"), &json!("runner")));
    let request = pb::TestAssertionRequest { assertion: foreign.assertion() };
    let tested = admin.admin.test_assertion(request).await.unwrap().into_inner();
    assert_eq!((tested.issuer_id.as_str(), tested.refused.as_str()), ("ci", ""));
    assert_eq!((tested.client_id.as_str(), tested.subject.as_str()), ("runner", "ci:first-build-7"));
    let told: Vec<_> = tested.rules.iter().map(|it| (it.rule, it.priority, it.decides)).collect();
    assert_eq!(told, [(1, 1, false), (2, 1, true), (0, 5, false)]);
    assert!(tested.rules[0].outcome.contains("sub"), "{tested:?}");
    let mut claims = foreign.claims();
    claims["aud"] = json!("other");
    let request = pb::TestAssertionRequest { assertion: foreign.sign(&claims) };
    let tested = admin.admin.test_assertion(request).await.unwrap().into_inner();
    assert!(tested.refused.contains("another audience") && tested.rules.is_empty(), "{tested:?}");
}

#[tokio::test]
async fn o8_an_issuer_that_is_disabled_or_removed_is_refused_at_once_and_what_it_gave_can_be_revoked() {
    let (world, foreign, mut admin) = world().await;
    let refreshable = format!("grant_type={JWT_BEARER}&assertion={}&refreshable=true", foreign.assertion());
    let session = ask(&world.server.ready.public, &refreshable).await.json();
    let token = session["access_token"].as_str().unwrap().to_owned();
    let other = claims_of(&bearer(&world, &foreign.assertion()).await);
    assert_eq!(other["idp"], "ci");
    let off = pb::TrustedIssuer { disabled: true, ..foreign.registration("ci", "runner") };
    update(&mut admin, off, &["disabled"]).await.unwrap();
    assert_error(&bearer(&world, &foreign.assertion()).await, 400, "invalid_grant", "not trusted here");
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Active, "what was obtained lives on");
    // Tokens and the session die by their issuer; one of nobody's assertion does not.
    let ours = world.api("service").await.token("ci:build-7", "api").await.access_token;
    let target = Kind::IssuerId("ci".to_owned());
    let plan = pb::RevokeRequest { validate_only: true, ..crate::world::revoke_request(target.clone()) };
    let plan = admin.wide.revoke(plan).await.unwrap().into_inner();
    assert_eq!((plan.affected_sessions, plan.sample_sessions.len()), (1, 1));
    admin.revoke_wide(target).await.unwrap();
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Revoked);
    assert_eq!(admin.status(&ours, "api").await, TokenStatus::Active);
    let refresh = session["refresh_token"].as_str().unwrap();
    let key = world.register("runner", &[jeton::state::Permission::Issue], &["api"], &["ci:*"]).await;
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let refused = post_form(&world.server.ready.public, super::TOKEN, &basic("runner", &key), &form).await;
    assert_error(&refused, 400, "invalid_grant", "revoked");
    let request = pb::DeleteIssuerRequest { issuer_id: "ci".to_owned(), ..Default::default() };
    admin.admin.delete_issuer(request).await.unwrap();
    assert_error(&bearer(&world, &foreign.assertion()).await, 400, "invalid_grant", "not trusted here");
    assert_eq!(admin.revoke_wide(Kind::IssuerId("no-one".to_owned())).await.refused().reason, "NOT_FOUND");
}

#[tokio::test]
async fn o8_a_registration_is_in_force_on_every_replica_when_the_call_returns() {
    let fleet = Fleet::start(3).await;
    let foreign = super::Foreign::start().await;
    let mut admin = crate::world::Api::connect(&fleet.replicas[0].server.ready, &api_key("admin"));
    let static_keys = pb::trusted_issuer::KeySource::StaticJwks(super::key_set(&[&foreign.key]));
    let registration = pb::TrustedIssuer {
        key_source: Some(static_keys),
        rules: vec![rule(0, &[("group", "ci")], "service", "ci:{sub}")],
        ..foreign.registration("ci", "service")
    };
    for round in 0..4 {
        if round == 0 {
            create(&mut admin, registration.clone()).await.unwrap();
        } else {
            let disabled = round % 2 == 1;
            update(&mut admin, pb::TrustedIssuer { disabled, ..registration.clone() }, &["disabled"])
                .await
                .unwrap();
        }
        for replica in &fleet.replicas {
            let form = format!("grant_type={JWT_BEARER}&audience=api&assertion={}", foreign.assertion());
            let answer =
                http(&replica.server.ready.public, "POST", super::TOKEN, &[super::FORM], &form).await;
            assert_eq!(answer.status, if round % 2 == 1 { 400 } else { 200 }, "round {round}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn o8_refused_assertions_are_in_the_audit_trail() {
    let (world, foreign, _admin) = world().await;
    let mut claims = foreign.claims();
    claims["group"] = json!("people");
    assert_eq!(bearer(&world, &foreign.sign(&claims)).await.status, 400);
    // Reported once a minute, and when the server ends.
    world.server.terminate();
    until("it is written", async || {
        world.audited("action = 'Refused' and note like '%1 times within a minute: an assertion'").await == 1
    })
    .await;
}
