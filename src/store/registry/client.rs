//! `client` and `api_key`: read by replicas, and written by jeton's verbs on the database.

use std::{collections::HashSet, sync::Arc};

use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{Connection, PgConnection};

use crate::{
    mint::RowFields,
    state::{ApiKeyRecord, Client, Clients, Permission, Restriction, SeenClients},
    store::{
        NewAudit, OwnConnection, SeenBefore, Store, StoreError,
        connection::own::TABLE_TIMEOUT,
        log::number::{head_revision, revision},
        registry::seal::{Sealed, Seen, Table},
    },
};
use jeton_token::{ApiKey, Revision, UnixSeconds, uuid_unix_ms};

/// A client to register, with one API key.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// Its registration.
    pub client: Client,
    /// For people.
    pub display_name: String,
    /// The public part of its key.
    pub api_key_id: String,
    /// SHA-256 of the whole text of its key.
    pub secret_hash: [u8; 32],
}

impl NewClient {
    /// A client that has its identifier as display name, with this key.
    #[must_use]
    pub fn new(client: Client, key: &ApiKey) -> Self {
        Self {
            display_name: client.client_id.clone(),
            client,
            api_key_id: key.id().to_owned(),
            secret_hash: key.hash(),
        }
    }
}

/// The ids of administrators whose rows are good.
#[derive(Default)]
pub(in crate::store) struct Administrators {
    pub(in crate::store) clients: Vec<String>,
    /// The API keys of those clients.
    pub(in crate::store) api_keys: Vec<String>,
}

impl Store {
    /// Every client with its keys, as far as their rows are good.
    pub async fn clients(&self) -> Result<Clients, StoreError> {
        let seal = self.seal()?;
        let seen = seal.seen();
        let rows = self.run(read).await?;
        Ok(rows.good(|table, rows| rows.iter().map(|row| seal.judge(&seen, table, row).is_none()).collect()))
    }

    /// The clients whose rows are not good by themselves, by name.
    pub async fn refused_clients(&self) -> Result<Vec<String>, StoreError> {
        self.clients_refused_after(&Seen::default()).await
    }

    /// The clients that count as absent here, by name.
    pub(in crate::store) async fn absent_clients(&self) -> Result<Vec<String>, StoreError> {
        let seen = self.seal()?.seen();
        self.clients_refused_after(&seen).await
    }

    async fn clients_refused_after(&self, seen: &Seen) -> Result<Vec<String>, StoreError> {
        let seal = self.seal()?;
        let rows = self.run(read).await?;
        let refused =
            rows.clients.iter().filter(|row| seal.judge(seen, Table::Client, &row.sealed()).is_some());
        Ok(refused.map(|row| row.client.client_id.clone()).collect())
    }

    /// The administrators whose rows are good, and their API keys whose rows are good.
    pub(in crate::store) async fn administrators(&self) -> Result<Administrators, StoreError> {
        let seal = self.seal()?;
        let seen = seal.seen();
        let rows = self.run(read).await?;
        let is_good = |table, row: &Sealed<'_>| seal.judge(&seen, table, row).is_none();
        let may = |row: &&StoredClient| {
            row.client.permissions.contains(&Permission::AdminWrite) && is_good(Table::Client, &row.sealed())
        };
        let clients: HashSet<String> =
            rows.clients.iter().filter(may).map(|row| row.client.client_id.clone()).collect();
        let is_theirs = |row: &&StoredApiKey| {
            clients.contains(&row.record.client_id) && is_good(Table::ApiKey, &row.sealed())
        };
        let api_keys =
            rows.api_keys.iter().filter(is_theirs).map(|row| row.record.api_key_id.clone()).collect();
        Ok(Administrators { clients: clients.into_iter().collect(), api_keys })
    }

    /// Gives each client and API key with a MAC under another master key a MAC under the current one. Returns the
    /// number of rows.
    pub async fn reseal_clients(&self) -> Result<u64, StoreError> {
        let seal = self.seal()?;
        let mut pooled = self.pool.acquire().await?;
        pooled.wait_for_locks().await?;
        reseal(pooled.connection(), |fields, mac| seal.remade(fields, mac)).await
    }

