//! Wire ↔ domain: times, JSON, sessions, policies. Values of a wrong form are refused here, once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prost_types::value::Kind;
use serde_json::{Map, Value};

use crate::{
    authority::{Invalid, Issued},
    mint::Basis,
    proto::v1 as pb,
    replica::{Propagation, Reach},
    state::{LEASE_OVER_MS, Lock, LockKind, Reason},
    store::{AuditRow, ReplicaRow, SessionRow},
};
use jeton_token::{Revision, UnixSeconds, number};

/// The longest wait that makes sense for a caller, seconds.
const WAIT_MAX_S: i64 = 3_600;

/// 0001-01-01T00:00:00Z, where `google.protobuf.Timestamp` begins.
const YEAR_ONE_S: i64 = -62_135_596_800;

pub(super) fn seconds(time: UnixSeconds) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.get(), nanos: 0 }
}

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

pub(super) fn millis(unix_ms: i64) -> prost_types::Timestamp {
    timestamp(Timestamp::from_millisecond(unix_ms).unwrap_or(Timestamp::MAX))
}

pub(super) fn duration_s(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

pub(super) fn duration_ms(millis: i64) -> prost_types::Duration {
    // Both parts are cut toward zero, so they have the same sign, as the type requires.
    let seconds = millis.checked_div(1000).unwrap_or_default();
    let nanos = millis.checked_rem(1000).unwrap_or_default().saturating_mul(1_000_000);
    prost_types::Duration { seconds, nanos: i32::try_from(nanos).unwrap_or_default() }
}

/// A wire time, of nanosecond precision.
pub(super) fn time_of(field: &str, time: prost_types::Timestamp) -> Result<Timestamp, Invalid> {
    if !(0..1_000_000_000).contains(&time.nanos) {
        return Err(Invalid::field(field, "nanos from 0 to 999999999"));
    }
    // jiff reaches further back than the wire type.
    let seconds = Some(time.seconds).filter(|seconds| *seconds >= YEAR_ONE_S);
    seconds
        .and_then(|seconds| Timestamp::new(seconds, time.nanos).ok())
        .ok_or_else(|| Invalid::field(field, "from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z"))
}

/// The whole seconds of a wire duration.
pub(super) fn whole_seconds(field: &str, duration: prost_types::Duration) -> Result<i64, Invalid> {
    if duration.nanos == 0 { Ok(duration.seconds) } else { Err(Invalid::field(field, "whole seconds")) }
}

/// The time that a caller will wait.
pub(super) fn wait_of(
    field: &str,
    duration: Option<prost_types::Duration>,
) -> Result<Option<Duration>, Invalid> {
    let Some(wait) = duration else { return Ok(None) };
    let seconds = u64::try_from(wait.seconds).ok().filter(|_| wait.seconds <= WAIT_MAX_S);
    let nanos = u32::try_from(wait.nanos).ok().filter(|nanos| *nanos < 1_000_000_000);
    match (seconds, nanos) {
        (Some(seconds), Some(nanos)) => Ok(Some(Duration::new(seconds, nanos))),
        _ => Err(Invalid::field(field, format!("0 to {WAIT_MAX_S} s"))),
    }
}

pub(super) fn revision_of(field: &str, text: &str) -> Result<Option<Revision>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Invalid::revision(field))
}

/// An etag: the revision of the latest change.
pub(super) fn etag_of(field: &str, text: &str) -> Result<Option<Revision>, Invalid> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Invalid::field(field, "an etag that this API answered"))
}

/// Custom claims. If a number cannot be kept exactly, the error names the outermost claim that contains it.
pub(super) fn claims_of(claims: Option<prost_types::Struct>) -> Result<Map<String, Value>, Invalid> {
    claims
        .unwrap_or_default()
        .fields
        .into_iter()
        .map(|(claim, value)| {
            let value = json_of(value, &claim)?;
            Ok((claim, value))
        })
        .collect()
}

fn json_of(value: prost_types::Value, claim: &str) -> Result<Value, Invalid> {
    Ok(match value.kind {
        None => return Err(Invalid::field("claims", "every value set")),
        Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::StringValue(text)) => Value::String(text),
        Some(Kind::NumberValue(value)) => Value::Number(
            number(value).ok_or_else(|| Invalid::ClaimNumberUnsafe { claim: claim.to_owned() })?,
        ),
        Some(Kind::ListValue(list)) => Value::Array(
            list.values.into_iter().map(|value| json_of(value, claim)).collect::<Result<_, _>>()?,
        ),
        Some(Kind::StructValue(inner)) => Value::Object(
            inner
                .fields
                .into_iter()
                .map(|(name, value)| Ok((name, json_of(value, claim)?)))
                .collect::<Result<_, Invalid>>()?,
        ),
    })
}

pub(super) fn reason_of(number: i32) -> Result<Reason, Invalid> {
    Reason::from_number(number).ok_or_else(|| Invalid::field("reason", "a value of RevocationReason"))
}

/// The reach that a caller requests; `None` for watchers, which are not served.
pub(super) fn reach_of(number: i32) -> Result<Option<Reach>, Invalid> {
    match pb::Reach::try_from(number) {
        Ok(pb::Reach::Unspecified | pb::Reach::Replicas) => Ok(Some(Reach::Replicas)),
        Ok(pb::Reach::Local) => Ok(Some(Reach::Local)),
        Ok(pb::Reach::Watchers) => Ok(None),
        Err(_) => Err(Invalid::field("wait_for", "a value of Reach")),
    }
}

