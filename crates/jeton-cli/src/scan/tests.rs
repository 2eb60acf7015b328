//! Pastes from hell, and files of any kind.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a test fails by panicking"
)]

use std::io::{self, Cursor, Read, Write as _};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use uuid::Uuid;

use super::{BLOCK, Found, Scanner, Target, scan, scan_text};
use jeton_token::{ApiKey, base64url, new_uuid_v7};
use secrecy::ExposeSecret as _;

/// When all of this happens: 2026-01-31, in milliseconds.
const NOW_MS: i64 = 1_769_817_600_000;

fn id(ago_s: i64) -> Uuid {
    new_uuid_v7(NOW_MS - ago_s * 1_000)
}

fn token_of(jti: &str, alg: &str, signature: &str) -> String {
    let header = base64url::encode(format!(r#"{{"alg":"{alg}","typ":"at+jwt","kid":"k"}}"#));
    let payload = base64url::encode(format!(
        r#"{{"iss":"https://tokens.example","sub":"user:7","jti":"{jti}","exp":{}}}"#,
        NOW_MS / 1_000 + 60
    ));
    format!("{header}.{payload}.{signature}")
}

fn token() -> String {
    token_of(&id(60).to_string(), "ES256", &base64url::encode([7; 64]))
}

fn refresh() -> String {
    let body = [&[1, 9, 9, 9, 9], id(60).as_bytes().as_slice(), &[0, 0, 0, 3], &[7; 48]].concat();
    format!("jtr_{}", base64url::encode(body))
}

/// What is found, sorted: texts of tokens, and ids.
fn all(found: Found) -> Vec<String> {
    let keys: Vec<_> = found.api_keys().map(|id| format!("key {id}")).collect();
    let targets = found.into_targets();
    let mut all: Vec<_> = targets
        .iter()
        .map(|target| match target {
            Target::Token(token) => token.text.expose_secret().to_owned(),
            Target::Refresh(text, _) => text.expose_secret().to_owned(),
            Target::Session(id) => format!("session {id}"),
            Target::Id(id) => id.to_string(),
        })
        .chain(keys)
        .collect();
    all.sort();
    all
}

fn found_in(text: impl AsRef<[u8]>) -> Found {
    let mut found = Found::new(NOW_MS);
    scan_text(text.as_ref(), &mut found);
    found
}

fn folded(text: &str, width: usize, fold: &str) -> String {
    let lines: Vec<_> =
        text.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap()).collect();
    lines.join(fold)
}

#[test]
fn a_token_is_found_however_badly_it_was_pasted() {
    for token in [token(), refresh()] {
        let mut texts: Vec<_> = [
            "\n",
            "\r\n",
            "\n    ",
            "\n> ",
            "\n>> ",
            " \\\n  ",
            "\"\n  + \"",
            "=\r\n",
            "\\n",
            "\n\n",
            "\n# ",
        ]
        .iter()
        .flat_map(|fold| {
            let folded = folded(&token, 40, fold);
            [folded.clone(), format!("token: {folded}\nand so on"), format!("\"{folded}\"")]
        })
        .collect();
        texts.extend([
            token.clone(),
            format!("{token}\n\n"),
            format!("\u{feff}{token}"),
            format!("'{token}',"),
            format!("Authorization: Bearer {token}"),
            format!("-H 'authorization: Bearer {token}' https://x.example/eyJ"),
            format!("JETON_TOKEN={token}"),
            format!("{{\"token\": \"{token}\", \"n\": 1}}"),
            format!("{{\"msg\":\"got\\n{token}\\nend\"}}"),
            format!("{{\\\"token\\\":\\\"{token}\\\"}}"),
            format!("https://x.example/cb#access_token={token}&token_type=bearer"),
            format!("access_token%3D{token}%26x"),
            format!("level=info msg=\"\\u003c{token}\\u003e\""),
            format!("\u{1b}[32m{token}\u{1b}[0m"),
            format!("[{token}]({token})"),
            format!("<{token}>"),
            format!("`{token}`"),
            format!("I found {token}. Please revoke it!"),
            format!("{}{token}", "x ".repeat(1_000)),
            folded(&token, 40, " "),
            folded(&token, 30, "\u{200b}"),
            folded(&token, 30, "\u{a0}\n"),
        ]);
        for text in texts {
            assert_eq!(all(found_in(&text)), [token.as_str()], "{text:?}");
        }
    }
}

#[test]
fn many_things_of_every_kind_are_told_apart() {
    let (first, second) = (token(), token());
    let key = ApiKey::generate();
    let (jti, session) = (id(3_600), id(60));
    let text = format!(
        "2026-01-31T00:00:00Z INFO request=9c5b94b1-35ad-49bb-b118-8e8fc24abf80 jti={jti}\n\
         {first}\n{second}\n{first}\n{} sid:{session} {}\n\
         old {} key {}\n",
        refresh(),
        session.simple(),
        id(26 * 3_600),
        key.expose(),
    );
    let found = found_in(&text);
    assert_eq!((found.tokens().len(), found.ids(), found.refresh_tokens()), (2, 2, 1));
    assert_eq!(found.api_keys().collect::<Vec<_>>(), [key.id()]);
    assert_eq!((found.other_uuids, found.broken), (2, 0));
    assert!(
        !all(found_in(&text)).iter().any(|it| it.contains(key.expose())),
        "an API key's secret is not kept"
    );
}

#[test]
fn an_id_counts_in_free_text_if_it_is_of_the_last_25_hours() {
    for (ago_s, counts) in [(0, 1), (25 * 3_600 - 1, 1), (25 * 3_600 + 1, 0), (-30, 1), (-120, 0)] {
        let found = found_in(format!("x {} y", id(ago_s)));
        assert_eq!((found.ids(), found.other_uuids), (counts, 1 - counts as u64), "{ago_s}");
    }
    let id = id(60);
    for text in [
        id.to_string().to_uppercase(),
        format!("{{{id}}}"),
        format!("urn:uuid:{id}"),
        format!("session_{id}_end"),
        format!("%22{id}%22"),
        format!("\\n{id}\\n"),
        format!("\\u0022{id}\\u0022"),
        format!("#033[31m{id}#033[0m"),
        id.simple().to_string(),
        format!("trace={},", id.simple()),
        folded(&id.to_string(), 18, "\n   "),
        folded(&id.to_string(), 7, "\n> "),
    ] {
        assert_eq!(all(found_in(&text)), [id.to_string()], "{text:?}");
    }
    // Within a word it is none: a hash, a longer number.
    for text in
        [format!("a{id}"), format!("{id}0"), format!("{}0", id.simple()), format!("ff{}", id.simple())]
    {
        assert_eq!(all(found_in(&text)), [""; 0], "{text:?}");
    }
    // A list stays a list.
    let other = super::tests::id(61);
    let mut both = [id.to_string(), other.to_string()];
    both.sort();
    assert_eq!(all(found_in(format!("{id}\n{other}\n"))), both);
}

#[test]
fn a_token_without_its_signature_is_its_id_and_a_beginning_is_counted() {
    let jti = id(60);
    let whole = token_of(&jti.to_string(), "ES256", "");
    for end in [
        "",
        "[REDACTED]",
        "***",
        "abc",
        "abc and more words that follow it, as many as a signature has, and then some",
    ] {
        let text = format!("token={whole}{end}");
        assert_eq!(all(found_in(&text)), [jti.to_string()], "{text:?}");
    }
    // Two in a row, the first of which is cut: the second is no part of it.
    let second = token();
    let mut both = [jti.to_string(), second.clone()];
    both.sort();
    assert_eq!(all(found_in(format!("{whole}cut\n{second}\n"))), both);
    for text in ["eyJhbGciOiJFUzI1NiJ9", "eyJhbGciOiJFUzI1NiJ9.x", &refresh()[..60]] {
        let found = found_in(text);
        assert_eq!((found.targets(), found.broken), (0, 1), "{text:?}");
    }
    for text in ["", "eyJ", "eyJ.eyJ", "jtr_", "jtk_x", "a.b.c", "eyJrIjoidiJ9", "no token"] {
        let found = found_in(text);
        assert_eq!((found.targets(), found.broken, found.other_uuids), (0, 0, 0), "{text:?}");
    }
}

#[test]
fn tokens_of_others_are_told_by_their_issuer_whatever_signs_them() {
    let long = base64url::encode([7; 256]);
    let foreign = token_of("x", "RS256", &long).replace("dG9rZW5z", "b3RoZXJz");
    let short = token_of("y", "HS256", &base64url::encode([7; 32]));
    let mut found = found_in(format!("{foreign} {short} {}", token()));
    assert_eq!(found.tokens().len(), 3);
    assert!(found.take_foreign(None).is_empty());
    assert!(found.take_foreign(Some("https://tokens.example")).is_empty());
    let taken = found.take_foreign(Some("https://ours.example"));
    assert_eq!((taken.len(), found.targets()), (3, 0));
    assert_eq!(taken[0].1, "https://tokens.example");
}

/// A reader that gives few bytes at a time, and then fails or ends.
struct Slowly<R>(R, usize);

impl<R: Read> Read for Slowly<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = out.len().min(self.1);
        self.0.read(&mut out[..most])
    }
}

