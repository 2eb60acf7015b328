//! `log_head`, `revocation`, `mark`, `lock` and `change`: the log, appended in commit order and read from a revision on.

use std::time::Duration;

use futures_util::{TryStreamExt, stream::TryChunksError};
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{
    Connection, Executor,
    postgres::{PgListener, PgPoolOptions},
};
use uuid::Uuid;

use crate::{
    process::others_first,
    state::{Entry, Lock, Mark, MarkKind, Reason},
    store::{
        ACQUIRE_TIMEOUT, OwnConnection, Store, StoreError,
        log::{copy::copy_out, lock::LockRow, number::revision},
    },
};
use jeton_token::{Revision, UnixSeconds};

/// The channel on which an append notifies.
const CHANNEL: &str = "jeton_log";
/// A read that takes longer has lost its connection: there are few entries since the last read.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// The rows of a read that are taken before others have their turn: a tenth of a millisecond.
const ROWS_AT_ONCE: usize = 64;
/// The marks that are taken at once when all are loaded.
const MARKS_AT_ONCE: usize = 1_000;
/// Loading ten million entries takes seconds; after a minute the database is stuck.
const LOAD_TIMEOUT: Duration = Duration::from_mins(1);

/// The head of the log, as one statement saw it.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Everything up to here has been committed.
    pub revision: Revision,
    /// Entries at or below may have been purged.
    pub floor: Revision,
    /// The latest epoch that some replica has known for as long as a lease can last.
    pub settled_epoch: i64,
    /// The epoch into which a replica has carried over its state, or that an operator has vouched for.
    pub carried_epoch: i64,
    /// The log is where it was written: the same tables of the same database, on the same timeline.
    pub same_log: bool,
    /// The database's wall clock, milliseconds since the epoch.
    pub database_time_ms: i64,
}

/// Entries of the log, and the tables that must be read again.
#[expect(clippy::struct_excessive_bools, reason = "one for each table that is read as a whole")]
#[derive(Debug, Default)]
pub struct LogEntries {
    /// Revocations and marks.
    pub entries: Vec<Entry>,
    /// Locks.
    pub locks: Vec<Lock>,
    /// A policy changed.
    pub policies: bool,
    /// A client or an API key changed.
    pub clients: bool,
    /// A trusted issuer changed.
    pub issuers: bool,
    /// A signing or MAC key changed.
    pub keys: bool,
}

/// The result of one read of the log.
#[derive(Debug)]
pub struct LogRead {
    /// The head.
    pub head: Head,
    /// The revision up to which the entries go: the head, or an earlier one if there were too many for one read.
    pub upto: Revision,
    /// The entries after the revision that was read from. Marks and locks have no upper limit: a mark that has moved
    /// past it still includes its former value, by maximum, and would be missed.
    pub entries: LogEntries,
}

impl Store {
    /// Opens a connection that listens for notifications that the log has grown.
    pub async fn wakeups(&self) -> Result<Wakeups, StoreError> {
        let options = self.connector.options("jeton listen");
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        // It waits without a statement; this allows it, whatever role or database say.
        listener.execute("set idle_session_timeout = 0").await?;
        listener.listen(CHANNEL).await?;
        Ok(Wakeups { listener })
    }
}

/// Notifications that the log has grown. Missed ones are found by polling.
pub struct Wakeups {
    listener: PgListener,
}

impl Wakeups {
    /// Waits for the next notification. Returns the database process that has appended; `None`: the connection was
    /// lost, and notifications may have been missed.
    pub async fn next(&mut self) -> Result<Option<u32>, StoreError> {
        Ok(self.listener.try_recv().await?.map(|heard| heard.process_id()))
    }
}

impl Head {
    /// Returns whether the log has come to this revision, in the epoch that it was appended in.
    #[must_use]
    pub fn holds(&self, revision: Revision) -> bool {
        self.revision.epoch() == revision.epoch() && self.revision >= revision
    }
}