/// A lock. `in_full`: with its actor and its note.
pub(super) fn lock(lock: &Lock, in_full: bool) -> pb::Lock {
    let target = lock.target.clone();
    let told = |text: &String| if in_full { text.clone() } else { String::new() };
    pb::Lock {
        target: Some(match lock.kind {
            LockKind::Subject => pb::lock::Target::Subject(target),
            LockKind::Client => pb::lock::Target::ClientId(target),
        }),
        lock_time: Some(timestamp(lock.lock_time)),
        end_time: Some(seconds(lock.end_time)),
        actor: told(&lock.actor),
        note: told(&lock.note),
        revision: lock.revision.to_string(),
    }
}

pub(super) fn propagation(propagation: Propagation) -> pb::Propagation {
    pb::Propagation {
        complete: propagation.complete,
        applied_replicas: i32::try_from(propagation.applied_replicas).unwrap_or(i32::MAX),
        replicas: i32::try_from(propagation.replicas).unwrap_or(i32::MAX),
        applied_watchers: 0,
        watchers: 0,
        laggards: propagation.laggards,
    }
}

pub(super) fn issued(issued: Issued) -> pb::IssuedToken {
    let basis = match issued.basis {
        Basis::Requested => pb::ExpirationBasis::Requested,
        Basis::PolicyDefault => pb::ExpirationBasis::PolicyDefault,
        Basis::PolicyMaximum => pb::ExpirationBasis::PolicyMaximum,
        Basis::SessionEnd => pb::ExpirationBasis::SessionEnd,
        Basis::DailyBoundary => pb::ExpirationBasis::DailyBoundary,
    };
    pb::IssuedToken {
        access_token: issued.access_token,
        jti: issued.jti.to_string(),
        session_id: issued.session_id.map(|id| id.to_string()).unwrap_or_default(),
        issue_time: Some(seconds(issued.issue_time)),
        expire_time: Some(seconds(issued.expire_time)),
        refresh_time: Some(seconds(issued.refresh_time)),
        expiration_basis: basis.into(),
        refresh: issued.refresh.map(|refresh| pb::RefreshCredential {
            refresh_token: refresh.refresh_token,
            expire_time: Some(seconds(refresh.idle_expire_time)),
            session_expire_time: Some(seconds(refresh.session_expire_time)),
        }),
    }
}

pub(super) fn replica(row: ReplicaRow) -> pb::Replica {
    // For display only: the lease itself ends by the replica's own clock.
    let end = row.beat_time.checked_add(SignedDuration::from_millis(LEASE_OVER_MS)).unwrap_or(row.beat_time);
    pb::Replica {
        replica: row.identity.name,
        version: row.identity.version,
        revision: row.applied.to_string(),
        lease_expire_time: Some(timestamp(end)),
        start_time: Some(timestamp(row.start_time)),
        issuer: row.identity.settings.issuer,
        master_key_fingerprint: row.identity.settings.master_key,
        rotate_keys_every: Some(duration_s(row.identity.settings.rotate_every_s)),
        publish_keys_ahead: Some(duration_s(row.identity.settings.publish_ahead_s)),
        store_clock_offset: Some(duration_ms(row.clock_offset_ms)),
    }
}

pub(super) fn session(row: SessionRow) -> pb::Session {
    pb::Session {
        session_id: row.id.to_string(),
        create_time: Some(seconds(row.create_time)),
        refresh_time: Some(timestamp(row.refresh_time)),
        idle_expire_time: Some(seconds(row.idle_expire_time)),
        expire_time: Some(seconds(row.expire_time)),
        revoke_time: row.revoke_time.map(timestamp),
        refresh_count: row.generation,
        subject: row.subject,
        client_id: row.client_id,
        audiences: row.audiences,
        scopes: row.scopes,
    }
}

/// `applied`: the revision that each replica has applied.
pub(super) fn audit_event(row: AuditRow, applied: &[Revision]) -> pb::AuditEvent {
    let count = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
    pb::AuditEvent {
        applied_replicas: count(applied.iter().filter(|applied| **applied >= row.revision).count()),
        replicas: count(applied.len()),
        sequence: row.revision.as_i64(),
        event_time: Some(timestamp(row.event_time)),
        actor: row.actor,
        action: row.action,
        subject: row.subject.unwrap_or_default(),
        jti: row.jti.map(|id| id.to_string()).unwrap_or_default(),
        session_id: row.session_id.map(|id| id.to_string()).unwrap_or_default(),
        client_id: row.client_id.unwrap_or_default(),
        outcome: row.outcome,
        reason: row.reason.number().into(),
        note: row.note,
        trace_id: row.trace_id,
        key_id: row.key_id.unwrap_or_default(),
        audience: row.audience.unwrap_or_default(),
        issue_cutoff_time: row.cutoff.map(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_duration_keeps_one_sign() {
        let duration = duration_ms(-1_500);
        assert_eq!((duration.seconds, duration.nanos), (-1, -500_000_000));
        let duration = duration_ms(1_500);
        assert_eq!((duration.seconds, duration.nanos), (1, 500_000_000));
    }
}
