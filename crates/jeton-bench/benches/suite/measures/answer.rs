//! Answers from memory, by the CPU time of the serving thread: P13, P1, P2, P3, P5. Neither the load nor other work of
//! the machine affects it; calls per second are in the details beside it.

use serde_json::json;

use crate::{
    bench::Bench,
    calls::Calls,
    command::{Command, Mode},
    plain::Plain,
    report::{Bar, Figure, Unit},
    statistics::{Pair, Summary, median},
    target::{IN_FLIGHT, Measured, Target},
};

/// Tokens of a round that were never seen.
const UNSEEN: usize = 20_000;
/// Tokens of calls that are made one at a time.
const LONE: usize = 1_000;
/// Tokens in a batch.
const BATCH: usize = 100;
/// Batches in flight on each connection: few, as they are large.
const BATCHES: usize = 4;

/// Rounds of a measure and its floor, by CPU.
struct Rounds {
    pairs: Vec<Pair>,
    rates: Vec<[f64; 2]>,
    load: Vec<f64>,
    process: Vec<f64>,
}

impl Rounds {
    fn new() -> Self {
        Self { pairs: Vec::new(), rates: Vec::new(), load: Vec::new(), process: Vec::new() }
    }

    /// `primitive_s` is the floor's time beside the RPC.
    fn add(&mut self, measured: &Measured, floor: &Measured, primitive_s: f64) {
        self.pairs.push(Pair::of_costs(measured.cpu_s, floor.cpu_s + primitive_s));
        let floor_rate = 1.0 / (1.0 / floor.outcome.rate() + primitive_s);
        self.rates.push([measured.outcome.rate(), floor_rate]);
        self.process.push(measured.process_cpu_s * 1e6);
        self.load.push(measured.outcome.load_cpu_s / measured.outcome.calls as f64 * 1e6);
    }

    fn beside(&self) -> serde_json::Value {
        let rate = |index: usize| median(self.rates.iter().map(|rates| rates[index])).round();
        json!({
            "calls_per_second": rate(0),
            "calls_per_second_floor": rate(1),
            "ratio_of_calls_per_second": median(self.rates.iter().map(|rates| rates[0] / rates[1])),
            "process_us_per_call": median(self.process.iter().copied()),
            "load_us_per_call": median(self.load.iter().copied()),
        })
    }

    fn report(&self, bench: &mut Bench, id: &str, name: &str, bar: f64) {
        self.show(bench, id, name, Bar::AtLeast(bar));
    }

    fn show(&self, bench: &mut Bench, id: &str, name: &str, bar: Bar) {
        let (summary, beside) = (Summary::of(&self.pairs), self.beside());
        bench.report.add(&Figure { id, name, bar, unit: Unit::Cpu, summary, beside });
    }
}

/// The empty RPC here ÷ on tonic's own server.
pub fn p13(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let calls = Calls::validate(bench.directory(), &small.issuer.tokens(1_000));
    let empty = bench.empty_like(target, &calls);
    let plain = Plain::start();
    let mut rounds = Rounds::new();
    for _ in 0..bench.rounds() {
        let floor = bench.busy(&plain.target, &empty);
        rounds.add(&bench.busy(target, &empty), &floor, 0.0);
    }
    rounds.report(bench, "P13", "empty RPC here ÷ on tonic's own server, 1/CPU", 0.95);
}

/// Validate of tokens seen before ÷ the empty RPC.
pub fn p1(bench: &mut Bench) {
    let small = bench.small();
    for (count, id, bar) in [(1_000, "P1.1k", 0.95), (100_000, "P1.100k", 0.90)] {
        let calls = Calls::validate(bench.directory(), &small.issuer.tokens(count));
        seen(bench, &small.subject.target, &calls, (id, &format!("{count} tokens"), bar));
    }
    lone(bench);
}

