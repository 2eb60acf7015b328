//! The reasons why a key of others is not used.

/// The reason why a key is not used. Its text has the characters of an `error_description` (RFC 6749 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The entry is no JSON object.
    #[error("the key is not a JSON object")]
    NotObject,
    /// `kty` is `oct`: a symmetric key verifies nothing here.
    #[error("the key is symmetric")]
    Symmetric,
    /// The key has a private member: it is no secret any more.
    #[error("the key has a private part")]
    Private,
    /// `kty` or `crv` is not known here.
    #[error("the key is none of RSA, P-256 and Ed25519")]
    UnknownKind,
    /// `use` is there, and neither `sig` (RFC 7517 section 4.2) nor `jwt-svid` (SPIFFE Trust Domain and Bundle section
    /// 4.2.2).
    #[error("the key is not for signatures of tokens")]
    OtherUse,
    /// `key_ops` is there, and does not hold `verify` (RFC 7517 section 4.3).
    #[error("the key is not for verifying")]
    OtherOperations,
    /// `alg` is there, and not one of the key's kind that is known here.
    #[error("the key is for an algorithm that is not accepted here")]
    OtherAlgorithm,
    /// A number of the key is missing, or not in canonical form (RFC 7518 section 2).
    #[error("a number of the key is missing or not canonical base64url")]
    MalformedNumber,
    /// The modulus is not of 2048 to 4096 bits, or even.
    #[error("the modulus is not an odd number of 2048 to 4096 bits")]
    Modulus,
    /// The exponent is even, 1, or longer than 32 bits.
    #[error("the exponent is not an odd number from 3 to 32 bits")]
    Exponent,
    /// The numbers are no point of the curve.
    #[error("the numbers are no point of the curve")]
    NoPoint,
    /// `kid` is there, and not 1 to 255 printable ASCII characters.
    #[error("the kid is not 1 to 255 printable ASCII characters")]
    MalformedKeyId,
    /// Another usable key of the set has the same `kid`: neither is used.
    #[error("another key has the same kid")]
    SharedKeyId,
}
