//! An endpoint: where a server is.

use std::{fmt, net::IpAddr};

use crate::{JetonError, address::check_address};

/// `https://host:port` or `http://host:port`, checked.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct EndpointUrl {
    host: String,
    port: u16,
    is_tls: bool,
}

impl EndpointUrl {
    /// Reads a text. The error does not repeat it: it may hold a password.
    pub(crate) fn parse(text: &str) -> Result<Self, JetonError> {
        let fault = |why: &str| {
            JetonError::endpoint_invalid(format!(
                "The endpoint is no address of a server: {why}. Write https://host:port."
            ))
        };
        check_address(text).map_err(fault)?;
        let (scheme, rest) = text.split_once("://").ok_or_else(|| fault("it has no scheme"))?;
        let authority = rest.trim_end_matches('/');
        let is_tls = scheme == "https";
        let usual = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => {
                (host, port.parse().map_err(|_| fault("its port is no number"))?)
            }
            _ => (authority, usual),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port, is_tls })
    }

    /// Reads several: at least one.
    pub(crate) fn parse_all(texts: &[String]) -> Result<Vec<Self>, JetonError> {
        if texts.is_empty() {
            let message = "No endpoint is given. Write https://host:port.";
            return Err(JetonError::endpoint_invalid(message));
        }
        texts.iter().map(|text| Self::parse(text)).collect()
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.is_tls
    }

    /// Returns whether nothing that is sent there leaves this machine.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.is_tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn an_endpoint_has_the_usual_port_of_its_scheme() {
        for (text, whole, is_loopback) in [
            ("https://jeton", "https://jeton:443", false),
            ("http://localhost", "http://localhost:80", true),
            ("http://[::1]:7070/", "http://[::1]:7070", true),
            ("https://[fd00::1]", "https://[fd00::1]:443", false),
            ("http://127.0.0.1:1", "http://127.0.0.1:1", true),
        ] {
            let found = EndpointUrl::parse(text).unwrap();
            assert_eq!((found.to_string().as_str(), found.is_loopback()), (whole, is_loopback), "{text}");
        }
        let refused = EndpointUrl::parse("http://u:hidden@h").unwrap_err();
        assert!(!refused.message().contains("hidden") && EndpointUrl::parse_all(&[]).is_err());
    }
}
