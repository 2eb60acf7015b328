//! Latency at a given load, measured from when each call was due: P4, and the curves of throughput and latency.

use serde_json::json;

use crate::{
    bench::Bench,
    calls::Calls,
    command::{Command, Mode, Outcome},
    issuer::fresh_jtis,
    loader::Loader,
    report::{Bar, Figure, Unit},
    statistics::{Pair, Summary},
    target::{CONNECTIONS, IN_FLIGHT, Target},
};

/// Revokes per second beside the load.
const REVOKES: f64 = 500.0;
/// The length of a round at a given load, as a multiple of the usual.
const LONGER: u64 = 2;
/// The parts of a closed loop's rate at which the capacity of single calls is searched: calls in bulk cost less.
const RAMP: [f64; 6] = [0.15, 0.3, 0.45, 0.6, 0.8, 1.0];
/// Calls in flight, over all connections, of the curve of throughput.
const IN_FLIGHT_POINTS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 256, 1_024];
/// The points of the curve of latency, as parts of the capacity.
const LOAD_POINTS: [f64; 8] = [0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// The best rate of answers to single calls: `offer` offers so many per second.
pub fn open_capacity(closed: f64, mut offer: impl FnMut(f64) -> Outcome) -> f64 {
    RAMP.map(|part| offer(closed * part).goodput()).into_iter().fold(0.0, f64::max)
}

/// The same, of these calls over the usual connections.
pub fn capacity_one_by_one(bench: &mut Bench, target: &Target, calls: &Calls) -> f64 {
    let closed = bench.busy(target, calls).outcome.rate();
    let one_by_one = |rate| {
        let command = target.command(calls, Mode::Open { rate, ms: bench.ms() });
        bench.loader.run(&Command { timeout_s: Some(1), any_code: true, ..command })
    };
    open_capacity(closed, one_by_one)
}

/// p99 of Validate at half load while 500 Revokes/s run ÷ p99 of the empty RPC at that load.
pub fn p4(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let validate = Calls::validate(bench.directory(), &small.issuer.tokens(1_000));
    let empty = bench.empty_like(target, &validate);
    let ms = bench.ms() * LONGER;
    let rate = capacity_one_by_one(bench, target, &validate) / 2.0;
    let mut second = Loader::start();
    let (mut pairs, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds() {
        let floor = at_rate(&mut bench.loader, target, &empty, rate, ms);
        let measured = beside_revokes(bench, &mut second, target, &validate, (rate, ms));
        pairs.push(Pair::times(measured.latency.p99, floor.latency.p99));
        let floor = beside_revokes(bench, &mut second, target, &empty, (rate, ms));
        beside.push(Pair::times(measured.latency.p99, floor.latency.p99));
    }
    let name = format!("Validate at half load, {REVOKES} Revokes/s beside: p99 ÷ p99 of the empty RPC alone");
    let rows = [
        ("P4", name.as_str(), Bar::AtMost(2.0), pairs),
        ("P4.beside", "the same ÷ p99 of the empty RPC with the Revokes beside it", Bar::None, beside),
    ];
    for (id, name, bar, pairs) in rows {
        let (summary, beside) = (Summary::of(&pairs), json!({ "calls_offered_per_second": rate.round() }));
        bench.report.add(&Figure { id, name, bar, unit: Unit::Us, summary, beside });
    }
}

/// Calls at a rate, while another process revokes.
fn beside_revokes(
    bench: &mut Bench,
    second: &mut Loader,
    target: &Target,
    calls: &Calls,
    (rate, ms): (f64, u64),
) -> Outcome {
    let count = (REVOKES * ms as f64 / 1e3 * 2.0) as usize + 100;
    let revokes = Calls::revoke(bench.directory(), fresh_jtis(count));
    // It ends after the measurement.
    let longer = Mode::Open { rate: REVOKES, ms: ms + 400 };
    second.prepare(&Command { any_code: true, ..target.command(&revokes, longer) });
    second.go();
    let outcome = at_rate(&mut bench.loader, target, calls, rate, ms);
    let beside = second.outcome();
    assert!(beside.goodput() > 0.0, "there were Revokes beside it: {:?}", beside.codes);
    outcome
}

fn at_rate(loader: &mut Loader, target: &Target, calls: &Calls, rate: f64, ms: u64) -> Outcome {
    loader.run(&target.command(calls, Mode::Open { rate, ms }))
}

/// Throughput by calls in flight, and latency by load: Validate beside the empty RPC.
pub fn curves(bench: &mut Bench) {
    let small = bench.small();
    let target = &small.subject.target;
    let validate = Calls::validate(bench.directory(), &small.issuer.tokens(1_000));
    let empty = bench.empty_like(target, &validate);
    let ms = bench.ms();
    let (mut throughput, mut latency) = (Vec::new(), Vec::new());
    for in_flight in IN_FLIGHT_POINTS {
        let mut point = |calls: &Calls| {
            let connections = CONNECTIONS.min(in_flight);
            let mode = Mode::For { ms, in_flight: in_flight / connections };
            bench.loader.run(&Command { connections, ..target.command(calls, mode) })
        };
        let [validate, empty] = [point(&validate), point(&empty)];
        throughput.push(json!({
            "in_flight": in_flight,
            "validate": { "per_second": validate.rate(), "p50_us": validate.latency.p50, "p99_us": validate.latency.p99 },
            "empty": { "per_second": empty.rate(), "p50_us": empty.latency.p50, "p99_us": empty.latency.p99 },
        }));
    }
    let mut capacity = |calls| {
        let mode = Mode::For { ms, in_flight: IN_FLIGHT };
        bench.loader.run(&target.command(calls, mode)).rate()
    };
    let capacities = [capacity(&validate), capacity(&empty)];
    for part in LOAD_POINTS {
        let mut point = |calls, capacity: f64| {
            let mode = Mode::Open { rate: capacity * part, ms };
            bench.loader.run(&Command { any_code: true, ..target.command(calls, mode) })
        };
        let [validate, empty] = [point(&validate, capacities[0]), point(&empty, capacities[1])];
        latency.push(json!({
            "part_of_capacity": part,
            "validate": { "offered": capacities[0] * part, "p50_us": validate.latency.p50, "p99_us": validate.latency.p99 },
            "empty": { "offered": capacities[1] * part, "p50_us": empty.latency.p50, "p99_us": empty.latency.p99 },
        }));
    }
    bench.report.detail("throughput_curve", throughput.into());
    bench.report.detail("latency_curve", latency.into());
}
