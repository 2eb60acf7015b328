//! `bulk_chunk`: the committed chunks of bulk revocations. A chunk is committed as a unit, once: with its revocations,
//! its audit row, and the row that says so.

use std::collections::BTreeMap;

use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

use crate::{
    state::Reason,
    store::{AppendTarget, NewAudit, Store, StoreError, log::number::revision},
};
use jeton_token::{Revision, UnixSeconds};

/// A number of targets by name.
pub type Counts = BTreeMap<String, i64>;

/// A chunk to commit.
#[derive(Clone, Debug)]
pub struct NewBulkChunk {
    /// The bulk revocation.
    pub bulk_id: Uuid,
    /// Its client.
    pub client_id: String,
    /// Its number, from 1.
    pub number: i64,
    /// SHA-256 of its targets.
    pub digest: [u8; 32],
    /// Tokens and sessions, and the time from which each may be forgotten; nothing else.
    pub revocations: Vec<(AppendTarget, UnixSeconds)>,
    /// The reason of all.
    pub reason: Reason,
    /// Its targets by outcome.
    pub outcomes: Counts,
    /// Its targets by what they are.
    pub kinds: Counts,
}

/// A committed chunk.
#[derive(Clone, Debug)]
pub struct BulkChunk {
    /// The client that committed it.
    pub client_id: String,
    /// Its number, from 1.
    pub number: i64,
    /// SHA-256 of its targets.
    pub digest: Vec<u8>,
    /// The revision after it.
    pub revision: Revision,
    /// Its targets by outcome.
    pub outcomes: Counts,
    /// Its targets by what they are.
    pub kinds: Counts,
}

impl Store {
    /// The committed chunks of a bulk revocation, in order.
    pub async fn bulk_chunks(&self, bulk_id: Uuid) -> Result<Vec<BulkChunk>, StoreError> {
        let rows = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select client_id, number, digest, revision, outcomes as "outcomes: Json<Counts>",
                              kinds as "kinds: Json<Counts>"
                         from bulk_chunk where bulk_id = $1 order by number"#,
                    bulk_id
                )
                .fetch_all(connection)
                .await?)
            })
            .await?;
        rows.into_iter()
            .map(|row| {
                Ok(BulkChunk {
                    client_id: row.client_id,
                    number: row.number,
                    digest: row.digest,
                    revision: revision("bulk_chunk", row.revision)?,
                    outcomes: row.outcomes.0,
                    kinds: row.kinds.0,
                })
            })
            .collect()
    }

    /// Commits a chunk, with its audit row. `None`: it was committed before, and nothing was written.
    pub async fn append_bulk(
        &self,
        chunk: &NewBulkChunk,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let (mut kinds, mut ids, mut expires_s) = (Vec::new(), Vec::new(), Vec::new());
        for (target, expire_time) in &chunk.revocations {
            let (kind, id) = match target {
                AppendTarget::Token(id) => (1_i16, *id),
                AppendTarget::Session(id) => (2, *id),
                AppendTarget::Nothing | AppendTarget::Wide { .. } | AppendTarget::Lock { .. } => continue,
            };
            kinds.push(kind);
            ids.push(id);
            expires_s.push(expire_time.get());
        }
        let json = |counts: &Counts| serde_json::to_value(counts).unwrap_or(Value::Null);
        let row = self
            .act_for(
                audit,
                chunk.reason,
                async |connection, act| {
                    Ok(sqlx::query!(
                        r#"select head as "head!", fresh as "fresh!"
                             from append_bulk($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"#,
                        chunk.bulk_id,
                        chunk.client_id,
                        chunk.number,
                        chunk.digest.as_slice(),
                        &kinds,
                        &ids,
                        &expires_s,
                        chunk.reason.number(),
                        json(&chunk.outcomes),
                        json(&chunk.kinds),
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                |row| row.fresh,
            )
            .await?;
        Ok(if row.fresh { Some(revision("log_head", row.head)?) } else { None })
    }

    /// The audit row of the chunk that revoked this token or session, if one did.
    pub(in crate::store) async fn bulk_audit_of(&self, id: Uuid) -> Result<Option<Uuid>, StoreError> {
        self.run(async |connection| {
            Ok(sqlx::query_scalar!(
                "select c.audit_id from revocation r
                   join bulk_chunk c on c.revision >= r.revision and c.revision - c.size < r.revision
                  where r.id = $1 order by c.revision limit 1",
                id
            )
            .fetch_optional(connection)
            .await?)
        })
        .await
    }

    /// Moves the head of the log, so that what was committed before can be waited for.
    pub async fn advance_log(&self) -> Result<Revision, StoreError> {
        let head = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(r#"select log_advance(1) as "head!""#).fetch_one(connection).await?)
            })
            .await?;
        revision("log_head", head)
    }

    /// Forgets chunks whose revocations are all past their end.
    pub async fn purge_bulk_chunks(&self) -> Result<(), StoreError> {
        self.run(async |connection| {
            sqlx::query!("delete from bulk_chunk where commit_time < now() - interval '3 days'")
                .execute(connection)
                .await?;
            Ok(())
        })
        .await
    }
}
