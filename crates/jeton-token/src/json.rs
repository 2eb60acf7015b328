//! Strict JSON (RFC 8259, and I-JSON's rule on duplicates, RFC 7493 section 2.3).
//!
//! If two parsers disagree about a text, a verifier and a service read different claims. So: UTF-8, one object, no
//! member twice at any level, bounded nesting, and nothing after it.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::limits::JSON_NESTING_MAX;
use super::malformed::Malformed;

const TWICE: &str = "JSON has a member twice";
const DEEP: &str = "JSON nests more than 16 deep";
const NOT_OBJECT: &str = "JSON is not an object";
const NOT_JSON: &str = "not JSON";

/// Parses `bytes` as exactly one JSON object.
pub fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, Malformed> {
    let rule = Rule::default();
    read_object(bytes, &rule, Object(&rule))
}

/// Reads `bytes` as exactly one JSON object, with a visitor that receives each member once.
pub(super) fn read_object<'t, V: Visitor<'t>>(
    bytes: &'t [u8],
    rule: &Rule,
    visitor: V,
) -> Result<V::Value, Malformed> {
    let text = std::str::from_utf8(bytes).map_err(|_| Malformed::new("JSON is not UTF-8"))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    deserializer
        .deserialize_any(visitor)
        .and_then(|read| deserializer.end().map(|()| read))
        .map_err(|_| Malformed::new(rule.0.get()))
}

/// The rule that was broken when reading fails: returned beside serde's errors, which carry only text.
pub(super) struct Rule(Cell<&'static str>);

impl Default for Rule {
    fn default() -> Self {
        Self(Cell::new(NOT_JSON))
    }
}

impl Rule {
    /// Anything but an object is an error of serde.
    pub(super) fn expect_object(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.set(NOT_OBJECT);
        f.write_str("a JSON object")
    }

    /// `value` if it could be read; otherwise this rule is broken.
    pub(super) fn or<T, E>(&self, rule: &'static str, value: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let outer = self.0.replace(rule);
        let value = value()?;
        self.0.set(outer);
        Ok(value)
    }

    /// Records that this rule is broken.
    pub(super) fn broken<E: serde::de::Error>(&self, rule: &'static str) -> E {
        self.0.set(rule);
        E::custom(rule)
    }

    /// Records that a member occurs twice.
    pub(super) fn twice<E: serde::de::Error>(&self) -> E {
        self.broken(TWICE)
    }

    /// Any value of a member of the outermost object.
    pub(super) const fn any_value(&self) -> impl for<'t> DeserializeSeed<'t, Value = Value> {
        Strict { depth: 2, rule: self }
    }
}

/// A JSON string, borrowed if it has no escapes. Escapes in names are decoded, so that "a" and "\u0061" are one.
#[derive(serde::Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'t>(#[serde(borrow)] pub(super) Cow<'t, str>);

/// The outermost object.
struct Object<'r>(&'r Rule);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expect_object(f)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
        Strict { depth: 2, rule: self.0 }.members(members)
    }
}

/// Builds a value whose outermost array or object would be at `depth`.
#[derive(Clone, Copy)]
struct Strict<'r> {
    depth: usize,
    rule: &'r Rule,
}

impl Strict<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth > JSON_NESTING_MAX {
            return Err(self.rule.broken(DEEP));
        }
        Ok(Self { depth: self.depth.saturating_add(1), rule: self.rule })
    }

    /// The members of an object; each is built by this.
    fn members<'de, A: MapAccess<'de>>(self, mut members: A) -> Result<Map<String, Value>, A::Error> {
        let mut out = Map::new();
        while let Some(name) = members.next_key()? {
            let value = members.next_value_seed(self)?;
            if out.insert(name, value).is_some() {
                return Err(self.rule.twice());
            }
        }
        Ok(out)
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

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Value, A::Error> {
        self.inside()?.members(members).map(Value::Object)
    }
}

/// Appends `text` as a JSON string (RFC 8259 section 7) with the fewest escapes.
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
