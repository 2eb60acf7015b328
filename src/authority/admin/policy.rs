//! Policies: read from memory, written through the log.

use crate::{
    authority::{
        Authority, Caller, Error, Invalid,
        admin::page::{Page, page},
        tokens::form::check_scopes_of,
    },
    state::{
        Effective, FAMILY_ANY, LEEWAY_MAX_S, Permission, Policy, REFRESH_ABSOLUTE_MAX_S, REPLAY_GRACE_MAX_S,
        SUBJECT_SESSIONS_MAX, Snapshot,
    },
    store::{NewAudit, PolicyWrite},
};
use jeton_token::{LIFETIME_CAP_S, Revision, text};

/// Tries of a write that others were faster than; each try starts from what they wrote. One of the rivals succeeds each
/// time, so this many may write one policy at once.
const TRIES_MAX: u32 = 64;

/// A field of a policy that a write may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyField {
    /// TTL if none is requested.
    DefaultTtl,
    /// Ceiling for any TTL.
    MaxTtl,
    /// Treatment of a greater TTL.
    ExcessTtlAction,
    /// Clock tolerance.
    Leeway,
    /// Idle limit of sessions.
    RefreshIdleLifetime,
    /// Absolute limit of sessions.
    RefreshAbsoluteLifetime,
    /// Replay grace.
    RefreshReplayGrace,
    /// Daily boundary.
    DailyBoundary,
    /// Scopes.
    AllowedScopes,
    /// JWS algorithm.
    Algorithm,
    /// An audit row for each Issue.
    AuditIssue,
    /// The most live sessions of a subject.
    MaxSessionsPerSubject,
}

/// A change of one policy.
#[derive(Clone, Debug)]
pub struct PolicyUpdate {
    /// The new values, and the policy's audience and client.
    pub policy: Policy,
    /// The fields to write; a field that is named and unset is cleared.
    pub fields: Vec<PolicyField>,
    /// The etag that the caller has read.
    pub etag: Option<Revision>,
    /// Create it if absent.
    pub allow_missing: bool,
    /// Only returns the policy that would be written.
    pub validate_only: bool,
}

impl Authority {
    /// A policy as stored, and as it takes effect.
    pub fn get_policy(
        &self,
        snapshot: &Snapshot,
        caller: &Caller,
        audience: &str,
        client_id: &str,
    ) -> Result<(Option<Policy>, Effective), Error> {
        caller.must(Permission::AdminRead)?;
        check_names(audience, client_id, "")?;
        let policies = snapshot.root.issuing.policies.load();
        Ok((policies.get(audience, client_id).cloned(), policies.effective(audience, client_id)))
    }

    /// A page of policies, by audience, then client.
    pub async fn list_policies(
        &self,
        caller: &Caller,
        page_size: i32,
        page_token: &str,
    ) -> Result<(Vec<Policy>, String), Error> {
        caller.must(Permission::AdminRead)?;
        let page = page("policies", page_size, page_token)?;
        let after = page.after_names()?;
        let all = self.store.policies().await?;
        let mut rest = all.into_iter().filter(|policy| {
            after.is_none_or(|after| (policy.audience.as_str(), policy.client_id.as_str()) > after)
        });
        let policies: Vec<_> = rest.by_ref().take(page.size()).collect();
        let more = rest.next().is_some();
        let next =
            policies.last().filter(|_| more).map(|last| format!("{}\n{}", last.audience, last.client_id));
        Ok((policies, next.map_or_else(String::new, |next| page.next(next.as_bytes()))))
    }

    /// Writes a policy. In effect on every replica when it returns.
    pub async fn update_policy(&self, caller: &Caller, update: &PolicyUpdate) -> Result<Policy, Error> {
        caller.must(Permission::AdminWrite)?;
        let given = &update.policy;
        check_names(&given.audience, &given.client_id, "policy.")?;
        check_values(given)?;
        for _ in 0..TRIES_MAX {
            let stored = self.stored_policy(&given.audience, &given.client_id).await?;
            if stored.is_none() && !update.allow_missing {
                return Err(missing(&given.audience, &given.client_id));
            }
            check_etag(stored.as_ref(), update.etag)?;
            let expected = stored.as_ref().map_or(Revision::ZERO, |policy| policy.revision);
            let mut merged = merge(stored, update);
            check_together(&merged)?;
            if update.validate_only {
                return Ok(merged);
            }
            let audit = self.audit_of_policy(caller, "UpdatePolicy", &given.audience, &given.client_id);
            match self.store.put_policy(&merged, expected, &audit).await? {
                PolicyWrite::Written(revision, update_time) => {
                    merged.revision = revision;
                    merged.update_time = update_time;
                    self.changed(&audit, revision).await?;
                    return Ok(merged);
                }
                PolicyWrite::Stale => {}
            }
        }
        Err(Error::Overloaded)
    }

    /// Removes a policy. When this returns, the wider policies apply on every replica.
    pub async fn delete_policy(
        &self,
        caller: &Caller,
        audience: &str,
        client_id: &str,
        etag: Option<Revision>,
    ) -> Result<(), Error> {
        caller.must(Permission::AdminWrite)?;
        check_names(audience, client_id, "")?;
        for _ in 0..TRIES_MAX {
            let stored = self.stored_policy(audience, client_id).await?;
            let Some(policy) = stored.as_ref() else { return Err(missing(audience, client_id)) };
            check_etag(stored.as_ref(), etag)?;
            let audit = self.audit_of_policy(caller, "DeletePolicy", audience, client_id);
            if let Some(revision) =
                self.store.delete_policy(audience, client_id, policy.revision, &audit).await?
            {
                self.changed(&audit, revision).await?;
                return Ok(());
            }
        }
        Err(Error::Overloaded)
    }

