//! The form of a trusted issuer's registration.

use std::{collections::HashSet, net::IpAddr};

use http::Uri;

use crate::{
    authority::Invalid,
    state::{IssuerRegistration, RegisteredKeys, RegisteredTest},
};
use jeton_token::{SpiffeId, text};

/// Begins a trust domain.
const SPIFFE: &str = "spiffe://";
/// The most accepted audiences.
const AUDIENCES_MAX: usize = 16;
/// The longest URI or path, bytes.
const URI_BYTES_MAX: usize = 1_024;
/// The greatest age of an assertion, seconds: one day. A Kubernetes node may serve a token for as long.
const MAX_AGE_MAX_S: i64 = 86_400;
/// The longest key set that is written here, bytes.
const STATIC_BYTES_MAX: usize = 32 * 1024;

/// Checks what its parts do not check themselves. `own`: the issuer of this jeton.
pub(in crate::authority) fn check_registration(
    registration: &IssuerRegistration,
    own: &str,
) -> Result<(), Invalid> {
    text::check_display_name(&registration.display_name)
        .map_err(|rule| Invalid::field("issuer.display_name", rule))?;
    if registration.issuer.is_empty() {
        return Err(Invalid::required("issuer.issuer"));
    }
    text::check_issuer(&registration.issuer).map_err(|rule| Invalid::field("issuer.issuer", rule))?;
    if registration.issuer == own {
        return Err(Invalid::field(
            "issuer.issuer",
            "another than this jeton's own: its tokens are no assertions",
        ));
    }
    check_no_credentials(registration)?;
    let is_spiffe = registration.issuer.starts_with(SPIFFE);
    // A trust domain alone is no SPIFFE ID; with a path it would be.
    let is_domain =
        |domain: &str| !domain.contains('/') && SpiffeId::parse(&format!("{SPIFFE}{domain}/x")).is_ok();
    if registration.issuer.strip_prefix(SPIFFE).is_some_and(|domain| !is_domain(domain)) {
        return Err(Invalid::field("issuer.issuer", "spiffe://trust-domain, without a path"));
    }
    check_source(registration, is_spiffe)?;
    check_audiences(&registration.audiences, own)?;
    if !(1..=MAX_AGE_MAX_S).contains(&registration.max_age_s) {
        return Err(Invalid::field("issuer.max_age", format!("1 to {MAX_AGE_MAX_S} s; unset: 3600 s")));
    }
    Ok(())
}

/// What is shown to administrators holds no credential (E26).
fn check_no_credentials(registration: &IssuerRegistration) -> Result<(), Invalid> {
    let check = |field: String, text: &str| {
        text::check_no_credential(text).map_err(|rule| Invalid::field(field, rule))
    };
    check("issuer.issuer".to_owned(), &registration.issuer)?;
    match &registration.key_source {
        RegisteredKeys::JwksUri(uri) => check("issuer.jwks_uri".to_owned(), uri)?,
        RegisteredKeys::SpiffeBundleUri(uri) => check("issuer.spiffe_bundle_uri".to_owned(), uri)?,
        RegisteredKeys::None
        | RegisteredKeys::OidcDiscovery
        | RegisteredKeys::StaticJwks(_)
        | RegisteredKeys::SpiffeBundleFile(_) => {}
    }
    for (index, rule) in registration.rules.iter().enumerate() {
        check(format!("issuer.rules[{index}]"), &rule.subject)?;
        for condition in &rule.conditions {
            let (RegisteredTest::Exact(text) | RegisteredTest::Prefix(text)) = &condition.test;
            check(format!("issuer.rules[{index}]"), text)?;
        }
    }
    Ok(())
}

fn check_source(registration: &IssuerRegistration, is_spiffe: bool) -> Result<(), Invalid> {
    const RULE: &str = "an https URI, or http of this machine, without user info and fragment";
    match &registration.key_source {
        RegisteredKeys::None => Err(Invalid::required("issuer.key_source")),
        RegisteredKeys::JwksUri(uri) if !is_fetched(uri) => Err(Invalid::field("issuer.jwks_uri", RULE)),
        RegisteredKeys::SpiffeBundleUri(uri) if !is_fetched(uri) => {
            Err(Invalid::field("issuer.spiffe_bundle_uri", RULE))
        }
        RegisteredKeys::OidcDiscovery if is_spiffe || !is_fetched(&registration.issuer) => {
            Err(Invalid::field(
                "issuer.oidc_discovery",
                "with an issuer that is an https URI, or http of this machine",
            ))
        }
        RegisteredKeys::SpiffeBundleFile(path)
            if !path.is_absolute() || path.as_os_str().len() > URI_BYTES_MAX =>
        {
            Err(Invalid::field("issuer.spiffe_bundle_file", "an absolute path on the servers"))
        }
        RegisteredKeys::StaticJwks(keys) if keys.len() > STATIC_BYTES_MAX => {
            Err(Invalid::field("issuer.static_jwks", format!("at most {STATIC_BYTES_MAX} bytes")))
        }
        RegisteredKeys::SpiffeBundleUri(_) | RegisteredKeys::SpiffeBundleFile(_) if !is_spiffe => Err(
            Invalid::field("issuer.key_source", "no SPIFFE bundle, for an issuer that is no trust domain"),
        ),
        RegisteredKeys::JwksUri(_)
        | RegisteredKeys::SpiffeBundleUri(_)
        | RegisteredKeys::OidcDiscovery
        | RegisteredKeys::SpiffeBundleFile(_)
        | RegisteredKeys::StaticJwks(_) => Ok(()),
    }
}

fn check_audiences(audiences: &[String], own: &str) -> Result<(), Invalid> {
    if audiences.len() > AUDIENCES_MAX {
        return Err(Invalid::field("issuer.audiences", format!("at most {AUDIENCES_MAX} of them")));
    }
    let mut seen = HashSet::new();
    for (index, audience) in audiences.iter().enumerate() {
        let field = || format!("issuer.audiences[{index}]");
        // An `aud` of others may be anything that our own issuer may be.
        text::check_issuer(audience).map_err(|_| Invalid::field(field(), format!("a text as in {own}")))?;
        if !seen.insert(audience) {
            return Err(Invalid::field(field(), "another than those before it"));
        }
    }
    Ok(())
}

/// Returns whether documents are fetched from this URI.
fn is_fetched(text: &str) -> bool {
    let Ok(uri) = text.parse::<Uri>() else { return false };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let is_clean = !authority.as_str().contains('@') && !text.contains('#') && text.len() <= URI_BYTES_MAX;
    is_clean && !host.is_empty() && (scheme == "https" || (scheme == "http" && is_here))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c10_documents_are_fetched_over_https_or_from_this_machine() {
        for good in
            ["https://a.example/keys?x", "http://127.0.0.1:8080/", "http://localhost/keys", "http://[::1]/"]
        {
            assert!(is_fetched(good), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "http://a.example/",
            "https://u:p@a.example/",
            "https://a.example/#x",
            "ftp://a/",
            "spiffe://a",
            "/keys",
        ] {
            assert!(!is_fetched(bad), "{bad}");
        }
    }
}