    /// Vouches for every client and API key as it is: each gets a MAC under the current master key. Returns the number
    /// of rows.
    pub async fn adopt_clients(&self) -> Result<u64, StoreError> {
        let seal = self.seal()?;
        let mut pooled = self.pool.acquire().await?;
        pooled.wait_for_locks().await?;
        reseal(pooled.connection(), |fields, _| Some(seal.mac(fields))).await
    }

    /// Registers a client through the log, or brings its registration to this state; adds the key.
    pub async fn put_client(&self, new: &NewClient, audit: &NewAudit) -> Result<(), StoreError> {
        self.write_client(new, false, audit).await?;
        Ok(())
    }

    /// Registers the first administrator. Returns the revision; `None`, and nothing is written, if there is one
    /// already.
    pub async fn put_first_admin(
        &self,
        new: &NewClient,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        self.write_client(new, true, audit).await
    }

    async fn write_client(
        &self,
        new: &NewClient,
        only_first: bool,
        audit: &NewAudit,
    ) -> Result<Option<Revision>, StoreError> {
        let seal = self.seal()?;
        let client = &new.client;
        let permissions = numbers(&client.permissions);
        // Later than the former version, if the clock of its writer was right.
        let version =
            uuid_unix_ms(audit.id).max(seal.version(Table::Client, &client.client_id).saturating_add(1));
        let row_mac = seal.mac(&client_fields(client, &permissions, version));
        let key_mac = seal.mac(&api_key_fields(&new.api_key_id, &client.client_id, &new.secret_hash, None));
        let good = if only_first { self.administrators().await? } else { Administrators::default() };
        let audit = &NewAudit { client_id: Some(client.client_id.clone()), ..audit.clone() };
        let head = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query_scalar!(
                        "select put_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
                        client.client_id,
                        new.display_name,
                        &permissions,
                        &client.audiences,
                        &client.subjects,
                        client.own_subject,
                        version,
                        row_mac,
                        new.api_key_id,
                        new.secret_hash.as_slice(),
                        key_mac,
                        only_first,
                        &good.clients,
                        &good.api_keys,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                Option::is_some,
            )
            .await?;
        head_revision(head)
    }
}

impl OwnConnection {
    /// Every client with its keys, as far as their rows are good. Remembers what it has seen: use one connection only.
    pub async fn clients(&mut self) -> Result<Clients, StoreError> {
        let seal = self.seal()?;
        let rows = self.run(TABLE_TIMEOUT, read).await?;
        Ok(rows.good(|table, rows| seal.judge_all(table, rows).iter().map(Option::is_none).collect()))
    }

    /// The same, and the parts that had been seen before, in this state or a later one.
    pub async fn clients_and_seen(
        &mut self,
        before: &SeenBefore,
    ) -> Result<(Clients, SeenClients), StoreError> {
        let seal = self.seal()?;
        let rows = self.run(TABLE_TIMEOUT, read).await?;
        let clients = rows.clients.iter().map(|row| (&row.client.client_id, row.version));
        let clients = clients.filter(|(id, version)| before.has(Table::Client, id, *version));
        let api_keys = rows.api_keys.iter().map(|row| &row.record.api_key_id);
        let seen = SeenClients {
            clients: clients.map(|(id, _)| id.clone()).collect(),
            // API keys have no versions.
            api_keys: api_keys.filter(|id| before.has(Table::ApiKey, id, 0)).cloned().collect(),
        };
        Ok((rows.good(|table, rows| seal.judge_all(table, rows).iter().map(Option::is_none).collect()), seen))
    }

