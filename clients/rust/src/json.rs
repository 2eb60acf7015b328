//! Custom claims as JSON.

use prost_types::{Struct, Value, value::Kind};
use serde_json::{Map, Number, Value as Json};

/// The members of a message.
pub(crate) fn members(message: &Struct) -> Map<String, Json> {
    message.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect()
}

fn json(value: &Value) -> Json {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => Json::Null,
        Some(Kind::BoolValue(value)) => Json::Bool(*value),
        Some(Kind::NumberValue(value)) => number(*value),
        Some(Kind::StringValue(text)) => Json::String(text.clone()),
        Some(Kind::ListValue(list)) => Json::Array(list.values.iter().map(json).collect()),
        Some(Kind::StructValue(message)) => Json::Object(members(message)),
    }
}

/// A whole number is written without a point.
fn number(value: f64) -> Json {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let is_whole = value.fract() == 0.0 && value.abs() <= EXACT;
    let whole = is_whole.then(|| format!("{value:.0}").parse::<i64>().ok()).flatten();
    match whole {
        Some(whole) => Json::from(whole),
        None => Number::from_f64(value).map_or(Json::Null, Json::Number),
    }
}

#[cfg(test)]
mod tests {
    use jeton_proto::json::object;
    use serde_json::json;

    use super::*;

    #[test]
    fn claims_come_as_they_went() {
        let Json::Object(sent) =
            json!({"tenant": "north", "level": 3, "share": 0.5, "all": [true, null, {"a": -1}]})
        else {
            unreachable!("it is an object");
        };
        assert_eq!(members(&object(&sent)), sent);
    }
}
