//! The `typ` of a token: what it was made for (RFC 7515 section 4.1.9, RFC 8725 section 3.11).

use crate::refused::Refused;

/// The `typ` values that are accepted. Media types are compared without regard to case, and `application/` may be left
/// out or be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Typ<'a> {
    /// No `typ`, `JWT` or `JOSE`, as ordinary tokens have; or one of these, for instance `at+jwt` where access tokens of
    /// others are taken (RFC 9068), or `client-authentication+jwt`.
    OrdinaryOr(&'a [&'a str]),
    /// This one alone, for instance [`ID_JAG`](Self::ID_JAG).
    Only(&'a str),
}

impl Typ<'static> {
    /// No `typ`, `JWT` or `JOSE`: tokens of Kubernetes, SPIFFE and CI systems. An access token is none of them.
    pub const ORDINARY: Self = Self::OrdinaryOr(&[]);
    /// An identity assertion JWT authorization grant (draft-ietf-oauth-identity-assertion-authz-grant).
    pub const ID_JAG: Self = Self::Only("oauth-id-jag+jwt");
    /// A DPoP proof (RFC 9449 section 4.2).
    pub const DPOP: Self = Self::Only("dpop+jwt");
}

impl Typ<'_> {
    pub(crate) fn check(self, typ: Option<&str>) -> Result<(), Refused> {
        let typ = typ.map(media_type);
        let is = |name: &str| typ.is_some_and(|it| it.eq_ignore_ascii_case(media_type(name)));
        let good = match self {
            Self::OrdinaryOr(others) => {
                typ.is_none() || is("JWT") || is("JOSE") || others.iter().any(|it| is(it))
            }
            Self::Only(one) => is(one),
        };
        if good { Ok(()) } else { Err(Refused::WrongType) }
    }
}

/// The part that distinguishes: `application/` is implied where no other slash is.
fn media_type(text: &str) -> &str {
    const IMPLIED: &str = "application/";
    match text.split_at_checked(IMPLIED.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(IMPLIED) && !rest.contains('/') => rest,
        _ => text,
    }
}