    /// The audit entry of a write, as the table's function writes it.
    fn audit_of_policy(
        &self,
        caller: &Caller,
        action: &'static str,
        audience: &str,
        client_id: &str,
    ) -> NewAudit {
        NewAudit {
            client_id: Some(client_id.to_owned()),
            note: audience.to_owned(),
            ..self.audit(caller, action)
        }
    }

    async fn stored_policy(&self, audience: &str, client_id: &str) -> Result<Option<Policy>, Error> {
        let all = self.store.policies().await?;
        Ok(all.into_iter().find(|policy| policy.audience == audience && policy.client_id == client_id))
    }
}

fn missing(audience: &str, client_id: &str) -> Error {
    Error::NotFound { resource_type: "policy", name: format!("({audience}, {client_id})") }
}

fn check_etag(stored: Option<&Policy>, etag: Option<Revision>) -> Result<(), Error> {
    match etag {
        Some(etag) if stored.map(|policy| policy.revision) != Some(etag) => Err(Error::EtagMismatch {
            current: stored.map_or_else(String::new, |policy| policy.revision.to_string()),
        }),
        _ => Ok(()),
    }
}

fn merge(stored: Option<Policy>, update: &PolicyUpdate) -> Policy {
    let given = update.policy.clone();
    let mut merged = stored.unwrap_or_else(|| Policy {
        audience: given.audience.clone(),
        client_id: given.client_id.clone(),
        ..Policy::default()
    });
    for field in &update.fields {
        match field {
            PolicyField::DefaultTtl => merged.default_ttl_s = given.default_ttl_s,
            PolicyField::MaxTtl => merged.max_ttl_s = given.max_ttl_s,
            PolicyField::ExcessTtlAction => merged.excess = given.excess,
            PolicyField::Leeway => merged.leeway_s = given.leeway_s,
            PolicyField::RefreshIdleLifetime => merged.refresh_idle_s = given.refresh_idle_s,
            PolicyField::RefreshAbsoluteLifetime => merged.refresh_absolute_s = given.refresh_absolute_s,
            PolicyField::RefreshReplayGrace => merged.refresh_grace_s = given.refresh_grace_s,
            PolicyField::DailyBoundary => merged.daily_boundary.clone_from(&given.daily_boundary),
            PolicyField::AllowedScopes => merged.allowed_scopes.clone_from(&given.allowed_scopes),
            PolicyField::Algorithm => merged.algorithm = given.algorithm,
            PolicyField::AuditIssue => merged.audit_issue = given.audit_issue,
            PolicyField::MaxSessionsPerSubject => merged.subject_sessions = given.subject_sessions,
        }
    }
    merged
}

fn check_names(audience: &str, client_id: &str, prefix: &str) -> Result<(), Invalid> {
    if audience.is_empty() {
        return Err(Invalid::required(format!("{prefix}audience")));
    }
    if client_id.is_empty() {
        return Err(Invalid::required(format!("{prefix}client_id")));
    }
    if audience != FAMILY_ANY {
        text::check_audience(audience).map_err(|rule| Invalid::field(format!("{prefix}audience"), rule))?;
    }
    if client_id != FAMILY_ANY {
        text::check_client_id(client_id)
            .map_err(|rule| Invalid::field(format!("{prefix}client_id"), rule))?;
    }
    if audience == FAMILY_ANY && client_id != FAMILY_ANY {
        return Err(Invalid::field(format!("{prefix}client_id"), "\"*\" where the audience is \"*\""));
    }
    Ok(())
}

fn check_values(policy: &Policy) -> Result<(), Invalid> {
    check_range("policy.default_ttl", policy.default_ttl_s, 1, LIFETIME_CAP_S)?;
    check_range("policy.max_ttl", policy.max_ttl_s, 1, LIFETIME_CAP_S)?;
    check_range("policy.leeway", policy.leeway_s, 0, LEEWAY_MAX_S)?;
    check_range("policy.refresh_idle_lifetime", policy.refresh_idle_s, 1, REFRESH_ABSOLUTE_MAX_S)?;
    check_range("policy.refresh_absolute_lifetime", policy.refresh_absolute_s, 1, REFRESH_ABSOLUTE_MAX_S)?;
    check_range("policy.refresh_replay_grace", policy.refresh_grace_s, 0, REPLAY_GRACE_MAX_S)?;
    if policy.subject_sessions.is_some_and(|most| !(1..=SUBJECT_SESSIONS_MAX).contains(&most)) {
        let rule = format!("1 to {SUBJECT_SESSIONS_MAX}, or unset");
        return Err(Invalid::field("policy.max_sessions_per_subject", rule));
    }
    check_scopes_of("policy.allowed_scopes", &policy.allowed_scopes)
}

fn check_range(field: &str, value: Option<i64>, min: i64, max: i64) -> Result<(), Invalid> {
    match value {
        Some(value) if !(min..=max).contains(&value) => {
            Err(Invalid::field(field, format!("{min} to {max} s, not {value} s")))
        }
        _ => Ok(()),
    }
}

/// Checks the fields together.
fn check_together(policy: &Policy) -> Result<(), Invalid> {
    match (policy.default_ttl_s, policy.max_ttl_s) {
        (Some(default), Some(max)) if default > max => {
            Err(Invalid::field("policy.default_ttl", format!("at most max_ttl, {max} s")))
        }
        _ => Ok(()),
    }
}

/// A place in a list of pairs of names: no name contains a line break.
impl Page {
    fn after_names(&self) -> Result<Option<(&str, &str)>, Invalid> {
        let names = |after| str::from_utf8(after).ok()?.split_once('\n');
        self.after().map(|after| names(after).ok_or(Invalid::PageToken)).transpose()
    }
}
