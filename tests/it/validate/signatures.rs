//! Signatures: those of other keys and algorithms, broken ones, and other spellings of good ones.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::proto::v1::{
    RevocationOutcome,
    TokenStatus::{Active, BadSignature, Malformed, Revoked, UnknownKey},
    revocation_target::Kind,
};
use jeton_token::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::support::{
    Case, b64, case, forge_with, judge, segments, sign_segments, signature_of, with, with_signature,
};
use crate::world::{Forge, World, until};

/// The order of P-256, big endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc,
    0xe6, 0xfa, 0xad, 0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
/// The order of Ed25519's group, little endian.
const ED_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// `(r, n - s)`: the other signature that verifies wherever `(r, s)` does.
fn mirrored(signature: [u8; 64]) -> [u8; 64] {
    let mut out = signature;
    let mut borrow = 0_i32;
    for place in (0..32).rev() {
        let mut digit = i32::from(ORDER[place]) - i32::from(signature[32 + place]) - borrow;
        borrow = i32::from(digit < 0);
        digit += borrow * 256;
        out[32 + place] = digit as u8;
    }
    out
}

/// `S + L` of an Ed25519 signature: a verifier that does not look takes it, too.
fn beyond_order(signature: [u8; 64]) -> [u8; 64] {
    let mut out = signature;
    let mut carry = 0_u16;
    for place in 0..32 {
        let digit = u16::from(signature[32 + place]) + u16::from(ED_ORDER[place]) + carry;
        out[32 + place] = digit as u8;
        carry = digit >> 8;
    }
    out
}

/// The signature as DER.
fn der(signature: &[u8; 64]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let mut bytes: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
        if bytes[0] >= 0x80 {
            bytes.insert(0, 0);
        }
        [vec![2, bytes.len() as u8], bytes].concat()
    };
    let body = [integer(&signature[..32]), integer(&signature[32..])].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

#[tokio::test]
async fn v4_the_algorithm_is_the_one_recorded_for_the_key_whatever_the_header_says() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let es = forge_with(&world, Algorithm::Es256).await;
    let ed = forge_with(&world, Algorithm::EdDsa).await;
    let claims = es.claims().to_string();
    let mut cases =
        vec![case("ES256", es.sign(&es.claims()), Active), case("EdDSA", ed.sign(&ed.claims()), Active)];
    let headed = |signer: &Forge, alg: &str, kid: &str| {
        signer.sign_text(&json!({ "alg": alg, "kid": kid, "typ": "at+jwt" }).to_string(), &claims)
    };
    let (p256_kid, edwards_kid) = (es.key.key_id(), ed.key.key_id());
    let confused = [
        ("an ES256 token under the EdDSA kid", headed(&es, "ES256", edwards_kid), Malformed),
        ("an EdDSA token under the ES256 kid", headed(&ed, "EdDSA", p256_kid), Malformed),
        ("signed by ES256, said to be EdDSA", headed(&es, "EdDSA", p256_kid), Malformed),
        ("signed by EdDSA, said to be ES256", headed(&ed, "ES256", edwards_kid), Malformed),
        ("signed by ES256, all else of the EdDSA key", headed(&es, "EdDSA", edwards_kid), BadSignature),
        ("signed by EdDSA, all else of the ES256 key", headed(&ed, "ES256", p256_kid), BadSignature),
    ];
    cases.extend(confused.map(|(name, token, status)| case(name, token, status)));
    for (algorithm, forge) in [(Algorithm::Es256, &es), (Algorithm::EdDsa, &ed)] {
        let stranger =
            Forge { key: SigningKey::generate(algorithm).unwrap().into(), issuer: es.issuer.clone() };
        cases.push(case("a stranger's key", stranger.sign(&stranger.claims()), UnknownKey));
        let token = headed(&stranger, algorithm.as_str(), forge.key.key_id());
        cases.push(case("a stranger's key under our kid", token, BadSignature));
        cases.extend(symmetric(forge));
    }
    judge(&mut api, &cases).await;
}

