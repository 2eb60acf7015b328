//! `mac_key`: secrets are sealed before they come here.

use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use super::{KeyTimes, NewAudit, Store, StoreError, log::revision};
use crate::token::Revision;

/// A MAC key as it is stored.
#[derive(Clone, Debug)]
pub struct MacKeyRow {
    /// Its id in refresh tokens.
    pub id: [u8; 4],
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// Its times: it signs where it opens sessions.
    pub times: KeyTimes,
}

impl Store {
    /// Publishes a MAC key through the log, due after `lead_s` seconds. None, and nothing written: one is pending;
    /// or the active one has opened sessions for less than `older_than_s`.
    pub async fn publish_mac_key(
        &self,
        id: [u8; 4],
        sealed: &[u8],
        lead_s: i64,
        older_than_s: i64,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let published = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select publish_mac_key($1, $2, make_interval(secs => $3::bigint),
                                            make_interval(secs => $4::bigint), $5, $6, $7)",
                    id.as_slice(),
                    sealed,
                    lead_s,
                    older_than_s,
                    audit.id,
                    audit.actor,
                    audit.action
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        published.map(|head| revision("log_head", head)).transpose()
    }

    /// Lets a pending MAC key that is due open sessions, through the log; the one before it verifies for
    /// `verify_for_s` seconds more. None, and nothing written: it is not pending, or not due while there is another.
    pub async fn activate_mac_key(
        &self,
        id: [u8; 4],
        verify_for_s: i64,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let activated = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select activate_mac_key($1, make_interval(secs => $2::bigint), $3, $4, $5)",
                    id.as_slice(),
                    verify_for_s,
                    audit.id,
                    audit.actor,
                    audit.action
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        activated.map(|head| revision("log_head", head)).transpose()
    }

    /// Removes MAC keys whose last session has ended, through the log. False: there is none.
    pub async fn remove_mac_keys(&self, audit: &NewAudit) -> Result<bool, StoreError> {
        let removed = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select remove_mac_keys($1, $2, $3)",
                    audit.id,
                    audit.actor,
                    audit.action
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        Ok(removed.is_some())
    }
}

pub(super) async fn read_mac_keys(connection: &mut PgConnection) -> Result<Vec<MacKeyRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select mac_key_id, sealed, create_time as "create_time: SqlTimestamp",
                  activate_time as "activate_time: SqlTimestamp", signing_time as "signing_time: SqlTimestamp",
                  retire_time as "retire_time: SqlTimestamp", expire_time as "expire_time: SqlTimestamp",
                  publish_revision
             from mac_key order by create_time desc"#
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let id = row.mac_key_id.try_into();
            Ok(MacKeyRow {
                id: id.map_err(|_| StoreError::corrupt("mac_key", "an id that is not of 4 bytes"))?,
                sealed: row.sealed,
                times: KeyTimes {
                    create_time: row.create_time.to_jiff(),
                    activate_time: row.activate_time.to_jiff(),
                    signing_time: row.signing_time.map(SqlTimestamp::to_jiff),
                    retire_time: row.retire_time.map(SqlTimestamp::to_jiff),
                    expire_time: row.expire_time.map(SqlTimestamp::to_jiff),
                    published: revision("mac_key", row.publish_revision)?,
                },
            })
        })
        .collect()
}
