//! Refresh tokens, API keys and sealing (R1, R6, C2, C3, E2).

use std::cell::Cell;

use proptest::prelude::*;
use uuid::{Builder, Uuid};

use crate::mint::{
    MacKey, MasterKey, Purpose, RefreshToken, SessionSecret, WrongMasterKey, refresh::ParsedRefresh,
};
use jeton_token::{
    ApiKey,
    api_key::{hash_eq, is_id},
    base64url, looks_like_refresh_token,
};

fn mac_key() -> MacKey {
    MacKey::new([1, 2, 3, 4], [9; 32])
}

fn session() -> Uuid {
    Builder::from_unix_timestamp_millis(1_800_000_000_000, &[0xAB; 10]).into_uuid()
}

/// R1: a retry gets the same bytes.
#[test]
fn a_refresh_token_comes_back_and_is_minted_the_same_again() {
    let (key, secret) = (mac_key(), SessionSecret::new([5; 16]));
    let text = RefreshToken::mint(&key, session(), 7, &secret);
    assert_eq!(text.len(), 102);
    assert!(looks_like_refresh_token(&text) && !looks_like_refresh_token("jtk_"));
    assert_eq!(text, RefreshToken::mint(&key, session(), 7, &secret));
    let opened = RefreshToken::open(&text, |id| (id == key.id()).then_some(&key)).unwrap();
    assert_eq!((opened.session_id, opened.generation, opened.key_id), (session(), 7, key.id()));
    assert_eq!(opened.secret.hash(), secret.hash());
    assert_eq!(RefreshToken::mint(&key, opened.session_id, 7, &opened.secret), text);
    assert_ne!(RefreshToken::mint(&key, session(), 8, &secret), text);
    let parsed = ParsedRefresh::parse(&text).unwrap();
    assert_eq!(parsed.key_id(), [1, 2, 3, 4]);
    assert!(parsed.verify(&key).is_some());
    assert!(parsed.verify(&MacKey::new([1, 2, 3, 4], [8; 32])).is_none());
    assert!(parsed.verify(&MacKey::new([1, 2, 3, 5], [9; 32])).is_none());
}

/// The layout, built by hand: tokens that others store must stay readable.
#[test]
fn the_layout_of_a_refresh_token_is_fixed() {
    let text = RefreshToken::mint(&mac_key(), session(), 0x0102_0304, &SessionSecret::new([5; 16]));
    let bytes = base64url::decode(text.strip_prefix("jtr_").unwrap()).unwrap();
    assert_eq!(bytes.len(), 73);
    let body = [&[1, 1, 2, 3, 4], session().as_bytes().as_slice(), &[1, 2, 3, 4], &[5; 16]].concat();
    assert_eq!(bytes[..41], body);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &[9; 32]);
    let mac = aws_lc_rs::hmac::sign(&key, &[b"jeton-refresh-v1", body.as_slice()].concat());
    assert_eq!(&bytes[41..], mac.as_ref());
}

/// R6.
#[test]
fn every_flipped_bit_and_every_other_spelling_of_a_refresh_token_is_refused() {
    let key = mac_key();
    let text = RefreshToken::mint(&key, session(), 7, &SessionSecret::new([5; 16]));
    let open = |text: &str| RefreshToken::open(text, |_| Some(&key));
    let bytes = base64url::decode(&text[4..]).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bad = bytes.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&format!("jtr_{}", base64url::encode(&bad))).is_none(), "bit {bit}");
    }
    let mut trailing = text.clone();
    let last = trailing.pop().unwrap();
    trailing.push(char::from(u8::try_from(last).unwrap() + 1));
    let long = base64url::encode([bytes.as_slice(), &[0]].concat());
    for bad in [
        String::new(),
        "jtr_".to_owned(),
        text[4..].to_owned(),
        text.to_uppercase(),
        format!("{text}="),
        format!("{text} "),
        format!(" {text}"),
        format!("jtr_{long}"),
        text.replace("jtr_", "jtk_"),
        trailing,
        "é".repeat(51),
    ] {
        assert!(open(&bad).is_none(), "{bad}");
    }
}

/// R6: the same work for each, and the stand-in opens nothing.
#[test]
fn an_unknown_key_is_looked_up_once_and_the_stand_in_opens_nothing() {
    let key = mac_key();
    let good = RefreshToken::mint(&key, session(), 7, &SessionSecret::new([5; 16]));
    let of_stand_in =
        RefreshToken::mint(&MacKey::new([0; 4], [0; 32]), session(), 7, &SessionSecret::new([5; 16]));
    for text in [good.as_str(), of_stand_in.as_str(), "garbage", ""] {
        let lookups = Cell::new(0);
        let opened = RefreshToken::open(text, |_| {
            lookups.set(lookups.get() + 1);
            None
        });
        assert!(opened.is_none());
        assert_eq!(lookups.get(), 1);
    }
}

