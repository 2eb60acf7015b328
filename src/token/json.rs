//! Strict JSON (RFC 8259, and I-JSON's rule on duplicates, RFC 7493 section 2.3).
//!
//! Parsers that disagree about a text are how a verifier and a service come to read different claims. So: UTF-8, one
//! object, no member twice at any level, bounded nesting, nothing after it.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::limits::JSON_NESTING_MAX;
use super::malformed::Malformed;

const TWICE: &str = "JSON has a member twice";
const DEEP: &str = "JSON nests more than 16 deep";
const NOT_OBJECT: &str = "JSON is not an object";
const NOT_JSON: &str = "not JSON";

/// Parses `bytes` as exactly one JSON object.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    let mut members = Map::new();
    parse_members(bytes, |name, value| members.insert(name.into_owned(), value).is_none())?;
    Ok(members)
}

/// Parses `bytes` as exactly one JSON object, and hands its members to `put` as they come; it says whether the name
/// was new. Names come unescaped, so that "a" and "\u0061" are one.
pub(super) fn parse_members(
    bytes: &[u8],
    put: impl FnMut(Cow<'_, str>, Value) -> bool,
) -> Result<(), Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("JSON is not UTF-8"))?;
    let rule = Cell::new(NOT_JSON);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer
        .deserialize_any(Members { put, rule: &rule })
        .and_then(|()| deserializer.end())
        .map_err(|_| Malformed::new(rule.get()))
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'t>(#[serde(borrow)] pub(super) Cow<'t, str>);

/// The outermost object.
struct Members<'r, P> {
    put: P,
    rule: &'r Cell<&'static str>,
}

impl<'de, P: FnMut(Cow<'_, str>, Value) -> bool> Visitor<'de> for Members<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Whatever else comes is answered by serde with an error.
        self.rule.set(NOT_OBJECT);
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        let inside = Strict { depth: 2, rule: self.rule };
        while let Some(Text(name)) = members.next_key()? {
            let value = members.next_value_seed(inside)?;
            if !(self.put)(name, value) {
                self.rule.set(TWICE);
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(())
    }
}

/// Builds a value whose outermost array or object would be at `depth`. The broken rule goes out through `rule`, since
/// serde's errors carry text only.
#[derive(Clone, Copy)]
struct Strict<'r> {
    depth: usize,
    rule: &'r Cell<&'static str>,
}

impl Strict<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > JSON_NESTING_MAX {
            self.rule.set(DEEP);
            return Err(E::custom(DEEP));
        }
        Ok(Self { depth: self.depth.saturating_add(1), rule: self.rule })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom(NOT_JSON))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut out = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            out.push(item);
        }
        Ok(Value::Array(out))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut out = Map::new();
        // Names come unescaped, so that "a" and "\u0061" are one.
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(inside)?;
            if out.insert(name, value).is_some() {
                self.rule.set(TWICE);
                return Err(A::Error::custom(TWICE));
            }
        }
        Ok(Value::Object(out))
    }
}

/// Appends `text` as a JSON string (RFC 8259 section 7): escapes only what must be.
pub(super) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..='\x1f' => {
                let code = u32::from(c);
                out.push_str("\\u00");
                for nibble in [code >> 4, code & 0xF] {
                    out.extend(char::from_digit(nibble, 16));
                }
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}
