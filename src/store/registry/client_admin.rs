//! `client` and `api_key`, managed by people: read in pages, written through the log.

use std::sync::Arc;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use crate::{
    state::{Client, Permission, Reason},
    store::{
        Forged, NewAudit, Seal, Store, StoreError,
        log::number::revision,
        registry::{
            client::{api_key_fields, client_fields, numbers},
            seal::{Sealed, Seen, Table},
        },
    },
};
use jeton_token::{ApiKey, Revision, UnixSeconds, uuid_unix_ms};

/// A client as administrators see it.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// Its registration.
    pub client: Client,
    /// For people.
    pub display_name: String,
    /// Creation.
    pub create_time: Timestamp,
    /// Its API keys, the oldest first.
    pub api_keys: Vec<ApiKeyRow>,
    /// Certificates that `client_certificate` has for it, and its registration does not: they count for nothing.
    pub stray_certificate_uris: Vec<String>,
    /// Raised by each change of its rights.
    pub version: i64,
    /// The reason why it counts as absent, or will when servers start.
    pub refused: Option<Forged>,
}

impl ClientRow {
    /// Returns whether it counts as absent.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.is_some_and(Forged::is_absent)
    }
}

/// An API key as administrators see it.
#[derive(Clone, Debug)]
pub struct ApiKeyRow {
    /// The public part of the key.
    pub api_key_id: String,
    /// Creation.
    pub create_time: Timestamp,
    /// Its end; `None`: it does not expire.
    pub expire_time: Option<UnixSeconds>,
    /// The last use that has been written, to the minute.
    pub last_use_time: Option<UnixSeconds>,
    /// The reason why it counts as absent, or will when servers start.
    pub refused: Option<Forged>,
}

impl ApiKeyRow {
    /// Returns whether it counts as absent.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.is_some_and(Forged::is_absent)
    }
}

/// The result of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientWrite {
    /// Written at this revision.
    Written(Revision),
    /// The row has changed, or is gone.
    Stale,
    /// There is a client of this name.
    ClientTaken,
    /// This certificate is another client's.
    CertificateTaken(String),
    /// No administrator would be left.
    LastAdministrator,
    /// The client has the most API keys allowed.
    TooManyKeys,
}

impl ClientWrite {
    fn of(outcome: &str, taken_uri: Option<String>, number: Option<i64>) -> Result<Self, StoreError> {
        match (outcome, number) {
            ("WRITTEN", Some(number)) => Ok(Self::Written(revision("client", number)?)),
            ("STALE" | "CLIENT_ABSENT" | "KEY_ABSENT", _) => Ok(Self::Stale),
            ("CLIENT_TAKEN", _) => Ok(Self::ClientTaken),
            ("CERTIFICATE_TAKEN", _) => Ok(Self::CertificateTaken(taken_uri.unwrap_or_default())),
            ("LAST_ADMINISTRATOR", _) => Ok(Self::LastAdministrator),
            ("TOO_MANY", _) => Ok(Self::TooManyKeys),
            (other, _) => Err(StoreError::corrupt("client", format!("outcome {other}"))),
        }
    }
}

impl Store {
    /// One client.
    pub async fn client(&self, client_id: &str) -> Result<Option<ClientRow>, StoreError> {
        let (seal, seen) = self.seal_and_seen()?;
        let judge = Judge { seal: &seal, seen: &seen };
        self.run(async |connection| Ok(read(connection, &judge, Some(client_id), None, 1).await?.pop())).await
    }

    /// Clients by name, from after `after` or the first one on, at most `limit`.
    pub async fn clients_after(&self, after: Option<&str>, limit: i64) -> Result<Vec<ClientRow>, StoreError> {
        let (seal, seen) = self.seal_and_seen()?;
        let judge = Judge { seal: &seal, seen: &seen };
        self.run(async |connection| read(connection, &judge, None, after, limit).await).await
    }

    /// Registers a client through the log. Its creation time is that of the write.
    pub async fn create_client(
        &self,
        new: &ClientRow,
        audit: &NewAudit,
    ) -> Result<(ClientWrite, Option<Timestamp>), StoreError> {
        let client = &new.client;
        let (version, row_mac) = self.version_and_mac(new, audit)?;
        let refused = self.absent_clients().await?;
        let row = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query!(
                        r#"select outcome as "outcome!", taken_uri, new_revision,
                              new_create_time as "new_create_time?: SqlTimestamp"
                         from create_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"#,
                        client.client_id,
                        new.display_name,
                        &client.certificate_uris,
                        &numbers(&client.permissions),
                        &client.audiences,
                        &client.subjects,
                        client.own_subject,
                        client.disabled,
                        version,
                        row_mac,
                        &refused,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                |row| row.new_revision.is_some(),
            )
            .await?;
        let written = ClientWrite::of(&row.outcome, row.taken_uri, row.new_revision)?;
        Ok((written, row.new_create_time.map(SqlTimestamp::to_jiff)))
    }

