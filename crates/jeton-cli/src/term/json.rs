//! `--output json`: the protojson of any message, from the descriptors that the server's reflection serves.

use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, SerializeOptions, Value};
use serde::Serialize;

use crate::term::{
    exit::Failure,
    json_text::{escape, line},
};
use jeton_proto::{FILE_DESCRIPTOR_SET, v1::Verdict};

const MASK: &str = "(hidden; --show)";

/// The treatment of fields that the API marks as secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// They keep their text.
    Shown,
    /// Their text is replaced.
    Masked,
}

/// The protojson of `message`, indented.
pub fn of<M: Message + Name>(message: &M, secrets: Secrets) -> Result<String, Failure> {
    let mut dynamic = dynamic(message)?;
    if secrets == Secrets::Masked {
        mask(&mut dynamic);
    }
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::pretty(&mut text);
    dynamic
        .serialize_with_options(&mut serializer, &SerializeOptions::new())
        .map_err(|error| defect(&error))?;
    let text = String::from_utf8(text).map_err(|error| defect(&error))?;
    Ok(escape(&text))
}

/// Any other value of this program's own as JSON, indented.
pub fn of_own<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string_pretty(value).map(|text| escape(&text)).map_err(|error| defect(&error))
}

/// The protojson of a message that has no secrets, on one line.
pub fn on_a_line<M: Message + Name>(message: &M) -> Result<String, Failure> {
    let json = serde_json::to_value(dynamic(message)?).map_err(|error| defect(&error))?;
    Ok(line(&json))
}

/// The custom claims of a verdict on one line; empty when there are none.
pub fn claims(verdict: &Verdict) -> Result<String, Failure> {
    let only = Verdict { claims: verdict.claims.clone(), ..Verdict::default() };
    let json = serde_json::to_value(dynamic(&only)?).map_err(|error| defect(&error))?;
    Ok(json.get("claims").map(|claims| escape(&claims.to_string())).unwrap_or_default())
}

fn dynamic<M: Message + Name>(message: &M) -> Result<DynamicMessage, Failure> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).map_err(|error| defect(&error))?;
    let name = M::full_name();
    let descriptor =
        pool.get_message_by_name(&name).ok_or_else(|| defect(&format!("no descriptor of {name}")))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|error| defect(&error))
}

fn mask(message: &mut DynamicMessage) {
    for (field, value) in message.fields_mut() {
        if is_secret(&field) {
            if let Value::String(text) = value
                && !text.is_empty()
            {
                MASK.clone_into(text);
            }
            continue;
        }
        match value {
            Value::Message(inner) => mask(inner),
            Value::List(items) => items.iter_mut().filter_map(Value::as_message_mut).for_each(mask),
            Value::Map(entries) => entries.values_mut().filter_map(Value::as_message_mut).for_each(mask),
            Value::Bool(_)
            | Value::I32(_)
            | Value::I64(_)
            | Value::U32(_)
            | Value::U64(_)
            | Value::F32(_)
            | Value::F64(_)
            | Value::String(_)
            | Value::Bytes(_)
            | Value::EnumNumber(_) => {}
        }
    }
}

/// `debug_redact` in `proto/` is the one list of secret fields.
fn is_secret(field: &FieldDescriptor) -> bool {
    let options = field.options();
    options.get_field_by_name("debug_redact").and_then(|value| value.as_bool()).unwrap_or(false)
}

fn defect(error: &dyn std::fmt::Display) -> Failure {
    Failure::Local(format!("cannot write the answer as JSON: {error}. This is a defect of jeton."))
}

#[cfg(test)]
mod tests {
    use prost_types::{Duration, Struct, Timestamp, value::Kind};

    use super::*;
    use jeton_proto::v1;

    fn issued() -> v1::IssueResponse {
        v1::IssueResponse {
            token: Some(v1::IssuedToken {
                access_token: "a.b.c".into(),
                jti: "j".into(),
                issue_time: Some(Timestamp { seconds: 1_700_000_000, nanos: 0 }),
                expiration_basis: v1::ExpirationBasis::PolicyDefault.into(),
                refresh: Some(v1::RefreshCredential {
                    refresh_token: "jtr_x".into(),
                    ..v1::RefreshCredential::default()
                }),
                ..v1::IssuedToken::default()
            }),
        }
    }

    fn value_of<M: Message + Name>(message: &M, secrets: Secrets) -> serde_json::Value {
        let Ok(text) = of(message, secrets) else { return serde_json::Value::Null };
        serde_json::from_str(&text).unwrap_or_default()
    }

    #[test]
    fn a_response_is_its_protojson() {
        let expected = serde_json::json!({"token": {
            "accessToken": "a.b.c",
            "jti": "j",
            "issueTime": "2023-11-14T22:13:20Z",
            "expirationBasis": "EXPIRATION_BASIS_POLICY_DEFAULT",
            "refresh": {"refreshToken": "jtr_x"},
        }});
        assert_eq!(value_of(&issued(), Secrets::Shown), expected);
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let json = value_of(&issued(), Secrets::Masked);
        assert_eq!(json.pointer("/token/accessToken"), Some(&MASK.into()));
        assert_eq!(json.pointer("/token/refresh/refreshToken"), Some(&MASK.into()));
        assert_eq!(json.pointer("/token/jti"), Some(&"j".into()));
    }

    #[test]
    fn durations_integers_and_fractions_follow_the_mapping() {
        let info = v1::GetServerInfoResponse {
            server_time: Some(Timestamp { seconds: 0, nanos: 412_000_000 }),
            store_clock_offset: Some(Duration { seconds: 0, nanos: -1_500_000 }),
            limits: [("ttl_seconds_cap".to_owned(), 86_400)].into(),
            ..v1::GetServerInfoResponse::default()
        };
        let expected = serde_json::json!({
            "serverTime": "1970-01-01T00:00:00.412Z",
            "storeClockOffset": "-0.001500s",
            "limits": {"ttl_seconds_cap": "86400"},
        });
        assert_eq!(value_of(&info, Secrets::Shown), expected);
        let policy =
            v1::Policy { max_ttl: Some(Duration { seconds: 900, nanos: 0 }), ..v1::Policy::default() };
        assert_eq!(value_of(&policy, Secrets::Shown), serde_json::json!({"maxTtl": "900s"}));
    }

    #[test]
    fn a_struct_is_plain_json_and_nothing_steers_the_terminal() {
        let hostile = prost_types::Value { kind: Some(Kind::StringValue("\u{9b}31m\u{202e}".into())) };
        let verdict = v1::Verdict {
            claims: Some(Struct { fields: [("k".to_owned(), hostile)].into() }),
            ..v1::Verdict::default()
        };
        let text = of(&verdict, Secrets::Shown).unwrap_or_default();
        assert!(text.contains(r#""\u009b31m\u202e""#), "{text}");
        assert_eq!(
            value_of(&verdict, Secrets::Shown).pointer("/claims/k"),
            Some(&"\u{9b}31m\u{202e}".into())
        );
    }
}
