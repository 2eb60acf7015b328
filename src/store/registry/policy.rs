//! `policy`, and `removed_policy`.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use serde_json::Value;
use sqlx::PgConnection;

use crate::{
    mint::{DailyBoundary, Excess},
    state::{LostPolicy, Policy, RemovedPolicies, StoredPolicies},
    store::{
        NewAudit, OwnConnection, Store, StoreError, connection::own::TABLE_TIMEOUT, log::number::revision,
    },
};
use jeton_token::{Algorithm, Revision};

/// The result of a write.
#[derive(Clone, Copy, Debug)]
pub enum PolicyWrite {
    /// Written at this revision, at this time.
    Written(Revision, Timestamp),
    /// Another write was first; nothing was written.
    Stale,
}

impl Store {
    /// Every policy, by audience, then client.
    pub async fn policies(&self) -> Result<Vec<Policy>, StoreError> {
        self.run(read).await
    }

    /// Writes a policy through the log, if it is still at `expected` (zero: absent).
    pub async fn put_policy(
        &self,
        policy: &Policy,
        expected: Revision,
        audit: &NewAudit,
    ) -> Result<PolicyWrite, StoreError> {
        let audit = about(audit, &policy.audience, &policy.client_id);
        self.act(
            &audit,
            async |connection, act| put(connection, policy, expected, None, act).await,
            |written| matches!(written, PolicyWrite::Written(..)),
        )
        .await
    }

    /// Removes a policy through the log, if it is still at `expected`. `None`: another write was first.
    pub async fn delete_policy(
        &self,
        audience: &str,
        client_id: &str,
        expected: Revision,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let audit = about(audit, audience, client_id);
        let name = (audience, client_id);
        self.act(
            &audit,
            async |connection, act| delete(connection, name, expected, None, act).await,
            Option::is_some,
        )
        .await
    }
}

/// An act on the policy of an audience and a client.
fn about(audit: &NewAudit, audience: &str, client_id: &str) -> NewAudit {
    NewAudit { client_id: Some(client_id.to_owned()), note: audience.to_owned(), ..audit.clone() }
}

impl OwnConnection {
    /// Every policy, by audience, then client.
    pub async fn policies(&mut self) -> Result<Vec<Policy>, StoreError> {
        self.run(TABLE_TIMEOUT, read).await
    }

    /// The present policies, and the removed ones.
    pub async fn stored_policies(&mut self) -> Result<StoredPolicies, StoreError> {
        // In this order: a policy that is removed meanwhile is among the removed, or below the floor.
        let policies = self.policies().await?.into_iter().collect();
        let revisions = self.run(TABLE_TIMEOUT, removed).await?;
        let floor = self.head().await?.floor;
        Ok(StoredPolicies { policies, removed: RemovedPolicies { floor, revisions } })
    }

    /// Makes a change that the tables had lost to a policy, through the log. False: another replica was first.
    pub async fn carry_over_policy(
        &mut self,
        lost: &LostPolicy,
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        let (LostPolicy::Write { policy, .. } | LostPolicy::Remove { policy, .. }) = lost;
        let audit = about(audit, &policy.audience, &policy.client_id);
        self.act(
            TABLE_TIMEOUT,
            &audit,
            async |connection, act| match lost {
                LostPolicy::Write { policy, expected } => {
                    let written = put(connection, policy, *expected, Some(policy.revision), act).await?;
                    Ok(matches!(written, PolicyWrite::Written(..)))
                }
                LostPolicy::Remove { policy, as_of } => {
                    let name = (policy.audience.as_str(), policy.client_id.as_str());
                    Ok(delete(connection, name, policy.revision, Some(*as_of), act).await?.is_some())
                }
            },
            |written| *written,
        )
        .await
    }
}

async fn put(
    connection: &mut PgConnection,
    policy: &Policy,
    expected: Revision,
    as_of: Option<Revision>,
    act: Value,
) -> Result<PolicyWrite, StoreError> {
    let boundary = policy.daily_boundary.as_ref();
    let row = sqlx::query!(
        r#"select new_revision, new_update_time as "new_update_time?: SqlTimestamp"
             from put_policy($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)"#,
        expected.as_i64(),
        policy.audience,
        policy.client_id,
        policy.default_ttl_s,
        policy.max_ttl_s,
        policy.excess.map(|excess| excess == Excess::Clamp),
        policy.leeway_s,
        policy.refresh_idle_s,
        policy.refresh_absolute_s,
        policy.refresh_grace_s,
        boundary.and_then(|boundary| i16::try_from(boundary.hours()).ok()),
        boundary.and_then(|boundary| i16::try_from(boundary.minutes()).ok()),
        boundary.map(DailyBoundary::zone_name),
        &policy.allowed_scopes,
        policy.algorithm.map(Algorithm::as_str),
        policy.audit_issue,
        policy.subject_sessions,
        as_of.map(Revision::as_i64),
        act
    )
    .fetch_one(connection)
    .await?;
    match (row.new_revision, row.new_update_time) {
        (Some(number), Some(time)) => Ok(PolicyWrite::Written(revision("policy", number)?, time.to_jiff())),
        _ => Ok(PolicyWrite::Stale),
    }
}

