//! What TLS says of what went wrong, in the words of whoever has to mend it.

/// How rustls begins when it does not take a certificate.
const UNTRUSTED: &str = "invalid peer certificate";
/// Before what the other side has to complain of.
const ALERT: &str = "received fatal alert: ";
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
    if let Some(why) = cause.strip_prefix(UNTRUSTED) {
        return untrusted(why, cause);
    }
    if let Some(alert) = cause.split_once(ALERT).map(|(_, alert)| alert) {
        return of(
            &format!("the server does not accept this side of the connection (TLS alert {alert})"),
            "Give a client certificate that its --client-ca has signed with --client-cert and --client-key, or none.",
        );
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

/// A certificate that is not taken, by rustls' word for why.
fn untrusted(why: &str, whole: &str) -> Explained {
    let of = |cause: &str, advice: &str| Explained { cause: cause.to_owned(), advice: advice.to_owned() };
    let is = |word: &str| why.contains(word);
    if is("UnknownIssuer") {
        return of(
            "the server's certificate is signed by no authority that is known here (UnknownIssuer)",
            "Give its authority with --tls-ca.",
        );
    }
    if is("NotValidForName") || is("not valid for name") {
        return of(
            "the server's certificate is for another name than the one in the URL",
            "Write a name that stands in its subjectAltName, or have a certificate made for this one.",
        );
    }
    if is("NotValidYet") || is("not valid yet") {
        return of(
            "the server's certificate is not good yet",
            "Set the clock here right, or wait until it is good.",
        );
    }
    if is("Expired") || is("expired") {
        return of(
            "the server's certificate has expired",
            "Have it renewed; where it was, set the clock here right.",
        );
    }
    of(whole, "Give its authority with --tls-ca, or correct the name.")
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
        for (cause, word) in [
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
                "another name",
            ),
            ("invalid peer certificate: NotValidForName", "another name"),
            ("invalid peer certificate: certificate expired: verification time 7 (UNIX)", "has expired"),
            ("invalid peer certificate: certificate not valid yet: verification time 7", "not good yet"),
            ("received fatal alert: UnknownCA", "TLS alert UnknownCA"),
            ("tls handshake eof", "before TLS had begun"),
        ] {
            assert!(explain(cause).cause.contains(word), "{cause}");
        }
        let plain =
            super::explain("connection error detected: frame with invalid size", "http://localhost:7070");
        assert!(plain.advice.contains("https://"), "{plain:?}");
        assert!(explain("Connection refused (os error 111)").advice.contains("running"));
    }
}
