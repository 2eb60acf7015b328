//! Partitions, made ahead and dropped when they are no longer needed. Each statement waits at most 50 ms for its lock,
//! so that it never queues before an append.

use jiff::Timestamp;

use crate::store::{Store, StoreError};

/// The SQLSTATE of a lock that was not available in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// The SQLSTATE of a partition whose rows are in the default one already: they stay there, and an alert watches that.
const CHECK_VIOLATION: &str = "23514";

// The function `make_partition` knows the lengths of partitions, too, and accepts no other.
/// Twelve hours: a revocation lives about a day, and each read of the log searches every partition.
const REVOCATION_PARTITION_S: i64 = 12 * 3_600;
/// Entries stay in the table for this long after they left memory.
const REVOCATION_KEPT_S: i64 = 3_600;
/// Ends are at most a day and 130 s ahead; half a day more for a replica whose clock is ahead, or a task that is
/// delayed. No more, because each read of the log searches every partition.
const REVOCATION_AHEAD_S: i64 = 36 * 3_600;
/// A week: a session lives at most 90 days.
const SESSION_PARTITION_S: i64 = 7 * 86_400;
const SESSION_KEPT_S: i64 = 91 * 86_400;
/// Thirty days: an audit row is kept 400 days.
const AUDIT_PARTITION_S: i64 = 30 * 86_400;
const AUDIT_KEPT_S: i64 = 400 * 86_400;
/// A task that was delayed for a fortnight still finds its partitions.
const ID_AHEAD_S: i64 = 15 * 86_400;

/// The table whose chains get checkpoints before a part of it is dropped.
const AUDIT: &str = "audit_event";

/// The partitions of a table.
#[derive(Clone, Copy)]
struct Cut {
    table: &'static str,
    seconds: i64,
    ahead_s: i64,
    kept_s: i64,
}

const CUTS: [Cut; 3] = [
    Cut {
        table: "revocation",
        seconds: REVOCATION_PARTITION_S,
        ahead_s: REVOCATION_AHEAD_S,
        kept_s: REVOCATION_KEPT_S,
    },
    Cut { table: "session", seconds: SESSION_PARTITION_S, ahead_s: ID_AHEAD_S, kept_s: SESSION_KEPT_S },
    Cut { table: AUDIT, seconds: AUDIT_PARTITION_S, ahead_s: ID_AHEAD_S, kept_s: AUDIT_KEPT_S },
];

impl Store {
    /// Makes the partitions that will be needed. Returns their number.
    pub async fn make_partitions(&self, now: Timestamp) -> Result<u32, StoreError> {
        let mut made: u32 = 0;
        for cut in CUTS {
            let mut start = now.as_second().div_euclid(cut.seconds).saturating_mul(cut.seconds);
            let end = now.as_second().saturating_add(cut.ahead_s);
            while start < end {
                let next = start.saturating_add(cut.seconds);
                let done = self.run(async |connection| {
                    let made = sqlx::query_scalar!("select make_partition($1, $2)", cut.table, start);
                    in_time(made.fetch_one(connection).await)
                });
                made = made.saturating_add(u32::from(done.await?));
                start = next;
            }
        }
        Ok(made)
    }

    /// Drops the partitions whose rows cannot matter any more. Returns their number. Call it for revocations only after
    /// a patient sweep, begun after their end, that found nothing.
    pub async fn drop_partitions(&self, now: Timestamp) -> Result<u32, StoreError> {
        let mut dropped: u32 = 0;
        for cut in CUTS {
            let names = self
                .run(async |connection| {
                    Ok(sqlx::query_scalar!(
                r#"select c.relname::text as "name!" from pg_inherits i join pg_class c on c.oid = i.inhrelid
                    where i.inhparent = $1::text::regclass"#,
                cut.table
            ).fetch_all(connection).await?)
                })
                .await?;
            let mut partitions: Vec<_> =
                names.into_iter().filter_map(|name| Some((start_of(cut, &name)?, name))).collect();
            // The oldest first: chains get checkpoints from their beginning on.
            partitions.sort();
            for (start, partition) in partitions {
                let end = start.saturating_add(cut.seconds);
                if end.saturating_add(cut.kept_s) >= now.as_second() {
                    continue;
                }
                if cut.table == AUDIT {
                    self.checkpoint(start, end, now).await?;
                }
                let done = self.run(async |connection| {
                    let dropped = sqlx::query_scalar!("select drop_partition($1)", partition);
                    in_time(dropped.fetch_one(connection).await)
                });
                dropped = dropped.saturating_add(u32::from(done.await?));
            }
        }
        Ok(dropped)
    }

    /// Rows that found no partition of their own: an alert watches that there are none.
    pub async fn rows_in_default_partitions(&self) -> Result<i64, StoreError> {
        let rows = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
            r#"select (select count(*) from revocation_default) + (select count(*) from session_default)
                    + (select count(*) from audit_event_default) as "rows!""#
        ).fetch_one(connection).await?)
            })
            .await?;
        Ok(rows)
    }
}

/// A lock that is not available is no failure: the next round tries again. Nor is a partition that comes too late: its
/// rows are in the default one.
fn in_time(row: Result<Option<bool>, sqlx::Error>) -> Result<bool, StoreError> {
    match row {
        Ok(done) => Ok(done.unwrap_or_default()),
        Err(sqlx::Error::Database(error))
            if matches!(error.code().as_deref(), Some(LOCK_NOT_AVAILABLE | CHECK_VIOLATION)) =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

fn start_of(cut: Cut, name: &str) -> Option<i64> {
    name.strip_prefix(cut.table)?.strip_prefix('_')?.parse().ok()
}
