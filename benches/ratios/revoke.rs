//! Revoke, by replicas in processes of their own on one durable Postgres, all on this machine:
//!
//! - P7: one caller, 3 replicas, beside a bare commit;
//! - P8: 256 in flight, beside one-row INSERTs over 16 connections;
//! - P12: 10 replicas beside 1;
//! - what a replica that stops, or is killed, makes the others wait.
//!
//! These are times and rates as a caller sees them, on a machine that load, servers and database share.

use std::time::Duration;

use jeton::{dev::ScratchCluster, proto::v1 as pb};
use prost::Message;
use rustix::process::Signal;

use crate::{
    bare::{self, BareCommits},
    fleet::Fleet,
    load::{self, Calls, Load},
};

/// Rounds in each of which everything that is compared has its turn; medians count.
const ROUNDS: usize = 5;
/// Calls of one caller in a round.
const IN_TURN: usize = 200;
/// Calls of 256 callers in a round.
const AT_ONCE: usize = 12_000;
/// How long the bare commits of such a round run.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds that lose a replica.
const LOSSES: usize = 3;
/// Calls after one was lost.
const AFTER_LOSS: usize = 50;
/// The longest that a lease can be waited for, and a look's pause and the call itself.
const LOSS_BAR_MS: f64 = 3_300.0 + 100.0;

pub async fn measure() {
    let binaries = std::env::var_os("JETON_POSTGRES_BIN");
    let cluster = ScratchCluster::start_durable(binaries.as_ref().map(AsRef::as_ref)).unwrap();
    let mut commits = BareCommits::connect(&cluster.url("postgres")).await;
    let (fsync, synchronous) = (commits.setting("fsync").await, commits.setting("synchronous_commit").await);
    println!(
        "\nRevoke by jti; Postgres with fsync {fsync}, synchronous_commit {synchronous}; {ROUNDS} rounds\n"
    );
    println!("| # | measure | value | floor | result | bar |\n|---|---|---|---|---|---|");
    let one = Fleet::start(&cluster, 1).await;
    let mut three = Fleet::start(&cluster, 3).await;
    rates(&mut commits, &one, &three).await;
    let ten = Fleet::start(&cluster, 10).await;
    latencies(&mut commits, [&one, &three, &ten]).await;
    drop((one, ten));
    losses(&mut three).await;
}

/// P8.
async fn rates(commits: &mut BareCommits, one: &Fleet, three: &Fleet) {
    let loads = [
        ("1 replica", one.load_on_one().await, 3.0),
        ("3 replicas, calls to all of them", three.load_on_all().await, 1.5),
        ("3 replicas, calls to one of them", three.load_on_one().await, 1.5),
    ];
    let mut pairs = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((_, load, _), pairs) in loads.iter().zip(&mut pairs) {
            let calls = fresh(load, AT_ONCE).await;
            let floor = commits.rate(ROUND).await;
            pairs.push((load.rate(&calls).await, floor));
        }
    }
    for ((what, _, bar), mut pairs) in loads.into_iter().zip(pairs) {
        pairs.sort_by(|a, b| (a.0 / a.1).total_cmp(&(b.0 / b.1)));
        let (rate, floor) = pairs[pairs.len() / 2];
        let ratio = rate / floor;
        println!(
            "| P8 | Revokes/s, {} in flight, {what} ÷ INSERTs/s over {} connections | {rate:.0} | {floor:.0} | {ratio:.2} | ≥ {bar} {} |",
            load::CONNECTIONS * load::IN_FLIGHT,
            bare::CONNECTIONS,
            verdict(ratio >= bar)
        );
    }
}

