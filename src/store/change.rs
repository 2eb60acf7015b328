//! `change`: notes that something has to be read again.

use super::{Store, StoreError};

/// Far longer than a reader that follows the log can be behind it.
const KEPT_S: i64 = 86_400;

impl Store {
    /// Removes old notes; a reader that is behind them loads anew. Answers how many.
    pub async fn purge_changes(&self) -> Result<i64, StoreError> {
        let purged = sqlx::query_scalar!("select purge_changes(make_interval(secs => $1::bigint))", KEPT_S)
            .fetch_one(&self.pool)
            .await?;
        Ok(purged.unwrap_or_default())
    }
}
