//! Trusted issuers: whose assertions are accepted, and what they are good for.

use std::{path::PathBuf, sync::Arc};

use hashbrown::HashMap;
use jeton_assertion::{Algorithm, Condition, KeyFault, KeySet, Rule, Rules, Test};
use serde::{Deserialize, Serialize};

use jeton_token::Revision;

/// A registration as it is written and stored. Texts are unchecked.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerRegistration {
    /// For people.
    pub display_name: String,
    /// `iss` of its assertions, or `spiffe://trust-domain`.
    pub issuer: String,
    /// The source of its keys.
    pub key_source: RegisteredKeys,
    /// Accepted `aud` values; empty: the issuer of this jeton.
    pub audiences: Vec<String>,
    /// The greatest age of an assertion, seconds.
    pub max_age_s: i64,
    /// Names of the accepted algorithms; empty: all.
    pub algorithms: Vec<String>,
    /// The rules, in their order.
    pub rules: Vec<RegisteredRule>,
    /// Its assertions may revoke a subject.
    pub may_revoke: bool,
    /// Its keys may be fetched from private addresses.
    pub allow_private_addresses: bool,
}

/// The source of keys as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisteredKeys {
    /// None: not a good registration.
    #[default]
    None,
    /// The URL of a JWK set.
    JwksUri(String),
    /// By OpenID Connect Discovery.
    OidcDiscovery,
    /// A JWK set.
    StaticJwks(String),
    /// The URL of a SPIFFE bundle.
    SpiffeBundleUri(String),
    /// The path of a SPIFFE bundle.
    SpiffeBundleFile(PathBuf),
}

/// A rule as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredRule {
    /// Lower ones come first.
    pub priority: i32,
    /// All of them must hold.
    pub conditions: Vec<RegisteredCondition>,
    /// The client that the caller is.
    pub client_id: String,
    /// The subject that it speaks for, as a template.
    pub subject: String,
}

/// A condition as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegisteredCondition {
    /// The name of a claim, or a JSON pointer.
    pub claim: String,
    /// What it must be.
    pub test: RegisteredTest,
}

/// The test of a condition as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegisteredTest {
    /// This text.
    Exact(String),
    /// A text that begins so.
    Prefix(String),
}

impl From<&RegisteredRule> for Rule {
    fn from(rule: &RegisteredRule) -> Self {
        let condition = |it: &RegisteredCondition| Condition {
            claim: it.claim.clone(),
            test: match &it.test {
                RegisteredTest::Exact(text) => Test::Exact(text.clone()),
                RegisteredTest::Prefix(text) => Test::Prefix(text.clone()),
            },
        };
        Self {
            priority: rule.priority,
            conditions: rule.conditions.iter().map(condition).collect(),
            client_id: rule.client_id.clone(),
            subject: rule.subject.clone(),
        }
    }
}

/// The source of an issuer's keys.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// The URL of a JWK set.
    JwksUri(String),
    /// By OpenID Connect Discovery.
    OidcDiscovery,
    /// The keys themselves.
    Static(Arc<KeySet>),
    /// The URL of a SPIFFE bundle.
    SpiffeBundleUri(String),
    /// The path of a SPIFFE bundle.
    SpiffeBundleFile(PathBuf),
}

/// A trusted issuer, ready for use.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// Its short id.
    pub issuer_id: String,
    /// The log's revision of its latest change.
    pub revision: Revision,
    /// `iss`, or `spiffe://trust-domain`.
    pub issuer: String,
    /// The source of its keys.
    pub keys: KeySource,
    /// Accepted `aud` values; empty: the issuer of this jeton.
    pub audiences: Vec<String>,
    /// The greatest age of an assertion, seconds.
    pub max_age_s: i64,
    /// The accepted algorithms.
    pub algorithms: Vec<Algorithm>,
    /// The rules.
    pub rules: Rules,
    /// Its assertions may revoke a subject.
    pub may_revoke: bool,
    /// Its keys may be fetched from private addresses.
    pub allow_private_addresses: bool,
    /// Its assertions are refused.
    pub disabled: bool,
    /// As it was registered.
    pub registration: Arc<IssuerRegistration>,
}

impl TrustedIssuer {
    /// The issuer of a registration; the error says what is wrong, beginning with the field.
    ///
    /// # Errors
    /// The field at fault, and the rule for it.
    pub fn new(
        issuer_id: String,
        revision: Revision,
        registration: IssuerRegistration,
        disabled: bool,
    ) -> Result<Self, (&'static str, String)> {
        let keys = match &registration.key_source {
            RegisteredKeys::None => return Err(("key_source", "one of the sources of keys".to_owned())),
            RegisteredKeys::JwksUri(url) => KeySource::JwksUri(url.clone()),
            RegisteredKeys::OidcDiscovery => KeySource::OidcDiscovery,
            RegisteredKeys::StaticJwks(text) => {
                let keys = KeySet::parse(text.as_bytes());
                let keys = keys.map_err(|fault| ("static_jwks", format!("a JWK set: {fault}")))?;
                // It is stored and shown: a secret is none any more.
                if keys.skipped().iter().any(|it| matches!(it.fault, KeyFault::Private | KeyFault::Symmetric))
                {
                    return Err(("static_jwks", "a JWK set of public keys alone".to_owned()));
                }
                KeySource::Static(Arc::new(keys))
            }
            RegisteredKeys::SpiffeBundleUri(url) => KeySource::SpiffeBundleUri(url.clone()),
            RegisteredKeys::SpiffeBundleFile(path) => KeySource::SpiffeBundleFile(path.clone()),
        };
        let algorithm = |name: &String| name.parse::<Algorithm>();
        let algorithms: Vec<_> = registration
            .algorithms
            .iter()
            .map(algorithm)
            .collect::<Result<_, _>>()
            .map_err(|_| ("algorithms", "RS256, PS256, ES256 or EdDSA".to_owned()))?;
        let rules = Rules::new(registration.rules.iter().map(Rule::from).collect());
        let rules = rules.map_err(|fault| ("rules", format!("rules that can be followed: {fault}")))?;
        Ok(Self {
            issuer_id,
            revision,
            issuer: registration.issuer.clone(),
            keys,
            audiences: registration.audiences.clone(),
            max_age_s: registration.max_age_s,
            algorithms: if algorithms.is_empty() { Algorithm::ALL.to_vec() } else { algorithms },
            rules,
            may_revoke: registration.may_revoke,
            allow_private_addresses: registration.allow_private_addresses,
            disabled,
            registration: Arc::new(registration),
        })
    }
}

