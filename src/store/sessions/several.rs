//! Several sessions at once, by their ids.

use jiff_sqlx::Timestamp as SqlTimestamp;
use uuid::Uuid;

use crate::store::{SessionRow, Store, StoreError, sessions::session::Row};

impl Store {
    /// Those of these sessions that are on record, live or not, in no order.
    pub async fn sessions_by_id(&self, ids: &[Uuid]) -> Result<Vec<SessionRow>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self
            .run(async |connection| {
                Ok(sqlx::query_as!(
                    Row,
                    r#"select id, subject, client_id, audiences, scopes, claims, certificate_thumbprint, idp, secret_hash,
                              revision, create_time as "create_time: SqlTimestamp", generation,
                              refresh_time as "refresh_time: SqlTimestamp",
                              idle_expire_time as "idle_expire_time: SqlTimestamp",
                              expire_time as "expire_time: SqlTimestamp",
                              revoke_time as "revoke_time: SqlTimestamp", revoke_reason,
                              statement_timestamp() as "now!: SqlTimestamp", 0::bigint as "since_rotation_us!"
                         from session where id = any($1)"#,
                    ids
                )
                .fetch_all(connection)
                .await?)
            })
            .await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }
}
