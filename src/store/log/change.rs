//! `change`: notes that tables must be read again.

use crate::store::{Store, StoreError};

/// A reader that follows the log is never this far behind.
const KEPT_S: i64 = 86_400;

impl Store {
    /// Removes old notes; a reader that is further behind loads all tables again. Returns their number.
    pub async fn purge_changes(&self) -> Result<i64, StoreError> {
        let purged = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!("select purge_changes(make_interval(secs => $1::bigint))", KEPT_S)
                    .fetch_one(connection)
                    .await?)
            })
            .await?;
        Ok(purged.unwrap_or_default())
    }
}