impl OwnConnection {
    /// The head, and whether the database is still the one that the log was written in.
    pub async fn head(&mut self) -> Result<Head, StoreError> {
        // Nothing comes after the greatest revision.
        Ok(self.read(Revision::MAX, 0).await?.head)
    }

    /// The head and the entries after `after`, in one snapshot: all of them, or the first `entries_max`, not counting
    /// marks. `None` if that would not do: some of them were purged, or the log is of another epoch or another log.
    pub async fn read(&mut self, after: Revision, entries_max: i64) -> Result<LogRead, StoreError> {
        self.run(READ_TIMEOUT, async |connection| {
            let mut rows = sqlx::query_as!(
                ReadRow,
                r#"with now as materialized (
                       select epoch * 1099511627776 + seq as head, floor, settled_epoch, carried_epoch,
                              log_is_here(log_head, log_head.xmin) as same_log,
                              (extract(epoch from clock_timestamp()) * 1000)::bigint as database_time_ms
                         from log_head
                   ), log as materialized (
                       select now.*, after, least(head, after + $2) as upto
                         from now, lateral (select case when same_log and floor <= $1 and head >> 40 = $1 >> 40
                                                        then $1 else head end as after) from_where
                   )
                   select head as "head!", upto as "upto!", floor as "floor!", settled_epoch as "settled_epoch!",
                          carried_epoch as "carried_epoch!", same_log as "same_log!", database_time_ms as "database_time_ms!",
                          source, kind, name, audience, id, position, cutoff_s, reason,
                          expire_time as "expire_time: SqlTimestamp", lock_time as "lock_time: SqlTimestamp", note
                     from log left join lateral (
                          select 0 as source, kind, name, null as audience, null::uuid as id, null::bigint as position,
                                 null::bigint as cutoff_s, null::smallint as reason, change_time as expire_time,
                                 null::timestamptz as lock_time, null as note
                            from change where revision > log.after and revision <= log.upto
                          union all
                          select 1, kind, target, audience, null, position, cutoff_s, reason, expire_time, null, null
                            from mark where revision > log.after
                          union all
                          select 2, kind, null, null, id, null, null, reason, expire_time, null, null
                            from revocation where revision > log.after and revision <= log.upto
                          union all
                          select 3, kind, target, actor, null, revision, null, null, end_time, lock_time, note
                            from lock where revision > log.after) entry on true"#,
                after.as_i64(),
                entries_max
            )
            .fetch(connection)
            .try_chunks(ROWS_AT_ONCE);
            let mut read = None;
            while let Some(rows) = rows.try_next().await.map_err(|TryChunksError(_, error)| error)? {
                let may_go_on = rows.len() == ROWS_AT_ONCE;
                LogRead::take(&mut read, rows)?;
                // The rows of a long read have arrived already: without this, no call would be served until all are taken.
                // A short read, as most are, is not held up.
                if may_go_on {
                    others_first().await;
                }
            }
            read.map(LogRead::whole).ok_or_else(|| StoreError::corrupt("log_head", "no row"))
        })
        .await
    }

    /// The approximate number of revocations, as the planner knows it.
    pub async fn revocations_about(&mut self) -> Result<usize, StoreError> {
        self.run(READ_TIMEOUT, async |connection| {
            let about = sqlx::query_scalar!(
                r#"select coalesce(sum(greatest(c.reltuples, 0)), 0)::bigint as "about!"
                     from pg_inherits i join pg_class c on c.oid = i.inhrelid
                    where i.inhparent = 'revocation'::regclass"#
            );
            Ok(usize::try_from(about.fetch_one(connection).await?).unwrap_or_default())
        })
        .await
    }

    /// Everything in force, many entries at a time: every mark, and every revocation that has not expired at `now`;
    /// those of sessions in any case, because the sweep may not have written them yet. Whole up to any head that was
    /// read before.
    pub async fn load(
        &mut self,
        now: Timestamp,
        mut take: impl FnMut(Vec<Entry>) + Send + 'static,
    ) -> Result<(), StoreError> {
        self.run(LOAD_TIMEOUT, async |connection| {
            // This reads whole tables, on a connection whose settings forbid it.
            let mut transaction = connection.begin().await?;
            sqlx::query!("set local enable_seqscan = on").execute(&mut *transaction).await?;
            let mut marks = sqlx::query_as!(
                MarkRow,
                r#"select kind, target, audience, position, cutoff_s, reason, expire_time as "expire_time: SqlTimestamp"
                     from mark"#
            )
            .fetch(&mut *transaction)
            .try_chunks(MARKS_AT_ONCE);
            while let Some(rows) = marks.try_next().await.map_err(|TryChunksError(_, error)| error)? {
                let marks = rows.into_iter().map(|row| Ok(Entry::Mark(row.try_into()?)));
                take(marks.collect::<Result<_, StoreError>>()?);
            }
            drop(marks);
            // COPY has no parameters; this is a number.
            let statement = format!(
                "copy (select kind, id, expire_time, reason from revocation
                        where expire_time > to_timestamp({}) or kind = 2) to stdout (format binary)",
                now.as_second()
            );
            copy_out(&mut transaction, &statement, copied, take).await?;
            Ok(transaction.commit().await?)
        })
        .await
    }
}

