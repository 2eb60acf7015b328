//! The contents of a database, whatever the version of its schema.

use crate::store::{NewClient, Store, StoreError};

/// Counts of a database's contents.
#[derive(Clone, Copy, Default, Debug)]
pub struct Residents {
    /// Clients.
    pub clients: i64,
    /// API keys of the given clients.
    pub known: i64,
    /// Signing keys.
    pub keys: i64,
}

impl Store {
    /// Counts the contents, and those of these clients' keys that are present. Zero if there are no tables yet.
    pub async fn residents(&self, clients: &[NewClient]) -> Result<Residents, StoreError> {
        let (ids, hashes): (Vec<_>, Vec<_>) =
            clients.iter().map(|new| (new.api_key_id.clone(), new.secret_hash.to_vec())).unzip();
        self.run(async |connection| {
            let tables = sqlx::query_scalar!(
                r#"select to_regclass('client') is not null and to_regclass('api_key') is not null
                      and to_regclass('signing_key') is not null as "tables!""#
            );
            if !tables.fetch_one(&mut *connection).await? {
                return Ok(Residents::default());
            }
            let row = sqlx::query!(
                r#"select (select count(*) from client) as "clients!", (select count(*) from signing_key) as "keys!",
                          (select count(*) from api_key k
                             join unnest($1::text[], $2::bytea[]) own(id, hash)
                               on (k.api_key_id, k.secret_hash) = (own.id, own.hash)) as "known!""#,
                &ids,
                &hashes
            )
            .fetch_one(connection)
            .await?;
            Ok(Residents { clients: row.clients, known: row.known, keys: row.keys })
        })
        .await
    }
}
