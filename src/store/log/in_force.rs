//! The revocations in force, for people.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;

use crate::{
    state::Reason,
    store::{AppendTarget, Store, StoreError, log::number::revision},
};
use jeton_token::Revision;

/// A revocation in force.
#[derive(Clone, Debug)]
pub struct InForce {
    /// What it hits.
    pub target: AppendTarget,
    /// Its revision.
    pub revision: Revision,
    /// A wide one hits what was issued below this revision; 0: by cutoff alone.
    pub position: i64,
    /// Why.
    pub reason: Reason,
    /// When it was made, or written back.
    pub revoke_time: Timestamp,
    /// It may be forgotten from then on.
    pub expire_time: Timestamp,
}

impl Store {
    /// At most `limit` revocations in force, newest first, from below `before` on.
    pub async fn in_force(
        &self,
        wide_only: bool,
        before: Option<Revision>,
        limit: i64,
    ) -> Result<Vec<InForce>, StoreError> {
        let rows = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select kind as "kind!", id, target as "target!", audience as "audience!",
                              revision as "revision!", position as "position!", cutoff_s as "cutoff_s!",
                              reason as "reason!", revoke_time as "revoke_time!: SqlTimestamp",
                              expire_time as "expire_time!: SqlTimestamp" from (
                           (select kind, null::uuid as id, target, audience, revision, position, cutoff_s, reason,
                                   revoke_time, expire_time
                              from mark where expire_time > now() and ($1::bigint is null or revision < $1)
                             order by revision desc limit $2)
                           union all
                           (select kind, id, '', '', revision, 0, 0, reason, revoke_time, expire_time
                              from revocation
                             where not $3 and expire_time > now() and ($1::bigint is null or revision < $1)
                             order by revision desc limit $2)) newest
                        order by revision desc limit $2"#,
                    before.map(Revision::as_i64),
                    limit,
                    wide_only
                )
                .fetch_all(connection)
                .await?)
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                let target = AppendTarget::of_row(row.kind, row.id, row.target, row.audience, row.cutoff_s)?;
                Ok(InForce {
                    target,
                    revision: revision("revocation", row.revision)?,
                    position: row.position,
                    reason: Reason::from_number(row.reason.into()).unwrap_or_default(),
                    revoke_time: row.revoke_time.to_jiff(),
                    expire_time: row.expire_time.to_jiff(),
                })
            })
            .collect()
    }
}
