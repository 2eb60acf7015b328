//! The latency of Validate while something else goes on: revocations, partitions that are dropped, keys that are
//! rotated, policies that change, garbage that is presented. Runs when it is asked for.

use jeton::store::Store;
use jeton_state::clock::Clock;
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::busy::capacity_one_by_one;
use crate::{
    bench::Bench,
    calls::Calls,
    command::{Command, Mode},
    issuer::{Issuer, fresh_jtis},
    loader::Loader,
    statistics::median,
    target::Target,
};

/// Rows of the partition that is dropped.
const ROWS: usize = 1_000_000;

/// The work beside Validate.
#[derive(Clone, Copy, PartialEq)]
enum Disturbance {
    Nothing,
    Revocations,
    Drops,
    Rotations,
    Policies,
    /// As many good tokens again.
    More,
    Garbage,
}

use Disturbance::{Drops, Garbage, More, Nothing, Policies, Revocations, Rotations};

const ALL: [(Disturbance, &str); 7] = [
    (Nothing, "nothing else"),
    (Revocations, "500 Revokes/s"),
    (Drops, "a partition of revocations is dropped"),
    (Rotations, "a key rotation each second"),
    (Policies, "20 changes of a policy per second"),
    (More, "good tokens, as many again"),
    (Garbage, "garbage tokens, as many again"),
];

impl Disturbance {
    /// Calls per second, and the calls.
    fn load(self, bench: &Bench, good: &Calls, seconds: f64, rate: f64) -> Option<(f64, Calls)> {
        let directory = bench.directory();
        match self {
            Nothing | Drops => None,
            Revocations => {
                let count = (500.0 * seconds * 2.0) as usize;
                Some((500.0, Calls::revoke(directory, fresh_jtis(count))))
            }
            Rotations => Some((1.0, Calls::rotate_key(directory))),
            Policies => Some((20.0, Calls::update_policy(directory))),
            More => Some((rate, good.clone())),
            Garbage => Some((rate, Calls::garbage(directory, 10_000))),
        }
    }
}

pub fn disturbed(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let calls = Calls::validate(bench.directory(), &small.issuer.tokens(1_000));
    target.each(&mut bench.loader, &calls);
    let rate = capacity_one_by_one(bench, target, &calls) / 3.0;
    let mut second = Loader::start();
    println!("\nValidate at a third of the capacity ({rate:.0}/s) while something else goes on\n");
    println!("| beside it | p50 µs | p99 µs | p99 ÷ p99 with nothing else |\n|---|---|---|---|");
    let (mut rows, mut quiet) = (Vec::new(), 0.0);
    for (disturbance, what) in ALL {
        let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
        for _ in 0..bench.rounds() {
            let [p50, p99] = round(bench, &small.issuer, target, &calls, (disturbance, rate), &mut second);
            p50s.push(p50);
            p99s.push(p99);
        }
        let (p50, p99) = (median(p50s), median(p99s));
        if disturbance == Nothing {
            quiet = p99;
        }
        println!("| {what} | {p50:.0} | {p99:.0} | {:.2} |", p99 / quiet);
        rows.push(json!({ "beside": what, "p50_us": p50, "p99_us": p99, "times_quiet": p99 / quiet }));
    }
    bench.report.detail("disturbed", rows.into());
}

fn round(
    bench: &mut Bench,
    issuer: &Issuer,
    target: &Target,
    calls: &Calls,
    (disturbance, rate): (Disturbance, f64),
    second: &mut Loader,
) -> [f64; 2] {
    let ms = bench.ms() * 2;
    let beside = disturbance.load(bench, calls, ms as f64 / 1e3, rate);
    if let Some((rate, calls)) = &beside {
        let mode = Mode::Open { rate: *rate, ms: ms + 400 };
        let administers = matches!(disturbance, Rotations | Policies);
        let target = if administers { target.as_admin() } else { target.clone() };
        second.prepare(&Command { any_code: true, ..target.command(calls, mode) });
        second.go();
    }
    bench.loader.prepare(&target.command(calls, Mode::Open { rate, ms }));
    if disturbance == Drops {
        bench.runtime.block_on(old_partition(issuer, if bench.quick { ROWS / 10 } else { ROWS }));
    }
    bench.loader.go();
    if disturbance == Drops {
        bench.runtime.block_on(drop_partitions(issuer));
    }
    let outcome = bench.loader.outcome();
    if beside.is_some() {
        let beside = second.outcome();
        let refused: Vec<_> = beside.codes.iter().filter(|(code, _)| **code != 0).collect();
        if !refused.is_empty() {
            println!("    what went on beside it was refused: {refused:?}");
        }
    }
    [outcome.latency.p50, outcome.latency.p99]
}

/// A partition of revocations that ended three days ago.
async fn old_partition(issuer: &Issuer, rows: usize) {
    let mut connection = PgConnection::connect(&issuer.database_url).await.unwrap();
    let day = (Clock::system().now().as_second() / 86_400 - 4) * 86_400;
    let statements = [
        format!(
            "create table revocation_{day} partition of revocation
             for values from (to_timestamp({day})) to (to_timestamp({day} + 86400))"
        ),
        format!(
            "insert into revocation (id, kind, expire_time, revision, reason)
             select gen_random_uuid(), 1, to_timestamp({day} + 60), 1099511627776, 1 from generate_series(1, {rows})"
        ),
    ];
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await.unwrap();
    }
}

/// As the server's housekeeping does.
async fn drop_partitions(issuer: &Issuer) {
    let store = Store::new(&issuer.database_url).unwrap();
    let dropped = store.drop_partitions(Clock::system().now()).await.unwrap();
    assert_eq!(dropped, 1, "the old partition alone");
    store.close().await;
}
