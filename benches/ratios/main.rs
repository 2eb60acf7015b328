//! Measures what jeton promises of its speed, each as a ratio to a floor from the same run:
//!
//! - P1: Validate of tokens seen before ÷ an empty RPC with messages of the same size;
//! - P2: Validate of tokens never seen ÷ an empty RPC and a bare verification;
//! - P5: Issue without session ÷ an empty RPC and a bare signature with a kept key;
//! - P7, P8, P12: Revoke, see `revoke`.
//!
//! What P1, P2 and P5 compare is the CPU time that the server's one serving thread takes per call, as the
//! kernel counts it: neither the load beside it nor the machine's other work enters. Linux only.
//!
//! `make bench` prints the tables; `cargo bench --bench ratios -- --revoke` those of Revoke alone; with `--large`,
//! there is also the row of P1 with a million tokens, ten million revocations and a million marks, which
//! takes minutes and gigabytes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench fails by panicking and speaks to a terminal"
)]

mod bare;
mod cpu;
mod empty;
mod fleet;
mod load;
mod revoke;
mod subject;

use std::time::Duration;

use load::{Calls, Load};
use subject::Subject;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Pairs of rounds; the median of their ratios is what counts.
const PAIRS: usize = 5;
const ROUND: Duration = Duration::from_millis(1_500);

fn main() {
    let asked = |name: &str| std::env::args().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        if !asked("--revoke") {
            measure(asked("--large")).await;
        }
        revoke::measure().await;
    });
}

async fn measure(large: bool) {
    let subject = Subject::start(large).await;
    let load = Load::connect(&[&subject.address], &subject.api_key).await;
    println!(
        "one serving thread, {} connections x {} in flight; medians of {PAIRS} pairs\n",
        load::CONNECTIONS,
        load::IN_FLIGHT
    );
    println!("| # | measure | µs CPU | floor µs | ratio | bar |\n|---|---|---|---|---|---|");
    for (count, bar) in [(1_000, 0.95), (100_000, 0.90)] {
        p1(&subject, &load, count, bar).await;
    }
    if large {
        p1(&subject, &load, 1_000_000, 0.85).await;
    }
    p2(&subject, &load).await;
    p5(&subject, &load).await;
    subject.end().await;
}

async fn p1(subject: &Subject, load: &Load, count: usize, bar: f64) {
    let calls = Calls::validate(&subject.tokens(count));
    // Every token has been seen once before the first round.
    load.all(&calls).await;
    let empty = load.empty_like(&calls).await;
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let floor = load.round(&empty, ROUND).await;
        pairs.push((load.round(&calls, ROUND).await, floor));
    }
    row("P1", &format!("Validate, {count} tokens seen before"), &mut pairs, bar);
}

async fn p2(subject: &Subject, load: &Load) {
    let mut pairs = Vec::new();
    for _ in 0..PAIRS {
        let calls = Calls::validate(&subject.tokens(20_000));
        let verify = subject.bare_verify();
        let empty = load.empty_like(&calls).await;
        let floor = load.round(&empty, ROUND).await + verify;
        pairs.push((load.once(&calls).await, floor));
    }
    row("P2", "Validate, tokens never seen (ES256)", &mut pairs, 0.92);
}

async fn p5(subject: &Subject, load: &Load) {
    let calls = Calls::issue(1);
    let mut pairs = Vec::new();
    let empty = load.empty_like(&calls).await;
    for _ in 0..PAIRS {
        let sign = subject.bare_sign();
        let floor = load.round(&empty, ROUND).await + sign;
        pairs.push((load.round(&calls, ROUND).await, floor));
    }
    row("P5", "Issue without session (ES256)", &mut pairs, 0.85);
}

/// Prints the median pair by its ratio. Seconds of CPU per call.
fn row(number: &str, what: &str, pairs: &mut [(f64, f64)], bar: f64) {
    pairs.sort_by(|a, b| (a.1 / a.0).total_cmp(&(b.1 / b.0)));
    let (cost, floor) = pairs[pairs.len() / 2];
    let ratio = floor / cost;
    let verdict = if ratio >= bar { "holds" } else { "not reached" };
    println!(
        "| {number} | {what} | {:.2} | {:.2} | {ratio:.3} | ≥ {bar:.2} {verdict} |",
        cost * 1e6,
        floor * 1e6
    );
}
