//! Tokens that this issuer would not make, each signed with its real key where that is the point.

use jeton::{
    proto::v1::TokenStatus::{self, Active, Malformed, UnknownKey},
    token::Algorithm,
};
use serde_json::{Value, json};

use super::support::{Case, b64, case, forge_with, judge, now_s, segments, sign_segments, with};
use crate::world::{Forge, World};

#[tokio::test]
async fn v3_a_text_is_three_segments_of_canonical_base64url_or_malformed() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let forge = world.forge().await;
    let good = forge.sign(&forge.claims());
    let [h, p, s] = segments(&good);
    let mut cases = vec![case("as issued", &good, Active)];
    let texts = [
        ("one letter", "x".to_owned()),
        ("a space", " ".to_owned()),
        ("a zero byte", "\0".to_owned()),
        ("dots alone", "..".to_owned()),
        ("no dots", format!("{h}{p}{s}")),
        ("no signature", format!("{h}.{p}")),
        ("an empty signature", format!("{h}.{p}.")),
        ("an empty payload", format!("{h}..{s}")),
        ("an empty header", format!(".{p}.{s}")),
        ("four segments", format!("{good}.{s}")),
        ("five segments, as a JWE has", format!("{h}.{p}.{s}.{p}.{s}")),
        ("a dot behind", format!("{good}.")),
        ("a dot in front", format!(".{good}")),
        ("a newline behind", format!("{good}\n")),
        ("a carriage return and newline behind", format!("{good}\r\n")),
        ("a space behind", format!("{good} ")),
        ("a space in front", format!(" {good}")),
        ("a tab inside", format!("{h}.\t{p}.{s}")),
        ("a newline inside", format!("{h}.{p}.\n{s}")),
        ("a zero byte behind", format!("{good}\0")),
        ("a byte order mark in front", format!("\u{feff}{good}")),
        ("a zero-width space behind", format!("{good}\u{200b}")),
        ("Bearer in front", format!("Bearer {good}")),
        ("bearer in front", format!("bearer {good}")),
        ("quotes around", format!("\"{good}\"")),
        ("a comma and once more", format!("{good},{good}")),
        ("once more", format!("{good}{good}")),
        ("padding behind", format!("{good}==")),
        ("padding at the header", format!("{h}=.{p}.{s}")),
        ("padding at the payload", format!("{h}.{p}=.{s}")),
        ("a plus in the payload", format!("{h}.{p}+.{s}")),
        ("a slash in the payload", format!("{h}.{p}/.{s}")),
        ("a per cent escape", good.replace('.', "%2e")),
        ("fullwidth letters", format!("{h}.{p}.\u{ff41}{}", &s[1..])),
        ("flattened JSON", json!({"protected": h, "payload": p, "signature": s}).to_string()),
        ("general JSON", json!({"payload": p, "signatures": [{"protected": h, "signature": s}]}).to_string()),
        ("a refresh token's prefix", format!("jtr_{good}")),
        ("a letter less", good[..good.len() - 1].to_owned()),
        ("a letter more", format!("{good}A")),
    ];
    cases.extend(texts.map(|(name, text)| case(name, text, Malformed)));
    cases.push(case("the standard alphabet in the signature", standard_alphabet(&forge), Malformed));
    cases.push(case("trailing bits in the signature", trailing_bits(s, &format!("{h}.{p}.")), Malformed));
    // The same in header and payload, with a good signature over the spelling as it stands.
    for pad in 0..3 {
        let header = b64(format!("{}{}", forge.header(), " ".repeat(pad)));
        let payload = b64(format!("{}{}", forge.claims(), " ".repeat(pad)));
        cases.push(case("whitespace behind the JSON", sign_segments(&forge, &header, &payload), Active));
        let padding = ["", "", "==", "="];
        for (name, header, payload) in [
            ("trailing bits in the header", trailing_bits(&header, ""), payload.clone()),
            ("trailing bits in the payload", header.clone(), trailing_bits(&payload, "")),
            ("a padded header, signed so", format!("{header}{}", padding[header.len() % 4]), payload.clone()),
            (
                "a padded payload, signed so",
                header.clone(),
                format!("{payload}{}", padding[payload.len() % 4]),
            ),
        ] {
            // Of the three lengths, one leaves no bits over and needs no padding.
            let same = sign_segments(&forge, &header, &payload);
            let canonical = [&header, &payload].iter().all(|s| s.len() % 4 == 0 || !s.contains('='))
                && decodes(&header)
                && decodes(&payload);
            cases.push(case(format!("{name}, {pad}"), same, if canonical { Active } else { Malformed }));
        }
    }
    cases.push(case("8192 bytes", of_length(&forge, 8_192), Active));
    cases.push(case("8193 bytes", of_length(&forge, 8_193), Malformed));
    cases.push(case("100 000 bytes", "a".repeat(100_000), Malformed));
    cases.push(case("1 MiB of dots", ".".repeat(1 << 20), Malformed));
    assert!(cases.iter().filter(|case| case.name.contains("trailing bits")).count() >= 7);
    judge(&mut api, &cases).await;
}

