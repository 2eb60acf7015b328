//! Words about rules and claims, for people who test a token.

use std::fmt;

use jeton_token::text::hidden_in;
use serde_json::Value;

use super::Test;
use crate::limits::SHOWN_CHARS_MAX;

/// How a rule fares with the claims of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// The rule's place in the list that [`Rules::new`](super::Rules::new) was given, from 0.
    pub rule: usize,
    /// The result.
    pub outcome: Outcome,
}

/// The result of a rule. Its text is a sentence without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is the rule that is taken.
    Applies {
        /// The client that the caller is.
        client_id: String,
        /// The subject of the caller.
        subject: String,
    },
    /// It would apply, but an earlier one does.
    Preceded {
        /// The place of that one in the list.
        by: usize,
    },
    /// A condition does not hold. Later ones were not looked at.
    ConditionFailed {
        /// The condition's place in the rule, from 0.
        condition: usize,
        /// The reason, with at most 64 characters of the claim's value.
        words: String,
    },
    /// All conditions hold, but the subject cannot be made of the claims.
    NoSubject {
        /// The reason, with at most 64 characters of the claim's value.
        words: String,
    },
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.outcome)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applies { client_id, subject } => {
                write!(f, "applies: the client is {client_id}, the subject {subject}")
            }
            Self::Preceded { by } => write!(f, "would apply, but rule {by} comes first"),
            Self::ConditionFailed { condition, words } => {
                write!(f, "does not apply: condition {condition} does not hold: {words}")
            }
            Self::NoSubject { words } => write!(f, "does not apply: {words}"),
        }
    }
}

/// Why a condition does not hold.
pub(super) fn not_fulfilled(claim: &str, value: Option<&Value>, test: &Test) -> String {
    let claim = shown(claim);
    let Some(value) = value else { return format!("there is no claim {claim}") };
    let value = told(value);
    match test {
        Test::Exact(expected) => format!("the claim {claim} is {value} and not \"{}\"", shown(expected)),
        Test::Prefix(prefix) => {
            format!("the claim {claim} is {value} and does not begin with \"{}\"", shown(prefix))
        }
    }
}

/// Why a claim cannot be part of a subject.
pub(super) fn no_text(claim: &str, value: Option<&Value>) -> String {
    let claim = shown(claim);
    match value {
        None => format!("its subject needs the claim {claim}, which is missing"),
        Some(value) => format!(
            "its subject needs the claim {claim} as a string that is not empty, and it is {}",
            told(value)
        ),
    }
}

fn told(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{}\"", shown(text)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            shown(&value.to_string())
        }
    }
}

/// At most 64 characters, with escapes for control and format characters and blanks that only look like spaces.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars().take(SHOWN_CHARS_MAX) {
        if hidden_in(c.encode_utf8(&mut [0; 4])).is_some() {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}
