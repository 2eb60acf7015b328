//! The form of a token request, as a request of Issue or Refresh.

use serde_json::Map;

use crate::{
    authority::{Invalid, IssueRequest, RefreshRequest},
    http::{answer::HttpRefusal, form::Form},
    mint::Ask,
    state::{Client, FAMILY_ANY},
};
use jeton_token::Thumbprint;

/// The type of a token of this issuer (RFC 8693 section 3).
pub(super) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The same by its form: every access token is a JWT.
pub(super) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// `grant_type`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) enum Grant {
    /// RFC 6749 section 4.4.
    ClientCredentials,
    /// RFC 6749 section 6.
    RefreshToken,
    /// RFC 7523 section 2.1.
    JwtBearer,
    /// RFC 8693 section 2.1.
    TokenExchange,
}

impl Grant {
    /// Every grant, with its name.
    pub(in crate::http) const ALL: [(Self, &str); 4] = [
        (Self::ClientCredentials, "client_credentials"),
        (Self::RefreshToken, "refresh_token"),
        (Self::JwtBearer, "urn:ietf:params:oauth:grant-type:jwt-bearer"),
        (Self::TokenExchange, "urn:ietf:params:oauth:grant-type:token-exchange"),
    ];

    /// The parameter by which a caller may be known that authenticates in no other way.
    pub(in crate::http) fn assertion(form: &Form) -> Option<&str> {
        match Self::of(form).ok()? {
            Self::ClientCredentials | Self::RefreshToken => None,
            Self::JwtBearer => form.get("assertion"),
            Self::TokenExchange => form.get("subject_token"),
        }
    }

    fn of(form: &Form) -> Result<Self, HttpRefusal> {
        let Some(asked) = form.get("grant_type") else {
            return Err(HttpRefusal::invalid("The parameter grant_type is missing. Send it."));
        };
        let known = Self::ALL.iter().find(|(_, name)| *name == asked);
        known.map(|(grant, _)| *grant).ok_or_else(|| {
            HttpRefusal::bad(
                "unsupported_grant_type",
                "This grant_type is not served. The metadata of this server lists those that are.",
            )
        })
    }
}

/// The parameters that all grants share.
#[derive(Debug)]
pub(super) struct Parameters {
    pub(super) grant: Grant,
    scopes: Vec<String>,
    ask: Ask,
}

impl Parameters {
    pub(super) fn read(form: &Form) -> Result<Self, HttpRefusal> {
        let grant = Grant::of(form)?;
        if form.get("requested_token_type").is_some_and(|asked| ![ACCESS_TOKEN, JWT].contains(&asked)) {
            return Err(HttpRefusal::invalid(
                "This requested_token_type is not issued. Ask for an access token, or leave it out.",
            ));
        }
        // RFC 6749 section 3.3: separated by spaces.
        let scopes = form.get("scope").unwrap_or_default().split(' ').filter(|scope| !scope.is_empty());
        Ok(Self { grant, scopes: scopes.map(str::to_owned).collect(), ask: ask_of(form)? })
    }

    pub(super) fn scopes(&self) -> &[String] {
        &self.scopes
    }

    /// A token of the client for itself (RFC 9068 section 2.2), bound to the certificate of its connection if it asks
    /// for that.
    pub(super) fn into_issue(
        self,
        form: &Form,
        client: &Client,
        certificate: Option<Thumbprint>,
    ) -> Result<IssueRequest, Invalid> {
        let audiences = audiences_of(form, client)?;
        self.into_issue_for(form, audiences, client, certificate)
    }

    /// The same for these audiences.
    pub(super) fn into_issue_for(
        self,
        form: &Form,
        audiences: Vec<String>,
        client: &Client,
        certificate: Option<Thumbprint>,
    ) -> Result<IssueRequest, Invalid> {
        let is_bound = flag(form, "certificate_bound")?;
        if is_bound && certificate.is_none() {
            let rule = "false, or absent, on a connection without a client certificate";
            return Err(Invalid::field("certificate_bound", rule));
        }
        Ok(IssueRequest {
            subject: client.own_subject().to_owned(),
            audiences,
            scopes: self.scopes,
            claims: Map::new(),
            ask: self.ask,
            refreshable: flag(form, "refreshable")?,
            certificate_thumbprint: certificate.filter(|_| is_bound),
            identity_provider: String::new(),
            actor: None,
            latest_end: None,
        })
    }

    pub(super) fn into_refresh(self, form: &Form) -> Result<RefreshRequest, Invalid> {
        let refresh_token = form.get("refresh_token").ok_or_else(|| Invalid::required("refresh_token"))?;
        Ok(RefreshRequest { refresh_token: refresh_token.to_owned(), scopes: self.scopes, ask: self.ask })
    }
}

/// The audiences that are named as `audience` (RFC 8693 section 2.1) or `resource` (RFC 8707 section 2), each of which
/// may be there several times; without any, the only one that the client is registered for.
fn audiences_of(form: &Form, client: &Client) -> Result<Vec<String>, Invalid> {
    let mut audiences: Vec<String> = form.all("audience").map(str::to_owned).collect();
    for resource in form.all("resource") {
        if !is_absolute_uri(resource) {
            return Err(Invalid::field("resource", "an absolute URI without a fragment"));
        }
        audiences.push(resource.to_owned());
    }
    if !audiences.is_empty() {
        return Ok(audiences);
    }
    match client.audiences.as_slice() {
        [only] if only != FAMILY_ANY => Ok(vec![only.clone()]),
        _ => Err(Invalid::field(
            "audience",
            "given, or resource: the client is not registered for exactly one",
        )),
    }
}

/// RFC 3986 section 4.3.
fn is_absolute_uri(text: &str) -> bool {
    !text.contains('#')
        && text.contains(':')
        && text.parse::<http::Uri>().is_ok_and(|uri| uri.scheme().is_some())
        || is_opaque_uri(text)
}

/// A URI without an authority, as `urn:example:orders`.
fn is_opaque_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let mut letters = scheme.bytes();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|it| it.is_ascii_alphanumeric() || b"+-.".contains(&it))
        && !rest.is_empty()
        && rest.bytes().all(|it| it.is_ascii_graphic() && it != b'#')
}

/// Our parameter `ttl`: whole seconds.
fn ask_of(form: &Form) -> Result<Ask, HttpRefusal> {
    let Some(text) = form.get("ttl") else { return Ok(Ask::Default) };
    let digits = text.len() <= 18 && text.bytes().all(|digit| digit.is_ascii_digit());
    match text.parse::<i64>() {
        Ok(seconds) if digits => Ok(Ask::Ttl { seconds, nanos: 0 }),
        _ => Err(Invalid::field("ttl", "a whole number of seconds").into()),
    }
}

/// One of our parameters that is true or false.
fn flag(form: &Form, name: &str) -> Result<bool, Invalid> {
    match form.get(name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Invalid::field(name, "true or false")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o3_a_resource_is_an_absolute_uri_without_a_fragment() {
        for good in
            ["https://api.example/", "https://api.example/a?b=c", "urn:example:orders", "spiffe://a/b"]
        {
            assert!(is_absolute_uri(good), "{good}");
        }
        for bad in [
            "",
            "orders",
            "/orders",
            "//api.example",
            "https://api.example/#a",
            "urn:",
            ":a",
            "1a:b",
            "a b:c",
        ] {
            assert!(!is_absolute_uri(bad), "{bad}");
        }
    }
}
