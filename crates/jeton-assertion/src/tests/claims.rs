//! Claims of assertions: who, for whom, and when.

use serde_json::{Value, json};

use super::super::{Assertion, Audience, Expectation, Issuer, Refused};
use super::{AUDIENCE, ISSUER, NOW_MS, NOW_S, expected, good_claims, judge, with};

fn changed(changes: &Value, expectation: &Expectation<'_>) -> Result<Assertion, Refused> {
    judge(&with(&good_claims(), changes), expectation)
}

/// The refusal of the good claims with these changes, or none.
fn refusal(changes: &Value) -> Option<Refused> {
    changed(changes, &expected()).err()
}

fn is_wrong_form(claim: &str, refused: Option<Refused>) -> bool {
    matches!(refused, Some(Refused::WrongForm { claim: found, .. }) if found == claim)
}

#[test]
fn a_token_of_kubernetes_is_read_whole() {
    let claims = json!({
        "aud": ["https://kubernetes.default.svc", AUDIENCE],
        "exp": NOW_S + 3_607,
        "iat": NOW_S,
        "iss": ISSUER,
        "jti": "aed34954-b33a-4142-b1ec-389d6bbb4936",
        "kubernetes.io": {"namespace": "prod", "serviceaccount": {"name": "billing", "uid": "7ee30c9d"}},
        "nbf": NOW_S,
        "sub": "system:serviceaccount:prod:billing",
    });
    let found = judge(&claims, &expected()).unwrap();
    assert_eq!(found.issuer.as_deref(), Some(ISSUER));
    assert_eq!(found.subject, "system:serviceaccount:prod:billing");
    assert_eq!(found.audiences, ["https://kubernetes.default.svc", AUDIENCE]);
    assert_eq!(found.expire_time_ms, NOW_MS + 3_607_000);
    assert_eq!(found.accepted_until_ms(), NOW_MS + 3_666_999);
    assert_eq!(found.issue_time_ms, Some(NOW_MS));
    assert_eq!(found.token_id.as_deref(), Some("aed34954-b33a-4142-b1ec-389d6bbb4936"));
    assert_eq!(Value::Object(found.claims), claims);
}

#[test]
fn iss_is_the_configured_text() {
    assert_eq!(refusal(&json!({"iss": null})), Some(Refused::Missing("iss")));
    for iss in
        ["https://issuer.example/", "https://issuer.example.evil", "HTTPS://issuer.example", "", "evil"]
    {
        assert_eq!(refusal(&json!({ "iss": iss })), Some(Refused::WrongIssuer), "{iss}");
    }
    assert!(is_wrong_form("iss", refusal(&json!({"iss": [ISSUER]}))));
}

#[test]
fn an_svid_needs_no_iss_and_no_jti_but_a_subject_of_the_trust_domain() {
    let expectation = |issuer| Expectation {
        issuer: Issuer::Spiffe { trust_domain: "prod.example", issuer },
        ..expected()
    };
    let svid = |changes: Value, issuer: Option<&'static str>| {
        let claims = json!({"sub": "spiffe://prod.example/billing", "aud": AUDIENCE, "exp": NOW_S + 300});
        judge(&with(&claims, &changes), &expectation(issuer)).map(|it| (it.issuer, it.subject, it.token_id))
    };
    let good = Ok((None, "spiffe://prod.example/billing".to_owned(), None));
    assert_eq!(svid(json!({}), None), good);
    assert_eq!(svid(json!({}), Some(ISSUER)), good);
    assert_eq!(svid(json!({ "iss": ISSUER }), Some(ISSUER)).unwrap().0.as_deref(), Some(ISSUER));
    assert_eq!(svid(json!({ "iss": ISSUER }), None), Err(Refused::WrongIssuer));
    assert_eq!(svid(json!({"iss": "https://evil.example"}), Some(ISSUER)), Err(Refused::WrongIssuer));
    for sub in [
        "spiffe://prod.example",
        "spiffe://prod.example/",
        "spiffe://prod.example.evil/billing",
        "spiffe://evil/prod.example/billing",
        "spiffe://PROD.example/billing",
        "spiffe://prod.example/a/../billing",
        "spiffe://prod.example:1/billing",
        "https://prod.example/billing",
        "billing",
    ] {
        // The issuer's name does not stand in for the trust domain.
        for iss in [Value::Null, json!(ISSUER)] {
            let found = svid(json!({"sub": sub, "iss": iss}), Some(ISSUER));
            assert_eq!(found, Err(Refused::WrongTrustDomain), "{sub}");
        }
    }
    assert_eq!(svid(json!({"sub": null}), None), Err(Refused::Missing("sub")));
    assert_eq!(svid(json!({"aud": null}), None), Err(Refused::Missing("aud")));
    assert_eq!(svid(json!({"exp": null}), None), Err(Refused::Missing("exp")));
}