    /// Writes a client through the log, if it is still at `expected`.
    pub async fn update_client(
        &self,
        new: &ClientRow,
        expected: Revision,
        audit: &NewAudit,
    ) -> Result<ClientWrite, StoreError> {
        let client = &new.client;
        let (version, row_mac) = self.version_and_mac(new, audit)?;
        let refused = self.absent_clients().await?;
        let good = self.administrators().await?;
        let row = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query!(
                        r#"select outcome as "outcome!", taken_uri, new_revision
                         from update_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"#,
                        expected.as_i64(),
                        client.client_id,
                        new.display_name,
                        &client.certificate_uris,
                        &numbers(&client.permissions),
                        &client.audiences,
                        &client.subjects,
                        client.own_subject,
                        client.disabled,
                        version,
                        row_mac,
                        &refused,
                        &good.clients,
                        &good.api_keys,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                |row| row.new_revision.is_some(),
            )
            .await?;
        ClientWrite::of(&row.outcome, row.taken_uri, row.new_revision)
    }

    /// Removes a client with its keys through the log, if it is still at `expected`, and revokes all its tokens; the
    /// mark is kept until `mark_end`.
    pub async fn delete_client(
        &self,
        client_id: &str,
        expected: Revision,
        mark_end: UnixSeconds,
        audit: &NewAudit,
    ) -> Result<ClientWrite, StoreError> {
        let good = self.administrators().await?;
        let row = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query!(
                    r#"select outcome as "outcome!", new_revision from delete_client($1, $2, $3, $4, $5, $6, $7)"#,
                    expected.as_i64(),
                    client_id,
                    Reason::Deprovisioned.number(),
                    mark_end.get(),
                    &good.clients,
                    &good.api_keys,
                    act
                )
                .fetch_one(connection)
                .await?)
                },
                |row| row.new_revision.is_some(),
            )
            .await?;
        ClientWrite::of(&row.outcome, None, row.new_revision)
    }

    /// Adds an API key to a client that has fewer than `most`, through the log.
    pub async fn create_api_key(
        &self,
        client_id: &str,
        key: &ApiKey,
        expire_time: Option<UnixSeconds>,
        most: i64,
        audit: &NewAudit,
    ) -> Result<(ClientWrite, Option<Timestamp>), StoreError> {
        let hash = key.hash();
        let expire_s = expire_time.map(UnixSeconds::get);
        let row_mac = self.seal()?.mac(&api_key_fields(key.id(), client_id, &hash, expire_s));
        let present = self.client(client_id).await?.map(|row| row.api_keys).unwrap_or_default();
        let refused = present.into_iter().filter(ApiKeyRow::is_refused).map(|row| row.api_key_id);
        let refused: Vec<String> = refused.collect();
        let row = self
            .act(audit, async |connection, act| {
                Ok(sqlx::query!(
                    r#"select outcome as "outcome!", new_revision, new_create_time as "new_create_time?: SqlTimestamp"
                         from create_api_key($1, $2, $3, $4, $5, $6, $7, $8)"#,
                    client_id,
                    key.id(),
                    hash.as_slice(),
                    expire_s,
                    row_mac,
                    most,
                    &refused,
                    act
                )
                .fetch_one(connection)
                .await?)
            }, |row| row.new_revision.is_some())
            .await?;
        let written = ClientWrite::of(&row.outcome, None, row.new_revision)?;
        Ok((written, row.new_create_time.map(SqlTimestamp::to_jiff)))
    }

    /// Removes an API key through the log.
    pub async fn delete_api_key(
        &self,
        client_id: &str,
        api_key_id: &str,
        audit: &NewAudit,
    ) -> Result<ClientWrite, StoreError> {
        let good = self.administrators().await?;
        let row = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query!(
                        r#"select outcome as "outcome!", new_revision from delete_api_key($1, $2, $3, $4, $5)"#,
                        client_id,
                        api_key_id,
                        &good.clients,
                        &good.api_keys,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                |row| row.new_revision.is_some(),
            )
            .await?;
        ClientWrite::of(&row.outcome, None, row.new_revision)
    }

    /// Writes the last uses of API keys: ids, and minutes since the epoch. The latest counts.
    pub async fn note_api_key_uses(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        let (ids, minutes): (Vec<String>, Vec<i64>) = uses.iter().cloned().unzip();
        self.run(async |connection| {
            sqlx::query!("select note_api_key_uses($1, $2)", &ids, &minutes).fetch_one(connection).await?;
            Ok(())
        })
        .await
    }
}

