//! The changes of policies that the tables have lost, by the memory of a replica.

use std::collections::HashMap;

use crate::{
    mint::Excess,
    state::{Effective, FAMILY_ANY, Policies, Policy},
};
use jeton_token::Revision;

/// Policies that were removed, and the revisions of the removals.
#[derive(Clone, Debug, Default)]
pub struct RemovedPolicies {
    /// Removals up to this revision may be missing.
    pub floor: Revision,
    /// The revision of the latest removal, by audience and client.
    pub revisions: HashMap<(String, String), Revision>,
}

impl RemovedPolicies {
    /// Returns whether the tables lack a policy because it was removed after `applied`. A removal that they do not know
    /// is not taken for a loss.
    fn after(&self, applied: Revision, policy: &Policy) -> bool {
        let removed = self.revisions.get(&(policy.audience.clone(), policy.client_id.clone()));
        self.floor > applied || removed.is_some_and(|revision| *revision > applied)
    }
}

/// The policies in the tables.
#[derive(Clone, Debug, Default)]
pub struct StoredPolicies {
    /// The policies that are present.
    pub policies: Policies,
    /// The policies that were removed.
    pub removed: RemovedPolicies,
}

/// A change to a policy in the tables, so that it allows no more than a replica held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LostPolicy {
    /// Writes this policy. `policy.revision` is the revision up to which it is known.
    Write {
        /// The new policy.
        policy: Policy,
        /// The revision that it replaces; zero if there is none.
        expected: Revision,
    },
    /// Removes the policy.
    Remove {
        /// The policy to remove.
        policy: Policy,
        /// The revision by which its removal was known.
        as_of: Revision,
    },
}

/// A number of a policy, and the field that stores it: the smaller, the stricter.
type Number = (fn(&Effective) -> i64, fn(&mut Policy) -> &mut Option<i64>);

const NUMBERS: [Number; 7] = [
    (|it| it.default_ttl_s, |it| &mut it.default_ttl_s),
    (|it| it.max_ttl_s, |it| &mut it.max_ttl_s),
    (|it| it.leeway_s, |it| &mut it.leeway_s),
    (|it| it.refresh_idle_s, |it| &mut it.refresh_idle_s),
    (|it| it.refresh_absolute_s, |it| &mut it.refresh_absolute_s),
    (|it| it.refresh_grace_s, |it| &mut it.refresh_grace_s),
    (|it| it.subject_sessions.unwrap_or(i64::MAX), |it| &mut it.subject_sessions),
];

impl Policies {
    /// The changes to the stored policies so that none allows more than these do, as of `applied`. Policies that were
    /// written or removed after `applied` are news: they count as they are stored. A lost policy comes back whole; of
    /// one that differs, the stricter value of each field holds, and fields without an order stay as they are stored.
    #[must_use]
    pub fn lost_in(&self, stored: &StoredPolicies, applied: Revision) -> Vec<LostPolicy> {
        let held = self.with_news_of(stored, applied);
        let mut result = stored.policies.clone();
        let mut lost = Vec::new();
        for policy in held.iter().filter(|it| stored.policies.get(&it.audience, &it.client_id).is_none()) {
            result.put(policy.clone());
            lost.push(LostPolicy::Write { policy: policy.clone(), expected: Revision::ZERO });
        }
        let mut known: Vec<&Policy> = stored.policies.iter().filter(|it| it.revision <= applied).collect();
        // The widest first: what narrower ones take from them is then right.
        known.sort_by_key(|policy| (policy.audience != FAMILY_ANY, policy.client_id != FAMILY_ANY));
        for policy in known {
            let restricted = held.restrict(&result, policy);
            let held_as = held.get(&policy.audience, &policy.client_id);
            if restricted == *policy {
                continue;
            }
            if held_as.is_none() && says_nothing(&restricted) {
                result.remove(&policy.audience, &policy.client_id);
                lost.push(LostPolicy::Remove { policy: policy.clone(), as_of: applied });
                continue;
            }
            let as_of = held_as.map_or(applied, |held| held.revision).max(policy.revision);
            let restricted = Policy { revision: as_of, ..restricted };
            result.put(restricted.clone());
            lost.push(LostPolicy::Write { policy: restricted, expected: policy.revision });
        }
        lost
    }

