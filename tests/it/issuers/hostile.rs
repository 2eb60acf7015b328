//! O9: issuers whose keys cannot be had, or that turn hostile.

use jeton::proto::v1::{self as pb, trusted_issuer::KeySource};
use jeton_token::{Algorithm, SigningKey};
use serde_json::json;

use super::{Answer, Foreign, assert_error, bearer, claims_of, create, key_set, sign_by, update, world};
use crate::world::until;

#[tokio::test]
async fn o9_keys_are_kept_over_an_outage_and_read_again_for_a_new_one() {
    let (world, foreign, mut admin) = world().await;
    assert_eq!(bearer(&world, &foreign.assertion()).await.status, 200);
    foreign.says(Answer { status: 500, ..Answer::of("") });
    assert_eq!(bearer(&world, &foreign.assertion()).await.status, 200, "they are kept");
    // Keys are made anew: the one that nobody knows has the set read again, and at most once in a while.
    let next = SigningKey::generate(Algorithm::Es256).unwrap();
    foreign.says(Answer::of(key_set(&[&foreign.key, &next])));
    let by_next = sign_by(&next, &json!({ "alg": "ES256", "kid": next.key_id() }), &foreign.claims());
    until("the new key is known", async || bearer(&world, &by_next).await.status == 200).await;
    assert_eq!(bearer(&world, &foreign.assertion()).await.status, 200);
    let asked = *foreign.asked.borrow();
    for number in 0..20 {
        let made_up =
            sign_by(&next, &json!({ "alg": "ES256", "kid": format!("k{number}") }), &foreign.claims());
        assert_eq!(bearer(&world, &made_up).await.status, 400);
    }
    assert!(*foreign.asked.borrow() <= asked + 2, "made-up keys cause no fetch each");
    // The source changes: keys of the former one vouch for nothing.
    let other = Foreign::start().await;
    let moved = pb::TrustedIssuer {
        key_source: Some(KeySource::JwksUri(format!("{}/keys", other.url))),
        ..foreign.registration("ci", "runner")
    };
    update(&mut admin, moved, &["jwks_uri"]).await.unwrap();
    assert_error(&bearer(&world, &foreign.assertion()).await, 400, "invalid_grant", "no key with the header");
    let by_other =
        sign_by(&other.key, &json!({ "alg": "ES256", "kid": other.key.key_id() }), &foreign.claims());
    assert_eq!(bearer(&world, &by_other).await.status, 200);
}

#[tokio::test]
async fn o9_a_source_that_answers_too_much_elsewhere_or_nonsense_is_named_and_vouches_for_nobody() {
    let (world, _foreign, mut admin) = world().await;
    let elsewhere = Foreign::start().await;
    let moved = |to: String| Answer { status: 302, header: format!("location: {to}\r\n"), ..Answer::of("") };
    for (number, (answer, words)) in [
        (Answer::of("x".repeat(5 << 20)), "256 KiB"),
        (moved(format!("{}/keys", elsewhere.url)), "redirects to another host"),
        (moved("/round".to_owned()), "redirects to another host, or more than 3 times"),
        (Answer { status: 404, ..Answer::of("") }, "answers 404"),
        (Answer::of("<html>"), "cannot be read"),
        (Answer::of("{}"), "no array keys"),
        (Answer::of(r#"{"keys":[]}"#), "no key that can be used"),
        (Answer::of(r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#), "no key that can be used"),
    ]
    .into_iter()
    .enumerate()
    {
        let hostile = Foreign::start().await;
        hostile.says(answer);
        let id = format!("hostile-{number}");
        create(&mut admin, hostile.registration(&id, "runner")).await.unwrap();
        assert_error(&bearer(&world, &hostile.assertion()).await, 400, "invalid_grant", words);
        let request = pb::GetIssuerRequest { issuer_id: id };
        let shown = admin.admin.get_issuer(request).await.unwrap().into_inner().issuer.unwrap();
        assert!(shown.keys_fault.contains(words), "{shown:?}");
    }
    assert_eq!(*elsewhere.asked.borrow(), 0, "no redirect was followed to another host");
}

#[tokio::test]
async fn o9_two_issuers_with_the_same_keys_do_not_stand_in_for_each_other() {
    let (world, foreign, mut admin) = world().await;
    let second = Foreign::start().await;
    let same = KeySource::StaticJwks(key_set(&[&foreign.key]));
    let registration = pb::TrustedIssuer {
        key_source: Some(same),
        rules: vec![super::rule(0, &[("group", "ci")], "service", "other:{sub}")],
        ..second.registration("second", "service")
    };
    create(&mut admin, registration).await.unwrap();
    assert_eq!(claims_of(&bearer(&world, &foreign.assertion()).await)["idp"], "ci");
    let mut claims = foreign.claims();
    claims["iss"] = json!(second.url);
    let as_second = format!("{}&audience=api", foreign.sign(&claims));
    let claims = claims_of(&bearer(&world, &as_second).await);
    assert_eq!((&claims["idp"], &claims["sub"]), (&json!("second"), &json!("other:build-7")));
}

#[tokio::test]
async fn o9_a_spiffe_workload_is_known_by_its_trust_domain_without_iss_and_jti_again_and_again() {
    let (world, foreign, mut admin) = world().await;
    let file = world.directory.path().join("bundle.json");
    let mut keys: serde_json::Value = serde_json::from_str(&key_set(&[&foreign.key])).unwrap();
    keys["keys"][0]["use"] = json!("jwt-svid");
    keys["spiffe_sequence"] = json!(1);
    std::fs::write(&file, keys.to_string()).unwrap();
    let registration = pb::TrustedIssuer {
        issuer_id: "mesh".to_owned(),
        issuer: "spiffe://example.org".to_owned(),
        key_source: Some(KeySource::SpiffeBundleFile(file.display().to_string())),
        audiences: vec!["jeton".to_owned()],
        rules: vec![super::rule(0, &[("sub", "spiffe://example.org/ns/prod/*")], "runner", "ci:{sub}")],
        ..Default::default()
    };
    create(&mut admin, registration).await.unwrap();
    let now = foreign.claims()["iat"].as_i64().unwrap();
    let svid = |sub: &str| {
        foreign.sign(&json!({ "sub": sub, "aud": ["other", "jeton"], "exp": now + 300, "iat": now }))
    };
    let good = svid("spiffe://example.org/ns/prod/build");
    for _ in 0..3 {
        assert_eq!(claims_of(&bearer(&world, &good).await)["sub"], "ci:spiffe://example.org/ns/prod/build");
    }
    assert_error(
        &bearer(&world, &svid("spiffe://example.org/ns/dev/x")).await,
        400,
        "invalid_grant",
        "no rule",
    );
    assert_error(
        &bearer(&world, &svid("spiffe://other.org/ns/prod/x")).await,
        400,
        "invalid_grant",
        "not trusted",
    );
}
