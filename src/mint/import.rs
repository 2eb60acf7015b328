//! Private keys from elsewhere: only those that can be secret.

use std::collections::BTreeSet;

use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;

use jeton_token::{KeyError, SigningKey, pkcs8::algorithm_of};

/// Thumbprints of keys whose private half is published: anybody can sign with them.
const PUBLISHED: [&str; 13] = [
    "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U", // RFC 7515 appendix A.3
    "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s", // RFC 7517 appendix A.2
    "DOvxvJiAdIqVWIkFt5hDtCunXLF0BV4-JGv4f-ALSm0", // RFC 6979 appendix A.2.5
    "LIstkoCvByn4jk8oZPvigQkzTzO9UwnGnE-VMlkZvYQ", // RFC 9500 section 2.3
    "ydQXMtvbsOsZyFir-Y7A8t7fKEM1gbKPvyFkdpu4fvI", // RFC 9421 appendix B.1.3
    "19J8y7Zprt2-QKLjF2I5pVk0OELX6cY2AfaAv1LC_w8", // jwt.io, the example of ES256
    "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k", // RFC 8037 appendix A.1, RFC 8032 section 7.1 test 1
    "FtIu-VbGrfe_KB6CH7GNwODB72MNxj_ml11dEvO-7kk", // RFC 8032 section 7.1, test 2
    "FVV5umTuau890q59V-4Ga_R6qWb7ON_ivJc4EjvCwTM", // RFC 8032 section 7.1, test 3
    "lZI1vM7tnlYapaF5-cy86ptx0tT_8Av721hhiNB5ti4", // RFC 8032 section 7.1, test 1024
    "iiDHHfFVNG6ICMUTsicgrWf1igtFYZEK73xlobt1ah4", // RFC 8032 section 7.1, test SHA(abc)
    "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U", // RFC 9421 appendix B.1.4
    "3YZxBJ12jO3n_mXt_q-j_Z-TFP1vt-NiI3OCf-fEnHQ", // RFC 8410 section 10.3
];

/// The upper half of P-256's order: a scalar that begins so is a small one, counted from the other end.
const ORDER_HIGH: [u8; 16] =
    [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];
/// 32 random bytes have fewer different values than this once in 2^100 keys.
const DIFFERENT_BYTES_MIN: usize = 9;

/// Reasons why a private key is refused. One sentence each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The text holds no such section, or an encrypted one.
    #[error(transparent)]
    Form(KeyError),
    /// There are several, and nobody says which.
    #[error("it holds several private keys; give a file with one")]
    Several,
    /// It is encrypted.
    #[error("it is encrypted; decrypt it with `openssl pkcs8` into a file that nobody else reads")]
    Encrypted,
    /// Another algorithm, or another curve.
    #[error("it is a key for {0}, and jeton signs with P-256 or Ed25519 alone")]
    OtherAlgorithm(&'static str),
    /// The private key is invalid, or does not match its public half.
    #[error("it is damaged, or its public half is not that of its private half")]
    Damaged,
    /// The private half is a number that an attacker would try.
    #[error("its private half is no random number: whoever tries a few can sign with it")]
    Weak,
    /// The private half is in a public document.
    #[error("its private half is published, as an example: everybody can sign with it")]
    Published,
}

/// Imports a private key: the section `PRIVATE KEY` of a PEM text (RFC 7468 section 10), unless others may know it. Other
/// sections, such as a certificate, may stand beside it, but no second private key of any form.
pub fn import_pem(pem: &str) -> Result<SigningKey, ImportError> {
    let pem = pem.trim_start_matches('\u{feff}');
    let begins = pem.lines().map(str::trim).filter(|line| line.starts_with("-----BEGIN "));
    if begins.filter(|line| line.ends_with("PRIVATE KEY-----")).count() > 1 {
        return Err(ImportError::Several);
    }
    let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()) else {
        let encrypted = pem.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----");
        return Err(if encrypted { ImportError::Encrypted } else { ImportError::Form(KeyError::NoPem) });
    };
    let der = der.secret_pkcs8_der();
    match algorithm_of(der) {
        Some("P-256" | "Ed25519") => {}
        Some(other) => return Err(ImportError::OtherAlgorithm(other)),
        None => return Err(ImportError::Form(KeyError::Unacceptable)),
    }
    let key = SigningKey::from_pkcs8(der).map_err(|_| ImportError::Damaged)?;
    if PUBLISHED.contains(&key.key_id()) {
        return Err(ImportError::Published);
    }
    let secret = key.secret().map_err(ImportError::Form)?;
    if is_weak(&secret) { Err(ImportError::Weak) } else { Ok(key) }
}

/// Returns whether no random source would give this scalar or seed: small, from either end of its range or in either
/// byte order; of few different bytes, like a repeated pattern; or counting up or down.
fn is_weak(secret: &[u8; 32]) -> bool {
    let zero = [0; 16];
    let (high, low) = secret.split_at(16);
    let different: BTreeSet<_> = secret.iter().collect();
    let mut steps = secret.iter().zip(secret.iter().skip(1)).map(|(a, b)| b.wrapping_sub(*a));
    let first = steps.next();
    high == zero
        || low == zero
        || high == ORDER_HIGH
        || different.len() < DIFFERENT_BYTES_MIN
        || steps.all(|step| Some(step) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weak(change: impl Fn(usize) -> u8) -> bool {
        is_weak(&std::array::from_fn(change))
    }

    fn byte(index: usize) -> u8 {
        u8::try_from(index % 256).unwrap_or_default()
    }

    #[test]
    fn a_secret_that_somebody_would_try_is_weak() {
        assert!(weak(|_| 0) && weak(|_| 0xFF) && weak(|_| 7), "one byte");
        assert!(weak(|index| u8::from(index == 31)), "one");
        assert!(weak(|index| if index < 16 { 0 } else { byte(index * 37) }), "small");
        assert!(weak(|index| if index < 16 { byte(index * 37) } else { 0 }), "small, the other way round");
        assert!(weak(|index| ORDER_HIGH.get(index).copied().unwrap_or(byte(index * 37))), "small, negative");
        assert!(weak(|index| byte(index % 8) * 31), "a pattern");
        assert!(weak(byte) && weak(|index| 200 - byte(index)) && weak(|index| byte(index * 3)), "counted");
        assert!(!weak(|index| byte(index * index * 7 + 3 * index + 11)));
        for _ in 0..1_000 {
            assert!(!is_weak(&jeton_token::random_bytes()));
        }
    }
}
