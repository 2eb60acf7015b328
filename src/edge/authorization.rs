//! The `authorization` of a request (RFC 9110 section 11.6.2): the one place where it is read.

use http::{HeaderMap, header::AUTHORIZATION};

use crate::authority::PresentedCredential;
use jeton_token::text;

/// The `authorization` of a request, unchecked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Authorization<'a> {
    /// The request has none.
    Absent,
    /// The value.
    One(&'a str),
    /// More than one, or one that is no text. It counts as a bad credential.
    Unreadable,
}

impl<'a> Authorization<'a> {
    /// The authorization of a request with these values of the header.
    #[must_use]
    pub fn of(mut values: impl Iterator<Item = &'a [u8]>) -> Self {
        let Some(value) = values.next() else { return Self::Absent };
        match str::from_utf8(value) {
            Ok(value) if values.next().is_none() => Self::One(value),
            _ => Self::Unreadable,
        }
    }

    /// The authorization in these headers.
    #[must_use]
    pub fn in_headers(headers: &'a HeaderMap) -> Self {
        Self::of(headers.get_all(AUTHORIZATION).iter().map(http::HeaderValue::as_bytes))
    }

    /// The one bearer credential (RFC 6750 section 2.1).
    #[must_use]
    pub fn bearer(self) -> Option<&'a str> {
        self.scheme("bearer")
    }

    /// The credentials, if they are of this scheme.
    #[must_use]
    pub fn scheme(self, scheme: &str) -> Option<&'a str> {
        match self {
            Self::One(value) => text::credentials(value, scheme),
            Self::Absent | Self::Unreadable => None,
        }
    }

    /// The credential of a caller that sends an API key as a bearer credential, or a certificate with its connection.
    #[must_use]
    pub fn presented(self) -> PresentedCredential<'a> {
        match self {
            Self::Absent => PresentedCredential::Certificate,
            Self::One(_) | Self::Unreadable => PresentedCredential::ApiKey(self.bearer().unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_more_than_one_authorization_counts_as_none_that_is_good() {
        let of = |values: &[&'static str]| Authorization::of(values.iter().map(|value| value.as_bytes()));
        assert_eq!(of(&["Bearer x"]).bearer(), Some("x"));
        assert_eq!(of(&["bEARER   x "]).bearer(), Some("x"));
        for bad in [&["Bearer x", "Bearer x"][..], &["Basic x"], &["Bearer"], &[""], &[]] {
            assert_eq!(of(bad).bearer(), None, "{bad:?}");
        }
        assert!(matches!(of(&[]).presented(), PresentedCredential::Certificate));
        // No certificate stands in for a bad credential.
        for bad in [&["Bearer x", "Bearer x"][..], &["Basic x"], &[""]] {
            assert!(matches!(of(bad).presented(), PresentedCredential::ApiKey("")), "{bad:?}");
        }
        let latin_1 = Authorization::of([b"Bearer \xe9".as_slice()].into_iter());
        assert_eq!(latin_1, Authorization::Unreadable);
    }
}
