//! The effect of ten million live revocations, a million marks and a million tokens: P10, P11, and P1 at its largest.

use std::time::Instant;

use futures_util::TryStreamExt;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, postgres::PgPoolCopyExt};

use super::{answer, revoke};
use crate::{
    bench::Bench,
    calls::Calls,
    fleet::Fleet,
    issuer::Issuer,
    report::{Bar, Figure, Unit},
    statistics::{Pair, Summary, median},
    subject::Subject,
};

/// Live revocations.
pub const REVOCATIONS: usize = 10_000_000;
/// Marks on subjects.
const MARKS: usize = 1_000_000;
/// Distinct tokens.
const TOKENS: usize = 1_000_000;
/// Starts, each with a COPY beside it.
const STARTS: usize = 3;

/// A database with so many live revocations, none of which hits the measured tokens.
pub async fn revoke_many(issuer: &Issuer, count: usize) {
    let mut connection = PgConnection::connect(&issuer.database_url).await.unwrap();
    let statements = [
        "set synchronous_commit = off".to_owned(),
        "update log_head set seq = seq + 1, written_by = pg_current_xact_id()".to_owned(),
        // UUIDv7s of the past hours, as those of tokens are: they come in order.
        format!(
            "insert into revocation (id, kind, expire_time, revision, reason)
             select (lpad(to_hex((extract(epoch from now()) * 1000)::bigint - 7200000 + i * 7200000 / {count}), 12, '0')
                     || '7' || substr(md5(i::text), 1, 3) || 'a' || substr(md5(i::text), 4, 15))::uuid,
                    1, now() + interval '20 hours', 1099511627777, 1 from generate_series(1::bigint, {count}) i"
        ),
        "reset synchronous_commit".to_owned(),
        "vacuum analyze revocation".to_owned(),
        "checkpoint".to_owned(),
    ];
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
    }
}

async fn mark_many(issuer: &Issuer, count: usize) {
    let mut connection = PgConnection::connect(&issuer.database_url).await.unwrap();
    let statement = format!(
        "insert into mark (kind, target, revision, position, cutoff_s, reason, expire_time)
         select 3, 'user:' || i, 1099511627777, 1099511627777, 0, 1, now() + interval '20 hours'
           from generate_series(1, {count}) i"
    );
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
    connection.execute("checkpoint").await.unwrap();
}

/// Seconds that a binary COPY of all revocations takes, its rows taken up by this process.
async fn copy(issuer: &Issuer) -> f64 {
    let pool = sqlx::PgPool::connect(&issuer.database_url).await.unwrap();
    let started = Instant::now();
    let statement = "copy (select id, kind, expire_time, reason from revocation) to stdout (format binary)";
    let mut rows = pool.copy_out_raw(statement).await.unwrap();
    let mut bytes = 0;
    while let Some(part) = rows.try_next().await.unwrap() {
        bytes += part.len();
    }
    assert!(bytes > 16, "there are rows");
    let seconds = started.elapsed().as_secs_f64();
    drop(rows);
    pool.close().await;
    seconds
}

/// All of them together, because their data takes minutes to make.
pub fn p10_p11_p1(bench: &mut Bench) {
    bench.without_small();
    let scale = if bench.quick { 20 } else { 1 };
    let issuer = bench.issuer("large");
    bench.runtime.block_on(revoke_many(&issuer, REVOCATIONS / scale));
    let issuer = p10(bench, issuer, REVOCATIONS / scale);
    p11(bench, &issuer);
    bench.without_small();
    bench.runtime.block_on(mark_many(&issuer, MARKS / scale));
    let subject = Subject::start(&issuer, bench.directory(), 1);
    let calls = Calls::validate(bench.directory(), &issuer.tokens(TOKENS / scale));
    let what =
        format!("{} tokens, {} revocations, {} marks:", TOKENS / scale, REVOCATIONS / scale, MARKS / scale);
    answer::seen(bench, &subject.target, &calls, ("P1.1M", &what, 0.85));
}

/// A start ÷ COPY; memory.
fn p10(bench: &mut Bench, issuer: Issuer, count: usize) -> Issuer {
    let without = Fleet::start(bench.issuer("none"), 1);
    let resident_without = without.one().meter.unwrap().resident_bytes();
    let empty_start_s = without.first_start_s();
    drop(without);
    let mut fleet = Fleet::start(issuer, 1);
    let (mut pairs, mut resident) = (Vec::new(), Vec::new());
    for _ in 0..STARTS {
        let floor = bench.runtime.block_on(copy(fleet.issuer()));
        pairs.push(Pair::times(fleet.restart(), floor));
        let bytes = fleet.one().meter.unwrap().resident_bytes() - resident_without;
        resident.push(Pair {
            measured: bytes as f64 / count as f64,
            floor: 16.0,
            result: bytes as f64 / count as f64,
        });
    }
    let (summary, beside) = (Summary::of(&pairs), json!({ "start_without_revocations_s": empty_start_s }));
    let name = format!("start with {count} live revocations ÷ binary COPY of them");
    let (bar, unit) = (Bar::AtMost(1.5), Unit::Seconds);
    bench.report.add(&Figure { id: "P10.start", name: &name, bar, unit, summary, beside });
    let (summary, beside) = (Summary::of(&resident), json!({ "resident_without_bytes": resident_without }));
    let (bar, unit) = (Bar::AtMost(64.0), Unit::Bytes);
    bench.report.add(&Figure {
        id: "P10.bytes",
        name: "resident bytes per revocation",
        bar,
        unit,
        summary,
        beside,
    });
    fleet.into_issuer()
}

/// Validate and Revoke with them ÷ without.
fn p11(bench: &mut Bench, issuer: &Issuer) {
    let small = bench.small();
    let large = Subject::start(issuer, bench.directory(), 1);
    let calls = [&small.issuer, issuer].map(|it| Calls::validate(bench.directory(), &it.tokens(1_000)));
    let targets = [&small.subject.target, &large.target];
    let count = if bench.quick { 50 } else { 200 };
    for (target, calls) in targets.iter().zip(&calls) {
        target.each(&mut bench.loader, calls);
    }
    let (mut costs, mut times, mut rates) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let [without, with] = [0, 1].map(|index| bench.busy(targets[index], &calls[index]));
        costs.push(Pair::of_costs(with.cpu_s, without.cpu_s));
        rates.push(with.outcome.rate() / without.outcome.rate());
        let [without, with] = [0, 1].map(|index| median(revoke::in_turn(bench, targets[index], count)));
        times.push(Pair::times(with, without));
    }
    let (summary, beside) = (Summary::of(&costs), json!({ "ratio_of_calls_per_second": median(rates) }));
    let name = "Validate with the revocations ÷ with none, 1/CPU";
    let (bar, unit) = (Bar::AtLeast(0.97), Unit::Cpu);
    bench.report.add(&Figure { id: "P11.validate", name, bar, unit, summary, beside });
    let (summary, beside) = (Summary::of(&times), json!({}));
    let name = "Revoke with the revocations ÷ with none, p50";
    let (bar, unit) = (Bar::AtMost(1.2), Unit::Ms);
    bench.report.add(&Figure { id: "P11.revoke", name, bar, unit, summary, beside });
}
