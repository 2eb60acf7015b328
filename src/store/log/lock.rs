//! `lock`: subjects and clients for which nothing is issued.

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};

use crate::{
    state::{Lock, LockKind},
    store::{NewAudit, OwnConnection, STATEMENT_TIMEOUT, Store, StoreError, log::number::revision},
};
use jeton_token::{Revision, UnixSeconds};

pub(in crate::store) struct LockRow {
    pub(in crate::store) kind: i16,
    pub(in crate::store) target: String,
    pub(in crate::store) revision: i64,
    pub(in crate::store) lock_time: SqlTimestamp,
    pub(in crate::store) end_time: SqlTimestamp,
    pub(in crate::store) actor: String,
    pub(in crate::store) note: String,
}

impl TryFrom<LockRow> for Lock {
    type Error = StoreError;

    fn try_from(row: LockRow) -> Result<Self, StoreError> {
        let unknown = || StoreError::corrupt("lock", format!("kind {}", row.kind));
        Ok(Self {
            kind: LockKind::from_number(row.kind).ok_or_else(unknown)?,
            target: row.target,
            revision: revision("lock", row.revision)?,
            lock_time: row.lock_time.to_jiff(),
            end_time: UnixSeconds::from_timestamp(row.end_time.to_jiff()),
            actor: row.actor,
            note: row.note,
        })
    }
}

impl OwnConnection {
    /// Every lock, those that have ended lately included.
    pub async fn locks(&mut self) -> Result<Vec<Lock>, StoreError> {
        self.run(STATEMENT_TIMEOUT, async |connection| {
            let rows = sqlx::query_as!(
                LockRow,
                r#"select kind, target, revision, lock_time as "lock_time: SqlTimestamp",
                          end_time as "end_time: SqlTimestamp", actor, note from lock"#
            )
            .fetch_all(connection)
            .await?;
            rows.into_iter().map(Lock::try_from).collect()
        })
        .await
    }

    /// Writes a lock back that the tables have lost. Returns its revision.
    pub async fn reappend_lock(&mut self, lock: &Lock, audit: &NewAudit) -> Result<Revision, StoreError> {
        let written = self.act(
            STATEMENT_TIMEOUT,
            audit,
            async |connection, act| {
                let written = sqlx::query_scalar!(
                    r#"select reappend_lock($1, $2, $3, $4, $5, $6, $7) as "head!""#,
                    lock.kind.number(),
                    lock.target,
                    lock.lock_time.to_sqlx() as _,
                    Timestamp::from(lock.end_time).to_sqlx() as _,
                    lock.actor,
                    lock.note,
                    act
                );
                Ok(written.fetch_one(connection).await?)
            },
            |_| true,
        );
        revision("lock", written.await?)
    }
}

impl Store {
    /// Removes the rows of locks that ended more than `kept_s` seconds ago.
    pub async fn purge_locks(&self, kept_s: i64) -> Result<(), StoreError> {
        self.run(async |connection| {
            sqlx::query!(
                "delete from lock where end_time < now() - make_interval(secs => $1::bigint)",
                kept_s
            )
            .execute(connection)
            .await?;
            Ok(())
        })
        .await
    }
}
