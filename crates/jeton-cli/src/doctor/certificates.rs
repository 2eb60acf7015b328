//! Doctor's checks of the certificates: the servers', and the client's own.

use jiff::{SignedDuration, Timestamp};

use crate::{
    doctor::{caller::SOON, check::Check},
    invocation::Cli,
    remote::{
        connect::{self, Identity, Listener},
        handshake::look,
        tls,
        tls_words::{Explained, explain},
    },
    term::time,
};
use jeton_io::certificate::Validity;

/// One certificate's result.
enum Look {
    Good(String),
    Doubtful(String),
    Bad(String),
    /// There was no answer in time.
    Late(String),
}

/// Checks the certificate of each listener, and the client's own.
pub async fn certificates(cli: &Cli<'_>, now: Timestamp) -> Check {
    let name = "certificates";
    let mut looks = Vec::new();
    for (listener, called) in [(Listener::Public, "public"), (Listener::Admin, "admin")] {
        // One that does not answer is waited for once.
        if looks.iter().any(|look| matches!(look, Look::Late(_))) {
            break;
        }
        // A missing endpoint was reported before.
        if let Ok(destination) = connect::destination(cli, listener, Identity::Anonymous) {
            for url in destination.urls() {
                looks.push(of_listener(called, url, destination.tls(), connect::timeout(cli), now).await);
                if looks.iter().any(|look| matches!(look, Look::Late(_))) {
                    break;
                }
            }
            if let (Listener::Public, Some(file)) = (listener, &destination.tls().certificate) {
                looks.push(match Validity::of_file(file) {
                    Ok(validity) => left(&format!("{}:", file.display()), validity, now),
                    Err(error) => Look::Bad(error.to_string()),
                });
            }
        }
    }
    let text = looks.iter().map(|look| match look {
        Look::Good(text) | Look::Doubtful(text) | Look::Bad(text) | Look::Late(text) => text.as_str(),
    });
    let mut texts: Vec<_> = text.collect();
    // Of several endpoints in plaintext one speaks for all.
    texts.dedup();
    let detail = texts.join("; ");
    if looks.iter().any(|look| matches!(look, Look::Bad(_) | Look::Late(_))) {
        return Check::fail(
            name,
            detail,
            "Renew the certificate, or correct --tls-ca, --tls-cert or the name in the endpoint.",
        );
    }
    if looks.iter().any(|look| matches!(look, Look::Doubtful(_))) {
        return Check::warn(
            name,
            detail,
            "Renew certificates that end soon: servers read them again by themselves. Plaintext needs a mesh that encrypts.",
        );
    }
    Check::ok(name, detail)
}

async fn of_listener(
    called: &str,
    url: &str,
    files: &tls::Files,
    timeout: std::time::Duration,
    now: Timestamp,
) -> Look {
    let Some(authority) = url.strip_prefix("https://") else {
        return if tls::is_exposed(url) {
            Look::Doubtful(format!("{called}: plaintext beyond this machine"))
        } else {
            Look::Good(format!("{called}: plaintext on loopback"))
        };
    };
    let host = tls::host(authority);
    // A path after the port is not part of the address.
    let place = authority.split('/').next().unwrap_or_default();
    let place = if place.len() > host.len() && !place.ends_with(']') {
        place.to_owned()
    } else {
        format!("{place}:443")
    };
    match tokio::time::timeout(timeout, look(host, &place, files.ca.as_deref())).await {
        Ok(Ok(shown)) => left(&format!("{called}: TLS {},", shown.version), shown.validity, now),
        Ok(Err(error)) => {
            let Explained { cause, advice } = explain(&error.to_string(), url);
            Look::Bad(format!("{called}: {cause}. {advice}"))
        }
        Err(_) => Look::Late(format!("{called}: no answer in time")),
    }
}

/// The time left of a certificate. Less than two weeks, or than a third of a short life, needs attention.
fn left(what: &str, validity: Validity, now: Timestamp) -> Look {
    let life = SignedDuration::from_secs(validity.not_after.since(validity.not_before));
    let end = Timestamp::from(validity.not_after);
    let left = end.duration_since(now);
    let text = format!("{what} ends {}", time::distance(end, now));
    let little = SOON.min(life.checked_div(3).unwrap_or(SOON));
    if left <= SignedDuration::ZERO {
        Look::Bad(format!("{what} ended {}", time::distance(end, now)))
    } else if left < little {
        Look::Doubtful(text)
    } else {
        Look::Good(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jeton_token::UnixSeconds;

    #[test]
    fn a_certificate_that_ends_soon_is_told_by_its_life() {
        let day = 86_400;
        let at = |life: i64, left: i64| {
            let validity =
                Validity { not_before: UnixSeconds::new(left - life), not_after: UnixSeconds::new(left) };
            match super::left("x", validity, Timestamp::UNIX_EPOCH) {
                Look::Good(_) => "good",
                Look::Doubtful(_) => "doubtful",
                Look::Bad(_) | Look::Late(_) => "bad",
            }
        };
        assert_eq!(at(90 * day, 20 * day), "good");
        assert_eq!(at(90 * day, 13 * day), "doubtful");
        assert_eq!(at(day, day / 2), "good", "short-lived ones are renewed by a machine");
        assert_eq!(at(day, day / 4), "doubtful");
        assert_eq!(at(day, -1), "bad");
    }
}
