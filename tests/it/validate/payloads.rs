//! Payloads that parsers may read differently, each signed with the issuer's real key.

use jeton::proto::v1::TokenStatus::{self, Active, Malformed};

use super::support::{Case, b64, case, judge, sign_segments};
use crate::world::{Forge, World};

#[tokio::test]
async fn v3_a_signed_payload_is_strict_json_without_duplicates() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let forge = world.forge().await;
    judge(&mut api, &payload_texts(&forge)).await;
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
