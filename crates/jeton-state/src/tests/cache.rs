//! The cache of verified tokens: it holds verified tokens only, and keeps the good ones.

use super::*;
use crate::Status;

/// Texts of all kinds that are no tokens of ours.
fn garbage(bench: &Bench, index: u32) -> String {
    let good = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0";
    match index % 20 {
        // Fails at the signature, or at the claims after a good one.
        0 => {
            let text = bench.mint(&claims());
            let (unsigned, _) = text.rsplit_once('.').unwrap();
            let mut signature = [0; 64];
            signature[..4].copy_from_slice(&index.to_be_bytes());
            format!("{unsigned}.{}", base64url::encode(signature))
        }
        1 if index.is_multiple_of(100) => bench.sign(format!("{{\"n\":{index}}}").as_bytes()),
        2 => format!("{good}.{index}"),
        3 => format!("{index}"),
        4 => format!("{}.{index}.x", "a".repeat(700)),
        _ => format!("{good}.{}", base64url::encode([index.to_be_bytes(); 16].concat())),
    }
}

#[test]
fn v12_garbage_neither_fills_the_cache_nor_pushes_good_tokens_out() {
    let bench = Bench::new();
    // Small, so that a hundred thousand entries would overfill it many times.
    let bench = Bench { cache: VerifiedCache::with_capacity(1024 * 1024), ..bench };
    for index in 0..1_000 {
        let text = garbage(&bench, index);
        assert_ne!(bench.at(&text, NOW_MS).status, Status::Active);
    }
    assert!(bench.cache.is_empty(), "it holds none of it");
    let good: Vec<String> = (0..200)
        .map(|index| bench.mint(&Claims { subject: format!("user:{index}").into(), ..claims() }))
        .collect();
    for text in &good {
        assert_eq!(bench.at(text, NOW_MS).status, Status::Active);
    }
    assert_eq!(bench.cache.len(), good.len());
    for index in 0..100_000 {
        let text = garbage(&bench, index);
        assert_ne!(bench.at(&text, NOW_MS).status, Status::Active);
    }
    assert_eq!(bench.cache.len(), good.len(), "not one more");
    assert!(good.iter().all(|text| bench.known(text).is_some()), "and not one less");
}

#[test]
fn v12_the_cache_knows_a_token_by_the_whole_of_its_text() {
    let bench = Bench::new();
    let text = bench.mint(&claims());
    assert_eq!(bench.at(&text, NOW_MS).status, Status::Active);
    for place in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[place] ^= 1;
        let other = String::from_utf8(bytes).unwrap();
        assert!(bench.known(&other).is_none(), "byte {place}");
        assert_ne!(bench.at(&other, NOW_MS).status, Status::Active, "byte {place}");
    }
    assert!(bench.known(&text[..text.len() - 1]).is_none());
    assert_eq!(bench.cache.len(), 1);
}

#[test]
fn v12_even_good_tokens_take_no_more_than_their_share_of_memory() {
    let bench = Bench::new();
    let bench = Bench { cache: VerifiedCache::with_capacity(64 * 1024), ..bench };
    for index in 0..1_000 {
        let text = bench.mint(&Claims { subject: format!("user:{index}").into(), ..claims() });
        assert_eq!(bench.at(&text, NOW_MS).status, Status::Active, "held or not");
    }
    assert!(bench.cache.len() <= 64 * 1024 / size_of::<crate::KnownToken>(), "{} held", bench.cache.len());
    assert!(!bench.cache.is_empty());
}
