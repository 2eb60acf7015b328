//! TLS failures in the words of the person who has to correct them.

use jeton_io::Untrusted;

/// The fault, and advice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// One clause.
    pub cause: String,
    /// One sentence.
    pub advice: String,
}

/// Explains the end of the chain of errors, for this URL.
#[must_use]
pub fn explain(cause: &str, url: &str) -> Explained {
    let of = |cause: &str, advice: &str| Explained { cause: cause.to_owned(), advice: advice.to_owned() };
    if cause.contains("InvalidContentType") {
        let plain = url.replacen("https://", "http://", 1);
        return of(
            "this server speaks plaintext",
            &format!("Use {plain}, or give the server a certificate."),
        );
    }
    if let Some(untrusted) = Untrusted::read(cause) {
        let advice = untrusted.advice("--tls-ca", "--client-cert and --client-key");
        return of(&untrusted.to_string(), &sentence(&advice));
    }
    if cause.contains("UnexpectedEof") || cause.contains("tls handshake eof") {
        return of(
            "the server closed the connection before TLS had begun",
            "Is the port right? Where the server speaks plaintext, write http://.",
        );
    }
    if url.starts_with("http://") && !cause.contains("refused") {
        return of(
            cause,
            "Is the server running, and the address right? Where it speaks TLS, write https://.",
        );
    }
    of(cause, "Is the server running, and the address right?")
}

/// A clause, with a capital and a full stop.
fn sentence(clause: &str) -> String {
    let mut letters = clause.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_of_tls_are_said_in_words() {
        let explain = |cause| explain(cause, "https://localhost:7070");
        let authority = explain("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))");
        assert!(
            authority.cause.contains("CA:TRUE")
                && authority.advice.starts_with("Make one")
                && authority.advice.ends_with("CA:FALSE."),
            "{authority:?}"
        );
        let plain = explain("received corrupt message of type InvalidContentType");
        assert!(
            plain.cause.contains("plaintext") && plain.advice.contains("http://localhost:7070"),
            "{plain:?}"
        );
        assert!(explain("invalid peer certificate: UnknownIssuer").advice.contains("--tls-ca"));
        let eof = explain("tls handshake eof");
        assert!(eof.cause.contains("before TLS had begun"), "{eof:?}");
        let plain =
            super::explain("connection error detected: frame with invalid size", "http://localhost:7070");
        assert!(plain.advice.contains("https://"), "{plain:?}");
        assert!(explain("Connection refused (os error 111)").advice.contains("running"));
    }
}
