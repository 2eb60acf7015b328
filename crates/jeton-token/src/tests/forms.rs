//! Forms of text, revisions and times.

use std::str::FromStr as _;

use proptest::prelude::*;
use uuid::Uuid;

use super::super::text::{
    check_audience, check_client_id, check_display_name, check_issuer, check_replica_name, check_scope,
    check_subject, parse_uuid_v7, uuid_unix_ms,
};
use super::super::{Revision, Thumbprint, UnixSeconds};
use super::uuid_at;

#[test]
fn names_are_held_to_their_rules() {
    let long = "x".repeat(256);
    let fits = "x".repeat(255);
    for check in [check_subject, check_audience, check_client_id] {
        check("a").unwrap();
        check("jtk").unwrap();
        check(&fits).unwrap();
        for bad in ["", "a\n", "\0", "\u{7f}", &long] {
            check(bad).unwrap_err();
        }
    }
    for wild in ["*", "user:*", "a*b"] {
        assert!(check_subject(wild).unwrap_err().to_string().contains("no wildcard here"), "{wild}");
        assert!(check_audience(wild).unwrap_err().to_string().contains("no wildcard here"), "{wild}");
    }
    check_subject("ada lovelace é").unwrap();
    check_audience("*").unwrap_err();
    check_client_id("*").unwrap_err();
    check_client_id("a b").unwrap_err();
    check_issuer("https://tokens.example").unwrap();
    check_issuer("").unwrap_err();
    // 85 characters of three bytes.
    check_subject(&"語".repeat(85)).unwrap();
    check_subject(&"語".repeat(86)).unwrap_err();
}

#[test]
fn v14_what_is_not_seen_as_it_is_has_no_place_in_a_name() {
    for check in [check_subject, check_audience, check_issuer] {
        // Cc, Cf, Zl, Zp: zero width, directions, tags, separators, soft hyphen, byte order mark.
        for hidden in [
            '\u{85}',
            '\u{ad}',
            '\u{600}',
            '\u{61c}',
            '\u{180e}',
            '\u{200b}',
            '\u{200d}',
            '\u{200f}',
            '\u{2028}',
            '\u{2029}',
            '\u{202e}',
            '\u{2060}',
            '\u{2066}',
            '\u{feff}',
            '\u{fff9}',
            '\u{1d173}',
            '\u{e0041}',
            // Drawn as nothing, though letters and marks by their category.
            '\u{34f}',
            '\u{115f}',
            '\u{1160}',
            '\u{17b4}',
            '\u{180b}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{ffa0}',
            '\u{e0100}',
            // Drawn as a space.
            '\u{a0}',
            '\u{1680}',
            '\u{2003}',
            '\u{202f}',
            '\u{205f}',
            '\u{2800}',
            '\u{3000}',
        ] {
            let rule = check(&format!("us{hidden}er")).unwrap_err().to_string();
            let code = format!("U+{:04X} at byte 2", u32::from(hidden));
            assert!(rule.contains(&code), "{rule}");
        }
        for ends in [" user", "user ", " "] {
            assert!(check(ends).unwrap_err().to_string().contains("without spaces"), "{ends}");
        }
        // The same letters, composed and not; a letter that has only a composed form; a letter with an older twin.
        check("caf\u{e9}").unwrap();
        for other in ["cafe\u{301}", "\u{1100}\u{1161}", "\u{212b}"] {
            assert!(check(other).unwrap_err().to_string().contains("NFC"), "{other}");
        }
        for good in ["語", "한", "Å", "ß", "مرحبا", "हिन्दी"] {
            check(good).unwrap();
        }
    }
    for check in [check_display_name, check_replica_name] {
        check("Ada L. (on call)").unwrap();
        for bad in ["Ada\u{202e}", "Ada\u{a0}L.", "Ada ", "\u{3164}"] {
            check(bad).unwrap_err();
        }
    }
    check_display_name("").unwrap();
    check_replica_name("").unwrap_err();
    let key = crate::ApiKey::generate();
    for taken in [key.expose(), "jtk_", "jtk_x"] {
        assert!(check_client_id(taken).unwrap_err().to_string().contains("API key"));
    }
}

