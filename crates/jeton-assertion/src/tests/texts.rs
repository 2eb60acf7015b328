//! The texts of errors: they go into an `error_description` and into logs.

use jeton_token::Malformed;

use super::super::{Algorithm, DiscoveryError, KeyFault, KeySetError, Part, Refused};

const KEY_FAULTS: [KeyFault; 13] = [
    KeyFault::NotObject,
    KeyFault::Symmetric,
    KeyFault::Private,
    KeyFault::UnknownKind,
    KeyFault::OtherUse,
    KeyFault::OtherOperations,
    KeyFault::OtherAlgorithm,
    KeyFault::MalformedNumber,
    KeyFault::Modulus,
    KeyFault::Exponent,
    KeyFault::NoPoint,
    KeyFault::MalformedKeyId,
    KeyFault::SharedKeyId,
];

fn refusals() -> Vec<Refused> {
    let rule = Malformed::new("JSON has a member twice");
    let mut all = vec![
        Refused::TooLong,
        Refused::NotCompact,
        Refused::NotBase64Url(Part::Header),
        Refused::NotJson(Part::Payload, rule),
        Refused::HeaderNotString("typ"),
        Refused::BringsKey("jku"),
        Refused::Critical,
        Refused::UnknownAlgorithm,
        Refused::AlgorithmNotAllowed(Algorithm::Rs256),
        Refused::WrongType,
        Refused::MalformedKeyId,
        Refused::UnknownKey,
        Refused::NoKeyFor(Algorithm::EdDsa),
        Refused::KeyIdNeeded,
        Refused::KeyDoesNotFit(Algorithm::Ps256),
        Refused::BadSignature,
        Refused::Missing("exp"),
        Refused::WrongForm { claim: "sub", form: "a string" },
        Refused::WrongIssuer,
        Refused::WrongTrustDomain,
        Refused::WrongAudience,
        Refused::AudienceNotAlone,
        Refused::Expired,
        Refused::NotYetValid,
        Refused::IssuedInFuture,
        Refused::TooOld,
        Refused::LivesTooLong,
        Refused::NoProofKey,
        Refused::WrongMethod,
        Refused::WrongUri,
        Refused::WrongAccessToken,
        Refused::NonceNeeded,
    ];
    all.extend(KEY_FAULTS.map(Refused::ProofKey));
    all
}

/// RFC 6749 section 5.2: %x20-21 / %x23-5B / %x5D-7E.
#[test]
fn each_text_has_the_characters_of_an_error_description() {
    let others = [
        KeySetError::TooLong.to_string(),
        KeySetError::NoKeys.to_string(),
        KeySetError::TooManyKeys.to_string(),
        KeySetError::NoUsableKey { skipped: vec![] }.to_string(),
        DiscoveryError::TooLong.to_string(),
        DiscoveryError::WrongIssuer.to_string(),
        DiscoveryError::NoKeySetUri.to_string(),
        DiscoveryError::Downgrade.to_string(),
    ];
    let texts: Vec<String> = refusals().iter().map(ToString::to_string).chain(others).collect();
    for text in &texts {
        assert!(text.bytes().all(|b| matches!(b, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E)), "{text}");
        assert!(text.len() > 10 && !text.ends_with('.'), "{text}");
    }
    let mut distinct = texts.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), texts.len(), "no two refusals read alike");
}
