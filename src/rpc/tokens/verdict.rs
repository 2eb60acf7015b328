//! The encoding of a verdict, with the fields that its caller may read.

use prost::{
    Message,
    bytes::BufMut,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    authority::Judged,
    rpc::convert::{millis, seconds},
    state::{KnownToken, Reason},
};
use jeton_proto::json;

/// Room for nearly every verdict, bytes.
const VERDICT_BYTES: usize = 512;

/// An encoded `jeton.v1.Verdict`. A test compares it with the encoding of the generated message.
#[derive(Debug)]
pub(in crate::rpc) struct EncodedVerdict(Vec<u8>);

/// Fields of `jeton.v1.Verdict`.
mod field {
    pub(in crate::rpc) const STATUS: u32 = 1;
    pub(in crate::rpc) const SUBJECT: u32 = 2;
    pub(in crate::rpc) const AUDIENCES: u32 = 3;
    pub(in crate::rpc) const SCOPES: u32 = 4;
    pub(in crate::rpc) const JTI: u32 = 5;
    pub(in crate::rpc) const SESSION_ID: u32 = 6;
    pub(in crate::rpc) const CLIENT_ID: u32 = 7;
    pub(in crate::rpc) const ISSUE_TIME: u32 = 8;
    pub(in crate::rpc) const EXPIRE_TIME: u32 = 9;
    pub(in crate::rpc) const CLAIMS: u32 = 10;
    pub(in crate::rpc) const REVISION: u32 = 11;
    pub(in crate::rpc) const SERVER_TIME: u32 = 12;
    pub(in crate::rpc) const REVOCATION_REASON: u32 = 13;
    pub(in crate::rpc) const SURROUNDINGS: u32 = 14;
    pub(in crate::rpc) const IDENTITY_PROVIDER: u32 = 15;
    pub(in crate::rpc) const ACTOR: u32 = 16;
}

impl EncodedVerdict {
    /// Encodes the token's claims and the reason of its revocation only for callers that are registered for one of its
    /// audiences; other callers get the `jti` alone.
    pub(in crate::rpc) fn of(judged: &Judged) -> Self {
        let verdict = &judged.verdict;
        let mut out = Vec::with_capacity(VERDICT_BYTES);
        number(field::STATUS, verdict.status.number(), &mut out);
        if let Some(token) = &verdict.token {
            if judged.disclosed {
                claims(token, &mut out);
            } else {
                id(field::JTI, token.jti, &mut out);
            }
        }
        text(field::REVISION, &verdict.revision.to_string(), &mut out);
        message(field::SERVER_TIME, &millis(verdict.server_time_ms), &mut out);
        if let Some(reason) = verdict.reason.filter(|_| judged.disclosed) {
            number(field::REVOCATION_REASON, Reason::number(reason).into(), &mut out);
        }
        if let Some(surroundings) = judged.surroundings {
            text(field::SURROUNDINGS, surroundings, &mut out);
        }
        Self(out)
    }

    /// Appends the verdict as the field `tag` of another message.
    pub(in crate::rpc) fn put(&self, tag: u32, out: &mut impl BufMut) {
        bytes(tag, &self.0, out);
    }

    /// The number of bytes that `put` appends for a tag below 16.
    pub(in crate::rpc) fn len(&self) -> usize {
        let len = self.0.len();
        len.saturating_add(1).saturating_add(encoded_len_varint(u64::try_from(len).unwrap_or(u64::MAX)))
    }
}

/// The encoding of custom claims in a verdict.
pub(in crate::rpc) fn encode_custom(custom: &Map<String, Value>) -> Box<[u8]> {
    json::object(custom).encode_to_vec().into_boxed_slice()
}

/// Appends the token's claims.
fn claims(token: &KnownToken, out: &mut Vec<u8>) {
    text(field::SUBJECT, token.subject(), out);
    token.audiences().for_each(|audience| text(field::AUDIENCES, audience, out));
    token.scopes().for_each(|scope| text(field::SCOPES, scope, out));
    id(field::JTI, token.jti, out);
    if let Some(session_id) = token.session_id {
        id(field::SESSION_ID, session_id, out);
    }
    text(field::CLIENT_ID, token.client_id(), out);
    message(field::ISSUE_TIME, &seconds(token.issue_time), out);
    message(field::EXPIRE_TIME, &seconds(token.expire_time), out);
    if token.has_custom() {
        bytes(field::CLAIMS, token.encoded_custom(encode_custom), out);
    }
    if !token.identity_provider().is_empty() {
        text(field::IDENTITY_PROVIDER, token.identity_provider(), out);
    }
    if let Some(Value::Object(actor)) = token.actor().map(|actor| actor.to_json()) {
        bytes(field::ACTOR, &encode_custom(&actor), out);
    }
}

fn number(tag: u32, value: i32, out: &mut Vec<u8>) {
    // Zero is left out (proto3).
    if value != 0 {
        prost::encoding::int32::encode(tag, &value, out);
    }
}

