//! Revoke, by replicas of the released program in processes of their own on one durable Postgres: P8, P7, P12. These
//! are times and rates as a caller sees them, on a machine that load, servers and database share.

use std::time::Duration;

use jeton::proto::v1 as pb;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    bench::Bench,
    calls::{Calls, answers},
    command::{Command, Mode, Quantiles},
    fleet::Fleet,
    issuer::fresh_jtis,
    report::{Bar, Figure, Unit},
    statistics::{Pair, Summary, median, part},
    target::Target,
};

/// Calls of one caller in a round.
const IN_TURN: usize = 200;
/// Calls of 256 callers in a round.
const AT_ONCE: usize = 12_000;
/// Rounds that lose a replica.
const LOSSES: usize = 3;
/// The longest that a lease can be waited for, and a look's pause and the call itself.
const LOSS_BAR_MS: f64 = 3_300.0 + 100.0;

fn fleet(bench: &mut Bench, count: usize) -> Fleet {
    Fleet::start(bench.issuer("fleet"), count)
}

/// Revokes/s ÷ one-row INSERTs/s.
pub fn p8(bench: &mut Bench) {
    bench.without_small();
    let mut bare = bench.bare_inserts();
    let (one, three) = (fleet(bench, 1), fleet(bench, 3));
    let rows = [
        ("P8.1", "1 replica", one.one(), Bar::AtLeast(3.0)),
        ("P8.3", "3 replicas", three.all(), Bar::AtLeast(1.5)),
        ("P8.3.one", "3 replicas, calls to one of them", three.one(), Bar::None),
    ];
    let count = if bench.quick { AT_ONCE / 4 } else { AT_ONCE };
    let mut pairs = [const { Vec::new() }; 3];
    for _ in 0..bench.rounds() {
        for ((_, _, target, _), pairs) in rows.iter().zip(&mut pairs) {
            let calls = Calls::revoke(bench.directory(), fresh_jtis(count));
            let floor = bench.runtime.block_on(bare.rate(Duration::from_millis(bench.ms())));
            pairs.push(Pair::times(target.each(&mut bench.loader, &calls).outcome.rate(), floor));
        }
    }
    for ((id, what, _, bar), pairs) in rows.iter().zip(pairs) {
        let name = format!("Revoke, 256 in flight, {what} ÷ one-row INSERTs over 16 connections");
        let (summary, beside) = (Summary::of(&pairs), json!({}));
        bench.report.add(&Figure { id, name: &name, bar: *bar, unit: Unit::PerSecond, summary, beside });
    }
}

/// One caller: with 3 replicas beside a bare commit, with 10 beside 1.
pub fn p7_p12(bench: &mut Bench) {
    bench.without_small();
    let mut bare = bench.bare_inserts();
    let fleets = [fleet(bench, 1), fleet(bench, 3), fleet(bench, 10)];
    let targets = fleets.each_ref().map(Fleet::one);
    let count = if bench.quick { IN_TURN / 4 } else { IN_TURN };
    let mut all = [const { Vec::new() }; 3];
    let (mut above, mut growth) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let floor = median(bench.runtime.block_on(bare.in_turn(count))) / 1e3;
        let mut p50 = [0.0; 3];
        for ((target, all), p50) in targets.iter().zip(&mut all).zip(&mut p50) {
            let times = in_turn(bench, target, count);
            *p50 = median(times.iter().copied());
            all.extend(times);
        }
        above.push(Pair::above(p50[1], floor));
        growth.push(Pair::times(p50[2], p50[0]));
    }
    let summary = Summary::of(&above);
    let tail = part(all[1].iter().copied(), 0.99);
    let tail = Summary { measured: tail, value: tail, least: tail, most: tail, ..summary };
    let table = json!(all.map(|times| quantiles_ms(&times)));
    let rows = [
        (
            "P7.p50",
            "Revoke, 3 replicas, one caller: p50 − p50 of a bare commit, ms",
            Bar::AtMost(4.0),
            summary,
        ),
        ("P7.p99", "Revoke, 3 replicas, one caller: p99, ms", Bar::AtMost(30.0), tail),
        ("P12", "Revoke, one caller: p50 with 10 replicas ÷ with 1", Bar::AtMost(3.0), Summary::of(&growth)),
    ];
    for (id, name, bar, summary) in rows {
        bench.report.add(&Figure { id, name, bar, unit: Unit::Ms, summary, beside: json!({}) });
    }
    bench.report.detail("revoke_ms_with_1_3_10_replicas", table);
}

/// Three replicas, the last of which stops, or is killed, just before a call: what that call, and those after it, wait.
pub fn losses(bench: &mut Bench) {
    let mut fleet = fleet(bench, 3);
    for (what, signal) in [("stopped", Signal::STOP), ("killed", Signal::KILL)] {
        let (mut first, mut after) = (Vec::new(), Vec::new());
        for _ in 0..LOSSES {
            whole(bench, &fleet.one());
            fleet.signal_last(signal);
            first.extend(in_turn(bench, &fleet.one(), 1));
            after.extend(in_turn(bench, &fleet.one(), 50));
            if signal == Signal::STOP {
                fleet.signal_last(Signal::CONT);
            } else {
                fleet.replace_last();
            }
        }
        let worst = part(first.iter().copied(), 1.0);
        let holds = if worst <= LOSS_BAR_MS { "holds" } else { "not reached" };
        println!(
            "a replica {what}: the first Revoke after it took {worst:.0} ms at most (≤ {LOSS_BAR_MS}: {holds})"
        );
        let found = json!({ "first_ms": quantiles_ms(&first), "after_ms": quantiles_ms(&after) });
        bench.report.detail(&format!("revoke_after_a_replica_{what}"), found);
    }
}

/// Waits until three replicas answer for a Revoke.
fn whole(bench: &mut Bench, target: &Target) {
    let keep = bench.directory().join("answer");
    loop {
        let calls = Calls::revoke(bench.directory(), fresh_jtis(1));
        bench.loader.run(&Command { keep: Some(keep.clone()), ..target.command(&calls, Mode::Turn) });
        let answer: pb::RevokeResponse = answers(&keep).remove(0);
        if answer.propagation.is_some_and(|it| it.complete && it.applied_replicas == 3) {
            return;
        }
    }
}

/// Milliseconds that each of so many took.
pub fn in_turn(bench: &mut Bench, target: &Target, count: usize) -> Vec<f64> {
    let calls = Calls::revoke(bench.directory(), fresh_jtis(count));
    let outcome = target.in_turn(&mut bench.loader, &calls);
    outcome.times_us.into_iter().map(|us| us / 1e3).collect()
}

fn quantiles_ms(times_ms: &[f64]) -> serde_json::Value {
    let quantiles = Quantiles::of(times_ms.iter().map(|ms| (ms * 1e6) as u64).collect());
    json!({ "p50": quantiles.p50 / 1e3, "p99": quantiles.p99 / 1e3, "max": quantiles.max / 1e3 })
}
