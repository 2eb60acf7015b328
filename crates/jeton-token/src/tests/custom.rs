//! Custom claims (I9).

use proptest::prelude::*;
use serde_json::{Map, Number, Value, json};

use super::super::json::parse_object;
use super::super::{CustomClaimError, check_custom, number};
use super::members;

#[test]
fn a_registered_or_reserved_name_is_refused_and_named() {
    for name in [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "rev",
        "scope",
        "sid",
        "cnf",
        "act",
        "azp",
        "active",
    ] {
        let error = check_custom(&members(&json!({"fine": 1, name: 1}))).unwrap_err();
        assert_eq!(error, CustomClaimError::Reserved { claim: name.to_owned() });
    }
    for name in ["roles", "groups", "entitlements", "email", "tenant", "Sub", "ISS", "https://x.example/sub"]
    {
        check_custom(&members(&json!({ name: 1 }))).unwrap();
    }
    // Within a claim, any name is allowed.
    check_custom(&members(&json!({"who": {"sub": "a", "exp": 1}}))).unwrap();
}

#[test]
fn a_number_that_doubles_cannot_keep_is_refused_at_any_depth() {
    let unsafe_number = |value: Value| {
        let error = check_custom(&members(&json!({"n": [{"deep": value}]}))).unwrap_err();
        assert_eq!(error, CustomClaimError::NumberUnsafe { claim: "n".to_owned() });
    };
    unsafe_number(json!(9_007_199_254_740_992_i64));
    unsafe_number(json!(-9_007_199_254_740_992_i64));
    unsafe_number(json!(u64::MAX));
    unsafe_number(json!(i64::MIN));
    unsafe_number(json!(1e16));
    unsafe_number(json!(-1e300));
    check_custom(&members(&json!({"n": [9_007_199_254_740_991_i64, -9_007_199_254_740_991_i64, 0.1]})))
        .unwrap();
}

#[test]
fn names_nesting_and_size_are_bounded() {
    let nested = |depth: usize| {
        let value = (0..depth).fold(json!(1), |inner, _| json!([inner]));
        check_custom(&members(&json!({ "a": value })))
    };
    nested(14).unwrap();
    assert!(matches!(nested(15), Err(CustomClaimError::Form { .. })));
    for name in ["", "a\n", "\u{0}", &"x".repeat(129)] {
        assert!(matches!(check_custom(&members(&json!({ name: 1 }))), Err(CustomClaimError::Form { .. })));
    }
    assert!(matches!(check_custom(&members(&json!({"a": "\u{0}"}))), Err(CustomClaimError::Form { .. })));
    assert!(matches!(
        check_custom(&members(&json!({"a": {"\u{0}": 1}}))),
        Err(CustomClaimError::Form { .. })
    ));
    let sized = |len: usize| check_custom(&members(&json!({"a": "x".repeat(len)})));
    sized(2_040).unwrap();
    assert_eq!(sized(2_041), Err(CustomClaimError::TooLarge { size_bytes: 2_049, max: 2_048 }));
    check_custom(&Map::new()).unwrap();
}

#[test]
fn doubles_of_the_wire_become_numbers_that_keep() {
    let written = |value: f64| number(value).map(|number: Number| number.to_string());
    for (value, text) in [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (-42.0, "-42"),
        (1e15, "1000000000000000"),
        (9_007_199_254_740_991.0, "9007199254740991"),
        (-9_007_199_254_740_991.0, "-9007199254740991"),
        (0.1, "0.1"),
        (-1.5, "-1.5"),
    ] {
        assert_eq!(written(value).as_deref(), Some(text));
    }
    for value in
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 9_007_199_254_740_992.0, -9_007_199_254_740_992.0, 1e300]
    {
        assert_eq!(written(value), None);
    }
}

proptest! {
    #[test]
    fn a_converted_number_passes_the_check_and_reads_the_same(value in any::<f64>()) {
        if let Some(number) = number(value) {
            prop_assert_eq!(number.as_f64(), Some(value + 0.0));
            let claims = members(&json!({ "n": number }));
            prop_assert!(check_custom(&claims).is_ok());
        }
    }

    #[test]
    fn fractions_come_back_bit_for_bit(value in any::<f64>()) {
        if let Some(number) = number(value) {
            let json = Value::Object(members(&json!({ "n": number }))).to_string();
            prop_assert_eq!(parse_object(json.as_bytes()).unwrap()["n"].as_f64(), Some(value));
        }
    }
}