async fn delete(
    connection: &mut PgConnection,
    (audience, client_id): (&str, &str),
    expected: Revision,
    as_of: Option<Revision>,
    act: Value,
) -> Result<Option<Revision>, StoreError> {
    sqlx::query_scalar!(
        "select delete_policy($1, $2, $3, $4, $5)",
        expected.as_i64(),
        audience,
        client_id,
        as_of.map(Revision::as_i64),
        act
    )
    .fetch_one(connection)
    .await?
    .map(|number| revision("log_head", number))
    .transpose()
}

async fn removed(connection: &mut PgConnection) -> Result<HashMap<(String, String), Revision>, StoreError> {
    let rows = sqlx::query!("select audience, client_id, revision from removed_policy")
        .fetch_all(connection)
        .await?;
    let removed = |number| revision("removed_policy", number);
    rows.into_iter().map(|row| Ok(((row.audience, row.client_id), removed(row.revision)?))).collect()
}

async fn read(connection: &mut PgConnection) -> Result<Vec<Policy>, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select audience, client_id, revision, update_time as "update_time: SqlTimestamp", default_ttl_s,
                  max_ttl_s, clamp, leeway_s, refresh_idle_s, refresh_absolute_s, refresh_grace_s, boundary_hours,
                  boundary_minutes, boundary_zone, allowed_scopes, algorithm, audit_issue, subject_sessions
             from policy order by audience collate "C", client_id collate "C""#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter().map(TryInto::try_into).collect()
}

struct Row {
    audience: String,
    client_id: String,
    revision: i64,
    update_time: SqlTimestamp,
    default_ttl_s: Option<i64>,
    max_ttl_s: Option<i64>,
    clamp: Option<bool>,
    leeway_s: Option<i64>,
    refresh_idle_s: Option<i64>,
    refresh_absolute_s: Option<i64>,
    refresh_grace_s: Option<i64>,
    boundary_hours: Option<i16>,
    boundary_minutes: Option<i16>,
    boundary_zone: Option<String>,
    allowed_scopes: Vec<String>,
    algorithm: Option<String>,
    audit_issue: Option<bool>,
    subject_sessions: Option<i64>,
}

impl TryFrom<Row> for Policy {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |what: &str| {
            StoreError::corrupt("policy", format!("({}, {}): {what}", row.audience, row.client_id))
        };
        let daily_boundary = match (row.boundary_hours, row.boundary_minutes, &row.boundary_zone) {
            (Some(hours), Some(minutes), Some(zone)) => {
                let boundary = DailyBoundary::parse(hours.into(), minutes.into(), zone);
                // A boundary that cannot be kept must not be ignored: tokens would live longer.
                Some(boundary.map_err(|rule| corrupt(&format!("daily boundary: {rule}")))?)
            }
            _ => None,
        };
        let algorithm = row
            .algorithm
            .as_deref()
            .map(|name| name.parse().map_err(|_| corrupt("algorithm")))
            .transpose()?;
        Ok(Self {
            revision: revision("policy", row.revision)?,
            update_time: row.update_time.to_jiff(),
            default_ttl_s: row.default_ttl_s,
            max_ttl_s: row.max_ttl_s,
            excess: row.clamp.map(|clamp| if clamp { Excess::Clamp } else { Excess::Reject }),
            leeway_s: row.leeway_s,
            refresh_idle_s: row.refresh_idle_s,
            refresh_absolute_s: row.refresh_absolute_s,
            refresh_grace_s: row.refresh_grace_s,
            daily_boundary,
            algorithm,
            audit_issue: row.audit_issue,
            subject_sessions: row.subject_sessions,
            audience: row.audience,
            client_id: row.client_id,
            allowed_scopes: row.allowed_scopes,
        })
    }
}
