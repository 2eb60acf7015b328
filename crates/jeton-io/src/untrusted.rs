//! Refusals of certificates by TLS, in the words of the person who has to correct them.

use std::fmt;

/// The beginning of rustls' text if it refuses a certificate.
const UNTRUSTED: &str = "invalid peer certificate";
/// Stands before the complaint of the other side.
const ALERT: &str = "received fatal alert: ";
/// A certificate that its own clients trust: an end entity's, not an authority's.
const GOOD_ONE: &str = "make one that is a server's: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
                        -nodes -keyout tls.key -out tls.pem -days 90 -subj /CN=HOST -addext subjectAltName=DNS:HOST \
                        -addext basicConstraints=critical,CA:FALSE";

/// The reason why a connection failed because of certificates; none passes by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Untrusted {
    /// The server presents an authority's certificate.
    Authority,
    /// A certificate of X.509 version 1.
    Version1,
    /// Signed by an unknown authority.
    UnknownIssuer,
    /// For another host.
    OtherName,
    /// Its time has not come.
    NotYet,
    /// Its time is over.
    Expired,
    /// For another use than a server's.
    OtherUse,
    /// Something else, in the library's words.
    Other(String),
    /// The server refuses this side's certificate, or requires one.
    Alert(String),
}

impl Untrusted {
    /// Parses rustls' text. `None` if it is not about certificates.
    #[must_use]
    pub fn read(cause: &str) -> Option<Self> {
        if let Some((_, alert)) = cause.split_once(ALERT) {
            return Some(Self::Alert(alert.to_owned()));
        }
        let (_, why) = cause.split_once(UNTRUSTED)?;
        let kinds = [
            (["CaUsedAsEndEntity", "CaUsedAsEndEntity"], Self::Authority),
            (["UnsupportedCertVersion", "UnsupportedCertVersion"], Self::Version1),
            (["UnknownIssuer", "BadSignature"], Self::UnknownIssuer),
            (["NotValidForName", "not valid for name"], Self::OtherName),
            (["NotValidYet", "not valid yet"], Self::NotYet),
            (["Expired", "expired"], Self::Expired),
            (["InvalidPurpose", "extended key usage"], Self::OtherUse),
        ];
        let found = kinds.into_iter().find(|(words, _)| words.iter().any(|word| why.contains(word)));
        Some(
            found
                .map_or_else(|| Self::Other(why.trim_start_matches([':', ' ']).to_owned()), |(_, kind)| kind),
        )
    }

    /// Advice in one clause, naming the options for the authorities and the own certificate.
    #[must_use]
    pub fn advice(&self, authority: &str, identity: &str) -> String {
        match self {
            Self::Authority | Self::Version1 => GOOD_ONE.to_owned(),
            Self::UnknownIssuer => format!("give its authority with {authority}"),
            Self::OtherName => {
                "write a name that stands in its subjectAltName, or have a certificate made for this one"
                    .to_owned()
            }
            Self::NotYet => "set the clock here right, or wait until it is good".to_owned(),
            Self::Expired => "have it renewed; where it was, set the clock here right".to_owned(),
            Self::OtherUse => "have one made with extendedKeyUsage=serverAuth".to_owned(),
            Self::Other(_) => format!("give its authority with {authority}, or correct the name"),
            Self::Alert(_) => {
                format!(
                    "give a certificate that the server's authority for clients has signed with {identity}, or none"
                )
            }
        }
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => {
                "the server's certificate is that of an authority (CA:TRUE), which no server may show"
            }
            Self::Version1 => "the server's certificate is of X.509 version 1, which names no host",
            Self::UnknownIssuer => "the server's certificate is signed by no authority that is known here",
            Self::OtherName => "the server's certificate is for another name than the one in the URL",
            Self::NotYet => "the server's certificate is not good yet",
            Self::Expired => "the server's certificate has expired",
            Self::OtherUse => "the server's certificate is not made for a server",
            Self::Other(why) => return write!(f, "the server's certificate is not accepted ({why})"),
            Self::Alert(alert) => {
                return write!(
                    f,
                    "the server does not accept this side of the connection (TLS alert {alert})"
                );
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_says_of_certificates_is_said_in_words() {
        for (cause, words, advice) in [
            ("invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))", "(CA:TRUE)", "CA:FALSE"),
            ("invalid peer certificate: UnknownIssuer", "no authority that is known", "with sslrootcert"),
            ("invalid peer certificate: BadSignature", "no authority that is known", "with sslrootcert"),
            (
                "invalid peer certificate: certificate not valid for name \"a\"; certificate is only valid for b",
                "another name",
                "subjectAltName",
            ),
            ("invalid peer certificate: NotValidForName", "another name", "subjectAltName"),
            (
                "invalid peer certificate: certificate expired: verification time 7 (UNIX)",
                "has expired",
                "renewed",
            ),
            (
                "invalid peer certificate: certificate not valid yet: verification time 7",
                "not good yet",
                "clock",
            ),
            ("invalid peer certificate: InvalidPurpose", "not made for a server", "serverAuth"),
            ("invalid peer certificate: Revoked", "(Revoked)", "with sslrootcert"),
            ("received fatal alert: UnknownCA", "TLS alert UnknownCA", "with sslcert"),
        ] {
            let read = Untrusted::read(cause);
            let said = read.map(|it| (it.to_string(), it.advice("sslrootcert", "sslcert and sslkey")));
            assert!(
                said.as_ref().is_some_and(|(is, to_do)| is.contains(words) && to_do.contains(advice)),
                "{cause}: {said:?}"
            );
        }
        assert_eq!(Untrusted::read("tls handshake eof"), None);
    }
}
