//! More load than the server can answer: the parts that are answered and refused, and the times. Runs on request.

use serde_json::{Value, json};

use super::busy::open_capacity;
use crate::{
    bench::Bench,
    calls::Calls,
    command::{Command, Mode, Outcome},
    issuer::fresh_jtis,
    loader::Loader,
    statistics::median,
    target::Target,
};

/// Multiples of the peak rate of such calls.
const OFFERED: [f64; 5] = [0.5, 1.0, 1.5, 2.0, 3.0];
/// The promise: at twice the capacity, this part of the peak is still answered.
const PROMISED_AT: f64 = 2.0;
const PROMISED: f64 = 0.9;
/// Many callers: what each may have in flight does not hold the load back.
const CONNECTIONS: usize = 32;
/// The time that each caller waits for an answer.
const TIMEOUT_S: u64 = 1;
/// Calls per second of one who calls seldom.
const SELDOM: f64 = 100.0;
/// Revokes per second, and the time that their callers wait.
const REVOKES: f64 = 10.0;
const REVOKE_TIMEOUT_S: u64 = 10;

pub fn overload(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let tokens = small.issuer.tokens(1_000);
    let seen = Calls::validate(bench.directory(), &tokens);
    target.each(&mut bench.loader, &seen);
    // Never remembered: each look at one verifies its signature.
    let forged = Calls::validate(bench.directory(), &with_signatures_of_others(&tokens));
    let kinds = [("tokens seen before", &seen), ("tokens whose signature is to be verified", &forged)];
    let found = kinds.map(|(what, calls)| offered(bench, target, what, calls, &seen));
    bench.report.detail("overload", json!(found));
}

fn with_signatures_of_others(tokens: &[String]) -> Vec<String> {
    let parts: Vec<_> = tokens.iter().filter_map(|token| token.rsplit_once('.')).collect();
    let signatures = parts.iter().map(|(_, signature)| signature).cycle().skip(1);
    parts.iter().zip(signatures).map(|((signed, _), other)| format!("{signed}.{other}")).collect()
}

/// Such calls, up to more than there is time for; `modest` beside them.
fn offered(bench: &mut Bench, target: &Target, what: &str, calls: &Calls, modest: &Calls) -> Value {
    let rates = (0..bench.rounds()).map(|_| bench.busy(target, calls).outcome.rate());
    let closed = median(rates.collect::<Vec<_>>());
    let ms = bench.ms() * 3;
    let mut offer = |rate: f64| {
        let command = target.command(calls, Mode::Open { rate, ms });
        let timeout_s = Some(TIMEOUT_S);
        bench.loader.run(&Command { connections: CONNECTIONS, timeout_s, any_code: true, ..command })
    };
    let capacity = open_capacity(closed, &mut offer);
    println!(
        "\nValidate, {what}, open loop over {CONNECTIONS} connections, deadline {TIMEOUT_S} s; capacity {capacity:.0}/s (closed loop: {closed:.0}/s)\n"
    );
    println!(
        "| offered /s | × capacity | goodput /s | refused | late | no answer | p50 ms | p99 ms | p99 of others ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let (mut rows, mut goodputs) = (Vec::new(), Vec::new());
    for times in OFFERED {
        let outcome = offer(capacity * times);
        rows.push(row(times, capacity * times, &outcome));
        goodputs.push((times, outcome.goodput()));
    }
    let peak = goodputs.iter().map(|(_, goodput)| *goodput).fold(capacity, f64::max);
    let promised =
        goodputs.iter().find(|(times, _)| *times == PROMISED_AT).map_or(0.0, |(_, goodput)| *goodput);
    let holds = if promised >= PROMISED * peak { "holds" } else { "not reached" };
    println!("\nat twice the capacity, {:.2} of the peak (≥ {PROMISED}: {holds})", promised / peak);
    let others = others(bench, target, (calls, PROMISED_AT * capacity), modest);
    json!({
        "what": what, "capacity": capacity, "closed_loop": closed, "goodput_at_twice": promised / peak,
        "rows": rows, "others": others,
    })
}

/// The answers to clients with few calls, meanwhile: each has a connection of its own.
fn others(bench: &mut Bench, target: &Target, (calls, rate): (&Calls, f64), modest: &Calls) -> Vec<Value> {
    let ms = bench.ms() * 3;
    let revokes = Calls::revoke(bench.directory(), fresh_jtis((REVOKES * ms as f64 / 1e3 * 4.0) as usize));
    let mut second = Loader::start();
    let each = [
        (format!("{SELDOM} Validates/s"), SELDOM, modest, TIMEOUT_S),
        (format!("{REVOKES} Revokes/s"), REVOKES, &revokes, REVOKE_TIMEOUT_S),
    ];
    println!("\n| beside twice the capacity | answered in time | p50 ms | p99 ms |\n|---|---|---|---|");
    let mut rows = Vec::new();
    for (what, seldom, theirs, timeout_s) in each {
        let command = |calls, connections, rate, timeout_s| Command {
            connections,
            timeout_s: Some(timeout_s),
            any_code: true,
            ..target.command(calls, Mode::Open { rate, ms })
        };
        second.prepare(&command(theirs, 1, seldom, timeout_s));
        bench.loader.prepare(&command(calls, CONNECTIONS, rate, TIMEOUT_S));
        bench.loader.go();
        second.go();
        let (_overload, outcome) = (bench.loader.outcome(), second.outcome());
        let made = outcome.calls + outcome.unanswered;
        let in_time = outcome.goodput() * outcome.seconds / made as f64;
        let (p50, p99) = (outcome.latency.p50, outcome.latency.p99);
        println!("| {what} | {in_time:.3} | {:.1} | {:.1} |", p50 / 1e3, p99 / 1e3);
        rows.push(json!({ "what": what, "in_time": in_time, "p50_us": p50, "p99_us": p99 }));
    }
    rows
}

fn row(times: f64, offered: f64, outcome: &Outcome) -> Value {
    let others: Vec<String> = outcome
        .codes
        .iter()
        .filter(|(code, _)| **code != 0)
        .map(|(code, n)| format!("{code}: {n}"))
        .collect();
    let (latency, of_others) = (outcome.latency, outcome.latency_of_others);
    println!(
        "| {offered:.0} | {times} | {:.0} | {} | {} | {} | {:.2} | {:.2} | {:.2} |",
        outcome.goodput(),
        others.join(", "),
        outcome.late,
        outcome.unanswered,
        latency.p50 / 1e3,
        latency.p99 / 1e3,
        of_others.p99 / 1e3
    );
    json!({
        "offered": offered, "times": times, "goodput": outcome.goodput(), "codes": outcome.codes,
        "late": outcome.late, "unanswered": outcome.unanswered, "p50_us": latency.p50, "p99_us": latency.p99,
        "p99_of_others_us": of_others.p99, "load_cpu_s": outcome.load_cpu_s, "seconds": outcome.seconds,
    })
}