/// HMAC with what everybody can read of the key, and no signature at all.
fn symmetric(forge: &Forge) -> Vec<Case> {
    let jwk_text = forge.key.public_jwk();
    let jwk: Value = serde_json::from_str(&jwk_text).unwrap();
    let coordinate = |name: &str| {
        jwk.get(name)
            .and_then(Value::as_str)
            .map(|text| URL_SAFE_NO_PAD.decode(text).unwrap())
            .unwrap_or_default()
    };
    let point = [coordinate("x"), coordinate("y")].concat();
    let secrets = [
        ("the JWK", jwk_text.into_bytes()),
        ("the uncompressed point", [vec![4], point.clone()].concat()),
        ("the coordinates", point),
        ("x as text", jwk["x"].as_str().unwrap().as_bytes().to_vec()),
        ("the kid", forge.key.key_id().as_bytes().to_vec()),
        ("nothing", Vec::new()),
    ];
    let mut cases = Vec::new();
    for (name, secret) in secrets {
        for (alg, hash) in
            [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
        {
            let key = hmac::Key::new(hash, &secret);
            for said in [alg, forge.key.algorithm().as_str()] {
                let header = with(&forge.header(), "alg", Some(json!(said)));
                let input = format!("{}.{}", b64(header.to_string()), b64(forge.claims().to_string()));
                let tag = hmac::sign(&key, input.as_bytes());
                // HS512's tag is as long as a signature is.
                let right_length = said != alg && tag.as_ref().len() == 64;
                let status = if right_length { BadSignature } else { Malformed };
                let token = format!("{input}.{}", b64(tag.as_ref()));
                cases.push(case(format!("{alg} with {name}, said to be {said}"), token, status));
            }
        }
    }
    for alg in ["none", "None", "NONE"] {
        let header = with(&forge.header(), "alg", Some(json!(alg)));
        let input = format!("{}.{}", b64(header.to_string()), b64(forge.claims().to_string()));
        cases.push(case(format!("{alg}, unsigned"), format!("{input}."), Malformed));
        cases.push(case(format!("{alg}, zeros"), format!("{input}.{}", b64([0; 64])), Malformed));
        cases.push(case(format!("{alg}, signed"), forge.sign_text(&header.to_string(), "{}"), Malformed));
    }
    let bare = json!({"alg": "none"}).to_string();
    cases.push(case("none alone", format!("{}.{}.", b64(bare), b64(forge.claims().to_string())), Malformed));
    cases
}

#[tokio::test]
async fn v3_v5_a_broken_signature_is_malformed_by_its_length_and_bad_by_its_value() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let mut cases = Vec::new();
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let forge = forge_with(&world, algorithm).await;
        let good = forge.sign(&forge.claims());
        let signature = signature_of(&good);
        cases.push(case("good", &good, Active));
        for len in [0, 1, 32, 48, 63, 65, 66, 96, 128, 132, 256] {
            let mut bytes = signature.to_vec();
            bytes.resize(len, 0);
            cases.push(case(format!("{len} bytes"), with_signature(&good, bytes), Malformed));
        }
        cases.push(case("DER", with_signature(&good, der(&signature)), Malformed));
        cases.push(case(
            "the signature twice",
            with_signature(&good, [signature, signature].concat()),
            Malformed,
        ));
        let halves = |r: &[u8], s: &[u8]| with_signature(&good, [r, s].concat());
        let (r, s) = signature.split_at(32);
        let one = [[0; 31].as_slice(), &[1]].concat();
        for (name, token) in [
            ("zeros", halves(&[0; 32], &[0; 32])),
            ("ones", halves(&[0xff; 32], &[0xff; 32])),
            ("r zero", halves(&[0; 32], s)),
            ("s zero", halves(r, &[0; 32])),
            ("r and s one", halves(&one, &one)),
            ("r the order", halves(&ORDER, s)),
            ("s the order", halves(r, &ORDER)),
            ("both the order", halves(&ORDER, &ORDER)),
            ("halves swapped", halves(s, r)),
            ("Ed25519's neutral point, zero", halves(&[[1].as_slice(), &[0; 31]].concat(), &[0; 32])),
            ("S beyond the order", with_signature(&good, beyond_order(signature))),
        ] {
            cases.push(case(name, token, BadSignature));
        }
        for bit in (0..512).step_by(11) {
            let mut bytes = signature;
            bytes[bit / 8] ^= 1 << (bit % 8);
            cases.push(case(format!("bit {bit} flipped"), with_signature(&good, bytes), BadSignature));
        }
        let other = forge.sign(&with(&forge.claims(), "sub", Some(json!("root"))));
        let [h, p, sig] = segments(&good);
        let [other_h, other_p, other_sig] = segments(&other);
        cases.push(case("another's signature", format!("{h}.{p}.{other_sig}"), BadSignature));
        cases.push(case("another's payload", format!("{other_h}.{other_p}.{sig}"), BadSignature));
        // Nothing of an unsigned payload is looked at: nonsense has a bad signature, not a bad form.
        for payload in ["{}", "null", "\u{1F600}", "[[[[[[[[[[[[[[[[[[[[", "{\"exp\":1e3}"] {
            cases.push(case(
                format!("{payload}, unsigned"),
                format!("{h}.{}.{sig}", b64(payload)),
                BadSignature,
            ));
        }
        // The signature is over the text: the same JSON spelt otherwise is another text.
        let respelt = b64(format!("{} ", forge.header()));
        cases.push(case("the header respelt after signing", format!("{respelt}.{p}.{sig}"), BadSignature));
        cases.push(case("and before", sign_segments(&forge, &respelt, p), Active));
    }
    judge(&mut api, &cases).await;
}

