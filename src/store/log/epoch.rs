//! The beginning of a new epoch of the log, and the entries that are written back.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use jiff_sqlx::ToSqlx;
use uuid::Uuid;

use crate::{
    state::{Entry, Mark},
    store::{
        NewAudit, OwnConnection, Store, StoreError,
        audit::chain::{Act, Chain, hex},
        log::number::revision,
    },
};
use jeton_token::{Revision, UnixSeconds};

/// For a few statements on small rows.
const TIMEOUT: Duration = Duration::from_secs(3);
/// For a thousand entries.
const REAPPEND_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Columns<'a> {
    kinds: Vec<i16>,
    ids: Vec<Option<Uuid>>,
    targets: Vec<Option<&'a str>>,
    audiences: Vec<Option<&'a str>>,
    positions: Vec<i64>,
    cutoffs_s: Vec<i64>,
    reasons: Vec<i16>,
    expires_s: Vec<i64>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, entry: &'a Entry) {
        let (kind, id, mark, reason, end) = match entry {
            Entry::Token { id, expire_time, reason } => (1, Some(*id), None, *reason, *expire_time),
            Entry::Session { id, expire_time, reason } => (2, Some(*id), None, *reason, *expire_time),
            Entry::Mark(mark) => (mark.kind.number(), None, Some(mark), mark.reason, mark.expire_time),
            // It brings back nothing.
            Entry::MarkRemoved { .. } => return,
        };
        let of_mark = |number: fn(&Mark) -> i64| mark.map_or(0, number);
        self.kinds.push(kind);
        self.ids.push(id);
        self.targets.push(mark.map(|mark| mark.target.as_str()));
        self.audiences.push(mark.map(|mark| mark.audience.as_str()));
        self.positions.push(of_mark(|mark| mark.position.as_i64()));
        self.cutoffs_s.push(of_mark(|mark| mark.cutoff.get()));
        self.reasons.push(reason.number());
        self.expires_s.push(end.get());
    }
}

impl OwnConnection {
    /// Begins the epoch `next`. False: the log is not in `expected` any more.
    pub async fn begin_epoch(
        &mut self,
        expected: i64,
        next: i64,
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        self.act(
            TIMEOUT,
            audit,
            async |connection, act| {
                let head = sqlx::query_scalar!("select begin_epoch($1, $2, $3)", expected, next, act);
                Ok(head.fetch_one(connection).await?.is_some())
            },
            |begun| *begun,
        )
        .await
    }

    /// Records that some replica has known the epoch for as long as a lease can last.
    pub async fn settle_epoch(&mut self, epoch: i64) -> Result<(), StoreError> {
        self.run(TIMEOUT, async |connection| {
            sqlx::query!(
                "update log_head set settled_epoch = $1, written_by = pg_current_xact_id()
                  where epoch = $1 and settled_epoch <> $1 and log_is_here(log_head, xmin)",
                epoch
            )
            .execute(connection)
            .await?;
            Ok(())
        })
        .await
    }

    /// Records that this replica's state is carried over into the epoch.
    pub async fn end_carry_over(&mut self, epoch: i64) -> Result<(), StoreError> {
        self.run(TIMEOUT, async |connection| {
            sqlx::query!("select end_carry_over($1)", epoch).fetch_one(connection).await?;
            Ok(())
        })
        .await
    }

    /// Removes MAC keys that are in the tables again although they had been removed.
    pub async fn remove_mac_keys_again(
        &mut self,
        ids: &[[u8; 4]],
        audit: &NewAudit,
    ) -> Result<(), StoreError> {
        let note = ids.iter().map(|id| hex(id)).collect::<Vec<_>>().join(" ");
        let audit = NewAudit { note, ..audit.clone() };
        let ids: Vec<Vec<u8>> = ids.iter().map(|id| id.to_vec()).collect();
        let removed = self.act(
            TIMEOUT,
            &audit,
            async |connection, act| {
                Ok(sqlx::query_scalar!("select remove_mac_keys_again($1, $2)", &ids, act)
                    .fetch_one(connection)
                    .await?)
            },
            Option::is_some,
        );
        removed.await?;
        Ok(())
    }

    /// Appends entries that the tables lack; a mark keeps its position. Present entries stay.
    #[expect(clippy::as_conversions, reason = "how sqlx is told an argument's type")]
    pub async fn reappend(&mut self, entries: &[Entry], audit: &NewAudit) -> Result<(), StoreError> {
        let mut c = Columns::default();
        for entry in entries {
            c.push(entry);
        }
        let audit = NewAudit { note: c.kinds.len().to_string(), ..audit.clone() };
        self.act(
            REAPPEND_TIMEOUT,
            &audit,
            async |connection, act| {
                sqlx::query!(
                    "select reappend_revocations($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                    &c.kinds,
                    &c.ids as &[Option<Uuid>],
                    &c.targets as &[Option<&str>],
                    &c.audiences as &[Option<&str>],
                    &c.positions,
                    &c.cutoffs_s,
                    &c.reasons,
                    &c.expires_s,
                    act
                )
                .fetch_one(connection)
                .await?;
                Ok(())
            },
            |()| true,
        )
        .await
    }
}

impl Store {
    /// Makes the database notice partitions that were not made here: somebody has restored or dropped one.
    pub async fn notice_parts(&self) -> Result<(), StoreError> {
        self.run(async |connection| {
            sqlx::query!("select notice_parts()").fetch_one(connection).await?;
            Ok(())
        })
        .await
    }

    /// Begins the next epoch on behalf of an operator. `revoke_keys`: revokes every signing key, with marks that are
    /// kept until `mark_end`, removes every MAC key and ends every session. Without a time limit, because there may be
    /// many.
    pub async fn bump_epoch(
        &self,
        revoke_keys: bool,
        mark_end: UnixSeconds,
        audit: &NewAudit,
    ) -> Result<Revision, StoreError> {
        let seal = self.seal()?;
        let mut chain = Chain::new(Arc::clone(&seal.chains), "epoch bump");
        let note = if revoke_keys { "revoke keys" } else { "keep keys" };
        let audit = NewAudit { note: note.to_owned(), ..audit.clone() };
        let act = Act::of(&audit, "OK", 0);
        let columns = act.json(&chain.link(std::slice::from_ref(&act)));
        let mut pooled = self.pool.acquire().await?;
        pooled.wait_for_locks().await?;
        let mark_end = Timestamp::from(mark_end).to_sqlx();
        let head = sqlx::query_scalar!(
            r#"select bump_epoch($1, $2, $3) as "head!""#,
            revoke_keys,
            mark_end as _,
            columns
        )
        .fetch_one(pooled.connection())
        .await
        .map_err(StoreError::from);
        chain.settle(&head, |_| true);
        revision("log_head", head?)
    }
}