fn decodes(segment: &str) -> bool {
    jeton::token::base64url::decode(segment).is_some()
}

/// Sets a bit of the last letter that stands for nothing, where there is one.
fn trailing_bits(segment: &str, before: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (rest, last) = segment.split_at(segment.len() - 1);
    let place = ALPHABET.iter().position(|letter| *letter == last.as_bytes()[0]).unwrap();
    let place = if segment.len() % 4 == 0 { place } else { place | 1 };
    format!("{before}{rest}{}", char::from(ALPHABET[place]))
}

/// A good token, but its signature spelt in the alphabet with plus and slash.
fn standard_alphabet(forge: &Forge) -> String {
    loop {
        let token = forge.sign(&forge.claims());
        let [h, p, s] = segments(&token);
        let standard = s.replace('-', "+").replace('_', "/");
        if standard != s {
            return format!("{h}.{p}.{standard}");
        }
    }
}

/// A good token of exactly this many bytes: spaces behind the JSON.
fn of_length(forge: &Forge, bytes: usize) -> String {
    for in_header in 0..4 {
        let header = b64(format!("{}{}", forge.header(), " ".repeat(in_header)));
        let claims = forge.claims().to_string();
        for in_payload in 4_000..6_500 {
            let payload_len = ((claims.len() + in_payload) * 4).div_ceil(3);
            if header.len() + 1 + payload_len + 1 + 86 == bytes {
                let payload = b64(format!("{claims}{}", " ".repeat(in_payload)));
                let token = sign_segments(forge, &header, &payload);
                assert_eq!(token.len(), bytes);
                return token;
            }
        }
    }
    panic!("no token of {bytes} bytes");
}

#[tokio::test]
async fn v4_the_header_is_alg_kid_and_typ_and_nothing_more() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let mut cases = Vec::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let forge = forge_with(&world, algorithm).await;
        cases.extend(headers(&forge));
        cases.extend(header_texts(&forge));
    }
    judge(&mut api, &cases).await;
}

