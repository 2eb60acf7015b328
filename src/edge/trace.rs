//! The trace id of a call: W3C Trace Context section 3.2.

use http::{HeaderMap, HeaderName};

// Parsed once: a name given as text would be parsed at each look-up.
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The trace id of these headers, or an empty text.
#[must_use]
pub fn trace_id(headers: &HeaderMap) -> String {
    let traceparent = headers.get(&TRACEPARENT).and_then(|value| value.to_str().ok());
    let id = traceparent.and_then(|text| text.split('-').nth(1));
    id.filter(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_trace_id_is_taken_from_a_well_formed_header_alone() {
        let of = |text: &'static str| {
            trace_id(&HeaderMap::from_iter([(TRACEPARENT.clone(), HeaderValue::from_static(text))]))
        };
        let id = "0af7651916cd43dd8448eb211c80319c";
        assert_eq!(of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), id);
        for other in ["", "x", "00-0af765-b7ad6b7169203331-01", "00-zaf7651916cd43dd8448eb211c80319c-b7-01"] {
            assert_eq!(of(other), "", "{other}");
        }
        assert_eq!(trace_id(&HeaderMap::new()), "");
    }
}
