//! `--issuer`: the `iss` of every token.

use jeton_token::text;

/// Returns the rule that an issuer breaks, if it is none, or if some of its readers would take it for another.
pub(super) fn check_issuer(issuer: &str) -> Result<(), String> {
    text::check_issuer(issuer).map_err(|rule| format!("it is {rule}"))?;
    let authority = issuer.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split_once('/').map_or(authority, |(authority, _)| authority);
    let port = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    let host = port.map_or(authority, |(host, _)| host);
    let rules = [
        (
            issuer.starts_with("https://") || issuer.starts_with("http://"),
            "it is a URL that begins with https:// (or http://, on loopback)",
        ),
        (!issuer.contains(['?', '#']), "it has no query and no fragment (RFC 8414 section 2)"),
        (!issuer.contains(char::is_whitespace), "it has no white space"),
        // Verifiers compare it byte by byte: one more slash is another issuer.
        (!issuer.ends_with('/'), "leave out the slash at its end"),
        (!authority.contains('@'), "it names no user"),
        (!host.is_empty(), "it names no host"),
    ];
    match rules.into_iter().find(|(good, _)| !good) {
        Some((_, rule)) => Err(rule.to_owned()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e14_an_issuer_is_a_url_of_one_spelling() {
        assert!(check_issuer("https://tokens.example").is_ok());
        for good in ["http://127.0.0.1:7070", "http://[::1]:7070", "https://tokens.example:8443/eu"] {
            assert!(check_issuer(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "tokens.example",
            "https://a?b",
            "https://a#b",
            "https://a/",
            "https://a/eu/",
            "https://",
            "https://:443",
            "https:///eu",
            "https://user@a",
            "https://user:secret@a/eu",
            "https://a b",
            " https://a",
            "https://a\u{a0}",
        ] {
            let refused = check_issuer(bad);
            assert!(refused.is_err_and(|said| !said.contains("secret")), "{bad}");
        }
    }
}
