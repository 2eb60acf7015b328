//! `mark`: the removal of wide revocations, once no token that they hit can be live.

use crate::store::{Store, StoreError};

/// A mark that has reached its end.
#[derive(Clone, Debug)]
pub struct ExpiredMark {
    kind: i16,
    target: String,
    audience: String,
}

impl Store {
    /// Marks that have reached their end, at most `limit`.
    pub async fn expired_marks(&self, limit: i64) -> Result<Vec<ExpiredMark>, StoreError> {
        let marks = self.run(async |connection| Ok(sqlx::query_as!(
            ExpiredMark,
            "select kind, target, audience from mark where expire_time < now() order by kind, target, audience limit $1",
            limit
        ).fetch_all(connection).await?)).await?;
        Ok(marks)
    }

    /// Removes those of `marks` that are still past their end, through the log. Call it only after a patient sweep that
    /// began after their end and found nothing left.
    pub async fn remove_marks(&self, marks: &[ExpiredMark]) -> Result<i64, StoreError> {
        let kinds: Vec<i16> = marks.iter().map(|mark| mark.kind).collect();
        let targets: Vec<String> = marks.iter().map(|mark| mark.target.clone()).collect();
        let audiences: Vec<String> = marks.iter().map(|mark| mark.audience.clone()).collect();
        let removed = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!("select remove_marks($1, $2, $3)", &kinds, &targets, &audiences)
                    .fetch_one(connection)
                    .await?)
            })
            .await?;
        Ok(removed.unwrap_or_default())
    }
}
