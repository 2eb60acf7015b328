//! Claims of the wrong type or form, each signed with the issuer's real key, and the near side of
//! every border.

use jeton::proto::v1::TokenStatus::{Active, Malformed};
use jeton_token::Algorithm;
use serde_json::{Value, json};

use super::support::{Case, b64, case, forge_with, judge, with};
use crate::world::{Forge, World};

#[tokio::test]
async fn v5_a_signed_claim_of_the_wrong_type_or_form_is_malformed() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let mut cases = Vec::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let forge = forge_with(&world, algorithm).await;
        cases.extend(claims(&forge));
    }
    judge(&mut api, &cases).await;
}

fn claims(forge: &Forge) -> Vec<Case> {
    let good = forge.claims();
    let mut cases = vec![case("the claims as they are", forge.sign(&good), Active)];
    let mut bad = |name: &str, value: Value| {
        let token = forge.sign(&with(&good, name, Some(value.clone())));
        let mut shown = value.to_string();
        shown.truncate(60);
        cases.push(case(format!("{name}: {shown}"), token, Malformed));
    };
    // One moment for all of them.
    let now = good["iat"].as_i64().unwrap();
    wrong_types(&mut bad);
    wrong_numbers(&mut bad, &good, now);
    wrong_audiences(&mut bad);
    wrong_texts(&mut bad);
    wrong_ids(&mut bad, good["jti"].as_str().unwrap(), now);
    wrong_custom(&mut bad);
    for name in ["iss", "sub", "client_id", "jti", "iat", "exp", "rev", "aud"] {
        cases.push(case(format!("without {name}"), forge.sign(&with(&good, name, None)), Malformed));
    }
    cases.extend(good_claims(forge, &good, now));
    cases
}

/// Takes the name of a claim and a value that it must not have.
type Bad<'a> = &'a mut dyn FnMut(&str, Value);

fn wrong_types(bad: Bad<'_>) {
    for name in ["iss", "sub", "client_id", "jti", "iat", "exp", "rev", "aud", "nbf", "scope", "sid", "cnf"] {
        for value in [json!(null), json!(true), json!({}), json!([]), json!([[]]), json!("")] {
            bad(name, value);
        }
    }
    for name in ["iss", "sub", "client_id", "jti", "scope", "sid", "aud", "cnf"] {
        bad(name, json!(7));
        bad(name, json!(1.5));
    }
}

fn wrong_numbers(bad: Bad<'_>, good: &Value, now: i64) {
    for name in ["iat", "exp", "nbf"] {
        for value in [
            json!(1.5),
            json!(1_900_000_000.0),
            json!(1_900_000_000.25),
            json!(now.to_string()),
            json!(-1),
            json!(-now),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(i64::MAX),
            json!(1e300),
            json!(253_402_207_201_i64),
            json!([now]),
            json!("2027-01-15T08:00:00Z"),
            json!(-0.0),
        ] {
            bad(name, value);
        }
    }
    for value in [
        json!(-1),
        json!(1.0),
        json!(1.5),
        json!("1"),
        json!(8_192_i64 << 40),
        json!(1_i64 << 53),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!("1.0"),
        json!(1e15),
    ] {
        bad("rev", value);
    }
    bad("exp", good["iat"].clone());
    bad("exp", json!(now - 1));
    bad("exp", json!(0));
}

fn wrong_audiences(bad: Bad<'_>) {
    let audience = |n: usize| Value::Array((0..n).map(|i| json!(format!("api{i}"))).collect());
    for value in [
        json!("api"),
        json!("api web"),
        audience(11),
        json!(["api", 7]),
        json!(["api", null]),
        json!(["api", ["web"]]),
        json!([["api"]]),
        json!([""]),
        json!(["api", ""]),
        json!(["*"]),
        json!(["api", "*"]),
        json!(["api\n"]),
        json!(["ap\u{200b}i"]),
        json!(["cafe\u{301}"]),
        json!(["api", "a".repeat(256)]),
        json!({"0": "api"}),
        json!(["api", {"a": 1}]),
    ] {
        bad("aud", value);
    }
}

fn wrong_texts(bad: Bad<'_>) {
    for value in
        [json!("u".repeat(256)), json!("user\n7"), json!("user\u{0}"), json!("\u{85}"), json!(["user:7"])]
    {
        bad("sub", value);
    }
    for hidden in
        ["user\u{200b}:7", "user:7\u{202e}", "\u{feff}user:7", "user\u{2028}7", "us\u{ad}er", "cafe\u{301}"]
    {
        bad("sub", json!(hidden));
    }
    bad("client_id", json!("jtk_service"));
    for value in [json!("c".repeat(256)), json!("two words"), json!("*"), json!("caf\u{e9}"), json!("a\tb")] {
        bad("client_id", value);
    }
    for value in [json!("i".repeat(513)), json!("http://jeton.test\n"), json!(["http://jeton.test"])] {
        bad("iss", value);
    }
    for value in [
        json!("two  spaces"),
        json!(" read"),
        json!("read "),
        json!("read\nwrite"),
        json!("r\"w"),
        json!("r\\w"),
        json!("s".repeat(129)),
        json!("\u{e9}"),
        json!(["read"]),
        json!((0..65).map(|i| i.to_string()).collect::<Vec<_>>().join(" ")),
    ] {
        bad("scope", value);
    }
}

