//! `replica` and `replica_ack`: the replicas that may answer from memory, and the revisions that they have applied.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::{OwnConnection, Store, StoreError, log::number::revision};
use jeton_token::Revision;

/// A statement that takes longer has lost its connection, or waits for a standby that is away.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The size of the fleet is counted once per so many seconds.
const SLOT_S: i64 = 600;
/// Slots of a day.
const SLOTS_OF_A_DAY: i64 = 144;

/// The settings that all replicas of a database should share.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SharedSettings {
    /// `iss` of every token.
    pub issuer: String,
    /// The master key, by its fingerprint.
    pub master_key: String,
    /// Seconds from one rotation of keys to the next.
    pub rotate_every_s: i64,
    /// Seconds that a key is published before it signs.
    pub publish_ahead_s: i64,
}

/// A replica's description of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplicaIdentity {
    /// Its name, for people.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The URL of its public listener; empty if it knows none.
    pub address: String,
    /// The settings that it should share with the others.
    pub settings: SharedSettings,
}

/// The result of a renewal that wrote exactly one row; others tell nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// The row is there, and this was the log's head when the statement began.
    Renewed {
        /// The head.
        head: Revision,
        /// The log is where it was written: the same tables of the same database, on the same timeline.
        same_log: bool,
    },
    /// The registration is gone.
    Gone,
}

/// A registration.
#[derive(Clone, Debug)]
pub struct ReplicaRow {
    /// The id of this registration alone.
    pub id: Uuid,
    /// Its description of itself.
    pub identity: ReplicaIdentity,
    /// The epoch that it follows.
    pub epoch: i64,
    /// The count of its latest renewal.
    pub beat: i64,
    /// The database's time of its latest renewal: for display only.
    pub beat_time: Timestamp,
    /// The database's time of its registration: for display only.
    pub start_time: Timestamp,
    /// The database's clock minus its own, milliseconds, as measured before its latest renewal: for display only.
    pub clock_offset_ms: i64,
    /// It has renewed recently, by the database's clock: for display only.
    pub is_fresh: bool,
    /// The revision that it has acknowledged.
    pub applied: Revision,
}

/// Every registration, as one statement saw them.
#[derive(Clone, Debug)]
pub struct FleetRows {
    /// The log's head in the same snapshot: everything below had been committed.
    pub head: Revision,
    /// The log is where it was written: the same tables of the same database, on the same timeline.
    pub same_log: bool,
    /// The registrations.
    pub replicas: Vec<ReplicaRow>,
}

impl OwnConnection {
    /// Registers under an id that was never used, in place of `former`, with `applied`. Committed when it returns.
    /// False: the log is in another epoch, or behind `applied`.
    pub async fn register(
        &mut self,
        id: Uuid,
        former: Option<Uuid>,
        identity: &ReplicaIdentity,
        applied: Revision,
    ) -> Result<bool, StoreError> {
        self.run(TIMEOUT, async |connection| {
            let done = sqlx::query!(
                "with former as (delete from replica where id = $7),
                      former_ack as (delete from replica_ack where id = $7),
                      registered as (
                          insert into replica (id, name, version, address, issuer, master_key, rotate_every_s,
                                               publish_ahead_s, epoch, beat, beat_time, start_time)
                          select $1, $2, $3, $4, $8, $9, $10, $11, h.epoch, 0, now(), now() from log_head h
                           where h.epoch = $5 and h.epoch * 1099511627776 + h.seq >= $6
                          returning id)
                 insert into replica_ack (id, revision) select id, $6 from registered",
                id,
                identity.name,
                identity.version,
                identity.address,
                applied.epoch(),
                applied.as_i64(),
                former,
                identity.settings.issuer,
                identity.settings.master_key,
                identity.settings.rotate_every_s,
                identity.settings.publish_ahead_s
            )
            .execute(connection)
            .await?;
            Ok(done.rows_affected() == 1)
        })
        .await
    }

    /// Renews by one statement, which writes the row and reads the head in one snapshot. Because it writes, neither a
    /// standby nor a primary that was cut off can answer it. `beat` grows with each renewal. It also sends the offset
    /// of the database's clock, as far as the replica knows it.
    pub async fn renew(
        &mut self,
        id: Uuid,
        epoch: i64,
        beat: i64,
        clock_offset_ms: i64,
    ) -> Result<Renewal, StoreError> {
        self.run(TIMEOUT, async |connection| {
            let row = sqlx::query!(
                r#"update replica r set beat = $1, beat_time = now(), clock_offset_ms = $4 from log_head h
                    where r.id = $2 and r.epoch = $3 and r.beat < $1
                   returning h.epoch * 1099511627776 + h.seq as "head!",
                             log_is_here(h, h.xmin) as "same_log!""#,
                beat,
                id,
                epoch,
                clock_offset_ms
            )
            .fetch_optional(connection)
            .await?;
            row.map_or(Ok(Renewal::Gone), |row| {
                Ok(Renewal::Renewed { head: revision("log_head", row.head)?, same_log: row.same_log })
            })
        })
        .await
    }

    /// Removes a registration, whose lease has ended.
    pub async fn leave(&mut self, id: Uuid) -> Result<(), StoreError> {
        self.run(TIMEOUT, async |connection| {
            sqlx::query!(
                "with gone as (delete from replica where id = $1) delete from replica_ack where id = $1",
                id
            )
            .execute(connection)
            .await?;
            Ok(())
        })
        .await
    }

