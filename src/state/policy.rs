//! The rules for tokens of one audience obtained by one client, and the combination of narrower and wider ones.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::mint::{Ask, DailyBoundary, Excess, Lifetime, LifetimeError, LifetimeTerms, decide_lifetime};
use jeton_token::{Algorithm, LIFETIME_CAP_S, Revision, UnixSeconds};

/// Stands for every audience, or every client.
pub const FAMILY_ANY: &str = "*";

/// The default TTL: long enough for a job, short enough to wait out.
const DEFAULT_TTL_BUILT_IN_S: i64 = 900;
/// The default maximum of a TTL.
const MAX_TTL_BUILT_IN_S: i64 = 3_600;
/// A session may be left for days and resumed within the week.
pub const IDLE_BUILT_IN_S: i64 = 7 * 86_400;
const ABSOLUTE_BUILT_IN_S: i64 = 30 * 86_400;
/// The age at which a session's partition is dropped: no session may live longer.
pub const REFRESH_ABSOLUTE_MAX_S: i64 = 90 * 86_400;
/// Covers a retry after a lost answer.
const REPLAY_GRACE_BUILT_IN_S: i64 = 10;
/// A longer grace would be a second life for a stolen token.
pub const REPLAY_GRACE_MAX_S: i64 = 60;
/// The greatest clock tolerance; the time for which revocations are kept depends on it.
pub const LEEWAY_MAX_S: i64 = 60;
/// The greatest value of the limit: as many sessions as a client may have by default.
pub const SUBJECT_SESSIONS_MAX: i64 = 1_000_000;
/// The default algorithm: every verifier supports it.
pub const BUILT_IN_ALGORITHM: Algorithm = Algorithm::Es256;

/// A policy as it is stored. `None`: taken from the next wider one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Policy {
    /// The `aud` value, or `*`.
    pub audience: String,
    /// The client, or `*`.
    pub client_id: String,
    /// The log's revision of its latest change; its etag.
    pub revision: Revision,
    /// The time of its latest change, by the database's clock.
    pub update_time: Timestamp,
    /// Seconds.
    pub default_ttl_s: Option<i64>,
    /// Seconds, at most 86 400.
    pub max_ttl_s: Option<i64>,
    /// The treatment of a TTL above the maximum.
    pub excess: Option<Excess>,
    /// Seconds, 0 to 60.
    pub leeway_s: Option<i64>,
    /// Seconds.
    pub refresh_idle_s: Option<i64>,
    /// Seconds, at most 90 days.
    pub refresh_absolute_s: Option<i64>,
    /// Seconds, 0 to 60.
    pub refresh_grace_s: Option<i64>,
    /// No token outlives its next occurrence.
    pub daily_boundary: Option<DailyBoundary>,
    /// Empty: taken from the next wider one.
    pub allowed_scopes: Vec<String>,
    /// The JWS algorithm.
    pub algorithm: Option<Algorithm>,
    /// Each Issue is audited.
    pub audit_issue: Option<bool>,
    /// Live sessions that one subject may have for the audience.
    pub subject_sessions: Option<i64>,
}

/// A policy with every field filled in: the rules for (audience, client).
#[derive(Clone, Debug)]
pub struct Effective {
    /// Its audience.
    pub audience: String,
    /// Seconds; never above `max_ttl_s`.
    pub default_ttl_s: i64,
    /// Seconds; never above the cap.
    pub max_ttl_s: i64,
    /// The treatment of a TTL above the maximum.
    pub excess: Excess,
    /// Seconds.
    pub leeway_s: i64,
    /// Seconds.
    pub refresh_idle_s: i64,
    /// Seconds.
    pub refresh_absolute_s: i64,
    /// Seconds.
    pub refresh_grace_s: i64,
    /// None: no boundary.
    pub daily_boundary: Option<DailyBoundary>,
    /// Empty: any.
    pub allowed_scopes: Vec<String>,
    /// The JWS algorithm.
    pub algorithm: Algorithm,
    /// Each Issue is audited.
    pub audit_issue: bool,
    /// Live sessions that one subject may have for the audience. None: any number.
    pub subject_sessions: Option<i64>,
}

