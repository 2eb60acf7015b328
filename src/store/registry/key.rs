//! `signing_key`: private halves are sealed before they reach this module.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use crate::{
    mint::RowFields,
    store::{
        Forged, MacKeyRow, NewAudit, OwnConnection, Seal, Store, StoreError,
        connection::own::TABLE_TIMEOUT,
        log::number::{head_revision, revision},
        registry::{
            key_life::{ACTIVATE_TRIES, KeyTimes, about, noted},
            mac_key::read_mac_keys,
            seal::{REVOKED, Sealed, Seen, Table, ending},
        },
    },
};
use jeton_token::{Algorithm, Revision, uuid_unix_ms};

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
    /// The time since when it neither signs nor verifies.
    pub revoke_time: Option<Timestamp>,
    /// The reason why it counts as absent.
    pub refused: Option<Forged>,
    pub(in crate::store) version: i64,
    pub(in crate::store) row_mac: Vec<u8>,
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
        let seal = self.seal()?;
        let seen = seal.seen();
        let rows = self.run(async |connection| read(connection, Which::InForce).await).await?;
        Ok(rows.judged_by(&seal, &seen))
    }

    /// The same, for people: with the rows that only this process goes by.
    pub async fn keys_for_people(&self) -> Result<KeyRows, StoreError> {
        let seal = self.seal()?;
        let seen = seal.seen();
        let rows = self.run(async |connection| read(connection, Which::InForce).await).await?;
        Ok(rows.judged(|table, rows| rows.iter().map(|row| seal.weigh(&seen, table, row)).collect()))
    }

    /// All keys that were ever stored.
    pub async fn keys_ever(&self) -> Result<KeyRows, StoreError> {
        let seal = self.seal()?;
        let rows = self.run(async |connection| read(connection, Which::Ever).await).await?;
        Ok(rows.judged_by(&seal, &Seen::default()))
    }

    /// Vouches for every key as it is: each gets a MAC under the current master key.
    pub async fn adopt_keys(&self) -> Result<(), StoreError> {
        let rows = self.keys_ever().await?;
        let seal = self.seal()?;
        let (ids, macs): (Vec<_>, Vec<_>) =
            rows.signing.iter().map(|row| (row.key_id.clone(), seal.mac(&row.fields()))).unzip();
        self.run(async |connection| {
            let adopt = sqlx::query!(
                "update signing_key k set row_mac = i.mac
                   from unnest($1::text[], $2::bytea[]) i(id, mac) where k.key_id = i.id",
                &ids,
                &macs
            );
            adopt.execute(connection).await?;
            Ok(())
        })
        .await
    }

    /// Publishes a signing key through the log, due after `lead_s` seconds. `None`, and nothing is written: a key of
    /// its algorithm is pending; or, if `older_than_s` is given, the active one has signed for less than that. Keys in
    /// `refused` count as absent.
    pub async fn publish_signing_key(
        &self,
        key: &NewSigningKey,
        lead_s: i64,
        older_than_s: Option<i64>,
        refused: &[String],
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let (version, row_mac) = self.sealed_key(key, audit)?;
        let audit = about(audit, &key.key_id, key.key_id.clone());
        let published = self
            .act(
                &audit,
                async |connection, act| {
                    Ok(sqlx::query_scalar!(
                    "select publish_signing_key($1, $2, $3, $4, $5, $6, make_interval(secs => $7::bigint),
                                                make_interval(secs => $8::bigint), $9, $10)",
                    key.key_id,
                    key.algorithm.as_str(),
                    key.public_jwk,
                    key.sealed,
                    version,
                    row_mac,
                    lead_s,
                    older_than_s,
                    refused,
                    act
                )
                    .fetch_one(connection)
                    .await?)
                },
                Option::is_some,
            )
            .await?;
        head_revision(published)
    }

    /// Activates a pending key through the log; its predecessor verifies for `verify_for_s` seconds more. `None`, and
    /// nothing is written: it is not pending; or, if `only_due`, its time has not come while another one signs.
    pub async fn activate_signing_key(
        &self,
        key_id: &str,
        only_due: bool,
        verify_for_s: i64,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        for _ in 0..ACTIVATE_TRIES {
            let replaced = self
                .run(async |connection| {
                    let replaced = sqlx::query_scalar!("select replaced_by_signing_key($1)", key_id);
                    Ok(replaced.fetch_one(connection).await?)
                })
                .await?;
            let audit = about(audit, key_id, noted(key_id, replaced.as_deref()));
            let activated = self
                .act(
                    &audit,
                    async |connection, act| {
                        Ok(sqlx::query_scalar!(
                            "select activate_signing_key($1, $2, make_interval(secs => $3::bigint), $4, $5)",
                            key_id,
                            only_due,
                            verify_for_s,
                            replaced,
                            act
                        )
                        .fetch_one(connection)
                        .await?)
                    },
                    |activated| activated.is_some_and(|head| head != 0),
                )
                .await?;
            match activated {
                // Another one signs by now.
                Some(0) => {}
                activated => return head_revision(activated),
            }
        }
        Ok(None)
    }

    /// Adds a signing key that only verifies, for `verify_for_s` seconds, through the log.
    pub async fn put_retired_signing_key(
        &self,
        key: &NewSigningKey,
        verify_for_s: i64,
        audit: &NewAudit,
    ) -> Result<Revision, StoreError> {
        let (version, row_mac) = self.sealed_key(key, audit)?;
        let audit = about(audit, &key.key_id, key.key_id.clone());
        let head = self
            .act(&audit, async |connection, act| {
                Ok(sqlx::query_scalar!(
                    r#"select put_retired_signing_key($1, $2, $3, $4, $5, $6, make_interval(secs => $7::bigint),
                                                      $8) as "head!""#,
                    key.key_id,
                    key.algorithm.as_str(),
                    key.public_jwk,
                    key.sealed,
                    version,
                    row_mac,
                    verify_for_s,
                    act
                )
                .fetch_one(connection)
                .await?)
            }, |_| true)
            .await?;
        revision("log_head", head)
    }

    /// Returns whether a signing key with this `kid` was ever stored.
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

    /// Stores all keys resealed, through the log, if `opened` are still all keys in their present state; keys with good
    /// MACs get MACs under the current master key. False: they are not, and nothing was written.
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
        let seal = self.seal()?;
        let remade =
            |fields: RowFields, mac: &Vec<u8>| seal.remade(&fields, mac).unwrap_or_else(|| mac.clone());
        let key_macs: Vec<_> = opened.signing.iter().map(|row| remade(row.fields(), &row.row_mac)).collect();
        let mac_macs: Vec<_> = opened.mac.iter().map(|row| remade(row.fields(), &row.row_mac)).collect();
        let resealed = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query_scalar!(
                        "select reseal_keys($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                        &key_ids,
                        &key_opened,
                        signing,
                        &key_macs,
                        &mac_ids,
                        &mac_opened,
                        mac,
                        &mac_macs,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                Option::is_some,
            )
            .await?;
        Ok(resealed.is_some())
    }
}

