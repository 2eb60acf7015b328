//! `--issuer`: what every token says of where it comes from.

use anyhow::{bail, ensure};

use crate::token::text;

/// Refuses what is no issuer, or would be taken for another one by half of its readers.
pub(super) fn check_issuer(issuer: &str) -> anyhow::Result<()> {
    if let Err(rule) = text::check_issuer(issuer) {
        bail!("--issuer is not valid: it is {rule}");
    }
    ensure!(
        issuer.starts_with("https://") || issuer.starts_with("http://"),
        "--issuer is not valid: it is a URL that begins with https:// (or http://, on loopback)"
    );
    ensure!(
        !issuer.contains(['?', '#']),
        "--issuer is not valid: it has no query and no fragment (RFC 8414 section 2)"
    );
    ensure!(!issuer.contains(char::is_whitespace), "--issuer is not valid: it has no white space");
    // Compared byte by byte by whoever verifies a token: one more slash is another issuer.
    ensure!(!issuer.ends_with('/'), "--issuer is not valid: leave out the slash at its end");
    let authority = issuer.split_once("://").map_or("", |(_, rest)| rest);
    let authority = authority.split_once('/').map_or(authority, |(authority, _)| authority);
    ensure!(!authority.contains('@'), "--issuer is not valid: it names no user");
    let host = authority.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    ensure!(!host.map_or(authority, |(host, _)| host).is_empty(), "--issuer is not valid: it names no host");
    Ok(())
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
            let refused = check_issuer(bad).map_err(|error| error.to_string());
            assert!(refused.is_err_and(|said| !said.contains("secret")), "{bad}");
        }
    }
}
