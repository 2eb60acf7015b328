//! The strict reading of tokens and of JSON: V1, V3, V4.

use proptest::prelude::*;

use super::super::json::parse_object;
use super::super::{Algorithm, Malformed, RawToken, SigningKey, base64url, inspect_unverified};
use super::{forge, full_claims, header_of};

fn key() -> SigningKey {
    SigningKey::generate(Algorithm::EdDsa).unwrap()
}

/// V3: a second spelling of a token would slip past caches and lists that are keyed by text.
#[test]
fn every_other_spelling_of_a_token_is_malformed() {
    let token = key().mint(&full_claims()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [h, p, s] = parts[..] else { unreachable!("three segments") };
    RawToken::parse(&token).unwrap();
    // 64 bytes leave four spare bits in the last character: `A` and `B` would decode alike.
    let mut trailing = s.to_owned();
    let last = trailing.pop().unwrap();
    trailing.push(char::from(u8::try_from(last).unwrap() + 1));
    let zeros = base64url::encode([0; 63]);
    let bad = [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        h.to_owned(),
        format!("{h}.{p}"),
        format!("{h}.{p}."),
        format!("{h}..{s}"),
        format!(".{p}.{s}"),
        format!("{h}.{p}.{s}."),
        format!(".{h}.{p}.{s}"),
        format!("{h}.{p}.{s}.{s}"),
        format!("{h}.{p}.{s}.{s}.{s}"),
        format!("{h}.{p}.{trailing}"),
        format!("{h}.{p}.{s}=="),
        format!("{h}.{p}=.{s}"),
        format!("{h}=.{p}.{s}"),
        format!("{h}.{p}.{zeros}"),
        format!("{h}.{p}.{s}AA"),
        format!(" {token}"),
        format!("{token} "),
        format!("{token}\n"),
        format!("{h}\n.{p}.{s}"),
        format!("{h}.{p}\r\n.{s}"),
        format!("{h}.\t{p}.{s}"),
        format!("{h}.{p}.{}+{}", &s[..10], &s[11..]),
        format!("{h}.{p}.{}/{}", &s[..10], &s[11..]),
        format!("{h}.{p}.{}\0{}", &s[..10], &s[11..]),
        format!("{h}.{p}.{}é{}", &s[..10], &s[12..]),
        format!("Bearer {token}"),
        format!("\u{feff}{token}"),
    ];
    for text in bad {
        assert!(RawToken::parse(&text).is_err(), "{text:?}");
    }
}

/// V3.
#[test]
fn a_text_above_8_kib_is_malformed_and_one_below_is_read() {
    let key = key();
    let base = forge(&key, &header_of(&key), b"").len();
    let room = (8_192 - base) / 4 * 3;
    let text = forge(&key, &header_of(&key), &vec![b'x'; room]);
    assert!(text.len() > 8_188 && text.len() <= 8_192);
    RawToken::parse(&text).unwrap();
    let text = forge(&key, &header_of(&key), &vec![b'x'; room + 6]);
    assert_eq!(RawToken::parse(&text).unwrap_err(), Malformed::new("a token is at most 8192 bytes"));
}

/// V4.
#[test]
fn a_header_with_more_less_or_other_than_alg_kid_typ_is_malformed() {
    let key = key();
    let kid = key.key_id();
    let good = header_of(&key);
    let more = |member: &str| good.replace('}', &format!(",{member}}}"));
    let upper = kid.chars().rev().collect::<String>() + "A";
    let mut bad = vec![
        "{}".to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        String::new(),
        format!(r#"["EdDSA","{kid}","at+jwt"]"#),
        format!(r#"{{"alg":"EdDSA","kid":"{kid}"}}"#),
        format!(r#"{{"alg":"EdDSA","typ":"at+jwt"}}"#),
        format!(r#"{{"kid":"{kid}","typ":"at+jwt"}}"#),
        format!("{good}{good}"),
        format!("{good} x"),
        format!("\u{feff}{good}"),
        good.replace('}', ",}"),
        good.replace('"', "'"),
        good.replace(kid, &kid[1..]),
        good.replace(kid, &upper),
        good.replace(kid, ""),
        good.replace(kid, &format!("{kid}\\u0000")),
        good.replace(&format!("\"{kid}\""), "7"),
        good.replace(&format!("\"{kid}\""), "null"),
        good.replace(&format!("\"{kid}\""), &format!("[\"{kid}\"]")),
        good.replace("\"EdDSA\"", "null"),
        good.replace("\"at+jwt\"", "true"),
        // A lone surrogate.
        good.replace("at+jwt", "\\ud800"),
        format!("{good}{}", " ".repeat(200)),
    ];
    for alg in ["none", "None", "NONE", "", "HS256", "HS512", "RS256", "PS256", "ES384", "ES256K", "es256"] {
        bad.push(good.replace("EdDSA", alg));
    }
    for alg in ["EDDSA", "eddsa", "Ed25519", "EdDSA ", "ES256\\u0000"] {
        bad.push(good.replace("EdDSA", alg));
    }
    for typ in ["JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "", "dpop+jwt", "logout+jwt"] {
        bad.push(good.replace("at+jwt", typ));
    }
    for member in [
        r#""crit":[]"#,
        r#""crit":["exp"]"#,
        r#""jwk":{}"#,
        r#""jku":"https://evil.example""#,
        r#""x5u":"https://evil.example""#,
        r#""x5c":[]"#,
        r#""x5t":"a""#,
        "\"x5t#S256\":\"a\"",
        r#""zip":"DEF""#,
        r#""enc":"A128GCM""#,
        r#""b64":false"#,
        r#""cty":"JWT""#,
        r#""nonce":"a""#,
        r#""alg":"EdDSA""#,
        r#""\u0061lg":"EdDSA""#,
        r#""typ":"at+jwt""#,
        r#""":1"#,
    ] {
        bad.push(more(member));
    }
    for header in bad {
        assert!(RawToken::parse(&forge(&key, &header, b"{}")).is_err(), "{header}");
    }
    let not_utf8 = format!("{}.e30.{}", base64url::encode([0xFF, 0xFE]), base64url::encode([0; 64]));
    assert!(RawToken::parse(&not_utf8).is_err());
    // Legal JSON in another spelling: whitespace, escapes and order.
    let spelled = format!(" {{ \"typ\" : \"at\\u002bjwt\",\n\"\\u006bid\":\"{kid}\", \"alg\":\"EdDSA\" }}\t");
    let text = forge(&key, &spelled, b"{}");
    assert_eq!(RawToken::parse(&text).unwrap().key_id(), kid);
}

#[test]
fn inspection_shows_what_no_verifier_takes() {
    let key = key();
    let (header, claims) =
        inspect_unverified(&forge(&key, r#"{"alg":"none","typ":"JWT"}"#, br#"{"sub":1}"#)).unwrap();
    assert_eq!(header["alg"], "none");
    assert_eq!(claims["sub"], 1);
    assert!(inspect_unverified(&forge(&key, "{}", b"[]")).is_err());
}

/// V3.
#[test]
fn json_that_parsers_disagree_about_is_malformed() {
    let nest = |open: &str, close: &str, depth: usize| {
        format!(r#"{{"a":{}1{}}}"#, open.repeat(depth - 1), close.repeat(depth - 1))
    };
    let mut bad: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "1",
        "\"a\"",
        "[]",
        "[{}]",
        "{}{}",
        "{} x",
        "{},",
        "{",
        "}",
        r#"{"a"}"#,
        r#"{"a":}"#,
        r#"{"a":1,}"#,
        r#"{,"a":1}"#,
        r"{a:1}",
        r"{'a':1}",
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"{"":1,"":2}"#,
        r#"{"b":{"a":1,"a":2}}"#,
        r#"{"b":[{"a":1,"a":2}]}"#,
        r#"{"a":NaN}"#,
        r#"{"a":Infinity}"#,
        r#"{"a":-Infinity}"#,
        r#"{"a":1e999}"#,
        r#"{"a":01}"#,
        r#"{"a":+1}"#,
        r#"{"a":.5}"#,
        r#"{"a":1.}"#,
        r#"{"a":0x1}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00"}"#,
        r#"{"a":"\ud800\u0041"}"#,
        r#"{"a":"\x41"}"#,
        "{\"a\":\"\n\"}",
        "{\"a\":\"\0\"}",
        "{\"a\":1}\0",
        "\u{feff}{}",
        "\u{a0}{}",
        "{/**/}",
        "{\"a\":1}//",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .collect();
    bad.push(nest("[", "]", 17).into_bytes());
    bad.push(nest("{\"a\":", "}", 17).into_bytes());
    bad.push(nest("[", "]", 4_000).into_bytes());
    bad.push("[".repeat(8_000).into_bytes());
    bad.push(b"{\"a\":\"\xff\"}".to_vec());
    // UTF-8 of a surrogate, and an overlong slash.
    bad.push(b"{\"a\":\"\xed\xa0\x80\"}".to_vec());
    bad.push(b"{\"a\":\"\xc0\xaf\"}".to_vec());
    for json in bad {
        assert!(parse_object(&json).is_err(), "{}", String::from_utf8_lossy(&json));
    }
    for good in [nest("[", "]", 16), nest("{\"a\":", "}", 16), " \t\r\n{ } \n".to_owned()] {
        parse_object(good.as_bytes()).unwrap();
    }
    assert_eq!(
        parse_object(br#"{"a":1,"\u0061":1}"#).unwrap_err(),
        Malformed::new("JSON has a member twice")
    );
}

/// Long texts are decoded by other instructions than short texts and the ends.
#[test]
fn every_letter_but_those_of_the_alphabet_is_refused_wherever_it_stands() {
    let bytes: Vec<u8> = (0..=255).collect();
    for len in [3, 48, 96, 256] {
        let text = base64url::encode(&bytes[..len]);
        for place in 0..text.len() {
            for letter in (0..=0x7f_u8).map(char::from).chain(['é', '\u{ff0d}']) {
                let mut other = text.clone();
                other.replace_range(place..=place, letter.encode_utf8(&mut [0; 4]));
                let decoded = base64url::decode(&other);
                let good = letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
                // At the end of a text whose length is no multiple of three, some letters encode surplus bits.
                let canonical = decoded.as_ref().is_some_and(|bytes| base64url::encode(bytes) == other);
                assert_eq!(decoded.is_some(), canonical, "{other}");
                assert!(canonical == good || (good && place == text.len() - 1 && len % 3 > 0), "{other}");
            }
        }
    }
}

proptest! {
    /// V1: for all bytes.
    #[test]
    fn no_text_makes_the_parsers_panic(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = RawToken::parse(&text);
        let _ = inspect_unverified(&text);
        let _ = parse_object(&bytes);
        let wrapped = format!("{}.{}.{}", base64url::encode(&text), base64url::encode(&bytes), text);
        let _ = RawToken::parse(&wrapped);
        let _ = inspect_unverified(&wrapped);
    }

    /// V3: a text that parses has one spelling.
    #[test]
    fn decoding_takes_what_encoding_writes_and_nothing_else(text in "[A-Za-z0-9_-]{0,50}") {
        if let Some(bytes) = base64url::decode(&text) {
            prop_assert_eq!(base64url::encode(bytes), text);
        }
    }

    #[test]
    fn strict_json_agrees_with_serde_json_on_what_it_takes(text in r#"\{("[ab]":[0-9\[\]{}",.e-]{1,8},?){0,3}\}"#) {
        if let Ok(members) = parse_object(text.as_bytes()) {
            let theirs: serde_json::Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(serde_json::Value::Object(members), theirs);
        }
    }

    #[test]
    fn a_changed_bit_in_a_token_is_never_verified(index in 0_usize..10_000, bit in 0_u32..7) {
        let key = key();
        let token = key.mint(&full_claims()).unwrap();
        let mut bytes = token.into_bytes();
        let index = index % bytes.len();
        bytes[index] ^= 1 << bit;
        if let Ok(text) = String::from_utf8(bytes) {
            let verified = RawToken::parse(&text).ok().map(|raw| key.verifying().verify(&raw));
            prop_assert!(verified.is_none_or(|verdict| verdict.is_err()));
        }
    }
}