/// One call at a time on one connection: it shares its system calls and wake-ups with no other.
fn lone(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let calls = Calls::validate(bench.directory(), &small.issuer.tokens(LONE));
    let empty = bench.empty_like(target, &calls);
    let (mut rounds, ms) = (Rounds::new(), bench.ms());
    for _ in 0..bench.rounds() {
        let mut turn = |calls| {
            let command = target.command(calls, Mode::For { ms, in_flight: 1 });
            target.measure(&mut bench.loader, &Command { connections: 1, ..command })
        };
        let floor = turn(&empty);
        rounds.add(&turn(&calls), &floor, 0.0);
    }
    rounds.show(
        bench,
        "P1.lone",
        "Validate, one call at a time ÷ empty RPC, one at a time, 1/CPU",
        Bar::None,
    );
}

/// One row of P1.
pub fn seen(bench: &mut Bench, target: &Target, calls: &Calls, (id, what, bar): (&str, &str, f64)) {
    let empty = bench.empty_like(target, calls);
    let mut rounds = Rounds::new();
    for _ in 0..bench.rounds() {
        let floor = bench.busy(target, &empty);
        rounds.add(&bench.busy(target, calls), &floor, 0.0);
    }
    rounds.report(bench, id, &format!("Validate, {what} seen before ÷ empty RPC, 1/CPU"), bar);
}

/// Validate of tokens never seen ÷ an empty RPC and a bare verification.
pub fn p2(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let count = if bench.quick { UNSEEN / 5 } else { UNSEEN };
    let calls = Calls::validate(bench.directory(), &small.issuer.tokens(count));
    let empty = bench.empty_like(target, &calls);
    let mut rounds = Rounds::new();
    for _ in 0..bench.rounds() {
        let calls = Calls::validate(bench.directory(), &small.issuer.tokens(count));
        let floor = bench.busy(target, &empty);
        let verify = small.issuer.bare_verify();
        rounds.add(&target.each(&mut bench.loader, &calls), &floor, verify);
    }
    rounds.report(bench, "P2", "Validate, tokens never seen (ES256) ÷ empty RPC + bare verify, 1/CPU", 0.92);
}

/// A token in a stream, and in a batch, ÷ one in a call of its own.
pub fn p3(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let tokens = small.issuer.tokens(1_000);
    let single = Calls::validate(bench.directory(), &tokens);
    let stream = Calls::stream(bench.directory(), &tokens);
    let batch = Calls::batch(bench.directory(), &tokens, BATCH);
    target.each(&mut bench.loader, &single);
    let (mut streamed, mut batched) = (Rounds::new(), Rounds::new());
    let ms = bench.ms();
    for _ in 0..bench.rounds() {
        let floor = bench.busy(target, &single);
        let command = target.command(&stream, Mode::Stream { ms, in_flight: IN_FLIGHT });
        streamed.add(&target.measure(&mut bench.loader, &command), &floor, 0.0);
        let command = target.command(&batch, Mode::For { ms, in_flight: BATCHES });
        let mut whole = target.measure(&mut bench.loader, &command);
        whole.outcome.calls *= BATCH as u64;
        whole.cpu_s /= BATCH as f64;
        whole.process_cpu_s /= BATCH as f64;
        batched.add(&whole, &floor, 0.0);
    }
    streamed.report(bench, "P3.stream", "a message of StreamValidate ÷ Validate, 1/CPU", 4.0);
    batched.report(bench, "P3.batch", "a token of BatchValidate(100) ÷ Validate, 1/CPU", 4.5);
}

/// Issue without session ÷ an empty RPC and a bare signature with a kept key.
pub fn p5(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let calls = Calls::issue(bench.directory(), 256, false);
    let empty = bench.empty_like(target, &calls);
    let mut rounds = Rounds::new();
    for _ in 0..bench.rounds() {
        let floor = bench.busy(target, &empty);
        let sign = small.issuer.bare_sign();
        rounds.add(&bench.busy(target, &calls), &floor, sign);
    }
    rounds.report(bench, "P5", "Issue without session (ES256) ÷ empty RPC + bare sign, 1/CPU", 0.85);
}
