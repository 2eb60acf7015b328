//! `log_head`, `revocation`, `mark` and `change`: the log, appended in commit order and read from
//! a revision on.

use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::postgres::{PgListener, PgPoolOptions};
use uuid::Uuid;

use super::{OwnConnection, Store, StoreError, copy::Tuples};
use crate::{
    state::{Entry, Mark, MarkKind, Reason},
    token::{Revision, UnixSeconds},
};

/// The channel on which an append says that there is something to read.
const CHANNEL: &str = "jeton_log";
/// An append that takes longer has lost its connection: it is sent again on another.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
/// A read of the head that takes longer has lost its connection.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// What was appended since the last read is little.
const ENTRIES_TIMEOUT: Duration = Duration::from_secs(10);
/// To load ten million entries takes seconds; a minute is a database that is stuck.
const LOAD_TIMEOUT: Duration = Duration::from_mins(1);

/// The head of the log, as one statement saw it.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Everything up to here has been committed.
    pub revision: Revision,
    /// Entries at or below may have been purged.
    pub floor: Revision,
    /// The epoch that somebody has known for as long as a lease can last.
    pub settled_epoch: i64,
    /// Whether the database is the one, on the timeline, that the log was written in.
    pub same_log: bool,
    /// The database's wall clock, milliseconds since the epoch.
    pub database_time_ms: i64,
}

/// Entries of the log, and names of what has to be read again.
#[derive(Debug, Default)]
pub struct LogEntries {
    /// Revocations and marks.
    pub entries: Vec<Entry>,
    /// Whether a policy changed.
    pub policies: bool,
    /// Whether a client or an API key changed.
    pub clients: bool,
    /// Whether a signing or MAC key changed.
    pub keys: bool,
}

/// What one item of a batch revokes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Nothing new: the head moves and the act is audited.
    Nothing,
    /// A token, by `jti`.
    Token(Uuid),
    /// A session, by `sid`.
    Session(Uuid),
    /// A wide target: what it names, the audience it is narrowed to (empty: all), and the cutoff in
    /// seconds since the epoch (0: everything so far).
    Wide {
        /// The kind of target.
        kind: MarkKind,
        /// The subject, the client or the `kid`.
        target: String,
        /// Empty: all.
        audience: String,
        /// 0: everything so far.
        cutoff: UnixSeconds,
    },
}

/// One item of a batch. To append it twice changes nothing: it acts only with its audit row.
#[derive(Clone, Debug)]
pub struct NewRevocation {
    /// What it revokes.
    pub target: Target,
    /// Why.
    pub reason: Reason,
    /// May be forgotten from here on.
    pub expire_time: UnixSeconds,
    /// Its audit row.
    pub audit: super::NewAudit,
}

/// Where a batch has come to stand.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// The head after the batch.
    pub revision: Revision,
    /// Commit instant by the database's clock.
    pub commit_time: Timestamp,
}

impl Store {
    /// A connection of its own that hears when the log has grown.
    pub async fn wakeups(&self) -> Result<Wakeups, StoreError> {
        let options = self.options.clone().application_name("jeton listen");
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(CHANNEL).await?;
        Ok(Wakeups { listener })
    }
}

/// A batch, column by column.
#[derive(Default)]
struct Columns<'a> {
    audit_ids: Vec<Uuid>,
    kinds: Vec<i16>,
    ids: Vec<Option<Uuid>>,
    targets: Vec<Option<&'a str>>,
    audiences: Vec<Option<&'a str>>,
    cutoffs_s: Vec<i64>,
    reasons: Vec<i16>,
    expires_s: Vec<i64>,
    actors: Vec<&'a str>,
    actions: Vec<&'a str>,
    subjects: Vec<Option<&'a str>>,
    jtis: Vec<Option<Uuid>>,
    session_ids: Vec<Option<Uuid>>,
    client_ids: Vec<Option<&'a str>>,
    notes: Vec<&'a str>,
    trace_ids: Vec<&'a str>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, item: &'a NewRevocation) {
        let (kind, id, wide) = match &item.target {
            Target::Nothing => (0, None, None),
            Target::Token(id) => (1, Some(*id), None),
            Target::Session(id) => (2, Some(*id), None),
            Target::Wide { kind, target, audience, cutoff } => {
                (kind.number(), None, Some((target.as_str(), audience.as_str(), *cutoff)))
            }
        };
        self.audit_ids.push(item.audit.id);
        self.kinds.push(kind);
        self.ids.push(id);
        self.targets.push(wide.map(|(target, _, _)| target));
        self.audiences.push(wide.map(|(_, audience, _)| audience));
        self.cutoffs_s.push(wide.map_or(0, |(_, _, cutoff)| cutoff.get()));
        self.reasons.push(item.reason.number());
        self.expires_s.push(item.expire_time.get());
        self.actors.push(&item.audit.actor);
        self.actions.push(item.audit.action);
        self.subjects.push(item.audit.subject.as_deref());
        self.jtis.push(item.audit.jti);
        self.session_ids.push(item.audit.session_id);
        self.client_ids.push(item.audit.client_id.as_deref());
        self.notes.push(&item.audit.note);
        self.trace_ids.push(&item.audit.trace_id);
    }
}

