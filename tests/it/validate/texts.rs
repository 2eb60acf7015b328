//! Texts that are no tokens: V3 to the letter, each spelling signed where that is possible.

use jeton::proto::v1::TokenStatus::{Active, Malformed};
use serde_json::json;

use super::support::{b64, case, judge, segments, sign_segments, trailing_bits};
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
            // Of the three lengths, one leaves no spare bits and needs no padding.
            let same = sign_segments(&forge, &header, &payload);
            let canonical = decodes(&header) && decodes(&payload);
            cases.push(case(format!("{name}, {pad}"), same, if canonical { Active } else { Malformed }));
        }
    }
    cases.push(case("8192 bytes", of_length(&forge, 8_192), Active));
    cases.push(case("8193 bytes", of_length(&forge, 8_193), Malformed));
    // About as long as a message may be.
    cases.push(case("16 000 bytes", "a".repeat(16_000), Malformed));
    cases.push(case("16 000 dots", ".".repeat(16_000), Malformed));
    assert!(cases.iter().filter(|case| case.name.contains("trailing bits")).count() >= 7);
    judge(&mut api, &cases).await;
}

fn decodes(segment: &str) -> bool {
    jeton_token::base64url::decode(segment).is_some()
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