fn headers(forge: &Forge) -> Vec<Case> {
    let claims = forge.claims().to_string();
    let header = forge.header();
    let signed = |header: &Value| forge.sign_text(&header.to_string(), &claims);
    let mut cases = vec![case("the header as it is", signed(&header), Active)];
    for name in ["alg", "kid", "typ"] {
        cases.push(case(format!("without {name}"), signed(&with(&header, name, None)), Malformed));
        for value in [json!(null), json!(1), json!(true), json!([header[name]]), json!({"a": 1}), json!("")] {
            let token = signed(&with(&header, name, Some(value.clone())));
            cases.push(case(format!("{name} is {value}"), token, Malformed));
        }
    }
    let other_algorithms = [
        "none",
        "None",
        "NONE",
        "nOnE",
        "HS256",
        "HS384",
        "HS512",
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES384",
        "ES512",
        "ES256K",
        "es256",
        "eddsa",
        "Ed25519",
        "Ed448",
        "EdDSA ",
        " ES256",
        "ES256\u{0}",
        "dir",
        "A128KW",
        "ML-DSA-44",
    ];
    for alg in other_algorithms {
        cases.push(case(format!("alg {alg}"), signed(&with(&header, "alg", Some(json!(alg)))), Malformed));
    }
    for typ in ["JWT", "jwt", "AT+JWT", "at+JWT", "application/at+jwt", "at+jwt ", "logout+jwt", "dpop+jwt"] {
        cases.push(case(format!("typ {typ}"), signed(&with(&header, "typ", Some(json!(typ)))), Malformed));
    }
    let further = [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("jwk", json!({"kty": "oct", "k": "AA"})),
        ("jku", json!("http://127.0.0.1:1/jwks")),
        ("x5u", json!("http://127.0.0.1:1/x")),
        ("x5c", json!(["AA=="])),
        ("x5t", json!("AA")),
        ("x5t#S256", json!("AA")),
        ("zip", json!("DEF")),
        ("enc", json!("A128GCM")),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("cty", json!("JWT")),
        ("epk", json!({})),
        ("p2c", json!(1_000_000)),
        ("nonce", json!("x")),
        ("foo", json!(null)),
        ("", json!("")),
        ("ALG", json!("ES256")),
        ("iss", json!("x")),
    ];
    for (name, value) in further {
        let token = signed(&with(&header, name, Some(value.clone())));
        cases.push(case(format!("with {name}: {value}"), token, Malformed));
    }
    let kid = forge.key.key_id();
    let kids = [
        (kid[1..].to_owned(), Malformed),
        (format!("{kid}A"), Malformed),
        (format!("{kid}="), Malformed),
        (format!(" {kid}"), Malformed),
        (kid.replacen(&kid[..1], "+", 1), Malformed),
        ("../../../../etc/passwd".to_owned(), Malformed),
        ("' or 1=1 --".to_owned(), Malformed),
        ("key\0".to_owned(), Malformed),
        (trailing_bits(kid, ""), Malformed),
        (b64([0; 32]), UnknownKey),
        (b64([0xff; 32]), UnknownKey),
        (b64([7; 32]), UnknownKey),
    ];
    for (kid, status) in kids {
        let token = signed(&with(&header, "kid", Some(json!(kid))));
        cases.push(case(format!("kid {kid:?}"), token, status));
    }
    cases
}

