//! `client` and `api_key`, as replicas hold them; and as jeton's own verbs write them.

use std::sync::Arc;

use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;

use super::{NewAudit, OwnConnection, Store, StoreError, connection::TABLE_TIMEOUT, log::revision};
use crate::{
    state::{ApiKeyRecord, Client, Clients, Permission, Restriction},
    token::{ApiKey, UnixSeconds},
};

/// A client to register, with one API key.
#[derive(Clone, Debug)]
pub struct NewClient {
    /// What it is and may do.
    pub client: Client,
    /// For people.
    pub display_name: String,
    /// The part of its key that is no secret.
    pub api_key_id: String,
    /// SHA-256 of the whole text of its key.
    pub secret_hash: [u8; 32],
}

impl NewClient {
    /// This client, called by its identifier, with this key.
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

impl Store {
    /// Every client, with its keys.
    pub async fn clients(&self) -> Result<Clients, StoreError> {
        self.run(read).await
    }

    /// Registers a client through the log, or brings its registration to this state; adds the key.
    pub async fn put_client(&self, new: &NewClient, audit: &NewAudit) -> Result<(), StoreError> {
        self.write_client(new, false, audit).await?;
        Ok(())
    }

    /// Registers the first client that administers. False, and nothing written: there is one already.
    pub async fn put_first_admin(&self, new: &NewClient, audit: &NewAudit) -> Result<bool, StoreError> {
        self.write_client(new, true, audit).await
    }

    async fn write_client(
        &self,
        new: &NewClient,
        only_first: bool,
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        let permissions: Vec<i16> =
            new.client.permissions.iter().map(|permission| permission.number()).collect();
        let head = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select put_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                    new.client.client_id,
                    new.display_name,
                    &permissions,
                    &new.client.audiences,
                    &new.client.subjects,
                    new.api_key_id,
                    new.secret_hash.as_slice(),
                    only_first,
                    audit.id,
                    audit.actor,
                    audit.action
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        Ok(head.is_some())
    }
}

impl OwnConnection {
    /// Every client, with its keys.
    pub async fn clients(&mut self) -> Result<Clients, StoreError> {
        self.run(TABLE_TIMEOUT, read).await
    }

    /// Takes away from a client what it may no longer have, through the log. False: somebody else was first.
    pub async fn restrict_client(
        &mut self,
        restriction: &Restriction,
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        let client = &restriction.client;
        let permissions: Vec<i16> = client.permissions.iter().map(|permission| permission.number()).collect();
        let (ending, ends): (Vec<String>, Vec<i64>) =
            restriction.ending_keys.iter().map(|(id, end)| (id.clone(), end.get())).unzip();
        self.run(TABLE_TIMEOUT, async |connection| {
            let head = sqlx::query_scalar!(
                "select restrict_client($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
                restriction.expected.as_i64(),
                client.revision.as_i64(),
                client.client_id,
                &client.certificate_uris,
                &permissions,
                &client.audiences,
                &client.subjects,
                client.disabled,
                &restriction.gone_keys,
                &ending,
                &ends,
                audit.id,
                audit.actor
            )
            .fetch_one(connection)
            .await?;
            Ok(head.is_some())
        })
        .await
    }
}

async fn read(connection: &mut PgConnection) -> Result<Clients, StoreError> {
    let clients = sqlx::query!(
        "select client_id, revision, certificate_uris, permissions, audiences, subjects, disabled
           from client order by client_id"
    )
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|row| {
        Ok(Client {
            client_id: row.client_id,
            revision: revision("client", row.revision)?,
            // A number that this version does not know grants nothing.
            permissions: row.permissions.into_iter().filter_map(Permission::from_number).collect(),
            certificate_uris: row.certificate_uris,
            audiences: row.audiences,
            subjects: row.subjects,
            disabled: row.disabled,
        })
    })
    .collect::<Result<_, StoreError>>()?;
    let api_keys = sqlx::query!(
        r#"select api_key_id, client_id, secret_hash, expire_time as "expire_time: SqlTimestamp" from api_key"#
    )
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|row| {
        Ok(ApiKeyRecord {
            secret_hash: row
                .secret_hash
                .try_into()
                .map_err(|_| StoreError::corrupt("api_key", "secret_hash is not of 32 bytes"))?,
            expire_time: row.expire_time.map(|time| UnixSeconds::from_timestamp(time.to_jiff())),
            api_key_id: row.api_key_id,
            client_id: row.client_id,
            last_use: Arc::default(),
        })
    })
    .collect::<Result<_, StoreError>>()?;
    Ok(Clients::new(clients, api_keys))
}
