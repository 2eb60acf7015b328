//! `envoy.service.auth.v3.Authorization`: Envoy asks whether a request may pass, by the token that it bears. A request
//! with a good token passes with headers that say whose it is, and that nobody else can have set.

use std::collections::HashMap;

use prost_types::{ListValue, Struct, Value, value::Kind};
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tonic::{Code, Request, Response, Status};

use crate::{
    authority::BearerRequest,
    edge::{self, Origin},
    proto::envoy::{
        AttributeContext, CheckRequest, CheckResponse, CheckStatus, DeniedHttpResponse, HeaderValue,
        HeaderValueOption, HttpStatus, OkHttpResponse, authorization_server::Authorization,
        check_response::HttpResponse, header_value_option::HeaderAppendAction,
    },
    rpc::Context,
    state::{self, Verdict},
};
use jeton_proto::json;
use jeton_token::{Thumbprint, UnixSeconds, Verified};

/// Headers that a request gets when it passes. A header without a value is removed, whoever sent it.
const SUBJECT: &str = "x-jeton-subject";
const CLIENT_ID: &str = "x-jeton-client-id";
const JTI: &str = "x-jeton-jti";
const SESSION_ID: &str = "x-jeton-session-id";
const SCOPE: &str = "x-jeton-scope";
/// Keys of the route's `context_extensions`: names, separated by spaces.
const AUDIENCES_ASKED: &str = "audiences";
const SCOPES_ASKED: &str = "scopes";

const UNAUTHORIZED: i32 = 401;
const FORBIDDEN: i32 = 403;

pub(in crate::rpc) struct ExtAuthzRpc(pub(in crate::rpc) Context);