    /// Removes rights of a client through the log. False: another replica was first.
    pub async fn restrict_client(
        &mut self,
        restriction: &Restriction,
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        let seal = self.seal()?;
        let client = &restriction.client;
        let permissions = numbers(&client.permissions);
        // As if written now: earlier states grant nothing any more.
        let latest = seal.version(Table::Client, &client.client_id);
        let version = uuid_unix_ms(audit.id).max(latest.saturating_add(1));
        let row_mac = seal.mac(&client_fields(client, &permissions, version));
        let ending: Vec<String> = restriction.ending_keys.iter().map(|key| key.api_key_id.clone()).collect();
        let ends: Vec<i64> = restriction.ending_keys.iter().map(|key| key.end.get()).collect();
        let macs: Vec<Vec<u8>> = restriction
            .ending_keys
            .iter()
            .map(|key| {
                let (id, end) = (&key.api_key_id, Some(key.end.get()));
                seal.mac(&api_key_fields(id, &client.client_id, &key.secret_hash, end))
            })
            .collect();
        let named: Vec<&str> = restriction.gone_keys.iter().chain(&ending).map(String::as_str).collect();
        let audit =
            NewAudit { client_id: Some(client.client_id.clone()), note: named.join(" "), ..audit.clone() };
        self.act(
            TABLE_TIMEOUT,
            &audit,
            async |connection, act| {
                let head = sqlx::query_scalar!(
                    "select restrict_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
                    restriction.expected.as_i64(),
                    client.revision.as_i64(),
                    client.client_id,
                    &client.certificate_uris,
                    &permissions,
                    &client.audiences,
                    &client.subjects,
                    client.own_subject,
                    client.disabled,
                    version,
                    row_mac,
                    &restriction.gone_keys,
                    &ending,
                    &ends,
                    &macs,
                    act
                )
                .fetch_one(connection)
                .await?;
                Ok(head.is_some())
            },
            |written| *written,
        )
        .await
    }
}

pub(in crate::store) fn numbers(permissions: &[Permission]) -> Vec<i16> {
    permissions.iter().map(|permission| permission.number()).collect()
}

/// The fields under the MAC of a client. Permissions as numbers, including those that this version does not know.
pub(in crate::store) fn client_fields(client: &Client, permissions: &[i16], version: i64) -> RowFields {
    RowFields::of("client")
        .text(&client.client_id)
        .number(version)
        .numbers(permissions)
        .list(&client.audiences)
        .list(&client.subjects)
        .list(&client.certificate_uris)
        .text(&client.own_subject)
}

/// The fields under the MAC of an API key. Only its end can change: if a replica carries over an earlier one.
pub(in crate::store) fn api_key_fields(
    api_key_id: &str,
    client_id: &str,
    secret_hash: &[u8],
    expire_s: Option<i64>,
) -> RowFields {
    RowFields::of("api_key").text(api_key_id).text(client_id).bytes(secret_hash).optional_number(expire_s)
}

struct StoredClient {
    client: Client,
    /// As stored, including those that this version does not know.
    permissions: Vec<i16>,
    version: i64,
    row_mac: Vec<u8>,
}

impl StoredClient {
    fn sealed(&self) -> Sealed<'_> {
        Sealed {
            id: &self.client.client_id,
            fields: client_fields(&self.client, &self.permissions, self.version),
            mac: &self.row_mac,
            version: self.version,
            taken: i64::from(self.client.disabled),
        }
    }
}

struct StoredApiKey {
    record: ApiKeyRecord,
    row_mac: Vec<u8>,
}

impl StoredApiKey {
    fn sealed(&self) -> Sealed<'_> {
        let ApiKeyRecord { api_key_id, client_id, secret_hash, expire_time, .. } = &self.record;
        let fields = api_key_fields(api_key_id, client_id, secret_hash, expire_time.map(UnixSeconds::get));
        Sealed { id: api_key_id, fields, mac: &self.row_mac, version: 0, taken: 0 }
    }
}

/// All rows, good or not.
struct Rows {
    clients: Vec<StoredClient>,
    api_keys: Vec<StoredApiKey>,
}