    /// Acknowledges the revision that a registration has applied, never before it has. Does not wait for the disk.
    pub async fn acknowledge(&mut self, id: Uuid, applied: Revision) -> Result<(), StoreError> {
        self.run(TIMEOUT, async |connection| {
            sqlx::query!("select acknowledge($1, $2)", id, applied.as_i64()).fetch_one(connection).await?;
            Ok(())
        })
        .await
    }

    /// Every registration, with the head of the same snapshot.
    pub async fn fleet(&mut self) -> Result<FleetRows, StoreError> {
        self.run(TIMEOUT, read).await
    }

    /// Removes a registration whose beat has stood still. False: it has renewed meanwhile, or is gone.
    pub async fn reap(&mut self, id: Uuid, beat: i64) -> Result<bool, StoreError> {
        self.run(TIMEOUT, async |connection| {
            let done = sqlx::query!(
                "with gone as (delete from replica where id = $1 and beat = $2 returning id),
                      gone_ack as (delete from replica_ack a using gone where a.id = gone.id)
                 select id from gone",
                id,
                beat
            )
            .fetch_optional(connection)
            .await?;
            Ok(done.is_some())
        })
        .await
    }
}

impl Store {
    /// Every registration.
    pub async fn replicas(&self) -> Result<Vec<ReplicaRow>, StoreError> {
        Ok(self.run(read).await?.replicas)
    }

    /// Records how many replicas there are now, and forgets records older than a day.
    pub async fn note_fleet_size(&self) -> Result<(), StoreError> {
        self.run(async |connection| {
            sqlx::query!(
                "with now as (select floor(extract(epoch from now()))::bigint / $1 as slot),
                      old as (delete from fleet_size using now where fleet_size.slot < now.slot - $2)
                 insert into fleet_size as noted (slot, replicas)
                 select now.slot, (select count(*) from replica)::integer from now
                 on conflict (slot) do update set replicas = least(noted.replicas, excluded.replicas)",
                SLOT_S,
                SLOTS_OF_A_DAY
            )
            .execute(connection)
            .await?;
            Ok(())
        })
        .await
    }

    /// The most replicas that there were for ten minutes of the last day.
    pub async fn most_replicas(&self) -> Result<i32, StoreError> {
        let most = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    r#"select max(replicas) from fleet_size
                        where slot < floor(extract(epoch from now()))::bigint / $1
                          and slot >= floor(extract(epoch from now()))::bigint / $1 - $2"#,
                    SLOT_S,
                    SLOTS_OF_A_DAY
                )
                .fetch_one(connection)
                .await?)
            })
            .await?;
        Ok(most.unwrap_or_default())
    }
}

async fn read(connection: &mut PgConnection) -> Result<FleetRows, StoreError> {
    let rows = sqlx::query_as!(
        Row,
        r#"select h.epoch * 1099511627776 + h.seq as "head!",
                  log_is_here(h, h.xmin) as "same_log!", r.id as "id?", r.name as "name?", r.version as "version?", r.address as "address?",
                  r.epoch as "epoch?", r.beat as "beat?", r.beat_time as "beat_time?: SqlTimestamp",
                  r.start_time as "start_time?: SqlTimestamp", a.revision as "applied?", r.issuer as "issuer?",
                  r.master_key as "master_key?", r.rotate_every_s as "rotate_every_s?",
                  r.publish_ahead_s as "publish_ahead_s?", r.clock_offset_ms as "clock_offset_ms?", r.beat_time > now() - interval '10 s' as is_fresh
             from log_head h left join replica r on true left join replica_ack a on a.id = r.id"#
    )
    .fetch_all(connection)
    .await?;
    let (head, same_log) = rows.first().map(|row| (row.head, row.same_log)).unwrap_or_default();
    let mut replicas = Vec::new();
    for row in rows {
        replicas.extend(row.replica()?);
    }
    Ok(FleetRows { head: revision("log_head", head)?, same_log, replicas })
}

struct Row {
    head: i64,
    same_log: bool,
    id: Option<Uuid>,
    name: Option<String>,
    version: Option<String>,
    address: Option<String>,
    epoch: Option<i64>,
    beat: Option<i64>,
    beat_time: Option<SqlTimestamp>,
    start_time: Option<SqlTimestamp>,
    applied: Option<i64>,
    issuer: Option<String>,
    master_key: Option<String>,
    rotate_every_s: Option<i64>,
    publish_ahead_s: Option<i64>,
    clock_offset_ms: Option<i64>,
    is_fresh: Option<bool>,
}

impl Row {
    /// `None`: there is no registration, only the head.
    fn replica(self) -> Result<Option<ReplicaRow>, StoreError> {
        let (Some(id), Some(epoch), Some(beat), Some(beat_time), Some(start_time)) =
            (self.id, self.epoch, self.beat, self.beat_time, self.start_time)
        else {
            return Ok(None);
        };
        Ok(Some(ReplicaRow {
            id,
            identity: ReplicaIdentity {
                name: self.name.unwrap_or_default(),
                version: self.version.unwrap_or_default(),
                address: self.address.unwrap_or_default(),
                settings: SharedSettings {
                    issuer: self.issuer.unwrap_or_default(),
                    master_key: self.master_key.unwrap_or_default(),
                    rotate_every_s: self.rotate_every_s.unwrap_or_default(),
                    publish_ahead_s: self.publish_ahead_s.unwrap_or_default(),
                },
            },
            is_fresh: self.is_fresh.unwrap_or_default(),
            clock_offset_ms: self.clock_offset_ms.unwrap_or_default(),
            epoch,
            beat,
            beat_time: beat_time.to_jiff(),
            start_time: start_time.to_jiff(),
            applied: revision("replica_ack", self.applied.unwrap_or_default())?,
        }))
    }
}