impl Store {
    /// The version of a new key, and its MAC.
    fn sealed_key(&self, key: &NewSigningKey, audit: &NewAudit) -> Result<(i64, Vec<u8>), StoreError> {
        let version = uuid_unix_ms(audit.id);
        let fields = signing_key_fields(&key.key_id, version, key.algorithm, &key.public_jwk);
        Ok((version, self.seal()?.mac(&fields)))
    }
}

impl OwnConnection {
    /// All keys that are not gone, and all that were ever revoked, so that replicas know them if the tables lose that.
    /// Remembers what it has seen: use one connection only.
    pub async fn keys(&mut self) -> Result<KeyRows, StoreError> {
        let seal = self.seal()?;
        let rows =
            self.run(TABLE_TIMEOUT, async |connection| read(connection, Which::RevokedToo).await).await?;
        Ok(rows.judged(|table, rows| seal.judge_all(table, rows)))
    }
}

/// The fields under the MAC of a signing key.
fn signing_key_fields(key_id: &str, version: i64, algorithm: Algorithm, public_jwk: &str) -> RowFields {
    RowFields::of("signing_key").text(key_id).number(version).text(algorithm.as_str()).text(public_jwk)
}

impl SigningKeyRow {
    fn fields(&self) -> RowFields {
        signing_key_fields(&self.key_id, self.version, self.algorithm, &self.public_jwk)
    }

    fn sealed(&self) -> Sealed<'_> {
        let retired = self.times.retire_time.map_or(0, |_| ending(self.times.expire_time));
        let taken = if self.revoke_time.is_some() { REVOKED } else { retired };
        Sealed { id: &self.key_id, fields: self.fields(), mac: &self.row_mac, version: self.version, taken }
    }
}

impl KeyRows {
    fn judged_by(self, seal: &Seal, seen: &Seen) -> Self {
        self.judged(|table, rows| rows.iter().map(|row| seal.judge(seen, table, row)).collect())
    }

    fn judged(mut self, judge: impl Fn(Table, &[Sealed<'_>]) -> Vec<Option<Forged>>) -> Self {
        let refused =
            judge(Table::SigningKey, &self.signing.iter().map(SigningKeyRow::sealed).collect::<Vec<_>>());
        for (row, refused) in self.signing.iter_mut().zip(refused) {
            row.refused = refused;
        }
        let names: Vec<_> = self.mac.iter().map(MacKeyRow::name).collect();
        let sealed = self.mac.iter().zip(&names).map(|(row, name)| row.sealed(name));
        let refused = judge(Table::MacKey, &sealed.collect::<Vec<_>>());
        for (row, refused) in self.mac.iter_mut().zip(refused) {
            row.refused = refused;
        }
        self
    }
}

/// The keys to read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// Keys that are not gone.
    InForce,
    /// The same, and all that were revoked.
    RevokedToo,
    /// All keys that were ever stored.
    Ever,
}

async fn read(connection: &mut PgConnection, which: Which) -> Result<KeyRows, StoreError> {
    let signing = sqlx::query!(
        r#"select key_id, algorithm, public_jwk, sealed, create_time as "create_time: SqlTimestamp",
                  activate_time as "activate_time: SqlTimestamp", signing_time as "signing_time: SqlTimestamp",
                  retire_time as "retire_time: SqlTimestamp", revoke_time as "revoke_time: SqlTimestamp",
                  expire_time as "expire_time: SqlTimestamp", publish_revision, version, row_mac
             from signing_key
            where $1 or expire_time is null or expire_time > now() or ($2 and revoke_time is not null)
            order by create_time desc, key_id"#,
        which == Which::Ever,
        which == Which::RevokedToo
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
            refused: None,
            version: row.version,
            row_mac: row.row_mac,
        })
    })
    .collect::<Result<_, StoreError>>()?;
    Ok(KeyRows { signing, mac: read_mac_keys(connection).await? })
}