#[tonic::async_trait]
impl Authorization for ExtAuthzRpc {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let admission = Origin::of(request.extensions())?.again(&self.0.authority).await?;
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let Some(token) = bearer(&attributes) else {
            // RFC 6750 section 3.1: without a token, no error code.
            return Ok(Response::new(denied(UNAUTHORIZED, r#"Bearer realm="jeton""#.to_owned())));
        };
        let asked = |key| names(&attributes.context_extensions, key);
        let request = BearerRequest {
            token,
            audiences: asked(AUDIENCES_ASKED),
            scopes: asked(SCOPES_ASKED),
            certificate_thumbprint: thumbprint(&attributes),
        };
        let verdict = edge::judge_bearer(&self.0.authority, admission, &request).await?;
        Ok(Response::new(answer(&verdict, &request)))
    }
}

/// The one bearer token of the request (RFC 6750 section 2.1). Envoy reports the headers in one of two ways
/// (`encode_raw_headers`).
fn bearer(attributes: &AttributeContext) -> Option<String> {
    let http = attributes.request.as_ref()?.http.as_ref()?;
    let is_it = |name: &str| name.eq_ignore_ascii_case("authorization");
    let texts = http.headers.iter().filter(|(name, _)| is_it(name)).map(|(_, text)| text.as_bytes());
    let raw = http.header_map.iter().flat_map(|map| &map.headers).filter(|header| is_it(&header.key));
    let raw =
        raw.map(|it| if it.raw_value.is_empty() { it.value.as_bytes() } else { it.raw_value.as_slice() });
    edge::Authorization::of(texts.chain(raw)).bearer().map(str::to_owned)
}

fn names(extensions: &HashMap<String, String>, key: &str) -> Vec<String> {
    extensions.get(key).into_iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect()
}

/// The thumbprint of the certificate that the request's sender presented to Envoy, which passes it on as URL-encoded
/// PEM. An unreadable certificate counts as none.
fn thumbprint(attributes: &AttributeContext) -> Option<Thumbprint> {
    let encoded = &attributes.source.as_ref()?.certificate;
    let pem = percent_decoded(encoded)?;
    let der = CertificateDer::from_pem_slice(&pem).ok()?;
    Some(Thumbprint::of_certificate(&der))
}

fn answer(verdict: &Verdict, request: &BearerRequest) -> CheckResponse {
    match (verdict.status, &verdict.token) {
        (state::Status::Active, Some(token)) => passed(token),
        (state::Status::MissingScope, _) => denied(
            FORBIDDEN,
            format!(
                r#"Bearer realm="jeton", error="insufficient_scope", scope="{}""#,
                request.scopes.join(" ")
            ),
        ),
        _ => denied(UNAUTHORIZED, r#"Bearer realm="jeton", error="invalid_token""#.to_owned()),
    }
}

fn passed(token: &Verified) -> CheckResponse {
    let said = [
        (SUBJECT, Some(token.subject().to_owned())),
        (CLIENT_ID, Some(token.client_id().to_owned())),
        (JTI, Some(token.jti.to_string())),
        (SESSION_ID, token.session_id.map(|id| id.to_string())),
        (SCOPE, Some(token.scope()).filter(|scope| !scope.is_empty()).map(str::to_owned)),
    ];
    let mut ok = OkHttpResponse::default();
    for (name, value) in said {
        match value {
            Some(value) => ok.headers.push(header(name, &value)),
            None => ok.headers_to_remove.push(name.to_owned()),
        }
    }
    CheckResponse {
        status: Some(CheckStatus { code: Code::Ok.into() }),
        dynamic_metadata: Some(metadata(token)),
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

fn denied(status: i32, challenge: String) -> CheckResponse {
    let code = if status == FORBIDDEN { Code::PermissionDenied } else { Code::Unauthenticated };
    CheckResponse {
        status: Some(CheckStatus { code: code.into() }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: status }),
            headers: vec![header_of("www-authenticate", challenge)],
        })),
    }
}

/// A claim as the value of a header. The percent sign, and everything but visible ASCII and inner spaces, is
/// percent-encoded: so different claims have different values, and a space at an end is not lost on the way.
fn header(name: &str, value: &str) -> HeaderValueOption {
    let mut encoded = String::with_capacity(value.len());
    let inner = value.trim_start_matches(' ').len();
    let (first, last) = (value.len().saturating_sub(inner), value.trim_end_matches(' ').len());
    for (index, byte) in value.bytes().enumerate() {
        match byte {
            b'!'..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            b' ' if (first..last).contains(&index) => encoded.push(char::from(byte)),
            _ => {
                // Writing to a string cannot fail.
                let _infallible = std::fmt::Write::write_fmt(&mut encoded, format_args!("%{byte:02X}"));
            }
        }
    }
    header_of(name, encoded)
}

/// Replaces whatever the request had under this name.
fn header_of(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        // The only field that Envoy reads when it changes a request's headers.
        append: Some(false),
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}

/// The token's claims, for Envoy's other filters and its access log.
fn metadata(token: &Verified) -> Struct {
    let text = |text: &str| Kind::StringValue(text.to_owned());
    let audiences = token.audiences().map(|it| Value { kind: Some(text(it)) }).collect();
    let seconds =
        |time: UnixSeconds| Kind::NumberValue(f64::from(u32::try_from(time.get()).unwrap_or(u32::MAX)));
    let said = [
        ("iss", Some(text(token.issuer()))),
        ("iat", Some(seconds(token.issue_time))),
        ("exp", Some(seconds(token.expire_time))),
        ("sub", Some(text(token.subject()))),
        ("aud", Some(Kind::ListValue(ListValue { values: audiences }))),
        ("client_id", Some(text(token.client_id()))),
        ("jti", Some(text(&token.jti.to_string()))),
        ("sid", token.session_id.map(|id| text(&id.to_string()))),
        ("scope", Some(token.scope()).filter(|scope| !scope.is_empty()).map(text)),
    ];
    // Issue refuses numbers that this would not keep (I9).
    let custom = token.custom().into_iter().map(|(name, value)| (name, json::value(&value)));
    let registered =
        said.into_iter().filter_map(|(name, kind)| Some((name.to_owned(), Value { kind: Some(kind?) })));
    Struct { fields: custom.chain(registered).collect() }
}

/// `None` if the text is not percent-encoded as RFC 3986 section 2.1 defines it.
fn percent_decoded(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next()?, bytes.next()?];
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        decoded.push(u8::from_str_radix(str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    Some(decoded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c3_a_claim_in_a_header_is_one_line_of_ascii() {
        let value = |text| header(SUBJECT, text).header.map(|header| header.value).unwrap_or_default();
        assert_eq!(value("svc:billing"), "svc:billing");
        assert_eq!(value("Zoë 100%"), "Zo%C3%AB 100%25");
        assert_eq!(value("a\r\nb"), "a%0D%0Ab");
        assert_eq!(value(" a b  "), "%20a b%20%20");
        assert_eq!(value("  "), "%20%20");
    }

    #[test]
    fn what_is_not_percent_encoded_is_no_certificate() {
        assert_eq!(percent_decoded("a%2Bb%0A").as_deref(), Some(b"a+b\n".as_slice()));
        for bad in ["%", "%2", "%zz", "%+1"] {
            assert_eq!(percent_decoded(bad), None, "{bad}");
        }
    }
}
