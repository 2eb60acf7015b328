//! The flags of `jeton issuer` that need more than a text: a source of keys, and a rule.

use std::path::PathBuf;

use jeton_io::files;
use jeton_proto::v1::{ClaimCondition, MappingRule, claim_condition::Match, trusted_issuer::KeySource};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::term::exit::Failure;

/// The source of an issuer's keys.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub struct Source {
    /// Its keys: the URL of a JWK set
    #[arg(long, value_name = "URL")]
    jwks_uri: Option<String>,
    /// Its keys: by its OpenID Connect Discovery document
    #[arg(long)]
    oidc_discovery: bool,
    /// Its keys: a file with a JWK set, which is sent to the server
    #[arg(long, value_name = "FILE")]
    static_jwks: Option<PathBuf>,
    /// Its keys: the URL of a SPIFFE bundle endpoint
    #[arg(long, value_name = "URL")]
    spiffe_bundle_uri: Option<String>,
    /// Its keys: the path of a SPIFFE bundle on the servers
    #[arg(long, value_name = "PATH")]
    spiffe_bundle_file: Option<String>,
}

impl Source {
    /// Returns whether one was given.
    pub fn is_given(&self) -> bool {
        self.oidc_discovery
            || self.jwks_uri.is_some()
            || self.static_jwks.is_some()
            || self.spiffe_bundle_uri.is_some()
            || self.spiffe_bundle_file.is_some()
    }

    /// The source that was given, if one was.
    pub fn read(self) -> Result<Option<KeySource>, Failure> {
        if let Some(path) = self.static_jwks {
            let text = files::read_text(&path)
                .map_err(|error| Failure::Usage(format!("cannot read {}: {error}.", path.display())))?;
            return Ok(Some(KeySource::StaticJwks(text)));
        }
        let found = self.jwks_uri.map(KeySource::JwksUri);
        let found = found.or(self.spiffe_bundle_uri.map(KeySource::SpiffeBundleUri));
        let found = found.or(self.spiffe_bundle_file.map(KeySource::SpiffeBundleFile));
        Ok(found.or(self.oidc_discovery.then_some(KeySource::OidcDiscovery(true))))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    priority: i32,
    client: String,
    subject: String,
    when: Map<String, Value>,
}

/// A rule as JSON: `client`, `subject`, `when` (claims with their values, or `*` at the end of a prefix; a value that
/// ends in `*` itself is `{"exact": "…"}`), and `priority`, 0 without one.
pub fn rule_of(text: &str) -> Result<MappingRule, String> {
    let rule: Rule = serde_json::from_str(text)
        .map_err(|error| format!("it is no JSON object with client, subject and when: {error}"))?;
    let condition = |(claim, value): (String, Value)| {
        let wanted = match value {
            Value::String(text) => match text.strip_suffix('*') {
                Some(prefix) => Match::Prefix(prefix.to_owned()),
                None => Match::Exact(text),
            },
            Value::Number(number) => Match::Exact(number.to_string()),
            Value::Bool(is) => Match::Exact(is.to_string()),
            Value::Object(mut members) if members.len() == 1 => match members.remove("exact") {
                Some(Value::String(text)) => Match::Exact(text),
                _ => return Err(format!("the value of {claim} is no text")),
            },
            Value::Null | Value::Array(_) | Value::Object(_) => {
                return Err(format!("the value of {claim} is no text"));
            }
        };
        Ok(ClaimCondition { claim, r#match: Some(wanted) })
    };
    Ok(MappingRule {
        priority: rule.priority,
        conditions: rule.when.into_iter().map(condition).collect::<Result<_, String>>()?,
        client_id: rule.client,
        subject: rule.subject,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_with_exact_values_and_prefixes() {
        let text = r#"{"client":"ci","subject":"ci:{sub}","priority":2,
                       "when":{"id":7,"fork":false,"ref":"refs/heads/*","star":{"exact":"a*"}}}"#;
        let rule = rule_of(text).unwrap_or_default();
        assert_eq!((rule.priority, rule.client_id.as_str(), rule.subject.as_str()), (2, "ci", "ci:{sub}"));
        let found: Vec<_> =
            rule.conditions.iter().map(|it| (it.claim.as_str(), it.r#match.clone())).collect();
        let exact = |text: &str| Some(Match::Exact(text.to_owned()));
        let expected = [
            ("fork", exact("false")),
            ("id", exact("7")),
            ("ref", Some(Match::Prefix("refs/heads/".to_owned()))),
            ("star", exact("a*")),
        ];
        for one in expected {
            assert!(found.contains(&one), "{found:?} lacks {one:?}");
        }
        for bad in [
            "",
            "{}",
            r#"{"client":"a","subject":"b"}"#,
            r#"{"client":"a","subject":"b","when":{"c":null}}"#,
            r#"{"client":"a","subject":"b","when":{},"x":1}"#,
        ] {
            assert!(rule_of(bad).is_err(), "{bad}");
        }
    }
}
