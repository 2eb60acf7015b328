//! JSON as the API carries it: `google.protobuf.Struct` (protobuf.dev, "JSON Mapping").

use prost_types::{ListValue, Struct, Value, value::Kind};
use serde_json::Map;

/// Returns the message of a JSON object. A number becomes the nearest 64-bit float: whoever must keep it exactly checks
/// that before.
#[must_use]
pub fn object(members: &Map<String, serde_json::Value>) -> Struct {
    Struct { fields: members.iter().map(|(name, json)| (name.clone(), value(json))).collect() }
}

/// Returns the message of any JSON value, under the same rule.
#[must_use]
pub fn value(json: &serde_json::Value) -> Value {
    let kind = match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(value) => Kind::BoolValue(*value),
        serde_json::Value::Number(number) => Kind::NumberValue(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => Kind::StringValue(text.clone()),
        serde_json::Value::Array(items) => {
            Kind::ListValue(ListValue { values: items.iter().map(value).collect() })
        }
        serde_json::Value::Object(members) => Kind::StructValue(object(members)),
    };
    Value { kind: Some(kind) }
}
