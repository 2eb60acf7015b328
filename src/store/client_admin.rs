//! `client` and `api_key`, as people manage them: read page by page, written through the log.

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use super::{NewAudit, Store, StoreError, log::revision};
use crate::{
    state::{Client, Permission, Reason},
    token::{ApiKey, Revision, UnixSeconds},
};

/// A client, as people see it.
#[derive(Clone, Debug)]
pub struct ClientRow {
    /// What it is and may do.
    pub client: Client,
    /// For people.
    pub display_name: String,
    /// Creation.
    pub create_time: Timestamp,
    /// Its API keys, the oldest first.
    pub api_keys: Vec<ApiKeyRow>,
}

/// An API key, as people see it.
#[derive(Clone, Debug)]
pub struct ApiKeyRow {
    /// The part of it that is no secret.
    pub api_key_id: String,
    /// Creation.
    pub create_time: Timestamp,
    /// End of its life; none: none.
    pub expire_time: Option<UnixSeconds>,
    /// Last use that has been written, to the minute.
    pub last_use_time: Option<UnixSeconds>,
}

/// What became of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ClientWrite {
    /// Written at this revision.
    Written(Revision),
    /// It is not as expected any more: changed, or gone.
    Stale,
    /// There is a client of this name.
    ClientTaken,
    /// This certificate is another client's.
    CertificateTaken(String),
    /// Nobody could administer after it.
    LastAdministrator,
    /// The client has as many API keys as one may have.
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
        self.run(async |connection| Ok(read(connection, Some(client_id), "", 1).await?.pop())).await
    }

    /// Clients by their names, from behind `after` on, at most `limit`.
    pub async fn clients_after(&self, after: &str, limit: i64) -> Result<Vec<ClientRow>, StoreError> {
        self.run(async |connection| read(connection, None, after, limit).await).await
    }

    /// Registers a client through the log. Its creation's time is the one that it was written at.
    pub async fn create_client(
        &self,
        new: &ClientRow,
        audit: &NewAudit,
    ) -> Result<(ClientWrite, Option<Timestamp>), StoreError> {
        let client = &new.client;
        let row = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select outcome as "outcome!", taken_uri, new_revision,
                              new_create_time as "new_create_time?: SqlTimestamp"
                         from create_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"#,
                    client.client_id,
                    new.display_name,
                    &client.certificate_uris,
                    &numbers(&client.permissions),
                    &client.audiences,
                    &client.subjects,
                    client.disabled,
                    audit.id,
                    audit.actor,
                    audit.trace_id
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        let written = ClientWrite::of(&row.outcome, row.taken_uri, row.new_revision)?;
        Ok((written, row.new_create_time.map(SqlTimestamp::to_jiff)))
    }

    /// Writes a client through the log, if it still is at `expected`.
    pub async fn update_client(
        &self,
        new: &ClientRow,
        expected: Revision,
        audit: &NewAudit,
    ) -> Result<ClientWrite, StoreError> {
        let client = &new.client;
        let row = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select outcome as "outcome!", taken_uri, new_revision
                         from update_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"#,
                    expected.as_i64(),
                    client.client_id,
                    new.display_name,
                    &client.certificate_uris,
                    &numbers(&client.permissions),
                    &client.audiences,
                    &client.subjects,
                    client.disabled,
                    audit.id,
                    audit.actor,
                    audit.note,
                    audit.trace_id
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        ClientWrite::of(&row.outcome, row.taken_uri, row.new_revision)
    }

    /// Removes a client with its keys through the log, if it still is at `expected`, and revokes all that
    /// it obtained; that is remembered until `mark_end`.
    pub async fn delete_client(
        &self,
        client_id: &str,
        expected: Revision,
        mark_end: UnixSeconds,
        audit: &NewAudit,
    ) -> Result<ClientWrite, StoreError> {
        let row = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select outcome as "outcome!", new_revision from delete_client($1, $2, $3, $4, $5, $6, $7)"#,
                    expected.as_i64(),
                    client_id,
                    Reason::Deprovisioned.number(),
                    mark_end.get(),
                    audit.id,
                    audit.actor,
                    audit.trace_id
                )
                .fetch_one(connection)
                .await?)
            })
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
        let row = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select outcome as "outcome!", new_revision, new_create_time as "new_create_time?: SqlTimestamp"
                         from create_api_key($1, $2, $3, $4, $5, $6, $7, $8)"#,
                    client_id,
                    key.id(),
                    hash.as_slice(),
                    expire_time.map(UnixSeconds::get),
                    most,
                    audit.id,
                    audit.actor,
                    audit.trace_id
                )
                .fetch_one(connection)
                .await?)
            })
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
        let row = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    r#"select outcome as "outcome!", new_revision from delete_api_key($1, $2, $3, $4, $5)"#,
                    client_id,
                    api_key_id,
                    audit.id,
                    audit.actor,
                    audit.trace_id
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        ClientWrite::of(&row.outcome, None, row.new_revision)
    }

    /// Notes when API keys were last used: ids, and minutes since the epoch. The latest counts.
    pub async fn note_api_key_uses(&self, uses: &[(String, i64)]) -> Result<(), StoreError> {
        let (ids, minutes): (Vec<String>, Vec<i64>) = uses.iter().cloned().unzip();
        self.run(async |connection| {
            sqlx::query!("select note_api_key_uses($1, $2)", &ids, &minutes).fetch_one(connection).await?;
            Ok(())
        })
        .await
    }
}

