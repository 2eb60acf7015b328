//! The floors of what writes: single statements, each committed, over connections of their own on the same Postgres.

use std::time::{Duration, Instant};

use jeton_state::clock::Clock;
use jeton_token::new_uuid_v7;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Connections that commit beside each other.
pub const CONNECTIONS: usize = 16;

/// The kind of a statement.
#[derive(Clone, Copy)]
pub enum Work {
    /// One row into a table like that of revocations, without an index beside the key.
    Insert,
    /// The statement of a Refresh, on sessions of its own, in turn.
    Rotate,
}

/// Connections, each with sessions that are its own.
pub struct Bare {
    work: Work,
    workers: Vec<Worker>,
}

struct Worker {
    connection: PgConnection,
    /// With the generation of each.
    sessions: Vec<(Uuid, i64)>,
    turn: usize,
}

/// A refresh of one session, as one statement: what `OwnConnection::advance_sessions` is for many.
const ROTATE: &str = "update session s
      set generation = generation + 1,
          refresh_time = statement_timestamp(),
          idle_expire_time = least(
              date_trunc('second', statement_timestamp())
                  + make_interval(secs => session_rule(audiences, $7, 'idle_s')),
              create_time + make_interval(secs => session_rule(audiences, $7, 'absolute_s'))),
          expire_time = create_time + make_interval(secs => session_rule(audiences, $7, 'absolute_s'))
    where id = $1 and generation = $2 and secret_hash = $3 and client_id = $4
      and revoke_time is null
      and idle_expire_time > statement_timestamp() and expire_time > statement_timestamp()
      and create_time + make_interval(secs => session_rule(audiences, $7, 'absolute_s')) > statement_timestamp()
      and scopes @> $6 and session_rule(audiences, $7, 'ok') = 1
      and exists (select from unnest($5::text[]) p
                   where case when right(p, 1) = '*' then starts_with(subject, left(p, -1)) else subject = p end)
   returning id, subject, client_id, audiences, scopes, claims, certificate_thumbprint, secret_hash, revision,
             create_time, generation, refresh_time, idle_expire_time, expire_time, revoke_time, revoke_reason,
             statement_timestamp()";

/// A session as Issue opens it.
const OPEN: &str = "insert into session
       (id, subject, client_id, audiences, scopes, claims, secret_hash, mac_key_id, revision, create_time,
        refresh_time, idle_expire_time, expire_time)
    select id, 'svc:bench', 'bench', '{api}', '{read,write}', '{}', decode(repeat('ab', 32), 'hex'), '\\x00000000',
           1099511627776, now(), now(), now() + interval '14 days', now() + interval '30 days' from unnest($1) id";

impl Bare {
    /// Inserts into a table that is made here.
    pub async fn inserts(url: &str) -> Self {
        let mut bare = Self::connect(url, Work::Insert).await;
        let table = "create table if not exists bare (id uuid primary key, kind smallint not null, expire_time timestamptz not null)";
        bare.workers[0].connection.execute(table).await.unwrap();
        bare
    }

    /// Rotates so many sessions that are made here, in a database of jeton's.
    pub async fn rotations(url: &str, sessions: usize) -> Self {
        let mut bare = Self::connect(url, Work::Rotate).await;
        for worker in &mut bare.workers {
            let now_ms = Clock::system().now_ms();
            let ids: Vec<Uuid> = (0..sessions / CONNECTIONS).map(|_| new_uuid_v7(now_ms)).collect();
            sqlx::query(OPEN).bind(&ids).execute(&mut worker.connection).await.unwrap();
            worker.sessions = ids.into_iter().map(|id| (id, 0)).collect();
        }
        bare
    }

    async fn connect(url: &str, work: Work) -> Self {
        let mut workers = Vec::new();
        for _ in 0..CONNECTIONS {
            let connection = PgConnection::connect(url).await.unwrap();
            workers.push(Worker { connection, sessions: Vec::new(), turn: 0 });
        }
        Self { work, workers }
    }

    /// So many, one after the other on one connection: how long each took, µs.
    pub async fn in_turn(&mut self, count: usize) -> Vec<f64> {
        let (work, mut worker) = (self.work, self.workers.remove(0));
        let working = tokio::spawn(async move {
            let mut times = Vec::new();
            for _ in 0..count {
                let sent = Instant::now();
                worker.once(work).await;
                times.push(sent.elapsed().as_secs_f64() * 1e6);
            }
            (worker, times)
        });
        let (worker, times) = working.await.unwrap();
        self.workers.insert(0, worker);
        times
    }

    /// Commits per second on all the connections, for so long.
    pub async fn rate(&mut self, duration: Duration) -> f64 {
        let (work, started) = (self.work, Instant::now());
        let mut working = JoinSet::new();
        for mut worker in self.workers.drain(..) {
            working.spawn(async move {
                let mut done = 0_u32;
                while started.elapsed() < duration {
                    worker.once(work).await;
                    done += 1;
                }
                (worker, done)
            });
        }
        let mut done = 0;
        while let Some(each) = working.join_next().await {
            let (worker, count) = each.unwrap();
            self.workers.push(worker);
            done += count;
        }
        f64::from(done) / started.elapsed().as_secs_f64()
    }
}

impl Worker {
    async fn once(&mut self, work: Work) {
        match work {
            Work::Insert => {
                let id = new_uuid_v7(Clock::system().now_ms());
                let insert = sqlx::query("insert into bare values ($1, 1, now())").bind(id);
                insert.execute(&mut self.connection).await.unwrap();
            }
            Work::Rotate => {
                let turn = self.turn % self.sessions.len();
                self.turn += 1;
                let (id, generation) = &mut self.sessions[turn];
                let rules = serde_json::json!({"*": {"ok": 1, "idle_s": 1_209_600, "absolute_s": 2_592_000}});
                let (subjects, scopes) = (vec!["*".to_owned()], Vec::<String>::new());
                let rotate = sqlx::query(AssertSqlSafe(ROTATE)).bind(*id).bind(*generation);
                let rotate =
                    rotate.bind(vec![0xab_u8; 32]).bind("bench").bind(subjects).bind(scopes).bind(rules);
                let rows = rotate.fetch_all(&mut self.connection).await.unwrap();
                assert_eq!(rows.len(), 1, "a session that can be refreshed");
                *generation += 1;
            }
        }
    }
}
