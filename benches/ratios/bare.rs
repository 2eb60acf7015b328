//! The floor of whatever writes: one-row INSERTs, each committed, on the same Postgres.

use std::time::{Duration, Instant};

use jeton::{clock::Clock, token::new_uuid_v7};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

/// Connections that commit beside each other.
pub const CONNECTIONS: usize = 16;

/// Connections to a table like that of revocations, without an index beside the key.
pub struct BareCommits {
    connections: Vec<PgConnection>,
}

impl BareCommits {
    pub async fn connect(url: &str) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(PgConnection::connect(url).await.unwrap());
        }
        let table = "create table bare (id uuid primary key, kind smallint not null, expire_time timestamptz not null)";
        connections[0].execute(table).await.unwrap();
        Self { connections }
    }

    /// A setting of the server, as it shows it.
    pub async fn setting(&mut self, name: &str) -> String {
        let show = AssertSqlSafe(format!("show {name}"));
        sqlx::query_scalar(show).fetch_one(&mut self.connections[0]).await.unwrap()
    }

    /// So many, one after the other on one connection: how long each took.
    pub async fn in_turn(&mut self, count: usize) -> Vec<Duration> {
        let mut connection = self.connections.remove(0);
        let committing = tokio::spawn(async move {
            let mut times = Vec::new();
            for _ in 0..count {
                let sent = Instant::now();
                commit(&mut connection).await;
                times.push(sent.elapsed());
            }
            (connection, times)
        });
        let (connection, times) = committing.await.unwrap();
        self.connections.insert(0, connection);
        times
    }

    /// Commits per second on all the connections, for so long.
    pub async fn rate(&mut self, duration: Duration) -> f64 {
        let started = Instant::now();
        let mut committing = Vec::new();
        for mut connection in self.connections.drain(..) {
            committing.push(tokio::spawn(async move {
                let mut done = 0_u32;
                while started.elapsed() < duration {
                    commit(&mut connection).await;
                    done += 1;
                }
                (connection, done)
            }));
        }
        let mut done = 0;
        for each in committing {
            let (connection, count) = each.await.unwrap();
            self.connections.push(connection);
            done += count;
        }
        f64::from(done) / started.elapsed().as_secs_f64()
    }
}

async fn commit(connection: &mut PgConnection) {
    let id = new_uuid_v7(Clock::system().now_ms());
    let insert = sqlx::query("insert into bare values ($1, 1, now())").bind(id);
    insert.execute(connection).await.unwrap();
}