#[test]
fn sub_is_a_text_of_1_to_255_bytes() {
    assert_eq!(refusal(&json!({"sub": null})), Some(Refused::Missing("sub")));
    for sub in [json!(""), json!("x".repeat(256)), json!("é".repeat(128)), json!(1), json!(["a"]), json!({})]
    {
        assert!(is_wrong_form("sub", refusal(&json!({ "sub": sub }))), "{sub}");
    }
    for sub in ["x", &"x".repeat(255), "a\nb"] {
        assert_eq!(refusal(&json!({ "sub": sub })), None);
    }
}

#[test]
fn aud_holds_an_expected_value() {
    for aud in [json!(AUDIENCE), json!([AUDIENCE]), json!(["other", AUDIENCE]), json!([AUDIENCE, AUDIENCE])] {
        assert_eq!(refusal(&json!({ "aud": aud })), None, "{aud}");
    }
    assert_eq!(refusal(&json!({"aud": null})), Some(Refused::Missing("aud")));
    for aud in [
        json!("other"),
        json!(["other"]),
        json!("https://jeton.example/"),
        json!(format!("other {AUDIENCE}")),
    ] {
        assert_eq!(refusal(&json!({ "aud": aud })), Some(Refused::WrongAudience), "{aud}");
    }
    for aud in [
        json!([]),
        json!(""),
        json!([AUDIENCE, ""]),
        json!([AUDIENCE, 1]),
        json!({AUDIENCE: 1}),
        json!([[AUDIENCE]]),
    ] {
        assert!(is_wrong_form("aud", refusal(&json!({ "aud": aud }))), "{aud}");
    }
    // With no expected value, none is good.
    let nobody = Expectation { audience: Audience::AnyOf(&[]), ..expected() };
    assert_eq!(changed(&json!({}), &nobody).unwrap_err(), Refused::WrongAudience);
}

#[test]
fn a_client_may_name_one_audience_alone() {
    let values = [AUDIENCE, "https://jeton.example/oauth2/token"];
    let strict = Expectation { audience: Audience::OnlyOneOf(&values), ..expected() };
    let judged = |aud: Value| changed(&json!({ "aud": aud }), &strict).map(|_| ());
    for aud in [json!(AUDIENCE), json!([AUDIENCE]), json!(values[1])] {
        assert_eq!(judged(aud.clone()), Ok(()), "{aud}");
    }
    for aud in
        [json!(values), json!([AUDIENCE, "other"]), json!(["other", AUDIENCE]), json!([AUDIENCE, AUDIENCE])]
    {
        assert_eq!(judged(aud.clone()), Err(Refused::AudienceNotAlone), "{aud}");
    }
    assert_eq!(judged(json!("other")), Err(Refused::WrongAudience));
    assert_eq!(judged(Value::Null), Err(Refused::Missing("aud")));
}

#[test]
fn exp_is_needed_and_a_minute_of_skew_is_granted() {
    assert_eq!(refusal(&json!({"exp": null})), Some(Refused::Missing("exp")));
    for (exp, good) in [
        (json!(NOW_S + 1), true),
        (json!(NOW_S - 59), true),
        (json!(NOW_S - 60), false),
        (json!(NOW_S - 61), false),
        (json!(0), false),
        (json!(1_799_999_940.001), true),
        (json!(1_799_999_940.0), false),
        (json!(1_800_000_000.5), true),
        (json!(1.8e9), true),
        (json!(253_402_207_200_i64), true),
    ] {
        assert_eq!(refusal(&json!({ "exp": exp })), (!good).then_some(Refused::Expired), "{exp}");
    }
}