    /// These policies, with the changes in the tables from after `applied`.
    fn with_news_of(&self, stored: &StoredPolicies, applied: Revision) -> Self {
        let mut all = self.clone();
        for policy in self.iter().filter(|policy| stored.removed.after(applied, policy)) {
            if stored.policies.get(&policy.audience, &policy.client_id).is_none() {
                all.remove(&policy.audience, &policy.client_id);
            }
        }
        for news in stored.policies.iter().filter(|policy| policy.revision > applied) {
            all.put(news.clone());
        }
        all
    }

    /// A policy of `all` that allows no more than these do for its audience and client. What it takes from wider ones
    /// is already restricted in `all`.
    fn restrict(&self, all: &Self, policy: &Policy) -> Policy {
        let (audience, client_id) = (&policy.audience, &policy.client_id);
        let (held, now) = (self.effective(audience, client_id), all.effective(audience, client_id));
        // Unset fields are taken from the wider ones here, too.
        let mut stricter = self.get(audience, client_id).cloned().unwrap_or_default();
        let mut restricted = policy.clone();
        for (value, place) in NUMBERS {
            if value(&held) < value(&now) {
                *place(&mut restricted) = *place(&mut stricter);
            }
        }
        if (held.excess, now.excess) == (Excess::Reject, Excess::Clamp) {
            restricted.excess = stricter.excess;
        }
        if held.daily_boundary.is_some() && now.daily_boundary.is_none() {
            restricted.daily_boundary = stricter.daily_boundary;
        }
        if held.audit_issue && !now.audit_issue {
            restricted.audit_issue = stricter.audit_issue;
        }
        if let Some(scopes) = fewer_scopes(&held.allowed_scopes, &now.allowed_scopes) {
            restricted.allowed_scopes = scopes;
        }
        if self.get(audience, client_id).is_none() {
            // The policy was removed: fields without an order are no reason to keep it.
            restricted.algorithm = None;
        }
        restricted
    }
}

/// The scopes of `now` that `held` allows, too, if `now` has others. An empty list allows every scope.
fn fewer_scopes(held: &[String], now: &[String]) -> Option<Vec<String>> {
    if held.is_empty() || (!now.is_empty() && now.iter().all(|scope| held.contains(scope))) {
        return None;
    }
    let both: Vec<_> = now.iter().filter(|scope| held.contains(scope)).cloned().collect();
    Some(if both.is_empty() { held.to_vec() } else { both })
}