/// The head, beside a row of `change` (source 0), `mark` (1), `revocation` (2) or `lock` (3), or beside nothing. A lock
/// has its actor in place of the audience, and its revision in place of the position.
struct ReadRow {
    head: i64,
    upto: i64,
    floor: i64,
    settled_epoch: i64,
    carried_epoch: i64,
    same_log: bool,
    database_time_ms: i64,
    source: Option<i32>,
    kind: Option<i16>,
    name: Option<String>,
    audience: Option<String>,
    id: Option<Uuid>,
    position: Option<i64>,
    cutoff_s: Option<i64>,
    reason: Option<i16>,
    expire_time: Option<SqlTimestamp>,
    lock_time: Option<SqlTimestamp>,
    note: Option<String>,
}

impl ReadRow {
    fn head(&self) -> Result<Head, StoreError> {
        Ok(Head {
            revision: revision("log_head", self.head)?,
            floor: Revision::from_i64(self.floor).unwrap_or(Revision::ZERO),
            settled_epoch: self.settled_epoch,
            carried_epoch: self.carried_epoch,
            same_log: self.same_log,
            database_time_ms: self.database_time_ms,
        })
    }
}

impl LogRead {
    /// Adds rows to what was read before. Marks wait apart.
    fn take(read: &mut Option<(Self, Vec<Entry>)>, rows: Vec<ReadRow>) -> Result<(), StoreError> {
        for row in rows {
            let (whole, marks) = if let Some(read) = read {
                read
            } else {
                let (head, upto) = (row.head()?, revision("log_head", row.upto)?);
                read.insert((Self { head, upto, entries: LogEntries::default() }, Vec::new()))
            };
            whole.entries.add(row, marks)?;
        }
        Ok(())
    }

    /// All of it. Marks after removals: a mark that was removed and made again in between must stay.
    fn whole((mut read, mut marks): (Self, Vec<Entry>)) -> Self {
        read.entries.entries.append(&mut marks);
        read
    }
}

