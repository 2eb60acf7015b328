//! Errors and outcomes as the driver reads them.

use jeton_client::{Code, Field, JetonError};
use serde_json::{Map, Value, json};
use tonic_types::StatusExt as _;

pub(crate) fn error(error: &JetonError) -> Value {
    let fields: Map<String, Value> =
        error.kind().fields().into_iter().map(|(name, field)| (name.to_owned(), value(field))).collect();
    json!({
        "kind": error.kind().name(),
        "code": error.code().name(),
        "reason": error.reason(),
        "message": error.message(),
        "metadata": error.metadata(),
        "fields": fields,
        "retry_after_ms": error.retry_after().map(|delay| delay.as_millis()),
    })
}

fn value(field: Field) -> Value {
    match field {
        Field::Text(text) => text.into(),
        Field::Count(count) => count.into(),
        Field::Duration(duration) => duration.as_secs_f64().into(),
        Field::Time(time) => time.to_string().into(),
        _ => Value::Null,
    }
}

/// How a call to a peer ended.
pub(crate) fn outcome<T>(ended: &Result<T, tonic::Status>) -> Map<String, Value> {
    let (code, message) = match ended {
        Ok(_) => (Code::Ok, ""),
        Err(status) => (Code::from(status.code()), status.message()),
    };
    let info = ended.as_ref().err().and_then(tonic::Status::get_details_error_info);
    let (reason, domain) = info.map(|info| (info.reason, info.domain)).unwrap_or_default();
    let told = [
        ("code", code.name().into()),
        ("reason", reason.into()),
        ("domain", domain.into()),
        ("message", message.into()),
    ];
    told.into_iter().map(|(name, value): (&str, Value)| (name.to_owned(), value)).collect()
}