impl Store {
    /// The next version of a client, and its MAC.
    fn version_and_mac(&self, new: &ClientRow, audit: &NewAudit) -> Result<(i64, Vec<u8>), StoreError> {
        let seal = self.seal()?;
        let client = &new.client;
        let latest = new.version.max(seal.version(Table::Client, &client.client_id));
        let version = uuid_unix_ms(audit.id).max(latest.saturating_add(1));
        Ok((version, seal.mac(&client_fields(client, &numbers(&client.permissions), version))))
    }

    fn seal_and_seen(&self) -> Result<(Arc<Seal>, Arc<Seen>), StoreError> {
        let seal = self.seal()?;
        let seen = seal.seen();
        Ok((seal, seen))
    }
}

struct Judge<'a> {
    seal: &'a Seal,
    seen: &'a Seen,
}

async fn read(
    connection: &mut PgConnection,
    judge: &Judge<'_>,
    client_id: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<ClientRow>, StoreError> {
    let clients = sqlx::query_as!(
        Stored,
        r#"select client_id, revision, display_name, certificate_uris, permissions, audiences, subjects, own_subject,
                  disabled, create_time as "create_time: SqlTimestamp", version, row_mac
             from client
            where ($1::text is null or client_id = $1) and ($2::text is null or client_id collate "C" > $2)
            order by client_id collate "C" limit $3"#,
        client_id,
        after,
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    let names: Vec<String> = clients.iter().map(|row| row.client_id.clone()).collect();
    let mut api_keys = sqlx::query!(
        r#"select api_key_id, client_id, secret_hash, row_mac, create_time as "create_time: SqlTimestamp",
                  expire_time as "expire_time: SqlTimestamp", last_use_time as "last_use_time: SqlTimestamp"
             from api_key where client_id = any($1) order by create_time, api_key_id"#,
        &names
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut strays = sqlx::query!(
        r#"select k.uri, k.client_id from client_certificate k join client c on c.client_id = k.client_id
            where k.client_id = any($1) and k.uri <> all(c.certificate_uris) order by k.uri"#,
        &names
    )
    .fetch_all(connection)
    .await?;
    let seconds = |time: Option<SqlTimestamp>| time.map(|time| UnixSeconds::from_timestamp(time.to_jiff()));
    let with_keys = |row: Stored| {
        let of_client = api_keys.extract_if(.., |key| key.client_id == row.client_id);
        let api_keys = of_client.map(|key| {
            let expire_time = seconds(key.expire_time);
            let expire_s = expire_time.map(UnixSeconds::get);
            let fields = api_key_fields(&key.api_key_id, &key.client_id, &key.secret_hash, expire_s);
            let sealed = Sealed { id: &key.api_key_id, fields, mac: &key.row_mac, version: 0, taken: 0 };
            ApiKeyRow {
                refused: judge.seal.weigh(judge.seen, Table::ApiKey, &sealed),
                api_key_id: key.api_key_id,
                create_time: key.create_time.to_jiff(),
                expire_time,
                last_use_time: seconds(key.last_use_time),
            }
        });
        let api_keys = api_keys.collect();
        let of_client = strays.extract_if(.., |stray| stray.client_id == row.client_id);
        let strays = of_client.map(|stray| stray.uri).collect();
        row.into_client(api_keys, strays, judge)
    };
    clients.into_iter().map(with_keys).collect()
}

struct Stored {
    client_id: String,
    revision: i64,
    display_name: String,
    certificate_uris: Vec<String>,
    permissions: Vec<i16>,
    audiences: Vec<String>,
    subjects: Vec<String>,
    own_subject: String,
    disabled: bool,
    create_time: SqlTimestamp,
    version: i64,
    row_mac: Vec<u8>,
}

impl Stored {
    fn into_client(
        self,
        api_keys: Vec<ApiKeyRow>,
        stray_certificate_uris: Vec<String>,
        judge: &Judge<'_>,
    ) -> Result<ClientRow, StoreError> {
        let client = Client {
            revision: revision("client", self.revision)?,
            client_id: self.client_id,
            certificate_uris: self.certificate_uris,
            // A number that this version does not know grants nothing.
            permissions: self.permissions.iter().filter_map(|it| Permission::from_number(*it)).collect(),
            audiences: self.audiences,
            subjects: self.subjects,
            own_subject: self.own_subject,
            disabled: self.disabled,
        };
        let sealed = Sealed {
            id: &client.client_id,
            fields: client_fields(&client, &self.permissions, self.version),
            mac: &self.row_mac,
            version: self.version,
            taken: i64::from(client.disabled),
        };
        Ok(ClientRow {
            refused: judge.seal.weigh(judge.seen, Table::Client, &sealed),
            client,
            display_name: self.display_name,
            create_time: self.create_time.to_jiff(),
            api_keys,
            stray_certificate_uris,
            version: self.version,
        })
    }
}