fn wrong_ids(bad: Bad<'_>, jti: &str, now: i64) {
    let jti_at = |seconds: i64| json!(jeton_token::new_uuid_v7((now + seconds) * 1_000).to_string());
    let v4 = format!("{}4{}", &jti[..14], &jti[15..]);
    let variant = format!("{}c{}", &jti[..19], &jti[20..]);
    for value in [
        json!(v4),
        json!(variant),
        json!(jti.to_uppercase()),
        json!(jti.replace('-', "")),
        json!(format!("{{{jti}}}")),
        json!(format!("urn:uuid:{jti}")),
        json!(format!("{jti} ")),
        json!(&jti[1..]),
        json!(format!("{jti}0")),
        json!("00000000-0000-0000-0000-000000000000"),
        json!("ffffffff-ffff-ffff-ffff-ffffffffffff"),
        json!([jti]),
        json!("zzzzzzzz-zzzz-7zzz-8zzz-zzzzzzzzzzzz"),
        json!(jti.replacen('-', "_", 1)),
    ] {
        bad("jti", value.clone());
        bad("sid", value);
    }
    bad("jti", jti_at(70));
    bad("jti", jti_at(-70));
    bad("jti", jti_at(-86_400));
}

fn wrong_custom(bad: Bad<'_>) {
    let thumbprint = b64([5; 32]);
    for value in [
        json!({"x5t#S256": 7}),
        json!({"x5t#S256": ""}),
        json!({"x5t#S256": format!("{thumbprint}=")}),
        json!(thumbprint),
        json!({"x5t#S256": thumbprint, "jkt": thumbprint}),
        json!({"jkt": thumbprint}),
        json!({"x5t#S256": b64([5; 31])}),
        json!({"x5t#S256": null}),
        json!({"x5t#s256": thumbprint}),
        json!({"jwk": {}}),
    ] {
        bad("cnf", value);
    }
    for name in [
        "act",
        "may_act",
        "auth_time",
        "acr",
        "amr",
        "azp",
        "nonce",
        "at_hash",
        "c_hash",
        "sub_jwk",
        "_claim_names",
        "_claim_sources",
        "events",
        "toe",
        "txn",
        "active",
        "token_type",
        "s_hash",
    ] {
        bad(name, json!("x"));
    }
    bad("", json!("x"));
    bad(&"n".repeat(129), json!(1));
    bad("line\nbreak", json!(1));
    bad("big", json!(9_007_199_254_740_992_i64));
    bad("big", json!([{"in": -9_007_199_254_740_992_i64}]));
    bad("big", json!(u64::MAX));
    bad("long", json!("x".repeat(2_049)));
}

/// The near side of every limit: claims that the rules above must not refuse.
fn good_claims(forge: &Forge, good: &Value, now: i64) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut fine = |name: &str, value: Value| {
        let mut shown = value.to_string();
        shown.truncate(60);
        let token = forge.sign(&with(good, name, Some(value)));
        cases.push(case(format!("{name}: {shown}, and good"), token, Active));
    };
    let mut audiences: Vec<String> = (0..9).map(|i| format!("api{i}")).collect();
    audiences.push("api".to_owned());
    fine("aud", json!(audiences));
    fine("aud", json!(["api", "a".repeat(255)]));
    fine("sub", json!("u".repeat(255)));
    fine("sub", json!("\u{fc}\u{1F600} \"\\"));
    fine("client_id", json!("c".repeat(255)));
    fine("rev", json!(0));
    fine("nbf", json!(now - 5));
    fine("nbf", json!(0));
    fine("scope", json!((0..64).map(|i| i.to_string()).collect::<Vec<_>>().join(" ")));
    fine("scope", json!("s".repeat(128)));
    fine("sid", json!(jeton_token::new_uuid_v7((now - 86_400) * 1_000).to_string()));
    fine("roles", json!(["a", {"b": [null, true, -1.5e-7]}]));
    fine("big", json!(9_007_199_254_740_991_i64));
    fine("exp", json!(good["iat"].as_i64().unwrap() + 86_400));
    // 60 s apart at most, whatever the milliseconds.
    fine("jti", json!(jeton_token::new_uuid_v7((good["iat"].as_i64().unwrap() - 60) * 1_000).to_string()));
    fine("jti", json!(jeton_token::new_uuid_v7((good["iat"].as_i64().unwrap() + 60) * 1_000).to_string()));
    let iat = good["iat"].as_i64().unwrap();
    for ms in [(iat - 60) * 1_000 - 1, (iat + 60) * 1_000 + 1] {
        let token = forge.sign(&with(good, "jti", Some(json!(jeton_token::new_uuid_v7(ms).to_string()))));
        cases.push(case("a jti 60.001 s off iat", token, Malformed));
    }
    for name in ["scope", "nbf", "sid", "cnf"] {
        cases.push(case(format!("no {name}"), forge.sign(&with(good, name, None)), Active));
    }
    cases
}
