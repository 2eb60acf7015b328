//! I9: the claims of a token, and those that a caller may set.

use std::collections::BTreeSet;

use jeton::proto::v1 as pb;
use jeton_token::parse_uuid_v7;
use prost_types::{ListValue, Struct, Value as Proto, value::Kind};
use serde_json::{Value, json};

use super::{decode, lifetime, texts};
use crate::world::{Refused, World, issue_request, policy};

fn number(value: f64) -> Proto {
    Proto { kind: Some(Kind::NumberValue(value)) }
}

fn text(value: impl Into<String>) -> Proto {
    Proto { kind: Some(Kind::StringValue(value.into())) }
}

fn list(values: Vec<Proto>) -> Proto {
    Proto { kind: Some(Kind::ListValue(ListValue { values })) }
}

fn object(name: &str, value: Proto) -> Proto {
    Proto { kind: Some(Kind::StructValue(Struct { fields: [(name.to_owned(), value)].into() })) }
}

fn with_claims(claims: impl IntoIterator<Item = (String, Proto)>) -> pb::IssueRequest {
    let claims = Some(Struct { fields: claims.into_iter().collect() });
    pb::IssueRequest { claims, ..issue_request("user:7", &["api"]) }
}

fn with_claim(name: &str, value: Proto) -> pb::IssueRequest {
    with_claims([(name.to_owned(), value)])
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn i9_a_token_holds_exactly_the_claims_that_apply_each_of_its_type() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await;
    let [header, claims] = decode(&token.access_token);
    assert_eq!(names(&header), BTreeSet::from(["alg", "kid", "typ"]));
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    assert_eq!(header["kid"].as_str().unwrap().len(), 43);
    let base = BTreeSet::from(["iss", "sub", "aud", "exp", "iat", "jti", "client_id", "rev"]);
    assert_eq!(names(&claims), base);
    assert_eq!(claims["iss"], "http://jeton.test");
    assert_eq!(claims["sub"], "user:7");
    assert_eq!(claims["aud"], json!(["api"]), "a list also where it is one");
    assert_eq!(claims["client_id"], "service");
    assert_eq!(claims["jti"], token.jti.as_str());
    assert!(claims["rev"].is_i64() && claims["rev"].as_i64().unwrap() >= 1 << 40);
    assert!(parse_uuid_v7(&token.jti).is_some(), "a canonical UUIDv7");
    lifetime(&token);

    let thumbprint = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2";
    let thumbprint = format!("{}w", &thumbprint[..42]);
    let request = pb::IssueRequest {
        scopes: vec!["read".to_owned(), "write:all".to_owned()],
        refreshable: true,
        certificate_thumbprint: thumbprint.clone(),
        ..with_claim("tenant", text("t-1"))
    };
    let token = api.issue(request).await.unwrap();
    let [_, claims] = decode(&token.access_token);
    let all: BTreeSet<_> = base.into_iter().chain(["scope", "sid", "cnf", "tenant"]).collect();
    assert_eq!(names(&claims), all);
    assert_eq!(claims["scope"], "read write:all");
    assert_eq!(claims["sid"], token.session_id.as_str());
    assert!(parse_uuid_v7(&token.session_id).is_some());
    assert_eq!(claims["cnf"], json!({ "x5t#S256": thumbprint }));
    assert_eq!(claims["tenant"], "t-1");
    lifetime(&token);
    let [_, next] = decode(&api.refresh(&token.refresh.unwrap().refresh_token).await.unwrap().access_token);
    assert_eq!(names(&next), all, "a refresh says the same");
    for same in ["iss", "sub", "aud", "client_id", "scope", "sid", "cnf", "tenant"] {
        assert_eq!(next[same], claims[same], "{same}");
    }
    assert_ne!(next["jti"], claims["jti"]);
}

