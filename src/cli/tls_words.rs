//! What TLS says of what went wrong, in the words of whoever has to mend it.

/// How rustls begins when it does not take a certificate.
const UNTRUSTED: &str = "invalid peer certificate";
/// A certificate that its own clients trust: an end entity's, not an authority's.
const GOOD_ONE: &str = "Make one that is a server's: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
                        -nodes -keyout tls.key -out tls.pem -days 90 -subj /CN=HOST -addext subjectAltName=DNS:HOST \
                        -addext basicConstraints=critical,CA:FALSE";

/// What is wrong, and what to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Explained {
    /// One clause.
    pub cause: String,
    /// One sentence.
    pub advice: String,
}

/// Of the end of the chain of causes, at this URL.
#[must_use]
pub fn explain(cause: &str, url: &str) -> Explained {
    let of = |cause: &str, advice: &str| Explained { cause: cause.to_owned(), advice: advice.to_owned() };
    if cause.contains("CaUsedAsEndEntity") {
        return of(
            "the server's certificate is that of an authority (CA:TRUE), which no server may show",
            &format!("{GOOD_ONE}."),
        );
    }
    if cause.contains("UnsupportedCertVersion") {
        return of(
            "the server's certificate is of X.509 version 1, which names no host",
            &format!("{GOOD_ONE}."),
        );
    }
    if cause.contains("InvalidContentType") {
        let plain = url.replacen("https://", "http://", 1);
        return of(
            "this server speaks plaintext",
            &format!("Use {plain}, or give the server a certificate."),
        );
    }
    if cause.starts_with(UNTRUSTED) {
        return of(cause, "Give its authority with --tls-ca, or correct the name.");
    }
    of(cause, "Is the server running, and the address right?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_of_tls_are_said_in_words() {
        let explain = |cause| explain(cause, "https://localhost:7070");
        let authority = explain("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))");
        assert!(
            authority.cause.contains("CA:TRUE") && authority.advice.contains("CA:FALSE"),
            "{authority:?}"
        );
        let plain = explain("received corrupt message of type InvalidContentType");
        assert!(
            plain.cause.contains("plaintext") && plain.advice.contains("http://localhost:7070"),
            "{plain:?}"
        );
        assert!(explain("invalid peer certificate: UnknownIssuer").advice.contains("--tls-ca"));
        assert!(explain("Connection refused (os error 111)").advice.contains("running"));
    }
}