impl Rows {
    /// The good rows, by the judge of a table's rows.
    fn good(self, judge: impl Fn(Table, &[Sealed<'_>]) -> Vec<bool>) -> Clients {
        let good = judge(Table::Client, &self.clients.iter().map(StoredClient::sealed).collect::<Vec<_>>());
        let clients = self.clients.into_iter().zip(good).filter(|(_, good)| *good);
        let good = judge(Table::ApiKey, &self.api_keys.iter().map(StoredApiKey::sealed).collect::<Vec<_>>());
        let api_keys = self.api_keys.into_iter().zip(good).filter(|(_, good)| *good);
        Clients::new(
            clients.map(|(row, _)| row.client).collect(),
            api_keys.map(|(row, _)| row.record).collect(),
        )
    }
}

async fn read(connection: &mut PgConnection) -> Result<Rows, StoreError> {
    let clients = sqlx::query!(
        "select client_id, revision, certificate_uris, permissions, audiences, subjects, own_subject, disabled, version,
                row_mac
           from client order by client_id"
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|row| {
        Ok(StoredClient {
            client: Client {
                client_id: row.client_id,
                revision: revision("client", row.revision)?,
                // A number that this version does not know grants nothing.
                permissions: row.permissions.iter().filter_map(|it| Permission::from_number(*it)).collect(),
                certificate_uris: row.certificate_uris,
                audiences: row.audiences,
                subjects: row.subjects,
                own_subject: row.own_subject,
                disabled: row.disabled,
            },
            permissions: row.permissions,
            version: row.version,
            row_mac: row.row_mac,
        })
    })
    .collect::<Result<_, StoreError>>()?;
    let api_keys = sqlx::query!(
        r#"select api_key_id, client_id, secret_hash, expire_time as "expire_time: SqlTimestamp", row_mac from api_key"#
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|row| {
        let record = ApiKeyRecord {
            secret_hash: row
                .secret_hash
                .try_into()
                .map_err(|_| StoreError::corrupt("api_key", "secret_hash is not of 32 bytes"))?,
            expire_time: row.expire_time.map(|time| UnixSeconds::from_timestamp(time.to_jiff())),
            api_key_id: row.api_key_id,
            client_id: row.client_id,
            last_use: Arc::default(),
        };
        Ok(StoredApiKey { record, row_mac: row.row_mac })
    })
    .collect::<Result<_, StoreError>>()?;
    Ok(Rows { clients, api_keys })
}

/// Writes the MACs of clients and API keys again, as `remake` makes them of the fields and the present MAC; `None`: the
/// MAC stays. One transaction. Returns the number of written rows.
async fn reseal(
    connection: &mut PgConnection,
    remake: impl Fn(&RowFields, &[u8]) -> Option<Vec<u8>>,
) -> Result<u64, StoreError> {
    let mut transaction = connection.begin().await?;
    // Nobody else may write them meanwhile.
    sqlx::query!("lock table client, api_key in share row exclusive mode").execute(&mut *transaction).await?;
    let rows = read(&mut transaction).await?;
    let resealed = |sealed: Sealed<'_>| Some((sealed.id.to_owned(), remake(&sealed.fields, sealed.mac)?));
    let clients: Vec<_> = rows.clients.iter().filter_map(|row| resealed(row.sealed())).collect();
    let api_keys: Vec<_> = rows.api_keys.iter().filter_map(|row| resealed(row.sealed())).collect();
    let (ids, macs): (Vec<String>, Vec<Vec<u8>>) = clients.into_iter().unzip();
    let written = sqlx::query!(
        "update client c set row_mac = i.mac from unnest($1::text[], $2::bytea[]) i(id, mac) where c.client_id = i.id",
        &ids,
        &macs
    );
    let clients = written.execute(&mut *transaction).await?.rows_affected();
    let (ids, macs): (Vec<String>, Vec<Vec<u8>>) = api_keys.into_iter().unzip();
    let written = sqlx::query!(
        "update api_key k set row_mac = i.mac from unnest($1::text[], $2::bytea[]) i(id, mac) where k.api_key_id = i.id",
        &ids,
        &macs
    );
    let api_keys = written.execute(&mut *transaction).await?.rows_affected();
    transaction.commit().await?;
    Ok(clients.saturating_add(api_keys))
}