fn header_texts(forge: &Forge) -> Vec<Case> {
    let claims = forge.claims().to_string();
    let (alg, kid) = (forge.key.algorithm().as_str().to_owned(), forge.key.key_id().to_owned());
    let full = forge.header().to_string();
    let inner = full.trim_start_matches('{').trim_end_matches('}').to_owned();
    let texts: Vec<(&str, String, TokenStatus)> = vec![
        ("members in another order", format!(r#"{{"typ":"at+jwt","kid":"{kid}","alg":"{alg}"}}"#), Active),
        ("whitespace inside", format!("{{ \t\r\n{inner} }}"), Active),
        ("an escaped name", full.replace("\"alg\"", r#""\u0061lg""#), Active),
        ("an escaped value", full.replace("at+jwt", r"at\u002bjwt"), Active),
        ("alg twice", format!(r#"{{"alg":"{alg}",{inner}}}"#), Malformed),
        ("kid twice", format!(r#"{{"kid":"{kid}",{inner}}}"#), Malformed),
        ("typ twice", format!(r#"{{"typ":"at+jwt",{inner}}}"#), Malformed),
        ("alg twice, once escaped", format!(r#"{{"\u0061lg":"{alg}",{inner}}}"#), Malformed),
        ("none first, then the good alg", format!(r#"{{"alg":"none",{inner}}}"#), Malformed),
        ("no object", format!("[{full}]"), Malformed),
        ("a string", "\"at+jwt\"".to_owned(), Malformed),
        ("null", "null".to_owned(), Malformed),
        ("an empty object", "{}".to_owned(), Malformed),
        ("no JSON", "alg=none".to_owned(), Malformed),
        ("two objects", format!("{full}{full}"), Malformed),
        ("something behind", format!("{full}x"), Malformed),
        ("a zero byte behind", format!("{full}\0"), Malformed),
        ("a byte order mark", format!("\u{feff}{full}"), Malformed),
        ("a trailing comma", format!("{{{inner},}}"), Malformed),
        ("single quotes", full.replace('"', "'"), Malformed),
        ("a comment", format!("{{/**/{inner}}}"), Malformed),
        ("a lone surrogate", full.replace("at+jwt", r"at+jwt\ud800"), Malformed),
        ("cut short", full[..full.len() - 1].to_owned(), Malformed),
        ("256 bytes", format!("{full}{}", " ".repeat(256 - full.len())), Active),
        ("257 bytes", format!("{full}{}", " ".repeat(257 - full.len())), Malformed),
        ("deep", format!("{}{}", "[".repeat(100), "]".repeat(100)), Malformed),
    ];
    let case_of =
        |(name, header, status): (&str, String, _)| case(name, forge.sign_text(&header, &claims), status);
    let mut cases: Vec<Case> = texts.into_iter().map(case_of).collect();
    let not_utf8 = [full.as_bytes()[..full.len() - 2].to_vec(), vec![0xff], b"\"}".to_vec()].concat();
    cases.push(case("not UTF-8", sign_segments(forge, &b64(not_utf8), &b64(&claims)), Malformed));
    cases
}

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

#[tokio::test]
async fn v3_a_signed_payload_is_strict_json_without_duplicates() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let forge = world.forge().await;
    judge(&mut api, &payload_texts(&forge)).await;
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
    let now = now_s();
    for name in ["iss", "sub", "client_id", "jti", "iat", "exp", "rev", "aud", "nbf", "scope", "sid", "cnf"] {
        for value in [json!(null), json!(true), json!({}), json!([]), json!([[]]), json!("")] {
            bad(name, value);
        }
    }
    for name in ["iss", "sub", "client_id", "jti", "scope", "sid", "aud", "cnf"] {
        bad(name, json!(7));
        bad(name, json!(1.5));
    }
    for name in ["iat", "exp", "nbf"] {
        for value in [
            json!(1.5),
            json!(now as f64),
            json!(now as f64 + 100.25),
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
    bad("exp", json!(good["iat"].as_i64().unwrap() - 1));
    bad("exp", json!(0));
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
        json!(["api", "a".repeat(256)]),
        json!({"0": "api"}),
        json!(["api", {"a": 1}]),
    ] {
        bad("aud", value);
    }
    for value in
        [json!("u".repeat(256)), json!("user\n7"), json!("user\u{0}"), json!("\u{85}"), json!(["user:7"])]
    {
        bad("sub", value);
    }
    for value in [json!("c".repeat(256)), json!("two words"), json!("*"), json!("caf\u{e9}"), json!("a\tb")] {
        bad("client_id", value);
    }
    for value in [json!("i".repeat(513)), json!("http://jeton.test\n"), json!(["http://jeton.test"])] {
        bad("iss", value);
    }
    let jti = good["jti"].as_str().unwrap().to_owned();
    let jti_at = |seconds: i64| json!(jeton::token::new_uuid_v7((now + seconds) * 1_000).to_string());
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
    for name in ["iss", "sub", "client_id", "jti", "iat", "exp", "rev", "aud"] {
        cases.push(case(format!("without {name}"), forge.sign(&with(&good, name, None)), Malformed));
    }
    cases.extend(good_claims(forge, &good, now));
    cases
}

/// The near side of every border: what the rules above must not catch.
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
    fine("sid", json!(jeton::token::new_uuid_v7((now - 86_400) * 1_000).to_string()));
    fine("roles", json!(["a", {"b": [null, true, -1.5e-7]}]));
    fine("big", json!(9_007_199_254_740_991_i64));
    fine("exp", json!(good["iat"].as_i64().unwrap() + 86_400));
    // 60 s apart at most, whatever the milliseconds.
    fine("jti", json!(jeton::token::new_uuid_v7((good["iat"].as_i64().unwrap() - 60) * 1_000).to_string()));
    fine("jti", json!(jeton::token::new_uuid_v7((good["iat"].as_i64().unwrap() + 60) * 1_000).to_string()));
    let iat = good["iat"].as_i64().unwrap();
    for ms in [(iat - 60) * 1_000 - 1, (iat + 60) * 1_000 + 1] {
        let token = forge.sign(&with(good, "jti", Some(json!(jeton::token::new_uuid_v7(ms).to_string()))));
        cases.push(case("a jti 60.001 s off iat", token, Malformed));
    }
    for name in ["scope", "nbf", "sid", "cnf"] {
        cases.push(case(format!("no {name}"), forge.sign(&with(good, name, None)), Active));
    }
    cases
}

fn payload_texts(forge: &Forge) -> Vec<Case> {
    let good = forge.claims();
    let full = good.to_string();
    let inner = full.trim_start_matches('{').trim_end_matches('}').to_owned();
    let iat = good["iat"].to_string();
    let plus = |more: &str| format!("{{{inner},{more}}}");
    let nested = |levels: usize| format!(r#""a":{}{}"#, "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!(r#""a":{}1{}"#, r#"{"b":"#.repeat(levels), "}".repeat(levels));
    let texts: Vec<(&str, String, TokenStatus)> = vec![
        ("whitespace around and inside", format!(" \t\r\n{{ {inner} }}\n"), Active),
        ("an escaped name", full.replace("\"sub\"", r#""\u0073ub""#), Active),
        ("an escaped value", full.replace("user:7", r"\u0075ser:7"), Active),
        ("a surrogate pair", full.replace("user:7", r"\ud83d\ude00"), Active),
        ("exp twice, alike", plus(&format!("\"exp\":{}", good["exp"])), Malformed),
        ("exp twice, later", plus("\"exp\":99999999999"), Malformed),
        ("sub twice", plus("\"sub\":\"root\""), Malformed),
        ("sub twice, once escaped", plus(r#""\u0073ub":"root""#), Malformed),
        ("aud twice", plus("\"aud\":[\"api\"]"), Malformed),
        ("a custom claim twice", plus("\"a\":1,\"a\":1"), Malformed),
        ("a custom claim twice, once escaped", plus(r#""a":1,"\u0061":2"#), Malformed),
        ("a member twice, nested", plus(r#""a":{"b":1,"b":2}"#), Malformed),
        ("a member twice, nested in lists", plus(r#""a":[[{"b":{"c":1,"d":2,"c":3}}]]"#), Malformed),
        ("the same name at two levels", plus(r#""a":{"a":{"a":1}}"#), Active),
        (
            "iat with a fraction of zero",
            full.replace(&format!("\"iat\":{iat}"), &format!("\"iat\":{iat}.0")),
            Malformed,
        ),
        (
            "iat with an exponent",
            full.replace(&format!("\"iat\":{iat}"), &format!("\"iat\":{iat}e0")),
            Malformed,
        ),
        ("exp 1e3", full.replace("\"exp\":", "\"exp\":1e3,\"x\":"), Malformed),
        ("exp 2e9", full.replace("\"exp\":", "\"exp\":2e9,\"x\":"), Malformed),
        ("a minus zero", full.replace("\"rev\":", "\"rev\":-0,\"x\":"), Malformed),
        ("exp beyond every number", full.replace("\"exp\":", "\"exp\":1e999,\"x\":"), Malformed),
        (
            "exp of 400 digits",
            full.replace("\"exp\":", &format!("\"exp\":{},\"x\":", "9".repeat(400))),
            Malformed,
        ),
        ("exp with a leading zero", full.replace("\"exp\":", "\"exp\":0"), Malformed),
        ("exp with a plus", full.replace("\"exp\":", "\"exp\":+"), Malformed),
        ("exp in hex", full.replace("\"exp\":", "\"exp\":0xFFFFFFFF,\"x\":"), Malformed),
        ("NaN", plus("\"a\":NaN"), Malformed),
        ("Infinity", plus("\"a\":Infinity"), Malformed),
        ("a trailing comma", format!("{{{inner},}}"), Malformed),
        ("something behind", format!("{full}{{}}"), Malformed),
        ("a zero byte behind", format!("{full}\0"), Malformed),
        ("a byte order mark", format!("\u{feff}{full}"), Malformed),
        ("a list around", format!("[{full}]"), Malformed),
        ("a string", "\"x\"".to_owned(), Malformed),
        ("a number", "1".to_owned(), Malformed),
        ("null", "null".to_owned(), Malformed),
        ("an empty object", "{}".to_owned(), Malformed),
        ("a space alone", " ".to_owned(), Malformed),
        ("cut short", full[..full.len() - 1].to_owned(), Malformed),
        ("a lone surrogate", full.replace("user:7", r"user\ud800"), Malformed),
        ("surrogates the wrong way round", full.replace("user:7", r"\ude00\ud83d"), Malformed),
        ("a bad escape", full.replace("user:7", r"user\x37"), Malformed),
        ("an escaped zero", full.replace("user:7", r"user\u0000"), Malformed),
        ("a raw newline in a string", full.replace("user:7", "user\n7"), Malformed),
        ("14 lists deep in a claim", plus(&nested(14)), Active),
        ("16 lists deep in a claim", plus(&nested(16)), Malformed),
        ("14 objects deep in a claim", plus(&objects(14)), Active),
        ("16 objects deep in a claim", plus(&objects(16)), Malformed),
        ("17 deep in all", plus(&nested(17)), Malformed),
        ("1000 deep", plus(&nested(1_000)), Malformed),
        ("2500 deep, not closed", format!("{{{inner},\"a\":{}", "[".repeat(2_500)), Malformed),
        ("2048 bytes of custom claims", plus(&format!(r#""a":"{}""#, "x".repeat(2_040))), Active),
        ("2049 bytes of custom claims", plus(&format!(r#""a":"{}""#, "x".repeat(2_041))), Malformed),
    ];
    let header = forge.header().to_string();
    let mut cases: Vec<Case> = texts
        .into_iter()
        .map(|(name, text, status)| case(name, forge.sign_text(&header, &text), status))
        .collect();
    for (name, bytes) in [
        ("a byte that is not UTF-8", vec![0xff]),
        ("an overlong slash", vec![0xc0, 0xaf]),
        ("a surrogate in UTF-8", vec![0xed, 0xa0, 0x80]),
        ("a character cut short", vec![0xe2, 0x82]),
    ] {
        let (before, after) = full.split_once("user:7").unwrap();
        let payload = [before.as_bytes(), &bytes, after.as_bytes()].concat();
        cases.push(case(name, sign_segments(forge, &b64(&header), &b64(payload)), Malformed));
    }
    let utf16: Vec<u8> = full.encode_utf16().flat_map(u16::to_le_bytes).collect();
    cases.push(case("UTF-16", sign_segments(forge, &b64(&header), &b64(utf16)), Malformed));
    cases
}