/// P7, P12, and the table behind them.
async fn latencies(commits: &mut BareCommits, fleets: [&Fleet; 3]) {
    let mut loads = Vec::new();
    for fleet in fleets {
        loads.push(fleet.load_on_one().await);
    }
    let mut all = [const { Vec::new() }; 3];
    let (mut floors, mut p50s) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let floor = Times::of(&commits.in_turn(IN_TURN).await).part(0.5);
        floors.push(floor);
        let mut round = [0.0; 3];
        for ((load, all), p50) in loads.iter().zip(&mut all).zip(&mut round) {
            let times = in_turn(load, IN_TURN).await;
            *p50 = Times::of(&times).part(0.5);
            all.extend(times);
        }
        p50s.push((floor, round));
    }
    let floor = median(floors);
    let over = median(p50s.iter().map(|(floor, [_, three, _])| three - floor).collect());
    let growth = median(p50s.iter().map(|(_, [one, _, ten])| ten / one).collect());
    let [one, three, ten] = all.map(|times| Times::of(&times));
    println!(
        "| P7 | Revoke, 3 replicas, one caller: p50 ms − a bare commit's | {:.2} | {floor:.2} | {over:.2} | ≤ 4 {} |",
        three.part(0.5),
        verdict(over <= 4.0)
    );
    let p99 = three.part(0.99);
    println!("| P7 | the same: p99 ms | {p99:.2} | | | ≤ 30 {} |", verdict(p99 <= 30.0));
    println!(
        "| P12 | Revoke, one caller: p50 ms with 10 replicas ÷ with 1 | {:.2} | {:.2} | {growth:.2} | ≤ 3 {} |",
        ten.part(0.5),
        one.part(0.5),
        verdict(growth <= 3.0)
    );
    println!("\n| Revoke, one caller, ms; replicas | p50 | p99 | max |\n|---|---|---|---|");
    for (count, times) in [(1, one), (3, three), (10, ten)] {
        line(&count.to_string(), &times);
    }
}

/// Three replicas, the last of which goes away just before a call.
async fn losses(fleet: &mut Fleet) {
    let load = fleet.load_on_one().await;
    for (what, signal) in [("stopped", Signal::STOP), ("killed", Signal::KILL)] {
        let (mut first, mut after) = (Vec::new(), Vec::new());
        for _ in 0..LOSSES {
            whole(&load).await;
            let calls = fresh(&load, 1).await;
            fleet.signal_last(signal);
            first.extend(load.in_turn(&calls).await.into_iter().map(|(time, _)| time));
            after.extend(in_turn(&load, AFTER_LOSS).await);
            if signal == Signal::STOP {
                fleet.signal_last(Signal::CONT);
            } else {
                fleet.replace_last().await;
            }
        }
        let first = Times::of(&first);
        let verdict = verdict(first.part(1.0) <= LOSS_BAR_MS);
        line(&format!("3, one {what} just before: the first call (≤ {LOSS_BAR_MS} {verdict})"), &first);
        line("those after it", &Times::of(&after));
    }
}

/// Waits until three replicas answer for a Revoke.
async fn whole(load: &Load) {
    loop {
        let calls = fresh(load, 1).await;
        let (_, answer) = load.in_turn(&calls).await.remove(0);
        let answer = pb::RevokeResponse::decode(answer.as_slice()).unwrap();
        if answer.propagation.is_some_and(|it| it.complete && it.applied_replicas == 3) {
            return;
        }
    }
}

/// Calls that revoke tokens which were issued just now, each of them once.
async fn fresh(load: &Load, count: usize) -> Calls {
    let issued = load.answers(&Calls::issue(count)).await;
    let jti = |answer: &Vec<u8>| pb::IssueResponse::decode(answer.as_slice()).unwrap().token.unwrap().jti;
    Calls::revoke(&issued.iter().map(jti).collect::<Vec<_>>())
}

async fn in_turn(load: &Load, count: usize) -> Vec<Duration> {
    let calls = fresh(load, count).await;
    load.in_turn(&calls).await.into_iter().map(|(time, _)| time).collect()
}

/// Times in order, milliseconds.
struct Times(Vec<f64>);

impl Times {
    fn of(times: &[Duration]) -> Self {
        let mut sorted: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    /// The shortest that this part of them does not exceed.
    fn part(&self, part: f64) -> f64 {
        let rank = (part * self.0.len() as f64).ceil() as usize;
        self.0[rank.clamp(1, self.0.len()) - 1]
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn line(what: &str, times: &Times) {
    println!("| {what} | {:.2} | {:.2} | {:.2} |", times.part(0.5), times.part(0.99), times.part(1.0));
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "not reached" }
}
