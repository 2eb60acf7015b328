//! Headers that this issuer would not write, each signed with its real key.

use jeton::proto::v1::TokenStatus::{self, Active, Malformed, UnknownKey};
use jeton_token::Algorithm;
use serde_json::{Value, json};

use super::support::{Case, b64, case, forge_with, judge, sign_segments, trailing_bits, with};
use crate::world::{Forge, World};

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