impl LogEntries {
    fn add(&mut self, row: ReadRow, marks: &mut Vec<Entry>) -> Result<(), StoreError> {
        let (Some(source), Some(kind), Some(expire_time)) = (row.source, row.kind, row.expire_time) else {
            return Ok(());
        };
        let (name, reason) = (row.name.unwrap_or_default(), row.reason.unwrap_or_default());
        match (source, kind) {
            (0, 1) => self.policies = true,
            (0, 2) => self.clients = true,
            (0, 5) => self.issuers = true,
            (0, 3) => self.keys = true,
            (0, _) => self.entries.push(mark_removed(&name)?),
            (1, _) => {
                let mark = MarkRow {
                    kind,
                    target: name,
                    audience: row.audience.unwrap_or_default(),
                    position: row.position.unwrap_or_default(),
                    cutoff_s: row.cutoff_s.unwrap_or_default(),
                    reason,
                    expire_time,
                };
                marks.push(Entry::Mark(mark.try_into()?));
            }
            (3, _) => {
                let lock = LockRow {
                    kind,
                    target: name,
                    revision: row.position.unwrap_or_default(),
                    lock_time: row.lock_time.unwrap_or(expire_time),
                    end_time: expire_time,
                    actor: row.audience.unwrap_or_default(),
                    note: row.note.unwrap_or_default(),
                };
                self.locks.push(lock.try_into()?);
            }
            _ => {
                let expire_time = UnixSeconds::from_timestamp(expire_time.to_jiff());
                self.entries.push(narrow(kind, row.id.unwrap_or_default(), expire_time, reason)?);
            }
        }
        Ok(())
    }
}

/// A row of `revocation`.
fn narrow(kind: i16, id: Uuid, expire_time: UnixSeconds, reason: i16) -> Result<Entry, StoreError> {
    let reason = Reason::from_number(reason.into()).unwrap_or_default();
    match kind {
        1 => Ok(Entry::Token { id, expire_time, reason }),
        2 => Ok(Entry::Session { id, expire_time, reason }),
        _ => Err(StoreError::corrupt("revocation", format!("kind {kind}"))),
    }
}

/// The same in the format of COPY: kind, id, `expire_time`, reason.
fn copied([kind, id, expire_time, reason]: [&[u8]; 4]) -> Result<Entry, StoreError> {
    // timestamptz is microseconds since 2000-01-01T00:00:00Z.
    const EPOCH_S: i64 = 946_684_800;
    const MICROS: i64 = 1_000_000;
    let micros = i64::from_be_bytes(sized(expire_time)?);
    narrow(
        i16::from_be_bytes(sized(kind)?),
        Uuid::from_bytes(sized(id)?),
        UnixSeconds::new(micros.div_euclid(MICROS).saturating_add(EPOCH_S)),
        i16::from_be_bytes(sized(reason)?),
    )
}

fn sized<const N: usize>(field: &[u8]) -> Result<[u8; N], StoreError> {
    field.try_into().map_err(|_| StoreError::corrupt("revocation", "a field's length"))
}

struct MarkRow {
    kind: i16,
    target: String,
    audience: String,
    position: i64,
    cutoff_s: i64,
    reason: i16,
    expire_time: SqlTimestamp,
}

impl TryFrom<MarkRow> for Mark {
    type Error = StoreError;

    fn try_from(row: MarkRow) -> Result<Self, StoreError> {
        Ok(Self {
            kind: mark_kind(row.kind)?,
            target: row.target,
            audience: row.audience,
            position: revision("mark", row.position)?,
            cutoff: UnixSeconds::new(row.cutoff_s),
            reason: Reason::from_number(row.reason.into()).unwrap_or_default(),
            expire_time: UnixSeconds::from_timestamp(row.expire_time.to_jiff()),
        })
    }
}

fn mark_removed(name: &str) -> Result<Entry, StoreError> {
    let (kind, target, audience): (i16, String, String) =
        serde_json::from_str(name).map_err(|error| StoreError::corrupt("change", error.to_string()))?;
    Ok(Entry::MarkRemoved { kind: mark_kind(kind)?, target, audience })
}

fn mark_kind(number: i16) -> Result<MarkKind, StoreError> {
    MarkKind::from_number(number).ok_or_else(|| StoreError::corrupt("mark", format!("kind {number}")))
}
