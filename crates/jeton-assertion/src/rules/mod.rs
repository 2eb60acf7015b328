//! Rules that map the claims of a verified assertion to a client and a subject of jeton.
//!
//! The first rule whose conditions all hold, and whose subject can be made, is taken: by priority, the lowest number
//! first, and among equals by their order.

mod claim;
mod explain;
mod fault;
mod template;

use jeton_token::text::{check_client_id, check_subject};
use serde_json::{Map, Value};

use self::claim::{ClaimName, scalar};
use self::explain::{no_text, not_fulfilled};
use self::template::Template;
use crate::limits::{CONDITION_BYTES_MAX, CONDITIONS_MAX, RULES_MAX};

pub use explain::{Explained, Outcome};
pub use fault::{RuleFault, RulesError};

/// A rule as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Rules with a lower number come first.
    pub priority: i32,
    /// 1 to 16 conditions, all of which must hold.
    pub conditions: Vec<Condition>,
    /// The client that the caller is: 1 to 255 printable ASCII characters without spaces and `*`.
    pub client_id: String,
    /// The subject of the caller, a template of at most 1024 bytes: `{claim}` stands for that claim, which must be a
    /// string and not empty, `{{` and `}}` for braces. Claims are inserted as they are: in `{a}:{b}` a colon in `a` makes
    /// one subject of two, unless a condition excludes it.
    pub subject: String,
}

/// A condition on one claim.
///
/// A string is compared as it is; numbers and booleans by their JSON text; of an array, one element must do. An object
/// or null fulfils nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The name of a claim, or, if it begins with `/`, a JSON pointer (RFC 6901) to a nested one, in which `~1` stands
    /// for a slash and `~0` for a tilde: `/kubernetes.io/serviceaccount/name`, `/https:~1~1example.com~1team`. 1 to 256
    /// bytes.
    pub claim: String,
    /// What it must be.
    pub test: Test,
}

/// The test of a condition: a text of 1 to 1024 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// The value is this text.
    Exact(String),
    /// The value begins with this text.
    Prefix(String),
}

/// Rules that were checked, in the order in which they are tried.
#[derive(Debug, Clone)]
pub struct Rules(Vec<Compiled>);

/// The rule that applies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Its place in the list that [`Rules::new`] was given, from 0.
    pub rule: usize,
    /// The client that the caller is.
    pub client_id: String,
    /// The subject of the caller: one that jeton's own tokens may have.
    pub subject: String,
}

#[derive(Debug, Clone)]
struct Compiled {
    index: usize,
    conditions: Vec<(ClaimName, Test)>,
    client_id: String,
    subject: Template,
}

/// The reason why a rule does not apply.
enum Miss {
    Condition { index: usize, words: String },
    Subject { words: String },
}

impl Rules {
    /// Checks rules, at most 100, and puts them in the order of their priorities.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RulesError> {
        if rules.len() > RULES_MAX {
            return Err(RulesError::TooMany);
        }
        let mut rules: Vec<(usize, Rule)> = rules.into_iter().enumerate().collect();
        // Stable: rules of one priority keep their order.
        rules.sort_by_key(|(_, rule)| rule.priority);
        let compile = |(index, rule)| {
            Compiled::new(index, rule).map_err(|fault| RulesError::Rule { rule: index, fault })
        };
        rules.into_iter().map(compile).collect::<Result<_, _>>().map(Self)
    }

    /// The first rule that applies to the claims of a verified assertion.
    #[must_use]
    pub fn evaluate(&self, claims: &Map<String, Value>) -> Option<Match> {
        self.0.iter().find_map(|rule| rule.apply(claims).ok())
    }

    /// How each rule fares with the claims, in the order in which they are tried, for people who test a token. At most
    /// 64 characters of a claim's value are told, with escapes for what cannot be seen.
    #[must_use]
    pub fn explain(&self, claims: &Map<String, Value>) -> Vec<Explained> {
        let mut taken = None;
        let mut explain = |rule: &Compiled| {
            let outcome = match (rule.apply(claims), taken) {
                (Ok(found), None) => {
                    taken = Some(found.rule);
                    Outcome::Applies { client_id: found.client_id, subject: found.subject }
                }
                (Ok(_), Some(by)) => Outcome::Preceded { by },
                (Err(Miss::Condition { index, words }), _) => {
                    Outcome::ConditionFailed { condition: index, words }
                }
                (Err(Miss::Subject { words }), _) => Outcome::NoSubject { words },
            };
            Explained { rule: rule.index, outcome }
        };
        self.0.iter().map(&mut explain).collect()
    }
}

impl Compiled {
    fn new(index: usize, rule: Rule) -> Result<Self, RuleFault> {
        check_client_id(&rule.client_id).map_err(|words| RuleFault::ClientId(words.into()))?;
        if rule.conditions.is_empty() {
            return Err(RuleFault::NoCondition);
        }
        if rule.conditions.len() > CONDITIONS_MAX {
            return Err(RuleFault::TooManyConditions);
        }
        let check = |condition: Condition| {
            let (Test::Exact(text) | Test::Prefix(text)) = &condition.test;
            if (1..=CONDITION_BYTES_MAX).contains(&text.len()) {
                Ok((ClaimName::parse(&condition.claim)?, condition.test))
            } else {
                Err(RuleFault::Value)
            }
        };
        Ok(Self {
            index,
            conditions: rule.conditions.into_iter().map(check).collect::<Result<_, _>>()?,
            client_id: rule.client_id,
            subject: Template::parse(&rule.subject)?,
        })
    }

    fn apply(&self, claims: &Map<String, Value>) -> Result<Match, Miss> {
        for (index, (claim, test)) in self.conditions.iter().enumerate() {
            let value = claim.look_up(claims);
            if !value.is_some_and(|it| test.holds(it)) {
                return Err(Miss::Condition { index, words: not_fulfilled(claim.as_str(), value, test) });
            }
        }
        let no_subject = |words| Miss::Subject { words };
        let subject = self
            .subject
            .fill(claims)
            .map_err(|claim| no_subject(no_text(claim.as_str(), claim.look_up(claims))))?;
        check_subject(&subject).map_err(|rule| no_subject(format!("its subject must be {rule}")))?;
        Ok(Match { rule: self.index, client_id: self.client_id.clone(), subject })
    }
}

impl Test {
    fn holds(&self, value: &Value) -> bool {
        let one = |value: &Value| {
            scalar(value).is_some_and(|text| match self {
                Self::Exact(expected) => text == expected.as_str(),
                Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            })
        };
        value.as_array().map_or_else(|| one(value), |elements| elements.iter().any(one))
    }
}