impl Effective {
    /// Checks whether this policy by itself allows the request, whatever the other audiences' policies say.
    pub fn check_ask(&self, ask: Ask, now: UnixSeconds) -> Result<(), LifetimeError> {
        decide_lifetime(ask, &self.lifetime_terms(), now, None).map(drop)
    }

    /// The first of `scopes` that may not be issued.
    #[must_use]
    pub fn refused_scope<'a>(&self, scopes: &'a [String]) -> Option<&'a String> {
        scopes.iter().find(|scope| !self.allows_scope(scope))
    }

    fn allows_scope(&self, scope: &String) -> bool {
        self.allowed_scopes.is_empty() || self.allowed_scopes.contains(scope)
    }

    fn lifetime_terms(&self) -> LifetimeTerms {
        LifetimeTerms {
            default_ttl_s: self.default_ttl_s,
            max_ttl_s: self.max_ttl_s,
            excess: self.excess,
            daily_boundary: self.daily_boundary.iter().cloned().collect(),
        }
    }
}

/// The policies of all audiences of one token: each judges by itself, and the strictest value holds.
#[derive(Clone, Debug)]
pub struct Terms {
    each: Vec<Effective>,
}

impl Terms {
    /// The policy of each audience, in the token's order.
    #[must_use]
    pub fn each(&self) -> &[Effective] {
        &self.each
    }

    /// The lifetime that all of them allow. A refusal names the audience.
    pub fn lifetime(
        &self,
        ask: Ask,
        now: UnixSeconds,
        session_end: Option<UnixSeconds>,
    ) -> Result<Lifetime, (LifetimeError, String)> {
        for policy in &self.each {
            policy.check_ask(ask, now).map_err(|error| (error, policy.audience.clone()))?;
        }
        // Policies that reject have done so: the rest is clamped to the smallest maximum.
        let terms = LifetimeTerms {
            default_ttl_s: self.min(|policy| policy.default_ttl_s),
            max_ttl_s: self.min(|policy| policy.max_ttl_s),
            excess: Excess::Clamp,
            daily_boundary: self.each.iter().filter_map(|policy| policy.daily_boundary.clone()).collect(),
        };
        decide_lifetime(ask, &terms, now, session_end).map_err(|error| (error, String::new()))
    }

    /// The first scope that one of the audiences does not allow, and that audience.
    pub fn check_scopes(&self, scopes: &[String]) -> Result<(), (String, String)> {
        match self.each.iter().find_map(|policy| Some((policy.refused_scope(scopes)?, policy))) {
            Some((scope, policy)) => Err((scope.clone(), policy.audience.clone())),
            None => Ok(()),
        }
    }

    /// Those of `scopes` that every audience allows.
    #[must_use]
    pub fn allowed_of(&self, scopes: Vec<String>) -> Vec<String> {
        scopes.into_iter().filter(|scope| self.each.iter().all(|policy| policy.allows_scope(scope))).collect()
    }

    /// Idle limit, seconds.
    #[must_use]
    pub fn refresh_idle_s(&self) -> i64 {
        self.min(|policy| policy.refresh_idle_s)
    }

    /// Absolute limit, seconds.
    #[must_use]
    pub fn refresh_absolute_s(&self) -> i64 {
        self.min(|policy| policy.refresh_absolute_s)
    }

    /// Replay grace, seconds.
    #[must_use]
    pub fn refresh_grace_s(&self) -> i64 {
        self.min(|policy| policy.refresh_grace_s)
    }

    /// Live sessions that one subject may have for any of the audiences. None: any number.
    #[must_use]
    pub fn subject_sessions(&self) -> Option<i64> {
        self.each.iter().filter_map(|policy| policy.subject_sessions).min()
    }

    /// Clock tolerance, seconds.
    #[must_use]
    pub fn leeway_s(&self) -> i64 {
        self.min(|policy| policy.leeway_s)
    }