fn says_nothing(policy: &Policy) -> bool {
    *policy
        == Policy {
            audience: policy.audience.clone(),
            client_id: policy.client_id.clone(),
            revision: policy.revision,
            update_time: policy.update_time,
            ..Policy::default()
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: i64) -> Revision {
        Revision::from_i64(number).unwrap_or(Revision::ZERO)
    }

    fn policy(audience: &str, client_id: &str, revision: i64) -> Policy {
        Policy {
            audience: audience.into(),
            client_id: client_id.into(),
            revision: at(revision),
            ..Policy::default()
        }
    }

    fn maximum(audience: &str, revision: i64, max_ttl_s: i64) -> Policy {
        Policy { max_ttl_s: Some(max_ttl_s), ..policy(audience, FAMILY_ANY, revision) }
    }

    fn stored(policies: impl IntoIterator<Item = Policy>) -> StoredPolicies {
        StoredPolicies { policies: policies.into_iter().collect(), removed: RemovedPolicies::default() }
    }

    fn removed(revisions: &[(&str, i64)], floor: i64) -> RemovedPolicies {
        let name = |audience: &str| (audience.to_owned(), FAMILY_ANY.to_owned());
        RemovedPolicies {
            floor: at(floor),
            revisions: revisions.iter().map(|(audience, number)| (name(audience), at(*number))).collect(),
        }
    }

    /// The changes: audience, replaced revision, known revision, maximum.
    fn written(lost: &[LostPolicy]) -> Vec<(&str, i64, i64, Option<i64>)> {
        let written = lost.iter().filter_map(|lost| match lost {
            LostPolicy::Write { policy, expected } => Some((
                policy.audience.as_str(),
                expected.as_i64(),
                policy.revision.as_i64(),
                policy.max_ttl_s,
            )),
            LostPolicy::Remove { .. } => None,
        });
        written.collect()
    }

    fn gone(lost: &[LostPolicy]) -> Vec<&str> {
        let gone = lost.iter().filter_map(|lost| match lost {
            LostPolicy::Remove { policy, .. } => Some(policy.audience.as_str()),
            LostPolicy::Write { .. } => None,
        });
        gone.collect()
    }

    /// The tables after the changes.
    fn after(stored: &StoredPolicies, lost: &[LostPolicy]) -> StoredPolicies {
        let mut after = stored.clone();
        for lost in lost {
            match lost {
                LostPolicy::Write { policy, .. } => after.policies.put(policy.clone()),
                LostPolicy::Remove { policy, as_of } => {
                    after.policies.remove(&policy.audience, &policy.client_id);
                    let name = (policy.audience.clone(), policy.client_id.clone());
                    after.removed.revisions.insert(name, *as_of);
                }
            }
        }
        after
    }

    #[test]
    fn a_restored_policy_allows_no_more_than_the_one_in_memory() {
        let held: Policies =
            [maximum("lowered", 7, 60), maximum("lost", 6, 90), maximum("same", 2, 30)].into_iter().collect();
        let stored = stored([maximum("lowered", 3, 600), maximum("same", 2, 30), maximum("raised", 9, 900)]);
        let lost = held.lost_in(&stored, at(8));
        assert_eq!(written(&lost), [("lost", 0, 6, Some(90)), ("lowered", 3, 7, Some(60))]);
        assert_eq!(held.lost_in(&after(&stored, &lost), at(8)), [], "once");
    }

    #[test]
    fn what_was_removed_later_is_news() {
        let held: Policies = [maximum("later", 3, 60), maximum("lost", 4, 90)].into_iter().collect();
        let with = |removed| StoredPolicies { removed, ..StoredPolicies::default() };
        let lost = held.lost_in(&with(removed(&[("later", 9), ("lost", 3)], 0)), at(8));
        assert_eq!(written(&lost), [("lost", 0, 4, Some(90))], "it was removed, made again, and lost");
        assert_eq!(held.lost_in(&with(removed(&[], 9)), at(8)), [], "nobody knows any more");
        assert_eq!(written(&held.lost_in(&with(removed(&[], 8)), at(8))).len(), 2);
    }

    #[test]
    fn a_removal_that_was_lost_is_made_again() {
        let held = Policies::default();
        let raised =
            Policy { algorithm: Some(jeton_token::Algorithm::EdDsa), ..maximum("raised", 3, 86_400) };
        let stored = stored([raised, maximum("later", 9, 86_400), maximum("lowered", 3, 60)]);
        let lost = held.lost_in(&stored, at(8));
        assert_eq!(gone(&lost), ["raised"], "and what allows less than the wider ones stays");
        assert_eq!(written(&lost), []);
        assert_eq!(held.lost_in(&after(&stored, &lost), at(8)), [], "once");
        // Another replica held it, written again after that removal, and lost as well.
        let other: Policies = [maximum("raised", 10, 7_200)].into_iter().collect();
        assert_eq!(written(&other.lost_in(&after(&stored, &lost), at(11))), [("raised", 0, 10, Some(7_200))]);
    }

    #[test]
    fn a_field_that_was_cleared_is_cleared_again() {
        let held: Policies = [
            Policy { leeway_s: Some(5), ..policy("api", FAMILY_ANY, 7) },
            Policy { default_ttl_s: Some(60), ..policy(FAMILY_ANY, FAMILY_ANY, 2) },
        ]
        .into_iter()
        .collect();
        let stored = stored([
            Policy {
                leeway_s: Some(60),
                max_ttl_s: Some(86_400),
                default_ttl_s: Some(7_200),
                excess: Some(Excess::Clamp),
                ..policy("api", FAMILY_ANY, 3)
            },
            Policy { default_ttl_s: Some(60), ..policy(FAMILY_ANY, FAMILY_ANY, 2) },
        ]);
        let lost = held.lost_in(&stored, at(8));
        let expected = Policy { leeway_s: Some(5), ..policy("api", FAMILY_ANY, 7) };
        assert_eq!(lost, [LostPolicy::Write { policy: expected, expected: at(3) }]);
    }

    #[test]
    fn a_limit_of_sessions_that_was_lost_holds_again() {
        let most =
            |revision, subject_sessions| Policy { subject_sessions, ..policy("api", FAMILY_ANY, revision) };
        for (held, stored_as) in [(Some(3), None), (Some(3), Some(4))] {
            let held: Policies = [most(7, held)].into_iter().collect();
            let lost = held.lost_in(&stored([most(3, stored_as)]), at(8));
            assert_eq!(lost, [LostPolicy::Write { policy: most(7, Some(3)), expected: at(3) }]);
        }
        let held: Policies = [most(7, None)].into_iter().collect();
        assert_eq!(held.lost_in(&stored([most(3, Some(4))]), at(8)), [], "the stricter value holds");
    }

    #[test]
    fn a_wider_policy_that_was_raised_later_is_no_loss_of_the_narrower_ones() {
        let any = |revision, max_ttl_s| Policy { max_ttl_s: Some(max_ttl_s), ..policy("*", "*", revision) };
        let narrow = || policy("api", FAMILY_ANY, 2);
        let held: Policies = [any(1, 600), narrow()].into_iter().collect();
        assert_eq!(held.lost_in(&stored([any(9, 7_200), narrow()]), at(8)), []);
        let lost = held.lost_in(&stored([any(1, 7_200), narrow()]), at(8));
        assert_eq!(written(&lost), [("*", 1, 1, Some(600))], "once, where it was lost");
    }

    #[test]
    fn of_two_replicas_the_later_memory_holds_whoever_is_first() {
        let (early, late): (Policies, Policies) =
            ([maximum("api", 5, 600)].into_iter().collect(), [maximum("api", 7, 60)].into_iter().collect());
        let begun = stored([maximum("api", 3, 7_200)]);
        let first = after(&begun, &early.lost_in(&begun, at(6)));
        assert_eq!(written(&late.lost_in(&first, at(8))), [("api", 5, 7, Some(60))]);
        let first = after(&begun, &late.lost_in(&begun, at(8)));
        assert_eq!(early.lost_in(&first, at(6)), [], "it is news to it");
    }

    #[test]
    fn i16_that_each_issue_is_audited_is_carried_over_and_that_none_is_never() {
        let audited = |revision, audit_issue| Policy { audit_issue, ..maximum("api", revision, 60) };
        let held: Policies = [audited(1, Some(true))].into_iter().collect();
        for stored_as in [None, Some(false)] {
            let lost = held.lost_in(&stored([audited(1, stored_as)]), at(3));
            let carried = lost.iter().map(|lost| match lost {
                LostPolicy::Write { policy, .. } => policy.audit_issue,
                LostPolicy::Remove { .. } => None,
            });
            assert_eq!(carried.collect::<Vec<_>>(), [Some(true)], "{stored_as:?}");
        }
        let held: Policies = [audited(1, Some(false))].into_iter().collect();
        assert_eq!(held.lost_in(&stored([audited(1, Some(true))]), at(3)), []);
    }

    #[test]
    fn scopes_that_have_nothing_in_common_are_not_widened_to_all() {
        let scopes = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let fewer = |held: &[&str], now: &[&str]| fewer_scopes(&scopes(held), &scopes(now));
        assert_eq!(fewer(&["a"], &["b"]), Some(scopes(&["a"])));
        assert_eq!(fewer(&["a", "b"], &["b", "c"]), Some(scopes(&["b"])));
        assert_eq!(fewer(&["a"], &[]), Some(scopes(&["a"])));
        assert_eq!(fewer(&[], &["b"]), None);
        assert_eq!(fewer(&["a", "b"], &["b"]), None);
    }
}