/// Hears that the log has grown. A wake-up only: what it misses, polling finds.
pub struct Wakeups {
    listener: PgListener,
}

impl Wakeups {
    /// Waits for the next one. A lost connection counts as one: something may have been missed.
    pub async fn next(&mut self) -> Result<(), StoreError> {
        self.listener.try_recv().await?;
        Ok(())
    }
}

impl OwnConnection {
    /// Appends a batch: one round trip, one transaction, one notification. When the connection is
    /// lost the batch may have been committed: append it again.
    #[expect(clippy::as_conversions, reason = "how sqlx is told an argument's type")]
    pub async fn append(&mut self, items: &[NewRevocation]) -> Result<Appended, StoreError> {
        let mut c = Columns::default();
        for item in items {
            c.push(item);
        }
        self.run(APPEND_TIMEOUT, async |connection| {
            let appended = sqlx::query!(
            r#"select head as "head!", commit_time as "commit_time!: SqlTimestamp"
                 from append_revocations($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"#,
            &c.audit_ids,
            &c.kinds,
            &c.ids as &[Option<Uuid>],
            &c.targets as &[Option<&str>],
            &c.audiences as &[Option<&str>],
            &c.cutoffs_s,
            &c.reasons,
            &c.expires_s,
            &c.actors as &[&str],
            &c.actions as &[&str],
            &c.subjects as &[Option<&str>],
            &c.jtis as &[Option<Uuid>],
            &c.session_ids as &[Option<Uuid>],
            &c.client_ids as &[Option<&str>],
            &c.notes as &[&str],
            &c.trace_ids as &[&str],
        );
            let row = appended.fetch_one(connection).await?;
            Ok(Appended { revision: revision("log_head", row.head)?, commit_time: row.commit_time.to_jiff() })
        })
        .await
    }

    /// The head, and whether the database still is the one that the log was written in.
    pub async fn head(&mut self) -> Result<Head, StoreError> {
        self.run(READ_TIMEOUT, async |connection| {
            let row = sqlx::query!(
                r#"select epoch * 1099511627776 + seq as "revision!", floor, settled_epoch,
                          timeline = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)
                          and system_identifier = (select system_identifier from pg_control_system()) as "same_log!",
                          (extract(epoch from clock_timestamp()) * 1000)::bigint as "database_time_ms!"
                     from log_head"#
            )
            .fetch_one(connection)
            .await?;
            Ok(Head {
                revision: revision("log_head", row.revision)?,
                floor: Revision::from_i64(row.floor).unwrap_or(Revision::ZERO),
                settled_epoch: row.settled_epoch,
                same_log: row.same_log,
                database_time_ms: row.database_time_ms,
            })
        })
        .await
    }