    /// The first audience's: algorithms have no order of strictness.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.each.first().map_or(BUILT_IN_ALGORITHM, |policy| policy.algorithm)
    }

    /// Returns whether an Issue is audited: one audience that requires it suffices.
    #[must_use]
    pub fn audit_issue(&self) -> bool {
        self.each.iter().any(|policy| policy.audit_issue)
    }

    fn min(&self, value: impl Fn(&Effective) -> i64) -> i64 {
        self.each.iter().map(value).min().unwrap_or_default()
    }
}

/// All policies.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    by_audience: BTreeMap<String, BTreeMap<String, Policy>>,
}

impl FromIterator<Policy> for Policies {
    fn from_iter<I: IntoIterator<Item = Policy>>(policies: I) -> Self {
        let mut all = Self::default();
        policies.into_iter().for_each(|policy| all.put(policy));
        all
    }
}

impl Policies {
    /// The policy stored for exactly this audience and client.
    #[must_use]
    pub fn get(&self, audience: &str, client_id: &str) -> Option<&Policy> {
        self.by_audience.get(audience)?.get(client_id)
    }

    /// Every policy, by audience, then client.
    pub fn iter(&self) -> impl Iterator<Item = &Policy> {
        self.by_audience.values().flat_map(BTreeMap::values)
    }

    /// Puts a policy in place of that of its audience and client.
    pub(super) fn put(&mut self, policy: Policy) {
        let of_audience = self.by_audience.entry(policy.audience.clone()).or_default();
        of_audience.insert(policy.client_id.clone(), policy);
    }

    /// Removes the policy of this audience and client.
    pub(super) fn remove(&mut self, audience: &str, client_id: &str) {
        if let Some(of_audience) = self.by_audience.get_mut(audience) {
            of_audience.remove(client_id);
            if of_audience.is_empty() {
                self.by_audience.remove(audience);
            }
        }
    }

    /// The audiences that have a policy of their own, without `*`.
    pub fn audiences(&self) -> impl Iterator<Item = &str> {
        self.by_audience.keys().map(String::as_str).filter(|audience| *audience != FAMILY_ANY)
    }

    /// The policies of all audiences of one token.
    #[must_use]
    pub fn terms<A: AsRef<str>>(&self, audiences: impl IntoIterator<Item = A>, client_id: &str) -> Terms {
        let effective = |audience: A| self.effective(audience.as_ref(), client_id);
        Terms { each: audiences.into_iter().map(effective).collect() }
    }

    /// The rules for (audience, client): for each field the narrowest policy that sets it; for maxima, which never
    /// widen, the smallest that is set on the way.
    #[must_use]
    pub fn effective(&self, audience: &str, client_id: &str) -> Effective {
        let mut path: Vec<&Policy> = Vec::with_capacity(3);
        path.extend(self.get(audience, client_id));
        if client_id != FAMILY_ANY {
            path.extend(self.get(audience, FAMILY_ANY));
        }
        if audience != FAMILY_ANY {
            path.extend(self.get(FAMILY_ANY, FAMILY_ANY));
        }
        let path = path.as_slice();
        let max_ttl_s = smallest(path, |p| p.max_ttl_s).unwrap_or(MAX_TTL_BUILT_IN_S).min(LIFETIME_CAP_S);
        let refresh_absolute_s = smallest(path, |p| p.refresh_absolute_s)
            .unwrap_or(ABSOLUTE_BUILT_IN_S)
            .min(REFRESH_ABSOLUTE_MAX_S);
        let scopes = path.iter().find(|policy| !policy.allowed_scopes.is_empty());
        Effective {
            audience: audience.to_owned(),
            default_ttl_s: narrowest(path, |p| p.default_ttl_s)
                .unwrap_or(DEFAULT_TTL_BUILT_IN_S)
                .min(max_ttl_s),
            max_ttl_s,
            excess: narrowest(path, |p| p.excess).unwrap_or(Excess::Reject),
            leeway_s: narrowest(path, |p| p.leeway_s).unwrap_or(0).clamp(0, LEEWAY_MAX_S),
            refresh_idle_s: narrowest(path, |p| p.refresh_idle_s)
                .unwrap_or(IDLE_BUILT_IN_S)
                .min(refresh_absolute_s),
            refresh_absolute_s,
            refresh_grace_s: narrowest(path, |p| p.refresh_grace_s)
                .unwrap_or(REPLAY_GRACE_BUILT_IN_S)
                .clamp(0, REPLAY_GRACE_MAX_S),
            daily_boundary: narrowest(path, |p| p.daily_boundary.clone()),
            allowed_scopes: scopes.map(|policy| policy.allowed_scopes.clone()).unwrap_or_default(),
            algorithm: narrowest(path, |p| p.algorithm).unwrap_or(BUILT_IN_ALGORITHM),
            audit_issue: narrowest(path, |p| p.audit_issue).unwrap_or(false),
            subject_sessions: smallest(path, |p| p.subject_sessions),
        }
    }
}