#[test]
fn scopes_have_the_characters_of_rfc_6749() {
    for b in 0..=255_u8 {
        let scope = char::from(b).to_string();
        let good = b == 0x21 || (0x23..=0x5B).contains(&b) || (0x5D..=0x7E).contains(&b);
        assert_eq!(check_scope(&scope).is_ok(), good, "{b:#x}");
    }
    check_scope("").unwrap_err();
    check_scope(&"x".repeat(128)).unwrap();
    check_scope(&"x".repeat(129)).unwrap_err();
}

#[test]
fn a_uuid_v7_has_one_text() {
    let id = uuid_at(1_800_000_000_123);
    let text = id.to_string();
    assert_eq!(parse_uuid_v7(&text), Some(id));
    assert_eq!(uuid_unix_ms(id), 1_800_000_000_123);
    assert_eq!(uuid_unix_ms(Uuid::max()), (1 << 48) - 1);
    let variant = format!("{}c{}", &text[..19], &text[20..]);
    for bad in [
        text.to_uppercase(),
        text.replace('-', ""),
        format!("{{{text}}}"),
        format!("urn:uuid:{text}"),
        format!("{text} "),
        format!("{text}\0"),
        text.replacen("-7", "-4", 1),
        text.replacen("-7", "-1", 1),
        variant,
        Uuid::nil().to_string(),
        Uuid::max().to_string(),
        String::new(),
        "é".repeat(18),
    ] {
        assert_eq!(parse_uuid_v7(&bad), None, "{bad}");
    }
}

#[test]
fn revisions_are_ordered_and_bounded() {
    assert_eq!(Revision::new(1, 0).unwrap().as_i64(), 1 << 40);
    assert_eq!(Revision::MAX, Revision::new(8_191, (1 << 40) - 1).unwrap());
    assert_eq!(Revision::MAX.as_i64(), (1 << 53) - 1);
    assert!(Revision::new(1, 0) > Revision::new(0, (1 << 40) - 1));
    for (epoch, seq) in [(-1, 0), (0, -1), (8_192, 0), (0, 1 << 40), (i64::MAX, i64::MAX)] {
        assert_eq!(Revision::new(epoch, seq), None);
    }
    for stored in [-1, 1 << 53, i64::MAX, i64::MIN] {
        assert_eq!(Revision::from_i64(stored), None);
    }
    for bad in
        ["", ".", "1", "1.", ".1", "01.1", "1.01", "+1.1", "-1.1", "1.1.1", " 1.1", "1.1 ", "8192.0", "٣.1"]
    {
        Revision::from_str(bad).unwrap_err();
    }
    assert_eq!("0.0".parse(), Ok(Revision::ZERO));
}

#[test]
fn thumbprints_have_one_text() {
    let thumbprint = Thumbprint::new([7; 32]);
    let text = thumbprint.to_string();
    assert_eq!(text.len(), 43);
    assert_eq!(text.parse(), Ok(thumbprint));
    assert_ne!(thumbprint, Thumbprint::new([8; 32]));
    for bad in [String::new(), format!("{text}="), text.replace('w', "+"), text[1..].to_owned()] {
        bad.parse::<Thumbprint>().unwrap_err();
    }
}

#[test]
fn times_are_rounded_down_to_whole_seconds() {
    let of =
        |seconds, nanos| UnixSeconds::from_timestamp(jiff::Timestamp::new(seconds, nanos).unwrap()).get();
    assert_eq!(of(10, 999_999_999), 10);
    assert_eq!(of(-10, -1), -11);
    assert_eq!(of(0, -1), -1);
    assert_eq!(of(-10, 0), -10);
    assert_eq!(jiff::Timestamp::from(UnixSeconds::new(i64::MAX)), jiff::Timestamp::MAX);
    assert_eq!(jiff::Timestamp::from(UnixSeconds::new(i64::MIN)), jiff::Timestamp::MIN);
    assert_eq!(super::super::limits::TIME_MAX_S, jiff::Timestamp::MAX.as_second());
}

proptest! {
    #[test]
    fn a_revision_survives_its_text_and_its_integer(epoch in 0_i64..8_192, seq in 0_i64..(1 << 40)) {
        let revision = Revision::new(epoch, seq).unwrap();
        prop_assert_eq!((revision.epoch(), revision.seq()), (epoch, seq));
        prop_assert_eq!(revision.to_string().parse(), Ok(revision));
        prop_assert_eq!(Revision::from_i64(revision.as_i64()), Some(revision));
    }
}