#[tokio::test]
async fn i9_whole_numbers_are_written_without_fraction_or_exponent() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let cases = [
        (3.0, "3"),
        (-3.0, "-3"),
        (0.0, "0"),
        (-0.0, "0"),
        (1e3, "1000"),
        (1e15, "1000000000000000"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (-9_007_199_254_740_991.0, "-9007199254740991"),
        (0.5, "0.5"),
        (-1234.25, "-1234.25"),
    ];
    let claims = cases.iter().enumerate().map(|(index, (value, _))| (format!("n{index}"), number(*value)));
    let nested = ("deep".to_owned(), object("a", list(vec![number(1.0), object("b", number(2.0))])));
    let request = with_claims(claims.chain([nested]));
    let sent = request.claims.clone();
    let token = api.issue(request).await.unwrap();
    let [_, payload] = texts(&token.access_token);
    for (index, (value, written)) in cases.iter().enumerate() {
        let next = |end| payload.contains(&format!("\"n{index}\":{written}{end}"));
        assert!(next(',') || next('}'), "{value} is written {written}: {payload}");
    }
    assert!(payload.contains(r#""deep":{"a":[1,{"b":2}]}"#), "{payload}");
    for time in ["exp", "iat", "rev"] {
        let after = payload.split(&format!("\"{time}\":")).nth(1).unwrap();
        let written = after.split([',', '}']).next().unwrap();
        assert!(written.bytes().all(|b| b.is_ascii_digit()), "{time} is {written}");
    }
    let verdict = api.validate(&token.access_token, &["api"]).await.unwrap();
    assert_eq!(verdict.status(), pb::TokenStatus::Active);
    assert_eq!(verdict.claims, sent, "Validate answers what Issue was given");
}

#[tokio::test]
async fn i9_a_claim_that_only_the_issuer_sets_is_reserved() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    // RFC 7519; what Issue sets; who acts, and how a subject came in; what tells kinds of tokens apart.
    let reserved = "iss sub aud exp nbf iat jti client_id scope sid cnf rev act may_act auth_time acr amr azp nonce \
                    at_hash c_hash s_hash events toe txn active token_type sub_jwk _claim_names _claim_sources";
    for claim in reserved.split(' ') {
        for refreshable in [false, true] {
            let request = pb::IssueRequest { refreshable, ..with_claim(claim, text("x")) };
            let facts = api.issue(request).await.refused();
            assert_eq!((facts.reason.as_str(), facts.get("claim")), ("CLAIM_RESERVED", claim));
        }
    }
    for free in ["roles", "groups", "email", "Iss", "issuer", "scopes", "iss ", "https://a.example/iss"] {
        let token = api.issue(with_claim(free, text("x"))).await.unwrap();
        let [_, claims] = decode(&token.access_token);
        assert_eq!(claims[free], "x");
    }
    // Inside another claim a name means nothing.
    api.issue(with_claim("nested", object("iss", text("x")))).await.unwrap();
}

#[tokio::test]
async fn i9_a_number_that_json_cannot_keep_exactly_is_refused_by_the_claims_name() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let unsafe_numbers = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        9_007_199_254_740_992.0,
        -9_007_199_254_740_992.0,
        1e300,
        f64::MAX,
        f64::MIN,
    ];
    for value in unsafe_numbers {
        let wrapped = list(vec![text("x"), object("inner", number(value))]);
        for claim in [number(value), wrapped] {
            let facts = api.issue(with_claim("balance", claim)).await.refused();
            assert_eq!(
                (facts.reason.as_str(), facts.get("claim")),
                ("CLAIM_NUMBER_UNSAFE", "balance"),
                "{value}"
            );
        }
    }
    for value in [f64::MIN_POSITIVE, 5e-324, 0.1, -1e-10] {
        let request = with_claim("balance", number(value));
        let sent = request.claims.clone();
        let token = api.issue(request).await.unwrap();
        let verdict = api.validate(&token.access_token, &["api"]).await.unwrap();
        assert_eq!((verdict.status(), verdict.claims), (pb::TokenStatus::Active, sent), "{value}");
    }
}

#[tokio::test]
async fn i9_claims_of_the_wrong_form_are_refused_and_the_refusal_arrives() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let nested = |levels| (0..levels).fold(number(1.0), |inner, _| list(vec![inner]));
    let long_name = "n".repeat(20_000);
    let bad = [
        with_claim("", text("x")),
        with_claim(&"n".repeat(129), text("x")),
        with_claim(&long_name, text("x")),
        with_claim("a\nb", text("x")),
        with_claim("a", text("nul \0")),
        with_claim("a", object("nul \0", text("x"))),
        with_claim("a", Proto { kind: None }),
        with_claim("a", nested(15)),
        with_claim("a", text("x".repeat(2_048))),
    ];
    for request in bad {
        let facts = api.issue(request).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "claims"));
    }
    // A refusal that repeats its input must still fit into a header.
    let facts = api.issue(with_claim(&long_name, number(f64::NAN))).await.refused();
    assert_eq!(facts.code, tonic::Code::InvalidArgument);
    let token = api.issue(with_claim("a", nested(14))).await.unwrap();
    assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Active);
    // `{"a":"…"}` of 2 KiB to the byte.
    api.issue(with_claim("a", text("x".repeat(2_040)))).await.unwrap();
    assert_eq!(api.issue(with_claim("a", text("x".repeat(2_041)))).await.refused().reason, "FIELD_INVALID");
}

#[tokio::test]
async fn i9_odd_text_comes_back_from_validate_as_it_was_given() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let odd = "\"\\/\u{7f}\t\n\u{2028}é𝄞\u{feff} <script>";
    let subject = "user:\"é𝄞\\ 語";
    let audience = "https://a.example/?q=\"é\"";
    let request = pb::IssueRequest {
        subject: subject.to_owned(),
        audiences: vec![audience.to_owned()],
        ..with_claim("odd", text(odd))
    };
    let token = api.issue(request).await.unwrap();
    let verdict = api.validate(&token.access_token, &[audience]).await.unwrap();
    assert_eq!(verdict.status(), pb::TokenStatus::Active);
    assert_eq!(
        (verdict.subject.as_str(), verdict.audiences.as_slice()),
        (subject, [audience.to_owned()].as_slice())
    );
    assert_eq!(verdict.claims.unwrap().fields["odd"], text(odd));
}

#[tokio::test]
async fn i9_the_policy_chooses_the_algorithm() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for name in ["EdDSA", "ES256"] {
        admin.set_policy(pb::Policy { algorithm: name.to_owned(), ..policy("api") }).await.unwrap();
        for refreshable in [false, true] {
            let request = pb::IssueRequest { refreshable, ..issue_request("user:7", &["api"]) };
            let token = api.issue(request).await.unwrap();
            let [header, _] = decode(&token.access_token);
            assert_eq!(header["alg"], name);
            assert_eq!(names(&header), BTreeSet::from(["alg", "kid", "typ"]));
            assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Active);
        }
    }
    for name in ["HS256", "none", "RS256", "es256", "eddsa", "ES384"] {
        let facts =
            admin.set_policy(pb::Policy { algorithm: name.to_owned(), ..policy("api") }).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "policy.algorithm"));
    }
}
