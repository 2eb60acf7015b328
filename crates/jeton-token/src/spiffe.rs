//! SPIFFE IDs, which name clients with a certificate (C3).

use std::fmt;

use super::malformed::Malformed;

const SCHEME: &str = "spiffe://";
/// The SPIFFE ID standard, section 2.3. Bytes.
const BYTES_MAX: usize = 2_048;
/// The SPIFFE ID standard, section 2.1. Bytes.
const TRUST_DOMAIN_BYTES_MAX: usize = 255;

/// `spiffe://trust-domain/path` of a workload, in the one form that the standard allows (SPIFFE ID, section 2): a name
/// has no second spelling, so names compare as texts.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SpiffeId(String);

impl SpiffeId {
    /// Parses an id in normal form.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > BYTES_MAX {
            return Err(Malformed::new("a SPIFFE ID of at most 2048 bytes"));
        }
        let rest = text.strip_prefix(SCHEME).ok_or(Malformed::new("a URI that begins with spiffe://"))?;
        let (trust_domain, path) = rest
            .split_once('/')
            .ok_or(Malformed::new("a SPIFFE ID with a path: a trust domain alone names no workload"))?;
        let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
        if trust_domain.is_empty()
            || trust_domain.len() > TRUST_DOMAIN_BYTES_MAX
            || !trust_domain.bytes().all(is_name)
        {
            return Err(Malformed::new(
                "a SPIFFE ID whose trust domain is 1 to 255 of a-z, 0-9, dot, dash and underscore",
            ));
        }
        if !path.split('/').all(is_segment) {
            return Err(Malformed::new(
                "a SPIFFE ID whose path segments are of letters, digits, dot, dash and underscore, none \
                 of them empty, . or ..",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_segment(segment: &str) -> bool {
    let is_part = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
    !matches!(segment, "" | "." | "..") && segment.bytes().all(is_part)
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_a_spiffe_id_has_one_spelling() {
        for good in ["spiffe://example.org/billing", "spiffe://a_b-c.1/ns/prod/sa/Billing..x"] {
            assert_eq!(SpiffeId::parse(good).as_ref().map(SpiffeId::as_str), Ok(good));
        }
        let long = format!("spiffe://a/{}", "b".repeat(BYTES_MAX));
        let long_domain = format!("spiffe://{}/b", "a".repeat(TRUST_DOMAIN_BYTES_MAX + 1));
        for bad in [
            "",
            "spiffe://",
            "spiffe://example.org",
            "spiffe://example.org/",
            "spiffe:///billing",
            "SPIFFE://example.org/billing",
            "https://example.org/billing",
            "spiffe://Example.org/billing",
            "spiffe://example.org:443/billing",
            "spiffe://user@example.org/billing",
            "spiffe://example.org/billing/",
            "spiffe://example.org//billing",
            "spiffe://example.org/../billing",
            "spiffe://example.org/a/./b",
            "spiffe://example.org/b%69lling",
            "spiffe://example.org/billing?x",
            "spiffe://example.org/billing#x",
            "spiffe://example.org/bílling",
            "spiffe://example.org/billing\0",
            "spiffe://*/billing",
            &long,
            &long_domain,
        ] {
            assert!(SpiffeId::parse(bad).is_err(), "{bad}");
        }
    }
}