#[tokio::test]
async fn v7_a_revocation_by_text_kills_every_spelling_of_the_token() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for revoked_first in [false, true] {
        let issued = api.token("user:7", "api").await;
        let original = issued.access_token;
        let mirror = with_signature(&original, mirrored(signature_of(&original)));
        assert_ne!(original, mirror);
        if !revoked_first {
            assert_eq!(api.status(&mirror, "api").await, Active, "the same token, spelt otherwise");
            assert_eq!(api.validate(&mirror, &["api"]).await.unwrap().jti, issued.jti);
        }
        // By the one spelling in the first round, by the other in the second.
        let text = if revoked_first { &mirror } else { &original };
        let outcome = admin.revoke(Kind::Token(text.clone())).await.unwrap().outcome();
        assert_eq!(outcome, RevocationOutcome::Revoked);
        assert_eq!(api.status(&original, "api").await, Revoked);
        assert_eq!(api.status(&mirror, "api").await, Revoked);
    }
}

#[tokio::test]
async fn v4_a_key_from_elsewhere_verifies_its_own_tokens_and_no_others() {
    use jeton::{mint::MasterKey, replica::Keys};
    use jeton_state::clock::Clock;
    let world = World::start().await;
    let mut api = world.api("service").await;
    let ours = world.forge().await;
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let keys = Keys::new(MasterKey::parse(&crate::world::master_key_text()).unwrap(), Clock::system().into());
    keys.import(&world.store(), &key, false).await.unwrap();
    let theirs = Forge { key: key.into(), issuer: ours.issuer.clone() };
    until("the key is known", async || api.status(&theirs.sign(&theirs.claims()), "api").await == Active)
        .await;
    let crossed = |signer: &Forge, named: &Forge| {
        signer.sign_text(&named.header().to_string(), &ours.claims().to_string())
    };
    let cases = [
        case("theirs", theirs.sign(&theirs.claims()), Active),
        case("ours", ours.sign(&ours.claims()), Active),
        case("theirs under our kid", crossed(&theirs, &ours), BadSignature),
        case("ours under their kid", crossed(&ours, &theirs), BadSignature),
    ];
    judge(&mut api, &cases).await;
}