fn numbers(permissions: &[Permission]) -> Vec<i16> {
    permissions.iter().map(|permission| permission.number()).collect()
}

async fn read(
    connection: &mut PgConnection,
    client_id: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<ClientRow>, StoreError> {
    let clients = sqlx::query_as!(
        Row,
        r#"select client_id, revision, display_name, certificate_uris, permissions, audiences, subjects, disabled,
                  create_time as "create_time: SqlTimestamp"
             from client
            where ($1::text is null or client_id = $1) and client_id collate "C" > $2
            order by client_id collate "C" limit $3"#,
        client_id,
        after,
        limit
    )
    .fetch_all(&mut *connection)
    .await?;
    let names: Vec<String> = clients.iter().map(|row| row.client_id.clone()).collect();
    let mut api_keys = sqlx::query!(
        r#"select api_key_id, client_id, create_time as "create_time: SqlTimestamp",
                  expire_time as "expire_time: SqlTimestamp", last_use_time as "last_use_time: SqlTimestamp"
             from api_key where client_id = any($1) order by create_time, api_key_id"#,
        &names
    )
    .fetch_all(connection)
    .await?;
    let seconds = |time: Option<SqlTimestamp>| time.map(|time| UnixSeconds::from_timestamp(time.to_jiff()));
    let with_keys = |row: Row| {
        let of_client = api_keys.extract_if(.., |key| key.client_id == row.client_id);
        let api_keys = of_client.map(|key| ApiKeyRow {
            api_key_id: key.api_key_id,
            create_time: key.create_time.to_jiff(),
            expire_time: seconds(key.expire_time),
            last_use_time: seconds(key.last_use_time),
        });
        let api_keys = api_keys.collect();
        row.into_client(api_keys)
    };
    clients.into_iter().map(with_keys).collect()
}

struct Row {
    client_id: String,
    revision: i64,
    display_name: String,
    certificate_uris: Vec<String>,
    permissions: Vec<i16>,
    audiences: Vec<String>,
    subjects: Vec<String>,
    disabled: bool,
    create_time: SqlTimestamp,
}

impl Row {
    fn into_client(self, api_keys: Vec<ApiKeyRow>) -> Result<ClientRow, StoreError> {
        Ok(ClientRow {
            client: Client {
                revision: revision("client", self.revision)?,
                client_id: self.client_id,
                certificate_uris: self.certificate_uris,
                // A number that this version does not know grants nothing.
                permissions: self.permissions.into_iter().filter_map(Permission::from_number).collect(),
                audiences: self.audiences,
                subjects: self.subjects,
                disabled: self.disabled,
            },
            display_name: self.display_name,
            create_time: self.create_time.to_jiff(),
            api_keys,
        })
    }
}
