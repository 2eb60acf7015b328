//! The names of claims in rules.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::fault::RuleFault;
use crate::limits::CLAIM_NAME_BYTES_MAX;

/// The name of a claim, or a JSON pointer to a nested one (RFC 6901).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClaimName {
    text: String,
    /// At least one.
    steps: Vec<String>,
}

impl ClaimName {
    pub(super) fn parse(text: &str) -> Result<Self, RuleFault> {
        if !(1..=CLAIM_NAME_BYTES_MAX).contains(&text.len()) {
            return Err(RuleFault::ClaimName);
        }
        let steps = match text.strip_prefix('/') {
            None => vec![text.to_owned()],
            Some(pointer) => {
                pointer.split('/').map(unescaped).collect::<Option<_>>().ok_or(RuleFault::Pointer)?
            }
        };
        Ok(Self { text: text.to_owned(), steps })
    }

    /// The name as it is configured.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The claim's value.
    pub(super) fn look_up<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let (first, rest) = self.steps.split_first()?;
        rest.iter().try_fold(claims.get(first)?, |value, step| match value {
            Value::Object(members) => members.get(step),
            Value::Array(elements) => elements.get(array_index(step)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

/// The text that conditions are compared with: of a string itself, of a number or a boolean its JSON.
pub(super) fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(_) | Value::Bool(_) => Some(Cow::Owned(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A step of a pointer: `~1` is a slash, `~0` a tilde, and no other tilde may stand in it (RFC 6901 section 3).
fn unescaped(step: &str) -> Option<String> {
    let mut parts = step.split('~');
    let mut out = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = part
            .strip_prefix('0')
            .map(|rest| ('~', rest))
            .or_else(|| part.strip_prefix('1').map(|rest| ('/', rest)))?;
        out.push(sign);
        out.push_str(rest);
    }
    Some(out)
}

/// Digits without a leading zero (RFC 6901 section 4).
fn array_index(step: &str) -> Option<usize> {
    let is_canonical = step == "0" || !step.starts_with('0') && step.bytes().all(|b| b.is_ascii_digit());
    if is_canonical { step.parse().ok() } else { None }
}