/// C3.
#[test]
fn an_api_key_comes_back_in_its_canonical_form_alone() {
    let key = ApiKey::generate();
    let text = key.expose().to_owned();
    assert_eq!(text.len(), 70);
    assert_ne!(ApiKey::generate().expose(), text);
    let again = ApiKey::parse(&text).unwrap();
    assert_eq!((again.id(), again.hash()), (key.id(), key.hash()));
    assert!(hash_eq(&again.hash(), &key.hash()) && !hash_eq(&again.hash(), &[0; 32]));
    assert!(is_id(key.id()));
    let mut trailing = text.clone();
    let last = trailing.pop().unwrap();
    // 32 bytes leave two spare bits: the last character is one of sixteen.
    trailing.push(char::from(u8::try_from(last).unwrap() + 1));
    let secret = &text[27..];
    for bad in [
        String::new(),
        "jtk_".to_owned(),
        text[4..].to_owned(),
        format!("{text} "),
        format!("{text}="),
        text.replace("jtk_", "JTK_"),
        trailing,
        // Above 2^128.
        format!("jtk_{}_{secret}", "z".repeat(22)),
        format!("jtk_{}_{secret}", "é".repeat(11)),
        format!("jtk_{}-{secret}", key.id()),
        format!("jtk_{}__{secret}", &key.id()[1..]),
    ] {
        assert!(ApiKey::parse(&bad).is_none(), "{bad}");
    }
    assert!(is_id(&"0".repeat(22)) && is_id("7n42DGM5Tflk9n8mt7Fhc7") && !is_id("7n42DGM5Tflk9n8mt7Fhc8"));
}

/// C2.
#[test]
fn what_is_sealed_opens_under_the_same_key_purpose_and_id_alone() {
    let master = MasterKey::generate().unwrap();
    let sealed = master.seal(Purpose::SigningKey, "kid", b"secret");
    assert_ne!(sealed, master.seal(Purpose::SigningKey, "kid", b"secret"));
    assert_eq!(master.open(Purpose::SigningKey, "kid", &sealed).unwrap().as_slice(), b"secret");
    let again = MasterKey::parse(&master.to_text()).unwrap();
    assert_eq!(again.open(Purpose::SigningKey, "kid", &sealed).unwrap().as_slice(), b"secret");
    for (master, purpose, id) in [
        (&MasterKey::generate().unwrap(), Purpose::SigningKey, "kid"),
        (&master, Purpose::MacKey, "kid"),
        (&master, Purpose::SigningKey, "kie"),
        (&master, Purpose::SigningKey, ""),
    ] {
        assert_eq!(master.open(purpose, id, &sealed).unwrap_err(), WrongMasterKey);
    }
    for bit in 0..sealed.len() * 8 {
        let mut bad = sealed.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(master.open(Purpose::SigningKey, "kid", &bad).is_err(), "bit {bit}");
    }
    for len in 0..sealed.len() {
        assert!(master.open(Purpose::SigningKey, "kid", &sealed[..len]).is_err());
    }
}

#[test]
fn a_master_key_is_read_in_hex_and_in_both_alphabets() {
    let bytes = [0xFB; 32];
    let hex = "fb".repeat(32);
    let url = base64url::encode(bytes);
    let standard = url.replace('-', "+").replace('_', "/");
    let sealed = MasterKey::parse(&hex).unwrap().seal(Purpose::MacKey, "1", b"x");
    for text in [
        hex.to_uppercase(),
        format!("{hex}\n"),
        format!(" {url}\r\n"),
        format!("{url}="),
        standard.clone(),
        format!("{standard}=\n"),
    ] {
        assert!(MasterKey::parse(&text).unwrap().open(Purpose::MacKey, "1", &sealed).is_ok(), "{text}");
    }
    for bad in
        ["", "x", &hex[1..], &format!("{hex}0"), &hex.replace('f', "g"), &url[1..], &format!("{url}==")]
    {
        assert!(MasterKey::parse(bad).is_err(), "{bad}");
    }
}

/// E2.
#[test]
fn no_secret_prints() {
    let api_key = ApiKey::generate();
    assert!(!format!("{api_key:?}").contains(&api_key.expose()[27..]));
    assert_eq!(format!("{:?}", mac_key()), "MacKey { id: [1, 2, 3, 4], .. }");
    assert_eq!(format!("{:?}", MasterKey::generate().unwrap()), "MasterKey(..)");
}

proptest! {
    #[test]
    fn no_text_makes_the_readers_of_secrets_panic(text in "(jtr_|jtk_)?\\PC{0,120}") {
        let key = mac_key();
        prop_assert!(RefreshToken::open(&text, |_| Some(&key)).is_none());
        let _ = ApiKey::parse(&text);
        let _ = MasterKey::parse(&text);
    }
}
