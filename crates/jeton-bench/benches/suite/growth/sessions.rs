//! Sessions: rows of a table, and nothing in memory.

use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use crate::{bench::Bench, measures::refresh::Sessions, statistics::median, subject::Subject};

use super::curve::Curve;

/// Refreshes of one caller.
const IN_TURN: usize = 300;

pub fn grow(bench: &mut Bench) -> Vec<Curve> {
    let mut time = Curve::new("Refresh of one caller, by sessions: p50", ["sessions", "µs"]);
    let mut memory = Curve::new("memory of a server, by sessions", ["sessions", "kB resident"]);
    let mut bytes = Curve::new("the table and its indexes, by sessions", ["sessions", "bytes a row"]);
    let issuer = bench.issuer("sessions");
    let subject = Subject::start(&issuer, bench.directory(), 1);
    let mut there = 0;
    for count in if bench.quick { [1_000, 10_000, 50_000] } else { [1_000, 100_000, 1_000_000] } {
        let table_bytes = bench.runtime.block_on(open(&issuer.database_url, count - there));
        there = count;
        let mut sessions = Sessions::open(bench, &subject.target, IN_TURN);
        let outcome = sessions.refresh(bench, &subject.target, crate::command::Mode::Turn);
        time.points.push((count as f64, median(outcome.times_us)));
        let resident = subject.target.meter.unwrap().resident_bytes();
        memory.points.push((count as f64, resident as f64 / 1e3));
        bytes.points.push((count as f64, table_bytes as f64 / count as f64));
    }
    vec![time, memory, bytes]
}

/// Opens `count` more sessions. Returns the bytes of the table with its indexes.
async fn open(url: &str, count: usize) -> i64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let insert = format!(
        "insert into session (id, subject, client_id, audiences, scopes, claims, secret_hash, mac_key_id, revision,
                              create_time, refresh_time, idle_expire_time, expire_time)
         select (lpad(to_hex((extract(epoch from clock_timestamp()) * 1000)::bigint), 12, '0')
                 || '7' || substr(md5(random()::text), 1, 3) || 'a' || substr(md5(random()::text), 4, 15))::uuid,
                'user:' || i, 'bench', '{{api}}', '{{read,write}}', '{{}}', decode(repeat('ab', 32), 'hex'),
                '\\x00000000', 1099511627776, now(), now(), now() + interval '14 days', now() + interval '30 days'
           from generate_series(1, {count}) i"
    );
    connection.execute(AssertSqlSafe(insert)).await.unwrap();
    connection.execute("vacuum analyze session").await.unwrap();
    let size = "select sum(pg_total_relation_size(relid))::bigint from pg_partition_tree('session')";
    sqlx::query_scalar(size).fetch_one(&mut connection).await.unwrap()
}
