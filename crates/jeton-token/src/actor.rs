//! `act` (RFC 8693 section 4.1): who acts for the subject of a token.

use serde_json::{Map, Value, json};

use super::text;

/// The most actors of a token: the one who acts now, and those before.
pub const ACTORS_MAX: usize = 4;

/// Who acts for a subject, by the subject of its own token; the one who acts now is the outermost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// `sub`.
    pub subject: String,
    /// `act`: the one who acted before.
    pub before: Option<Box<Actor>>,
}

impl Actor {
    /// The claim's value.
    #[must_use]
    pub fn to_json(&self) -> Value {
        match &self.before {
            Some(before) => json!({ "sub": self.subject, "act": before.to_json() }),
            None => json!({ "sub": self.subject }),
        }
    }

    /// Reads a claim that this issuer could have made: `sub` and, but for the first actor, `act`; nothing more.
    #[must_use]
    pub fn from_json(value: Value) -> Option<Self> {
        Self::read(value, ACTORS_MAX)
    }

    /// The number of actors.
    #[must_use]
    pub fn count(&self) -> usize {
        self.before.as_ref().map_or(0, |before| before.count()).saturating_add(1)
    }

    fn read(value: Value, most: usize) -> Option<Self> {
        let most = most.checked_sub(1)?;
        let Value::Object(members) = value else { return None };
        let mut members: Map<String, Value> = members;
        let Some(Value::String(subject)) = members.remove("sub") else { return None };
        text::check_subject(&subject).ok()?;
        let before = match members.remove("act") {
            Some(before) => Some(Box::new(Self::read(before, most)?)),
            None => None,
        };
        members.is_empty().then_some(Self { subject, before })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i9_an_actor_is_read_as_it_was_written_and_nothing_else_is_one() {
        let nested = |depth: usize| {
            (1..depth).fold(json!({"sub": "a"}), |before, _| json!({"sub": "b", "act": before}))
        };
        for depth in 1..=ACTORS_MAX {
            let read = Actor::from_json(nested(depth));
            assert_eq!(read.as_ref().map(Actor::count), Some(depth));
            assert_eq!(read.map(|actor| actor.to_json()), Some(nested(depth)));
        }
        for bad in [
            nested(ACTORS_MAX.saturating_add(1)),
            json!("a"),
            json!({}),
            json!({"sub": ""}),
            json!({"sub": 1}),
            json!({"sub": "a", "iss": "b"}),
            json!({"sub": "a", "act": null}),
        ] {
            assert_eq!(Actor::from_json(bad.clone()), None, "{bad}");
        }
    }
}