#[test]
fn long_inputs_are_searched_in_pieces_and_nothing_is_lost_between_them() {
    let things: Vec<_> = (0..400).map(|n| if n % 2 == 0 { id(n).to_string() } else { token() }).collect();
    for gap in [10, 137, 1_024, 4_000] {
        let noise = "lorem-ipsum 9c5b94b1-35ad-49bb-b118 eyJ jtr_ ".repeat(gap / 40 + 1);
        let text = things.join(&format!(" {noise}\n"));
        for step in [1_000, 4_096, 100_000] {
            let mut found = Found::new(NOW_MS);
            let whole = Scanner::new(step).scan(Slowly(text.as_bytes(), 7_777), &mut found, &mut |_| {});
            let bound = step + super::AHEAD + super::BEHIND;
            assert_eq!(whole.unwrap().is_some(), text.len() < bound, "{gap} {step}");
            assert_eq!(found.bytes, text.len() as u64);
            let mut expected = things.clone();
            expected.sort();
            assert_eq!(all(found), expected, "{gap} {step}");
        }
    }
}

#[test]
fn packed_files_other_encodings_and_bytes_of_any_kind_are_searched() {
    let (id, token) = (id(60), token());
    let text = format!("first {id}\nthen {token}\n");
    let pack = |text: &[u8]| {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text).unwrap();
        packed.finish().unwrap()
    };
    let utf_16 = |bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        format!("\u{feff}é{text}").encode_utf16().flat_map(bytes).collect()
    };
    let packed = pack(text.as_bytes());
    let (head, tail) = text.split_at(20);
    let binary = [&[0, 0xff, 0xfe, 0x80], text.as_bytes(), &[0; 40], text.as_bytes(), &[0xc3]].concat();
    for bytes in [
        text.clone().into_bytes(),
        packed.clone(),
        [pack(head.as_bytes()), pack(tail.as_bytes())].concat(),
        utf_16(u16::to_le_bytes),
        utf_16(u16::to_be_bytes),
        pack(&utf_16(u16::to_le_bytes)),
        binary,
    ] {
        let mut found = Found::new(NOW_MS);
        let source = super::plain(Cursor::new(bytes)).unwrap();
        scan(source, &mut found, &mut |_| {}).unwrap();
        assert_eq!(all(found), [id.to_string(), token.clone()]);
    }
    // A file that ends within: what came before is searched, and that it is cut is told.
    let noise = (0..20_000).map(|n| (n * 7_919).to_string()).collect::<Vec<_>>().join(" ");
    let long = pack(format!("{text}{noise}").as_bytes());
    let mut found = Found::new(NOW_MS);
    let source = super::plain(Cursor::new(long[..long.len() - 100].to_vec())).unwrap();
    assert!(scan(source, &mut found, &mut |_| {}).is_err());
    assert_eq!(found.targets(), 2);
}