#[test]
fn a_time_is_a_number_from_1970_to_9999() {
    for name in ["exp", "nbf", "iat"] {
        for value in [
            json!(-1),
            json!(-0.5),
            json!(i64::MIN),
            json!(i64::MAX),
            json!(u64::MAX),
            json!(253_402_207_201_i64),
            json!(1e300),
            json!(-1e300),
            json!("1800000600"),
            json!(true),
            json!([1_800_000_600]),
        ] {
            assert!(is_wrong_form(name, refusal(&json!({ name: value }))), "{name} {value}");
        }
    }
    // Null is not "missing": the issuer said something that is no time.
    let mut claims = good_claims();
    claims["nbf"] = Value::Null;
    assert!(is_wrong_form("nbf", judge(&claims, &expected()).err()));
    let found = changed(&json!({"exp": 1_800_000_600.25, "iat": 1.799_999_999_5e9}), &expected()).unwrap();
    assert_eq!((found.expire_time_ms, found.issue_time_ms), (NOW_MS + 600_250, Some(NOW_MS - 500)));
}

#[test]
fn nbf_and_iat_are_not_in_the_future_beyond_the_skew() {
    for (ahead_s, good) in [(-1_000, true), (0, true), (60, true), (61, false), (1_000_000, false)] {
        let time = NOW_S + ahead_s;
        let refused = |error| (!good).then_some(error);
        assert_eq!(refusal(&json!({ "nbf": time })), refused(Refused::NotYetValid), "{ahead_s}");
        assert_eq!(refusal(&json!({ "iat": time })), refused(Refused::IssuedInFuture), "{ahead_s}");
    }
    assert_eq!(refusal(&json!({"iat": 1_800_000_060.001})), Some(Refused::IssuedInFuture));
}

#[test]
fn age_and_remaining_life_are_bounded_if_asked() {
    let aged = Expectation { age_max_ms: Some(300_000), ..expected() };
    for (age_s, good) in [(0, true), (300, true), (360, true), (361, false)] {
        let found = changed(&json!({"iat": NOW_S - age_s}), &aged).err();
        assert_eq!(found, (!good).then_some(Refused::TooOld), "{age_s}");
    }
    assert_eq!(changed(&json!({}), &aged).err(), None, "without iat, exp bounds it");
    let brief =
        Expectation { life_max_ms: Some(super::super::limits::CLIENT_ASSERTION_LIFE_MAX_MS), ..expected() };
    for (life_s, good) in [(1, true), (300, true), (360, true), (361, false), (86_400 * 365, false)] {
        let found = changed(&json!({"exp": NOW_S + life_s}), &brief).err();
        assert_eq!(found, (!good).then_some(Refused::LivesTooLong), "{life_s}");
    }
    let endless = Expectation { age_max_ms: Some(i64::MAX), life_max_ms: Some(i64::MAX), ..expected() };
    assert_eq!(changed(&json!({"iat": 0}), &endless).err(), None);
    for now_ms in [i64::MIN, i64::MAX] {
        let odd = Expectation { now_ms, ..aged };
        assert!(changed(&json!({"iat": NOW_S, "nbf": NOW_S}), &odd).is_err());
    }
}

#[test]
fn jti_is_optional_and_bounded() {
    let id = |jti: Value| changed(&json!({ "jti": jti }), &expected()).map(|it| it.token_id);
    assert_eq!(id(Value::Null), Ok(None));
    assert_eq!(id(json!("x".repeat(255))), Ok(Some("x".repeat(255))));
    for jti in [json!(""), json!("x".repeat(256)), json!(1)] {
        assert!(is_wrong_form("jti", id(jti.clone()).err()), "{jti}");
    }
}

/// Whoever has no key learns nothing of the rules for claims.
#[test]
fn the_signature_comes_before_the_claims() {
    use super::{Algorithm, Signer, three_keys, verify};
    let claims = with(&good_claims(), &json!({"iss": "evil", "exp": 0}));
    let token =
        Signer::ed25519().forge(Algorithm::EdDsa, r#"{"alg":"EdDSA","kid":"ed25519"}"#, &claims.to_string());
    assert_eq!(verify(&token, &three_keys(), &expected()).unwrap_err(), Refused::BadSignature);
}