/// All trusted issuers.
#[derive(Clone, Default, Debug)]
pub struct Issuers {
    by_id: HashMap<String, Arc<TrustedIssuer>>,
    by_issuer: HashMap<String, Arc<TrustedIssuer>>,
}

impl FromIterator<TrustedIssuer> for Issuers {
    fn from_iter<I: IntoIterator<Item = TrustedIssuer>>(issuers: I) -> Self {
        let mut all = Self::default();
        for issuer in issuers.into_iter().map(Arc::new) {
            all.by_issuer.insert(issuer.issuer.clone(), Arc::clone(&issuer));
            all.by_id.insert(issuer.issuer_id.clone(), issuer);
        }
        all
    }
}

impl Issuers {
    /// The issuer with this short id.
    #[must_use]
    pub fn get(&self, issuer_id: &str) -> Option<&Arc<TrustedIssuer>> {
        self.by_id.get(issuer_id)
    }

    /// The issuer with this `iss`, or this trust domain as `spiffe://…`.
    #[must_use]
    pub fn by_issuer(&self, issuer: &str) -> Option<&Arc<TrustedIssuer>> {
        self.by_issuer.get(issuer)
    }

    /// Every issuer, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<TrustedIssuer>> {
        self.by_id.values()
    }

    /// The issuers in `stored` that these do not allow, as of `applied`: removed, disabled or other ones. What `stored`
    /// has later, and was not `seen` before, is news. They are to be disabled: an administrator knows what was meant.
    #[must_use]
    pub fn given_back(
        &self,
        stored: &Self,
        applied: Revision,
        seen: &dyn Fn(&str) -> bool,
    ) -> Vec<Arc<TrustedIssuer>> {
        let is_news = |it: &TrustedIssuer| it.revision > applied && !seen(&it.issuer_id);
        let is_as_held = |it: &TrustedIssuer| {
            self.get(&it.issuer_id).is_some_and(|held| !held.disabled && held.registration == it.registration)
        };
        let mut given_back: Vec<_> =
            stored.iter().filter(|it| !it.disabled && !is_news(it) && !is_as_held(it)).cloned().collect();
        given_back.sort_by(|a, b| a.issuer_id.cmp(&b.issuer_id));
        given_back
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    fn issuer(id: &str, revision: i64, name: &str, disabled: bool) -> TrustedIssuer {
        let registration = IssuerRegistration {
            display_name: name.to_owned(),
            issuer: format!("https://{id}.example"),
            key_source: RegisteredKeys::OidcDiscovery,
            max_age_s: 3_600,
            ..IssuerRegistration::default()
        };
        TrustedIssuer::new(id.to_owned(), Revision::from_i64(revision).unwrap(), registration, disabled)
            .unwrap()
    }

    #[test]
    fn c10_what_the_tables_give_back_is_disabled_and_news_is_not() {
        let held: Issuers =
            [issuer("same", 3, "", false), issuer("off", 4, "", true), issuer("changed", 5, "new", false)]
                .into_iter()
                .collect();
        let stored: Issuers = [
            issuer("same", 3, "", false),
            issuer("off", 2, "", false),
            issuer("changed", 2, "old", false),
            issuer("removed", 1, "", false),
            issuer("news", 11, "", false),
            issuer("rewritten", 12, "", false),
            issuer("removed-and-off", 1, "", true),
        ]
        .into_iter()
        .collect();
        let given_back = held.given_back(&stored, Revision::from_i64(10).unwrap(), &|id| id == "rewritten");
        let ids: Vec<_> = given_back.iter().map(|it| it.issuer_id.as_str()).collect();
        assert_eq!(ids, ["changed", "off", "removed", "rewritten"]);
    }

    #[test]
    fn a_registration_that_cannot_be_followed_is_none() {
        let good = IssuerRegistration::clone(&issuer("a", 1, "", false).registration);
        let fault =
            |registration| TrustedIssuer::new("a".into(), Revision::ZERO, registration, false).unwrap_err().0;
        assert_eq!(
            fault(IssuerRegistration { key_source: RegisteredKeys::None, ..good.clone() }),
            "key_source"
        );
        let keys = RegisteredKeys::StaticJwks("{}".into());
        assert_eq!(fault(IssuerRegistration { key_source: keys, ..good.clone() }), "static_jwks");
        assert_eq!(
            fault(IssuerRegistration { algorithms: vec!["HS256".into()], ..good.clone() }),
            "algorithms"
        );
        let rule =
            RegisteredRule { priority: 0, conditions: vec![], client_id: "c".into(), subject: "s".into() };
        assert_eq!(fault(IssuerRegistration { rules: vec![rule], ..good }), "rules");
    }
}