fn id(tag: u32, id: Uuid, out: &mut Vec<u8>) {
    text(tag, id.hyphenated().encode_lower(&mut Uuid::encode_buffer()), out);
}

fn text(tag: u32, text: &str, out: &mut Vec<u8>) {
    bytes(tag, text.as_bytes(), out);
}

fn message(tag: u32, message: &impl Message, out: &mut Vec<u8>) {
    prost::encoding::message::encode(tag, message, out);
}

fn bytes(tag: u32, bytes: &[u8], out: &mut impl BufMut) {
    encode_key(tag, WireType::LengthDelimited, out);
    encode_varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX), out);
    out.put_slice(bytes);
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::{
        proto::v1 as pb,
        state::{Status, Verdict},
    };
    use jeton_token::{Claims, Revision, UnixSeconds, Verified, new_uuid_v7};

    fn full() -> Claims<'static> {
        Claims {
            issuer: "https://tokens.example".into(),
            subject: "svc:billing".into(),
            audiences: vec!["orders".into(), "stock".into()],
            scopes: vec!["read".into(), "write".into()],
            client_id: "checkout".into(),
            jti: new_uuid_v7(1_000),
            session_id: Some(new_uuid_v7(900)),
            issue_time: UnixSeconds::new(1_800_000_000),
            not_before: None,
            expire_time: UnixSeconds::new(1_800_000_900),
            revision: Revision::ZERO,
            certificate_thumbprint: None,
            identity_provider: Some("github-1".into()),
            actor: jeton_token::Actor::from_json(json!({"sub": "svc:a"})),
            custom: serde_json::from_value(json!({"tenant": "acme", "roles": ["a"], "n": 1.5})).unwrap(),
        }
    }

    /// As the generated message writes it.
    fn by_definition(judged: &Judged, claims: &Claims<'_>) -> pb::Verdict {
        let verdict = &judged.verdict;
        let bare = pb::Verdict {
            status: verdict.status.number(),
            revision: verdict.revision.to_string(),
            server_time: Some(millis(verdict.server_time_ms)),
            jti: claims.jti.to_string(),
            ..pb::Verdict::default()
        };
        if !judged.disclosed {
            return bare;
        }
        pb::Verdict {
            subject: claims.subject.to_string(),
            audiences: claims.audiences.iter().map(ToString::to_string).collect(),
            scopes: claims.scopes.iter().map(ToString::to_string).collect(),
            session_id: claims.session_id.map(|id| id.to_string()).unwrap_or_default(),
            client_id: claims.client_id.to_string(),
            issue_time: Some(seconds(claims.issue_time)),
            expire_time: Some(seconds(claims.expire_time)),
            claims: (!claims.custom.is_empty()).then(|| json::object(&claims.custom)),
            identity_provider: claims.identity_provider.as_deref().unwrap_or_default().to_owned(),
            actor: claims.actor.as_ref().and_then(|actor| actor.to_json().as_object().map(json::object)),
            revocation_reason: verdict.reason.map_or(0, Reason::number).into(),
            ..bare
        }
    }

    #[test]
    fn v6_a_verdict_is_written_as_its_message_is_defined() {
        let least = Claims {
            scopes: vec![],
            session_id: None,
            identity_provider: None,
            actor: None,
            custom: serde_json::Map::new(),
            ..full()
        };
        for claims in [full(), least] {
            let token = Arc::new(KnownToken::new(Verified::new(&claims, "kid".into()), None));
            for (status, reason) in [(Status::Active, None), (Status::Revoked, Some(Reason::Leaked))] {
                for disclosed in [false, true, true] {
                    let verdict = Verdict {
                        status,
                        token: Some(Arc::clone(&token)),
                        reason,
                        revision: Revision::new(1, 8_841).unwrap(),
                        server_time_ms: 1_800_000_001_234,
                    };
                    let judged = Judged { verdict, disclosed, surroundings: None };
                    let expected = pb::ValidateResponse { verdict: Some(by_definition(&judged, &claims)) };
                    let mut written = Vec::new();
                    let encoded = EncodedVerdict::of(&judged);
                    encoded.put(1, &mut written);
                    assert_eq!(encoded.len(), written.len());
                    assert_eq!(pb::ValidateResponse::decode(written.as_slice()).unwrap(), expected);
                }
            }
        }
    }

    #[test]
    fn what_is_no_token_has_a_verdict_without_one() {
        let verdict = Verdict {
            status: Status::Malformed,
            token: None,
            reason: None,
            revision: Revision::ZERO,
            server_time_ms: 0,
        };
        let surroundings = Some("quotes surround the token");
        let EncodedVerdict(written) = EncodedVerdict::of(&Judged { verdict, disclosed: false, surroundings });
        let decoded = pb::Verdict::decode(written.as_slice()).unwrap();
        assert_eq!(decoded.status(), pb::TokenStatus::Malformed);
        assert_eq!(decoded.surroundings, "quotes surround the token");
        assert_eq!((decoded.revision.as_str(), decoded.jti.as_str()), ("0.0", ""));
        assert!(decoded.server_time.is_some());
    }
}
