//! `mac_key`: secrets are sealed before they reach this module.

use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use crate::{
    mint::RowFields,
    store::{
        Forged, KeyTimes, NewAudit, Store, StoreError,
        audit::chain::hex,
        log::number::{head_revision, revision},
        registry::{
            key_life::{ACTIVATE_TRIES, about, noted},
            seal::{Sealed, ending},
        },
    },
};
use jeton_token::{Revision, uuid_unix_ms};

/// A MAC key as it is stored.
#[derive(Clone, Debug)]
pub struct MacKeyRow {
    /// Its id in refresh tokens.
    pub id: [u8; 4],
    /// The secret, sealed.
    pub sealed: Vec<u8>,
    /// Its times; an active key opens sessions.
    pub times: KeyTimes,
    /// The reason why it counts as absent.
    pub refused: Option<Forged>,
    pub(in crate::store) version: i64,
    pub(in crate::store) row_mac: Vec<u8>,
}

/// The fields under the MAC of a MAC key's row.
fn mac_key_fields(id: [u8; 4], version: i64) -> RowFields {
    RowFields::of("mac_key").bytes(&id).number(version)
}

impl MacKeyRow {
    pub(in crate::store) fn fields(&self) -> RowFields {
        mac_key_fields(self.id, self.version)
    }

    /// Its id, as text.
    #[must_use]
    pub fn name(&self) -> String {
        name_of(self.id)
    }

    pub(in crate::store) fn sealed<'a>(&'a self, name: &'a str) -> Sealed<'a> {
        Sealed {
            id: name,
            fields: self.fields(),
            mac: &self.row_mac,
            version: self.version,
            taken: self.times.retire_time.map_or(0, |_| ending(self.times.expire_time)),
        }
    }
}

impl Store {
    /// Publishes a MAC key through the log, due after `lead_s` seconds. `None`, and nothing is written: one is pending;
    /// or the active one has opened sessions for less than `older_than_s`. Keys in `refused` count as absent.
    pub async fn publish_mac_key(
        &self,
        id: [u8; 4],
        sealed: &[u8],
        lead_s: i64,
        older_than_s: i64,
        refused: &[[u8; 4]],
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let version = uuid_unix_ms(audit.id);
        let row_mac = self.seal()?.mac(&mac_key_fields(id, version));
        let audit = about(audit, &name_of(id), name_of(id));
        let refused: Vec<_> = refused.iter().map(|id| id.to_vec()).collect();
        let published = self
            .act(
                &audit,
                async |connection, act| {
                    Ok(sqlx::query_scalar!(
                        "select publish_mac_key($1, $2, $3, $4, make_interval(secs => $5::bigint),
                                            make_interval(secs => $6::bigint), $7, $8)",
                        id.as_slice(),
                        sealed,
                        version,
                        row_mac,
                        lead_s,
                        older_than_s,
                        &refused,
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

    /// Activates a pending MAC key that is due, through the log; its predecessor verifies for `verify_for_s` seconds
    /// more. `None`, and nothing is written: it is not pending, or not due while there is another.
    pub async fn activate_mac_key(
        &self,
        id: [u8; 4],
        verify_for_s: i64,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        for _ in 0..ACTIVATE_TRIES {
            let replaced = self
                .run(async |connection| {
                    Ok(sqlx::query_scalar!("select active_mac_key()").fetch_one(connection).await?)
                })
                .await?;
            let note = noted(&name_of(id), replaced.as_deref().map(hex).as_deref());
            let audit = about(audit, &name_of(id), note);
            let activated = self
                .act(
                    &audit,
                    async |connection, act| {
                        Ok(sqlx::query_scalar!(
                            "select activate_mac_key($1, make_interval(secs => $2::bigint), $3, $4)",
                            id.as_slice(),
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
                // Another one opens sessions by now.
                Some(0) => {}
                activated => return head_revision(activated),
            }
        }
        Ok(None)
    }

    /// Removes MAC keys whose last session has ended, through the log. False: there is none.
    pub async fn remove_mac_keys(&self, audit: &NewAudit) -> Result<bool, StoreError> {
        let ended = self
            .run(async |connection| {
                let ended = sqlx::query_scalar!(r#"select ended_mac_keys() as "ended!""#);
                Ok(ended.fetch_one(connection).await?)
            })
            .await?;
        if ended.is_empty() {
            return Ok(false);
        }
        let note = ended.iter().map(|id| hex(id)).collect::<Vec<_>>().join(" ");
        let audit = NewAudit { note, ..audit.clone() };
        let removed = self
            .act(
                &audit,
                async |connection, act| {
                    Ok(sqlx::query_scalar!("select remove_mac_keys($1, $2)", &ended, act)
                        .fetch_one(connection)
                        .await?)
                },
                Option::is_some,
            )
            .await?;
        Ok(removed.is_some())
    }
}

fn name_of(id: [u8; 4]) -> String {
    hex(&id)
}

pub(in crate::store) async fn read_mac_keys(
    connection: &mut PgConnection,
) -> Result<Vec<MacKeyRow>, StoreError> {
    let rows = sqlx::query!(
        r#"select mac_key_id, sealed, create_time as "create_time: SqlTimestamp",
                  activate_time as "activate_time: SqlTimestamp", signing_time as "signing_time: SqlTimestamp",
                  retire_time as "retire_time: SqlTimestamp", expire_time as "expire_time: SqlTimestamp",
                  publish_revision, version, row_mac
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
                refused: None,
                version: row.version,
                row_mac: row.row_mac,
            })
        })
        .collect()
}
