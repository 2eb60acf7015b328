//! Policies: wire ↔ domain.

use prost_types::FieldMask;

use crate::{
    authority::{Invalid, PolicyField, PolicyUpdate},
    mint::{DailyBoundary, Excess},
    proto::v1 as pb,
    rpc::convert::{duration_s, etag_of, timestamp, whole_seconds},
    state::{Effective, Policy},
};
use jeton_token::Revision;

pub(in crate::rpc) fn policy_update(request: pb::UpdatePolicyRequest) -> Result<PolicyUpdate, Invalid> {
    let given = request.policy.ok_or_else(|| Invalid::required("policy"))?;
    let etag = etag_of("policy.etag", &given.etag)?;
    let fields = match request.update_mask {
        Some(mask) if !mask.paths.is_empty() => fields_of(&mask)?,
        _ => populated(&given),
    };
    Ok(PolicyUpdate {
        policy: policy_of(given)?,
        fields,
        etag,
        allow_missing: request.allow_missing,
        validate_only: request.validate_only,
    })
}

/// The fields that may be written, by their names in a mask.
const FIELDS: [(&str, PolicyField); 12] = [
    ("default_ttl", PolicyField::DefaultTtl),
    ("max_ttl", PolicyField::MaxTtl),
    ("excess_ttl_action", PolicyField::ExcessTtlAction),
    ("leeway", PolicyField::Leeway),
    ("refresh_idle_lifetime", PolicyField::RefreshIdleLifetime),
    ("refresh_absolute_lifetime", PolicyField::RefreshAbsoluteLifetime),
    ("refresh_replay_grace", PolicyField::RefreshReplayGrace),
    ("daily_boundary", PolicyField::DailyBoundary),
    ("allowed_scopes", PolicyField::AllowedScopes),
    ("algorithm", PolicyField::Algorithm),
    ("audit_issue", PolicyField::AuditIssue),
    ("max_sessions_per_subject", PolicyField::MaxSessionsPerSubject),
];

fn fields_of(mask: &FieldMask) -> Result<Vec<PolicyField>, Invalid> {
    if mask.paths.iter().any(|path| path == "*") {
        return Ok(FIELDS.map(|(_, field)| field).to_vec());
    }
    mask.paths
        .iter()
        .map(|path| {
            let known = FIELDS.iter().find(|(name, _)| name == path).map(|(_, field)| *field);
            known.ok_or_else(|| {
                Invalid::field("update_mask", "names of fields of Policy that can be written, or *")
            })
        })
        .collect()
}

fn populated(given: &pb::Policy) -> Vec<PolicyField> {
    let set = |field: PolicyField| match field {
        PolicyField::DefaultTtl => given.default_ttl.is_some(),
        PolicyField::MaxTtl => given.max_ttl.is_some(),
        PolicyField::ExcessTtlAction => given.excess_ttl_action != 0,
        PolicyField::Leeway => given.leeway.is_some(),
        PolicyField::RefreshIdleLifetime => given.refresh_idle_lifetime.is_some(),
        PolicyField::RefreshAbsoluteLifetime => given.refresh_absolute_lifetime.is_some(),
        PolicyField::RefreshReplayGrace => given.refresh_replay_grace.is_some(),
        PolicyField::DailyBoundary => given.daily_boundary.is_some(),
        PolicyField::AllowedScopes => !given.allowed_scopes.is_empty(),
        PolicyField::Algorithm => !given.algorithm.is_empty(),
        PolicyField::AuditIssue => given.audit_issue.is_some(),
        PolicyField::MaxSessionsPerSubject => given.max_sessions_per_subject.is_some(),
    };
    FIELDS.map(|(_, field)| field).into_iter().filter(|field| set(*field)).collect()
}

