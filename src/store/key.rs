//! `signing_key`: private halves are sealed before they come here.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use super::{
    MacKeyRow, NewAudit, OwnConnection, Store, StoreError, connection::TABLE_TIMEOUT, log::revision,
    mac_key::read_mac_keys,
};
use crate::token::{Algorithm, Revision};

/// A signing key as it is stored.
#[derive(Clone, Debug)]
pub struct SigningKeyRow {
    /// The `kid`.
    pub key_id: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// JWK JSON.
    pub public_jwk: String,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
    /// Its times.
    pub times: KeyTimes,
    /// Since when it neither signs nor verifies.
    pub revoke_time: Option<Timestamp>,
}

/// What any key has gone through, by the database's clock.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimes {
    /// Creation.
    pub create_time: Timestamp,
    /// When it is, or was, due to sign.
    pub activate_time: Timestamp,
    /// Since when it has signed. Unset: it is pending.
    pub signing_time: Option<Timestamp>,
    /// Since when it only verifies.
    pub retire_time: Option<Timestamp>,
    /// From when on it is gone.
    pub expire_time: Option<Timestamp>,
    /// The log's revision of its publication.
    pub published: Revision,
}

/// All keys.
#[derive(Debug, Default)]
pub struct KeyRows {
    /// Signing keys, newest first.
    pub signing: Vec<SigningKeyRow>,
    /// MAC keys, newest first.
    pub mac: Vec<MacKeyRow>,
}

/// A signing key to add.
#[derive(Debug)]
pub struct NewSigningKey {
    /// The `kid`.
    pub key_id: String,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// JWK JSON.
    pub public_jwk: String,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
}

impl Store {
    /// All keys that are not gone.
    pub async fn keys(&self) -> Result<KeyRows, StoreError> {
        self.run(async |connection| read(connection, false).await).await
    }

    /// All keys that were ever stored.
    pub async fn keys_ever(&self) -> Result<KeyRows, StoreError> {
        self.run(async |connection| read(connection, true).await).await
    }

    /// Publishes a signing key through the log, due after `lead_s` seconds. None, and nothing written: one of
    /// its algorithm is pending; or the active one has signed for less than `older_than_s`, where that is given.
    pub async fn publish_signing_key(
        &self,
        key: &NewSigningKey,
        lead_s: i64,
        older_than_s: Option<i64>,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let published = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select publish_signing_key($1, $2, $3, $4, make_interval(secs => $5::bigint),
                                                make_interval(secs => $6::bigint), $7, $8, $9, $10)",
                    key.key_id,
                    key.algorithm.as_str(),
                    key.public_jwk,
                    key.sealed,
                    lead_s,
                    older_than_s,
                    audit.id,
                    audit.actor,
                    audit.action,
                    audit.trace_id
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        published.map(|head| revision("log_head", head)).transpose()
    }

    /// Lets a pending key sign, through the log; the one before it verifies for `verify_for_s` seconds more.
    /// None, and nothing written: it is not pending; or, where `only_due`, its time has not come while another
    /// one signs.
    pub async fn activate_signing_key(
        &self,
        key_id: &str,
        only_due: bool,
        verify_for_s: i64,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let activated = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select activate_signing_key($1, $2, make_interval(secs => $3::bigint), $4, $5, $6, $7)",
                    key_id,
                    only_due,
                    verify_for_s,
                    audit.id,
                    audit.actor,
                    audit.action,
                    audit.trace_id
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        activated.map(|head| revision("log_head", head)).transpose()
    }

    /// Adds a signing key that only verifies, for `verify_for_s` seconds, through the log.
    pub async fn put_retired_signing_key(
        &self,
        key: &NewSigningKey,
        verify_for_s: i64,
        audit: &NewAudit,
    ) -> Result<Revision, StoreError> {
        let head = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    r#"select put_retired_signing_key($1, $2, $3, $4, make_interval(secs => $5::bigint),
                                                      $6, $7, $8) as "head!""#,
                    key.key_id,
                    key.algorithm.as_str(),
                    key.public_jwk,
                    key.sealed,
                    verify_for_s,
                    audit.id,
                    audit.actor,
                    audit.action
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        revision("log_head", head)
    }

    /// Whether a signing key with this `kid` was ever stored.
    pub async fn has_signing_key(&self, key_id: &str) -> Result<bool, StoreError> {
        let exists = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    r#"select exists (select from signing_key where key_id = $1) as "exists!""#,
                    key_id
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        Ok(exists)
    }

    /// Stores all keys sealed anew, through the log, if `opened` still are all that there are, as they are.
    /// False: they are not, and nothing was written.
    pub async fn reseal_keys(
        &self,
        opened: &KeyRows,
        signing: &[Vec<u8>],
        mac: &[Vec<u8>],
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        let key_ids: Vec<_> = opened.signing.iter().map(|row| row.key_id.clone()).collect();
        let key_opened: Vec<_> = opened.signing.iter().map(|row| row.sealed.clone()).collect();
        let mac_ids: Vec<_> = opened.mac.iter().map(|row| row.id.to_vec()).collect();
        let mac_opened: Vec<_> = opened.mac.iter().map(|row| row.sealed.clone()).collect();
        let resealed = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select reseal_keys($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
                    &key_ids,
                    &key_opened,
                    signing,
                    &mac_ids,
                    &mac_opened,
                    mac,
                    audit.id,
                    audit.actor,
                    audit.action,
                    audit.note
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        Ok(resealed.is_some())
    }
}

impl OwnConnection {
    /// All keys that are not gone.
    pub async fn keys(&mut self) -> Result<KeyRows, StoreError> {
        self.run(TABLE_TIMEOUT, async |connection| read(connection, false).await).await
    }
}

async fn read(connection: &mut PgConnection, gone_too: bool) -> Result<KeyRows, StoreError> {
    let signing = sqlx::query!(
        r#"select key_id, algorithm, public_jwk, sealed, create_time as "create_time: SqlTimestamp",
                  activate_time as "activate_time: SqlTimestamp", signing_time as "signing_time: SqlTimestamp",
                  retire_time as "retire_time: SqlTimestamp", revoke_time as "revoke_time: SqlTimestamp",
                  expire_time as "expire_time: SqlTimestamp", publish_revision
             from signing_key where $1 or expire_time is null or expire_time > now()
            order by create_time desc, key_id"#,
        gone_too
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|row| {
        let unknown = |_| StoreError::corrupt("signing_key", "an algorithm that does not exist here");
        Ok(SigningKeyRow {
            key_id: row.key_id,
            algorithm: row.algorithm.parse().map_err(unknown)?,
            public_jwk: row.public_jwk,
            sealed: row.sealed,
            times: KeyTimes {
                create_time: row.create_time.to_jiff(),
                activate_time: row.activate_time.to_jiff(),
                signing_time: row.signing_time.map(SqlTimestamp::to_jiff),
                retire_time: row.retire_time.map(SqlTimestamp::to_jiff),
                expire_time: row.expire_time.map(SqlTimestamp::to_jiff),
                published: revision("signing_key", row.publish_revision)?,
            },
            revoke_time: row.revoke_time.map(SqlTimestamp::to_jiff),
        })
    })
    .collect::<Result<_, StoreError>>()?;
    Ok(KeyRows { signing, mac: read_mac_keys(connection).await? })
}
