//! The template of a subject: text in which `{claim}` stands for a claim.

use serde_json::{Map, Value};

use super::claim::ClaimName;
use super::fault::RuleFault;
use crate::limits::TEMPLATE_BYTES_MAX;

/// A template that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Claim(ClaimName),
}

impl Template {
    /// Parses 1 to 1024 bytes. A brace that belongs to no claim and is not doubled is an error.
    pub(super) fn parse(text: &str) -> Result<Self, RuleFault> {
        if !(1..=TEMPLATE_BYTES_MAX).contains(&text.len()) {
            return Err(RuleFault::TemplateLength);
        }
        let (mut pieces, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from_brace) = rest.split_at_checked(at).ok_or(RuleFault::Template)?;
            literal.push_str(before);
            rest = if let Some(after) = from_brace.strip_prefix("{{") {
                literal.push('{');
                after
            } else if let Some(after) = from_brace.strip_prefix("}}") {
                literal.push('}');
                after
            } else {
                let inner = from_brace.strip_prefix('{').ok_or(RuleFault::Template)?;
                let (name, after) = inner.split_once('}').ok_or(RuleFault::Template)?;
                if name.contains('{') {
                    return Err(RuleFault::Template);
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Claim(ClaimName::parse(name)?));
                after
            };
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Ok(Self(pieces))
    }

    /// The text with the claims in it. The error is the claim that is no string, or empty.
    pub(super) fn fill(&self, claims: &Map<String, Value>) -> Result<String, &ClaimName> {
        let mut out = String::new();
        for piece in &self.0 {
            out.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Claim(name) => name
                    .look_up(claims)
                    .and_then(Value::as_str)
                    .filter(|text| !text.is_empty())
                    .ok_or(name)?,
            });
        }
        Ok(out)
    }
}
