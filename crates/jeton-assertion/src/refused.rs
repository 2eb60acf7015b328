//! The reasons why a token of others, or a proof, is refused.

use std::fmt;

use jeton_token::Malformed;

use crate::algorithm::Algorithm;
use crate::key_fault::KeyFault;

/// A segment of a compact JWS (RFC 7515 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The JOSE header.
    Header,
    /// The claims.
    Payload,
    /// The signature.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}

/// The reason why a token or a proof is refused. Its text is one sentence without any of the token's own text, in the
/// characters of an `error_description` (RFC 6749 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The text is longer than [`TOKEN_BYTES_MAX`](crate::limits::TOKEN_BYTES_MAX).
    #[error("the token is longer than 16384 bytes")]
    TooLong,
    /// The text is no compact JWS (RFC 7515 section 7.1).
    #[error("a token is three segments with dots between")]
    NotCompact,
    /// A segment is not of the one spelling that its bytes have (RFC 7515 section 2).
    #[error("the {0} is not canonical base64url without padding")]
    NotBase64Url(Part),
    /// Header or payload is no JSON object in strict form: a member twice, nesting of more than 16, no UTF-8.
    #[error("the {0} cannot be read: {1}")]
    NotJson(Part, Malformed),
    /// A member of the header is not of its type: `alg`, `typ` and `kid` are strings.
    #[error("the header's {0} is not a string")]
    HeaderNotString(&'static str),
    /// The header holds or names a key of the caller's choice: `jwk`, `jku`, `x5u`, `x5c` (RFC 8725 section 3.10).
    #[error("the header has {0}: no token chooses the key that verifies it")]
    BringsKey(&'static str),
    /// The header has `crit` (RFC 7515 section 4.1.11).
    #[error("the header has crit, and no extension is understood here")]
    Critical,
    /// `alg` is missing, `none`, symmetric, or not known here.
    #[error("the header's alg is none of RS256, PS256, ES256 and EdDSA")]
    UnknownAlgorithm,
    /// `alg` is not one of the algorithms that the issuer is configured with.
    #[error("the algorithm {0} is not accepted from this issuer")]
    AlgorithmNotAllowed(Algorithm),
    /// `typ` says that the token was made for another purpose (RFC 8725 section 3.11).
    #[error("the header's typ is not one that is accepted here")]
    WrongType,
    /// `kid` is not 1 to 255 printable ASCII characters.
    #[error("the header's kid is not 1 to 255 printable ASCII characters")]
    MalformedKeyId,
    /// No key of the issuer has this `kid`.
    #[error("the issuer has no key with the header's kid")]
    UnknownKey,
    /// There is no `kid`, and the issuer has no key for the algorithm.
    #[error("the issuer has no key for the algorithm {0}")]
    NoKeyFor(Algorithm),
    /// There is no `kid`, and the issuer has more than [`KEYS_TRIED_MAX`](crate::limits::KEYS_TRIED_MAX) such keys.
    #[error("the header has no kid, and the issuer has too many keys to try each")]
    KeyIdNeeded,
    /// The key is for another algorithm than the header's.
    #[error("the key is not one for the algorithm {0}")]
    KeyDoesNotFit(Algorithm),
    /// The signature was not made by the key.
    #[error("the signature does not verify")]
    BadSignature,
    /// A claim that must be there is missing.
    #[error("the claim {0} is missing")]
    Missing(&'static str),
    /// A claim has another JSON type than it must, or a text of another length.
    #[error("the claim {claim} is not {form}")]
    WrongForm {
        /// Its name.
        claim: &'static str,
        /// Words that complete "is not …".
        form: &'static str,
    },
    /// `iss` is not the configured issuer.
    #[error("the claim iss is not the configured issuer")]
    WrongIssuer,
    /// `sub` is no SPIFFE ID of the trust domain (SPIFFE JWT-SVID section 3.1).
    #[error("the claim sub is not a SPIFFE ID of the configured trust domain")]
    WrongTrustDomain,
    /// `aud` holds none of the expected values.
    #[error("the claim aud names another audience")]
    WrongAudience,
    /// `aud` has further values where only one may stand.
    #[error("the claim aud has more than one value")]
    AudienceNotAlone,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` is in the future.
    #[error("the token was issued in the future: the clock of its issuer is wrong")]
    IssuedInFuture,
    /// `iat` is longer ago than is accepted.
    #[error("the token was issued too long ago")]
    TooOld,
    /// `exp` is further away than is accepted.
    #[error("the token expires too far in the future")]
    LivesTooLong,
    /// `jwk` of a DPoP proof is missing (RFC 9449 section 4.2).
    #[error("the proof has no jwk")]
    NoProofKey,
    /// `jwk` of a DPoP proof is no public key that is accepted here.
    #[error("the proof's jwk is refused: {0}")]
    ProofKey(KeyFault),
    /// `htm` is not the method of the request.
    #[error("the proof's htm is not the method of the request")]
    WrongMethod,
    /// `htu` is not the URI of the request.
    #[error("the proof's htu is not the URI of the request")]
    WrongUri,
    /// `ath` is not the hash of the access token.
    #[error("the proof's ath is not the hash of the access token")]
    WrongAccessToken,
    /// There is no `nonce`, or not one that the server gave: answer `use_dpop_nonce` (RFC 9449 section 8).
    #[error("the proof has no nonce of this server")]
    NonceNeeded,
}
