//! The time and reason of the revocation that holds, for repeated revocations.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use uuid::Uuid;

use crate::{
    state::Reason,
    store::{AppendTarget, Store, StoreError, log::number::revision},
};
use jeton_token::{Revision, UnixSeconds};

/// The revocations that may hit a target.
#[derive(Clone, Debug, Default)]
pub struct Hit {
    /// Its `jti`.
    pub jti: Option<Uuid>,
    /// Its `sid`.
    pub session_id: Option<Uuid>,
    /// Its subject.
    pub subject: Option<String>,
    /// Its client.
    pub client_id: Option<String>,
    /// The trusted issuer by whose assertion it was obtained.
    pub identity_provider: Option<String>,
    /// The key that signed it.
    pub key_id: Option<String>,
    /// Its audiences.
    pub audiences: Vec<String>,
    /// Its revision.
    pub revision: Revision,
    /// The time when it was issued.
    pub issue_time: UnixSeconds,
}

/// A revocation that holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Its commit time.
    pub revoke_time: Timestamp,
    /// Its reason.
    pub reason: Reason,
}

/// A revocation that hits a target, with its own target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldBy {
    /// What was revoked.
    pub target: AppendTarget,
    /// Its revision.
    pub revision: Revision,
    /// Its commit time and reason.
    pub held: Held,
}

/// The most revocations of one target that are told.
const CAUSES_MAX: i64 = 20;

impl Store {
    /// All revocations that hit this target, the earliest first. `any_audience`: whatever audience they name.
    pub async fn held_by(&self, hit: &Hit, any_audience: bool) -> Result<Vec<HeldBy>, StoreError> {
        self.first_held_by(hit, any_audience, CAUSES_MAX).await
    }

    async fn first_held_by(
        &self,
        hit: &Hit,
        any_audience: bool,
        most: i64,
    ) -> Result<Vec<HeldBy>, StoreError> {
        let rows = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select kind as "kind!", id, target as "target!", audience as "audience!",
                              revision as "revision!", cutoff_s as "cutoff_s!", reason as "reason!",
                              revoke_time as "revoke_time!: SqlTimestamp" from (
                           select kind, id, '' as target, '' as audience, revision, 0::bigint as cutoff_s, reason,
                                  revoke_time
                             from revocation where (id = $1 and kind = 1) or (id = $2 and kind = 2)
                           union all
                           select kind, null, target, audience, revision, cutoff_s, reason, revoke_time from mark
                            where ((kind, target) in ((3, $3), (4, $4), (11, $11))
                                   and (audience = '' or audience = any($6) or $9)
                                   and (position > $7 or cutoff_s > $8))
                               or (kind = 5 and target = $5)
                               or (kind = 6 and target = any($6) and (position > $7 or cutoff_s > $8))) hit
                        order by revoke_time limit $10"#,
                    hit.jti,
                    hit.session_id,
                    hit.subject,
                    hit.client_id,
                    hit.key_id,
                    &hit.audiences,
                    hit.revision.as_i64(),
                    hit.issue_time.get(),
                    any_audience,
                    most,
                    hit.identity_provider
                )
                .fetch_all(connection)
                .await?)
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                let target = AppendTarget::of_row(row.kind, row.id, row.target, row.audience, row.cutoff_s)?;
                let held = Held {
                    revoke_time: row.revoke_time.to_jiff(),
                    reason: Reason::from_number(row.reason.into()).unwrap_or_default(),
                };
                Ok(HeldBy { target, revision: revision("revocation", row.revision)?, held })
            })
            .collect()
    }

    /// The earliest revocation that hits this target.
    pub async fn held(&self, hit: &Hit) -> Result<Option<Held>, StoreError> {
        Ok(self.first_held_by(hit, false, 1).await?.pop().map(|held_by| held_by.held))
    }
}