#[test]
fn memory_is_bounded_whatever_the_input_holds() {
    let mut found = Found::new(NOW_MS);
    for n in 0..=super::IDS_MAX as u128 {
        assert!(!found.is_full, "{n}");
        found.add_id(Uuid::from_u128(n));
    }
    assert!(found.is_full && found.ids() == super::IDS_MAX);
    // Tokens whose text is not kept any more are kept by their ids.
    let mut found = Found::new(NOW_MS);
    let padding = base64url::encode([7; 4_000]);
    for n in 0..10_000_u32 {
        let claims = super::Claims { jti: Some(Uuid::from_u128(n.into())), ..Default::default() };
        found.add_token(format!("{n}{padding}"), claims);
    }
    assert_eq!(found.targets(), 10_000);
    assert!(found.tokens().len() < 7_000 && found.ids() > 3_000);
    const { assert!(BLOCK <= 1 << 20) };
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_id_in_any_text_is_found(
        texts in proptest::collection::vec((".{0,200}", "\\W", "\\W", any::<[u8; 10]>(), 0..90_000_i64), 1..40),
        step in 200..4_000_usize,
        upper in any::<bool>(),
    ) {
        let mut text = String::new();
        let mut ids = Vec::new();
        for (noise, before, after, random, ago_s) in &texts {
            let ms = u64::try_from(NOW_MS - ago_s * 1_000).unwrap();
            let id = uuid::Builder::from_unix_timestamp_millis(ms, random).into_uuid();
            ids.push(id.to_string());
            let shown = if upper { id.to_string().to_uppercase() } else { id.to_string() };
            text.extend([noise, before.as_str(), &shown, after]);
        }
        ids.sort();
        ids.dedup();
        let mut found = Found::new(NOW_MS);
        Scanner::new(step).scan(text.as_bytes(), &mut found, &mut |_| {}).unwrap();
        let found = all(found);
        for id in ids {
            prop_assert!(found.contains(&id), "{id} in {text:?}");
        }
    }

    #[test]
    fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..4_000), step in 1..500_usize) {
        let mut found = Found::new(NOW_MS);
        Scanner::new(step).scan(bytes.as_slice(), &mut found, &mut |_| {}).unwrap();
        scan_text(&bytes, &mut found);
    }

    #[test]
    fn pieces_of_tokens_make_nothing_fail(
        parts in proptest::collection::vec("eyJ|eyJhbGciOiJFUzI1NiJ9|\\.|\n|> |jtr_|jtk_|[A-Za-z0-9_-]{0,90}|=|\\\\n", 0..60),
    ) {
        found_in(parts.concat());
    }
}
