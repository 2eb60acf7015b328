//! URIs of http and https in one spelling (RFC 3986 sections 6.2.2 and 6.2.3).

use std::fmt;
use std::net::Ipv6Addr;

use crate::limits::URI_BYTES_MAX;

/// An absolute http or https URI without query and fragment, normalized: two that address the same resource by their
/// syntax and scheme are equal. RFC 9449 section 4.3 compares `htu` so.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HttpUri {
    text: String,
    is_https: bool,
}

impl HttpUri {
    /// Parses an absolute URI of at most 2048 bytes. Query and fragment are dropped. Refused are other schemes, user
    /// information, an empty host, percent-encoding in the host, and characters outside RFC 3986.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > URI_BYTES_MAX || !text.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        let (scheme, rest) = text.split_once("://")?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => ("http", 80),
            "https" => ("https", 443),
            _ => return None,
        };
        let rest = rest.split(['?', '#']).next()?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (host, port) = split_port(authority)?;
        let host = normal_host(host)?;
        let path = without_dot_segments(&normal_path(path)?);
        let port = match port {
            "" => default_port,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u16>().ok()?,
            _ => return None,
        };
        let port = if port == default_port { String::new() } else { format!(":{port}") };
        Some(Self { text: format!("{scheme}://{host}{port}{path}"), is_https: scheme == "https" })
    }

    /// The normalized text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns whether the scheme is https.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.is_https
    }
}

impl fmt::Display for HttpUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Host and port. A colon within brackets belongs to the address.
fn split_port(authority: &str) -> Option<(&str, &str)> {
    let end_of_host = match authority.find(']') {
        Some(at) => at.checked_add(1)?,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, rest) = authority.split_at_checked(end_of_host)?;
    if rest.is_empty() { Some((host, "")) } else { Some((host, rest.strip_prefix(':')?)) }
}

fn normal_host(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        return Some(format!("[{}]", inner.parse::<Ipv6Addr>().ok()?));
    }
    let is_allowed = |b: u8| is_unreserved(b) || is_sub_delimiter(b);
    (!host.is_empty() && host.bytes().all(is_allowed)).then(|| host.to_ascii_lowercase())
}

/// Percent-encoding in upper case, and none of characters that need none (RFC 3986 sections 6.2.2.1 and 6.2.2.2).
fn normal_path(path: &str) -> Option<String> {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let (high, low) = (char::from(bytes.next()?), char::from(bytes.next()?));
            let code = high.to_digit(16)?.checked_mul(16)?.checked_add(low.to_digit(16)?)?;
            let code = u8::try_from(code).ok()?;
            if is_unreserved(code) {
                out.push(char::from(code));
            } else {
                out.extend(['%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
            }
        } else if is_unreserved(byte) || is_sub_delimiter(byte) || matches!(byte, b':' | b'@' | b'/') {
            out.push(char::from(byte));
        } else {
            return None;
        }
    }
    Some(out)
}

/// RFC 3986 section 5.2.4, of a path that is empty or begins with a slash.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_dots = matches!(segment, "." | "..");
        if segment == ".." {
            kept.pop();
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

fn is_unreserved(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~')
}

fn is_sub_delimiter(b: u8) -> bool {
    matches!(b, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}