fn narrowest<T>(path: &[&Policy], value: impl Fn(&Policy) -> Option<T>) -> Option<T> {
    path.iter().find_map(|policy| value(policy))
}

fn smallest(path: &[&Policy], value: impl Fn(&Policy) -> Option<i64>) -> Option<i64> {
    path.iter().filter_map(|policy| value(policy)).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(audience: &str, client_id: &str) -> Policy {
        Policy { audience: audience.into(), client_id: client_id.into(), ..Policy::default() }
    }

    #[test]
    fn i2_the_built_in_policy_is_900_s_and_3600_s() {
        let effective = Policies::default().effective("api", "c");
        assert_eq!((effective.default_ttl_s, effective.max_ttl_s), (900, 3600));
    }

    #[test]
    fn i7_the_narrowest_policy_that_says_something_is_used() {
        let policies: Policies = [
            Policy { default_ttl_s: Some(10), ..policy("*", "*") },
            Policy { default_ttl_s: Some(20), leeway_s: Some(5), ..policy("api", "*") },
            Policy { leeway_s: Some(7), ..policy("api", "c") },
        ]
        .into_iter()
        .collect();
        let effective = policies.effective("api", "c");
        assert_eq!((effective.default_ttl_s, effective.leeway_s), (20, 7));
        assert_eq!(policies.effective("web", "c").default_ttl_s, 10);
    }

    #[test]
    fn i16_one_audience_that_is_audited_suffices() {
        let policies: Policies = [
            Policy { audit_issue: Some(true), ..policy("orders", "*") },
            Policy { audit_issue: Some(false), ..policy("orders", "quiet") },
        ]
        .into_iter()
        .collect();
        let audited = |audiences: &[&str], client_id| policies.terms(audiences, client_id).audit_issue();
        assert!(audited(&["orders"], "c") && audited(&["api", "orders"], "c"));
        assert!(!audited(&["orders"], "quiet") && !audited(&["api"], "c"));
    }

    #[test]
    fn i7_a_maximum_never_widens() {
        let policies: Policies = [
            Policy { max_ttl_s: Some(7200), ..policy("*", "*") },
            Policy { max_ttl_s: Some(86_400), ..policy("api", "*") },
        ]
        .into_iter()
        .collect();
        assert_eq!(policies.effective("api", "c").max_ttl_s, 7200);
        let alone: Policies =
            [Policy { max_ttl_s: Some(86_400), ..policy("api", "*") }].into_iter().collect();
        assert_eq!(alone.effective("api", "c").max_ttl_s, 86_400);
    }

    #[test]
    fn i7_with_several_audiences_the_strictest_value_holds() {
        let policies: Policies = [
            Policy { max_ttl_s: Some(600), ..policy("a", "*") },
            Policy { leeway_s: Some(30), ..policy("b", "*") },
        ]
        .into_iter()
        .collect();
        let terms = policies.terms(["a", "b"], "c");
        assert_eq!(terms.leeway_s(), 0);
        let now = UnixSeconds::new(1_000_000);
        let refused = terms.lifetime(Ask::Ttl { seconds: 601, nanos: 0 }, now, None).err();
        assert!(
            matches!(refused, Some((LifetimeError::ExceedsMaximum { max_s: 600, .. }, audience)) if audience == "a")
        );
    }
}
