//! The part of a request's head that is kept while the request is answered.

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri, Version, header, uri::Authority};

/// A request with more headers than this keeps only those that are read here. By references to headers that were sent
/// before (RFC 7541), some hundred bytes expand to the greatest length of a head.
const HEADERS_MAX: usize = 24;
/// The same for a longer value, or a longer URI, of which the path is kept. Bytes.
const VALUE_BYTES_MAX: usize = 1_024;
/// The headers that are read.
static READ: [HeaderName; 14] = [
    header::ACCEPT,
    header::AUTHORIZATION,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::IF_NONE_MATCH,
    header::ORIGIN,
    header::TE,
    header::USER_AGENT,
    HeaderName::from_static("access-control-request-method"),
    HeaderName::from_static("grpc-accept-encoding"),
    HeaderName::from_static("grpc-encoding"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
];
/// A header that occurs more often than this is refused, however often it occurs.
const TIMES_MAX: usize = 2;

/// The answer to a request for which [`names_one_host`] is false.
pub const HOST_RULE: &str =
    "A request over HTTP/1.1 has exactly one Host header, which names a host (RFC 9112 section 3.2).";

/// Returns whether a request names its host as RFC 9112 section 3.2 demands: in one Host header, which may be absent but
/// over HTTP/1.1. Others on the way may take another of several for the true one.
#[must_use]
pub fn names_one_host<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => request.version() != Version::HTTP_11,
        (Some(host), None) => is_host(host.as_bytes()),
        (Some(_), Some(_)) => false,
    }
}

/// A host with or without a port. Empty, if the target of the request has none.
fn is_host(host: &[u8]) -> bool {
    host.is_empty() || (!host.contains(&b'@') && Authority::try_from(host).is_ok())
}

/// Removes headers that are not read, if there are many.
pub(super) fn slim<B>(request: &mut Request<B>) {
    let uri = request.uri();
    let query = uri.query().map_or(0, str::len);
    if query.saturating_add(uri.authority().map_or(0, |it| it.as_str().len())) > VALUE_BYTES_MAX
        && let Ok(path) = uri.path().parse::<Uri>()
    {
        *request.uri_mut() = path;
    }
    slim_headers(request.headers_mut());
}

fn slim_headers(headers: &mut HeaderMap) {
    let is_long = headers.values().any(|value| value.len() > VALUE_BYTES_MAX);
    if headers.len() <= HEADERS_MAX && !is_long {
        return;
    }
    let mut kept = HeaderMap::new();
    for name in &READ {
        for value in headers.get_all(name).iter().take(TIMES_MAX) {
            // A credential that is cut off is invalid, as one of that length is.
            let value = if value.len() > VALUE_BYTES_MAX {
                HeaderValue::from_static("too long")
            } else {
                value.clone()
            };
            kept.append(name, value);
        }
    }
    *headers = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e5_of_many_headers_those_stay_that_are_read() {
        let of = |count: u16| {
            let mut headers = HeaderMap::new();
            for place in 0..count {
                let name = HeaderName::try_from(format!("x-{place}")).unwrap_or(header::COOKIE);
                headers.append(name, HeaderValue::from(place));
                headers.append(header::IF_NONE_MATCH, HeaderValue::from(place));
            }
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer x"));
            slim_headers(&mut headers);
            headers
        };
        assert_eq!(of(5).len(), 11, "few stay as they are");
        let many = of(100);
        assert_eq!((many.len(), many.contains_key(header::AUTHORIZATION)), (3, true));
        // A header that occurs twice still occurs twice.
        assert_eq!(many.get_all(header::IF_NONE_MATCH).iter().count(), 2);
    }

    #[test]
    fn e8_a_host_is_named_once() {
        let names = |version: Version, hosts: &[&str]| {
            let request = Request::get("/").version(version);
            let request = hosts.iter().fold(request, |request, host| request.header(header::HOST, *host));
            request.body(()).is_ok_and(|request| names_one_host(&request))
        };
        for host in ["a", "a:80", "[::1]:80", "127.0.0.1", "", "a,b"] {
            assert!(names(Version::HTTP_11, &[host]) && names(Version::HTTP_2, &[host]), "{host}");
        }
        for host in ["a b", "u@a", "a/b", "a, b", "a:b:c", "http://a"] {
            assert!(!names(Version::HTTP_11, &[host]), "{host}");
        }
        assert!(!names(Version::HTTP_11, &[]) && !names(Version::HTTP_11, &["a", "a"]));
        assert!(names(Version::HTTP_10, &[]) && !names(Version::HTTP_10, &["a", "b"]));
        assert!(names(Version::HTTP_2, &[]) && !names(Version::HTTP_2, &["a", "b"]));
    }

    #[test]
    fn e15_what_is_long_in_a_head_is_not_kept() {
        let long = "x".repeat(2_000);
        let request = |uri: &str| {
            let request = Request::get(uri).header("x-a", &long).header(header::AUTHORIZATION, &long);
            request.header(header::TE, "trailers").body(())
        };
        let Ok(mut one) = request(&format!("http://h/path?{long}")) else { return };
        slim(&mut one);
        assert_eq!(one.uri(), "/path");
        assert_eq!(one.headers().len(), 2);
        assert!(one.headers().values().all(|value| value.len() < 10));
        let Ok(mut short) = request("http://h/path?a=b") else { return };
        slim(&mut short);
        assert_eq!(short.uri(), "http://h/path?a=b");
    }
}