fn policy_of(given: pb::Policy) -> Result<Policy, Invalid> {
    let seconds = |field: &str, value: Option<prost_types::Duration>| {
        value.map(|value| whole_seconds(&format!("policy.{field}"), value)).transpose()
    };
    let excess = match pb::ExcessTtlAction::try_from(given.excess_ttl_action) {
        Ok(pb::ExcessTtlAction::Unspecified) => None,
        Ok(pb::ExcessTtlAction::Reject) => Some(Excess::Reject),
        Ok(pb::ExcessTtlAction::Clamp) => Some(Excess::Clamp),
        Err(_) => return Err(Invalid::field("policy.excess_ttl_action", "a value of ExcessTtlAction")),
    };
    let algorithm = match given.algorithm.as_str() {
        "" => None,
        name => Some(name.parse().map_err(|_| Invalid::field("policy.algorithm", "ES256 or EdDSA"))?),
    };
    let boundary = |boundary: pb::DailyBoundary| {
        DailyBoundary::parse(boundary.hours, boundary.minutes, &boundary.time_zone)
            .map_err(|rule| Invalid::field("policy.daily_boundary", rule))
    };
    Ok(Policy {
        default_ttl_s: seconds("default_ttl", given.default_ttl)?,
        max_ttl_s: seconds("max_ttl", given.max_ttl)?,
        excess,
        leeway_s: seconds("leeway", given.leeway)?,
        refresh_idle_s: seconds("refresh_idle_lifetime", given.refresh_idle_lifetime)?,
        refresh_absolute_s: seconds("refresh_absolute_lifetime", given.refresh_absolute_lifetime)?,
        refresh_grace_s: seconds("refresh_replay_grace", given.refresh_replay_grace)?,
        daily_boundary: given.daily_boundary.map(boundary).transpose()?,
        algorithm,
        audit_issue: given.audit_issue,
        subject_sessions: given.max_sessions_per_subject.map(i64::from),
        audience: given.audience,
        client_id: given.client_id,
        allowed_scopes: given.allowed_scopes,
        ..Policy::default()
    })
}

pub(in crate::rpc) fn policy(policy: Policy) -> pb::Policy {
    // A policy that was never written has no etag and no time: `validate_only` returns such a policy.
    let written = policy.revision != Revision::ZERO;
    pb::Policy {
        etag: if written { policy.revision.to_string() } else { String::new() },
        default_ttl: policy.default_ttl_s.map(duration_s),
        max_ttl: policy.max_ttl_s.map(duration_s),
        excess_ttl_action: policy.excess.map_or(0, excess_number),
        leeway: policy.leeway_s.map(duration_s),
        refresh_idle_lifetime: policy.refresh_idle_s.map(duration_s),
        refresh_absolute_lifetime: policy.refresh_absolute_s.map(duration_s),
        refresh_replay_grace: policy.refresh_grace_s.map(duration_s),
        daily_boundary: policy.daily_boundary.as_ref().map(daily_boundary),
        algorithm: policy.algorithm.map(|algorithm| algorithm.as_str().to_owned()).unwrap_or_default(),
        max_sessions_per_subject: sessions(policy.subject_sessions),
        update_time: written.then(|| timestamp(policy.update_time)),
        audit_issue: policy.audit_issue,
        audience: policy.audience,
        client_id: policy.client_id,
        allowed_scopes: policy.allowed_scopes,
    }
}

pub(in crate::rpc) fn effective_policy(effective: Effective, client_id: String) -> pb::Policy {
    pb::Policy {
        audience: effective.audience,
        client_id,
        etag: String::new(),
        default_ttl: Some(duration_s(effective.default_ttl_s)),
        max_ttl: Some(duration_s(effective.max_ttl_s)),
        excess_ttl_action: excess_number(effective.excess),
        leeway: Some(duration_s(effective.leeway_s)),
        refresh_idle_lifetime: Some(duration_s(effective.refresh_idle_s)),
        refresh_absolute_lifetime: Some(duration_s(effective.refresh_absolute_s)),
        refresh_replay_grace: Some(duration_s(effective.refresh_grace_s)),
        daily_boundary: effective.daily_boundary.as_ref().map(daily_boundary),
        allowed_scopes: effective.allowed_scopes,
        algorithm: effective.algorithm.as_str().to_owned(),
        max_sessions_per_subject: sessions(effective.subject_sessions),
        update_time: None,
        audit_issue: Some(effective.audit_issue),
    }
}

/// Only a row that jeton did not write can hold more than the wire type can: then the greatest value of the type.
fn sessions(most: Option<i64>) -> Option<i32> {
    most.map(|most| i32::try_from(most).unwrap_or(i32::MAX))
}

fn excess_number(excess: Excess) -> i32 {
    match excess {
        Excess::Reject => pb::ExcessTtlAction::Reject.into(),
        Excess::Clamp => pb::ExcessTtlAction::Clamp.into(),
    }
}

fn daily_boundary(boundary: &DailyBoundary) -> pb::DailyBoundary {
    pb::DailyBoundary {
        hours: boundary.hours(),
        minutes: boundary.minutes(),
        time_zone: boundary.zone_name().to_owned(),
    }
}
