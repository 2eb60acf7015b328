//! `signing_key` and `mac_key`: private halves and secrets are sealed before they come here.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use super::{NewAudit, OwnConnection, Store, StoreError, connection::TABLE_TIMEOUT};
use crate::token::Algorithm;

/// A signing key as it is stored.
#[derive(Debug)]
pub struct SigningKeyRow {
    /// The `kid`.
    pub key_id: String,
    /// JWK JSON.
    pub public_jwk: String,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
    /// Since when it only verifies.
    pub retire_time: Option<Timestamp>,
    /// Since when it does neither.
    pub revoke_time: Option<Timestamp>,
    /// From when on it is gone.
    pub expire_time: Option<Timestamp>,
}

/// A MAC key as it is stored.
#[derive(Debug)]
pub struct MacKeyRow {
    /// Its id in refresh tokens.
    pub id: [u8; 4],
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// Whether it opens no more sessions.
    pub retired: bool,
}

/// All keys.
#[derive(Debug, Default)]
pub struct KeyRows {
    /// Signing keys, newest first, those that are gone left out.
    pub signing: Vec<SigningKeyRow>,
    /// MAC keys.
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
    /// Signs at once, and retires the active key of the algorithm; else it only verifies.
    pub active: bool,
    /// Only if no key of the algorithm is active.
    pub only_if_none: bool,
    /// Seconds that a retired key still verifies.
    pub verify_for_s: i64,
}

impl Store {
    /// All keys that are not gone.
    pub async fn keys(&self) -> Result<KeyRows, StoreError> {
        self.run(read).await
    }

    /// Adds a signing key through the log. False: there was an active one already.
    pub async fn put_signing_key(&self, key: &NewSigningKey, audit: &NewAudit) -> Result<bool, StoreError> {
        let added = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
            "select put_signing_key($1, $2, $3, $4, $5, $6, make_interval(secs => $7::bigint), $8, $9, $10)",
            key.key_id,
            key.algorithm.as_str(),
            key.public_jwk,
            key.sealed,
            key.active,
            key.only_if_none,
            key.verify_for_s,
            audit.id,
            audit.actor,
            audit.action
        ).fetch_one(connection).await?)
            })
            .await?;
        Ok(added.is_some())
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

    /// Adds the first MAC key through the log. False: there was one already.
    pub async fn put_mac_key(
        &self,
        id: [u8; 4],
        sealed: &[u8],
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        let added = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select put_mac_key($1, $2, $3, $4)",
                    id.as_slice(),
                    sealed,
                    audit.id,
                    audit.actor
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        Ok(added.is_some())
    }
}

impl OwnConnection {
    /// All keys that are not gone.
    pub async fn keys(&mut self) -> Result<KeyRows, StoreError> {
        self.run(TABLE_TIMEOUT, read).await
    }
}

async fn read(connection: &mut PgConnection) -> Result<KeyRows, StoreError> {
    let signing = sqlx::query!(
        r#"select key_id, public_jwk, sealed, retire_time as "retire_time: SqlTimestamp",
                  revoke_time as "revoke_time: SqlTimestamp", expire_time as "expire_time: SqlTimestamp"
             from signing_key where expire_time is null or expire_time > now() order by create_time desc, key_id"#
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|row| SigningKeyRow {
        key_id: row.key_id,
        public_jwk: row.public_jwk,
        sealed: row.sealed,
        retire_time: row.retire_time.map(SqlTimestamp::to_jiff),
        revoke_time: row.revoke_time.map(SqlTimestamp::to_jiff),
        expire_time: row.expire_time.map(SqlTimestamp::to_jiff),
    })
    .collect();
    let mac = sqlx::query!(
        r#"select mac_key_id, sealed, retire_time is not null as "retired!" from mac_key order by create_time desc"#
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|row| {
        let id = row.mac_key_id.try_into();
        let id = id.map_err(|_| StoreError::corrupt("mac_key", "an id that is not of 4 bytes"))?;
        Ok(MacKeyRow { id, sealed: row.sealed, retired: row.retired })
    })
    .collect::<Result<_, StoreError>>()?;
    Ok(KeyRows { signing, mac })
}
