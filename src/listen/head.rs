//! The head of a request: what is kept of it while it is answered.

use http::{HeaderMap, HeaderName, header};

/// A request with more headers than this keeps those alone that something here reads. By references to headers that were
/// sent before (RFC 7541), some hundred bytes stand for as much as a head may have.
const HEADERS_MAX: usize = 24;
/// What is read of a request's head.
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
/// One that is there more often than this is there too often, however often that is.
const TIMES_MAX: usize = 2;

/// Takes away what nothing reads, where there is much.
pub(super) fn slim(headers: &mut HeaderMap) {
    if headers.len() <= HEADERS_MAX {
        return;
    }
    let mut kept = HeaderMap::new();
    for name in &READ {
        for value in headers.get_all(name).iter().take(TIMES_MAX) {
            kept.append(name, value.clone());
        }
    }
    *headers = kept;
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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
            slim(&mut headers);
            headers
        };
        assert_eq!(of(5).len(), 11, "few stay as they are");
        let many = of(100);
        assert_eq!((many.len(), many.contains_key(header::AUTHORIZATION)), (3, true));
        // What is there twice is still there twice.
        assert_eq!(many.get_all(header::IF_NONE_MATCH).iter().count(), 2);
    }
}
