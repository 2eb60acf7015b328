//! Faults of a database and of its clients, and their repair.

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::time::sleep;

use super::REPLICAS;
use crate::{
    database::backends::strike,
    world::{
        ALL, AUDIT, Chance, FEED, FLEET, FLUSHER, Fleet, LEASE, LISTEN, POOL, Postgres, REFRESH, Shell, until,
    },
};

/// Twenty times of it Postgres stands still, and runs for a moment between.
const STARVED: Duration = Duration::from_millis(50);

/// A fault.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    /// Connections of one name of a replica carry nothing.
    Stall(usize, &'static str),
    /// They carry requests, and no replies.
    HoldReplies(usize, &'static str),
    /// They break, and are not let in.
    Cut(usize, &'static str),
    /// A message breaks off in its middle.
    HalfRequest(usize, &'static str),
    HalfReply(usize, &'static str),
    /// A replica's process stands still.
    Pause(usize),
    /// Another session locks a table.
    Lock(&'static str),
    /// Processes of Postgres end, statements are cancelled, again and again.
    Strike,
    /// Postgres stands still.
    Freeze,
    /// Postgres runs for a small part of the time.
    Starve,
    /// Postgres crashes, and starts again at the end.
    Crash,
    /// The database takes no writes.
    ReadOnly,
    /// Its defaults are none that anybody could work with.
    Defaults,
    /// An operator begins an epoch.
    Bump,
}

impl Fault {
    pub(super) fn by(chance: &mut Chance) -> Self {
        let place = chance.below(REPLICAS);
        let name = chance.of(&[ALL, POOL, FEED, LEASE, FLUSHER, FLEET, REFRESH, AUDIT, LISTEN]);
        let table = chance.of(&[
            "log_head",
            "revocation",
            "replica",
            "replica_ack",
            "audit_event",
            "session",
            "client",
            "api_key",
            "policy",
            "removed_policy",
            "fleet_size",
        ]);
        match chance.below(14) {
            0 => Self::Stall(place, name),
            1 => Self::HoldReplies(place, name),
            2 => Self::Cut(place, name),
            3 => Self::Pause(place),
            4 => Self::Lock(table),
            5 => Self::Strike,
            6 => Self::Freeze,
            7 => Self::Crash,
            8 => Self::ReadOnly,
            9 => Self::Defaults,
            10 => Self::HalfRequest(place, name),
            11 => Self::HalfReply(place, name),
            12 => Self::Starve,
            _ => Self::Bump,
        }
    }
}

/// Three replicas on a Postgres of their own, and what holds its tables.
pub(super) struct World {
    pub(super) postgres: Postgres,
    pub(super) fleet: Fleet,
    locks: Vec<PgConnection>,
}

impl World {
    pub(super) async fn start() -> Self {
        let postgres = Postgres::start().await;
        let fleet = Fleet::on(postgres.database(), REPLICAS).await;
        Self { postgres, fleet, locks: Vec::new() }
    }

    /// Lets it go wrong. Where another fault keeps this one from happening, it does not.
    pub(super) async fn begin(&mut self, fault: Fault, chance: &mut Chance) {
        let Self { postgres, fleet, locks } = self;
        let database = postgres.database();
        match fault {
            Fault::Stall(place, name) => fleet.replicas[place].link.stall(name),
            Fault::HoldReplies(place, name) => fleet.replicas[place].link.hold_replies(name),
            Fault::Cut(place, name) => fleet.replicas[place].link.cut(name),
            Fault::Pause(place) => fleet.replicas[place].server.pause(),
            Fault::Lock(table) => {
                let lock = format!(
                    "begin; set local lock_timeout = '2s'; lock table {table} in access exclusive mode"
                );
                let mut holder = database.connect().await;
                let _taken = holder.execute(AssertSqlSafe(lock)).await;
                locks.push(holder);
            }
            Fault::Strike => {
                for _ in 0..20 {
                    strike(fleet, chance).await;
                }
            }
            Fault::HalfRequest(place, name) => fleet.replicas[place].link.cut_within_request(name),
            Fault::HalfReply(place, name) => fleet.replicas[place].link.cut_within_reply(name),
            Fault::Starve => {
                for _ in 0..20 {
                    postgres.freeze();
                    sleep(STARVED).await;
                    postgres.thaw();
                    tokio::task::yield_now().await;
                }
            }
            Fault::Freeze => postgres.freeze(),
            Fault::Crash => postgres.crash().await,
            Fault::ReadOnly => {
                database.set("default_transaction_read_only", "on").await;
                strike(fleet, chance).await;
            }
            Fault::Defaults => {
                for (setting, value) in [
                    ("synchronous_commit", "off"),
                    ("default_transaction_isolation", "serializable"),
                    ("lock_timeout", "1ms"),
                    ("idle_session_timeout", "300ms"),
                ] {
                    database.set(setting, value).await;
                }
                strike(fleet, chance).await;
            }
            Fault::Bump => {
                let bump = ["epoch", "bump", "--keep-keys", "--database-url", &database.url];
                let _done = Shell::new().run(&bump).await;
            }
        }
    }

    /// All is well again.
    pub(super) async fn heal(&mut self, faults: &[Fault]) {
        self.locks.clear();
        self.postgres.thaw();
        if faults.iter().any(|fault| matches!(fault, Fault::Crash)) {
            self.postgres.restart();
        }
        for replica in &self.fleet.replicas {
            replica.link.resume(ALL);
            replica.server.resume();
        }
        let reset = "begin read write; alter database postgres reset all; commit";
        until("its defaults are back", async || {
            let Ok(mut connection) = PgConnection::connect(&self.fleet.database.url).await else {
                return false;
            };
            connection.execute(reset).await.is_ok()
        })
        .await;
    }
}