    /// What was appended after `after`, up to `upto`.
    pub async fn entries(&mut self, after: Revision, upto: Revision) -> Result<LogEntries, StoreError> {
        self.run(ENTRIES_TIMEOUT, async |connection| {
            let rows = sqlx::query_as!(
                EntryRow,
                r#"select 0 as "source!", kind as "kind!", name as "name!", '' as "audience!",
                          '00000000-0000-0000-0000-000000000000'::uuid as "id!", 0::bigint as "position!",
                          0::bigint as "cutoff_s!", 0::smallint as "reason!",
                          change_time as "expire_time!: SqlTimestamp"
                     from change where revision > $1 and revision <= $2
                   union all
                   select 1, kind, target, audience, '00000000-0000-0000-0000-000000000000', position, cutoff_s,
                          reason, expire_time
                     from mark where revision > $1
                   union all
                   select 2, kind, '', '', id, 0, 0, reason, expire_time
                     from revocation where revision > $1 and revision <= $2"#,
                after.as_i64(),
                upto.as_i64()
            )
            .fetch_all(connection)
            .await?;
            let mut read = LogEntries::default();
            let mut entries = Vec::with_capacity(rows.len());
            for row in rows {
                match (row.source, row.kind) {
                    (0, 1) => read.policies = true,
                    (0, 2) => read.clients = true,
                    (0, 3) => read.keys = true,
                    (0, _) => read.entries.push(mark_removed(&row.name)?),
                    // Without an upper end: a mark that has moved on since the head was read still says what it
                    // said below, by maximum, and would be missed.
                    (1, _) => entries.push(Entry::Mark(MarkRow::from(row).try_into()?)),
                    _ => {
                        let expire_time = UnixSeconds::from_timestamp(row.expire_time.to_jiff());
                        entries.push(narrow(row.kind, row.id, expire_time, row.reason)?);
                    }
                }
            }
            // Marks after removals: one that was removed and made anew in between must stay.
            read.entries.append(&mut entries);
            Ok(read)
        })
        .await
    }

    /// Everything in force, entry by entry: every mark, and every revocation that has not expired at
    /// `now`; those of sessions in any case, since the sweep may not have written them yet. Whole up to
    /// any head that was read before.
    pub async fn load(&mut self, now: Timestamp, mut take: impl FnMut(Entry)) -> Result<(), StoreError> {
        self.run(LOAD_TIMEOUT, async |connection| {
            let mut marks = sqlx::query_as!(
                MarkRow,
                r#"select kind, target, audience, position, cutoff_s, reason, expire_time as "expire_time: SqlTimestamp"
                     from mark"#
            )
            .fetch(&mut *connection);
            while let Some(row) = marks.try_next().await? {
                take(Entry::Mark(row.try_into()?));
            }
            drop(marks);
            // COPY has no parameters; this is a number.
            let statement = format!(
                "copy (select kind, id, expire_time, reason from revocation
                        where expire_time > to_timestamp({}) or kind = 2) to stdout (format binary)",
                now.as_second()
            );
            let mut pieces = connection.copy_out_raw(&statement).await?;
            let mut tuples = Tuples::default();
            while let Some(piece) = pieces.try_next().await? {
                tuples.take(&piece, |fields| {
                    take(copied(fields).ok_or_else(|| StoreError::corrupt("revocation", "a field's length"))??);
                    Ok(())
                })?;
            }
            tuples.end()
        })
        .await
    }
}

/// A row of `change` (source 0), `mark` (1) or `revocation` (2); what its table lacks is empty.
struct EntryRow {
    source: i32,
    kind: i16,
    name: String,
    audience: String,
    id: Uuid,
    position: i64,
    cutoff_s: i64,
    reason: i16,
    expire_time: SqlTimestamp,
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

/// The same, as COPY writes it: kind, id, `expire_time`, reason. `None`: not so long as they are.
fn copied([kind, id, expire_time, reason]: [&[u8]; 4]) -> Option<Result<Entry, StoreError>> {
    // timestamptz is microseconds since 2000-01-01T00:00:00Z.
    const EPOCH_S: i64 = 946_684_800;
    const MICROS: i64 = 1_000_000;
    let micros = i64::from_be_bytes(expire_time.try_into().ok()?);
    Some(narrow(
        i16::from_be_bytes(kind.try_into().ok()?),
        Uuid::from_bytes(id.try_into().ok()?),
        UnixSeconds::new(micros.div_euclid(MICROS).saturating_add(EPOCH_S)),
        i16::from_be_bytes(reason.try_into().ok()?),
    ))
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

impl From<EntryRow> for MarkRow {
    fn from(row: EntryRow) -> Self {
        let EntryRow { kind, audience, position, cutoff_s, reason, expire_time, .. } = row;
        Self { kind, target: row.name, audience, position, cutoff_s, reason, expire_time }
    }
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

pub(super) fn revision(table: &'static str, number: i64) -> Result<Revision, StoreError> {
    Revision::from_i64(number).ok_or_else(|| StoreError::corrupt(table, format!("revision {number}")))
}
