//! Replicas of one issuer, all on this machine.

use crate::{
    bench::Bench,
    calls::Calls,
    fleet::Fleet,
    issuer::fresh_jtis,
    measures::revoke,
    statistics::{median, part},
};

use super::curve::Curve;

/// Calls of 256 callers.
const AT_ONCE: usize = 12_000;
/// Calls of one.
const IN_TURN: usize = 400;

pub fn grow(bench: &mut Bench) -> Vec<Curve> {
    let mut p50 = Curve::new("Revoke of one caller, by replicas: p50", ["replicas", "ms"]);
    let mut p99 = Curve::new("Revoke of one caller, by replicas: p99", ["replicas", "ms"]);
    let mut rate = Curve::new("Revokes, 256 in flight to all replicas", ["replicas", "/s"]);
    for count in [1, 2, 3, 5, 10] {
        let fleet = Fleet::start(bench.issuer("replicas"), count);
        let turns = if bench.quick { IN_TURN / 8 } else { IN_TURN };
        let times = revoke::in_turn(bench, &fleet.one(), turns);
        p50.points.push((count as f64, median(times.iter().copied())));
        p99.points.push((count as f64, part(times, 0.99)));
        let calls = if bench.quick { AT_ONCE / 8 } else { AT_ONCE };
        let rates = (0..bench.rounds()).map(|_| {
            let calls = Calls::revoke(bench.directory(), fresh_jtis(calls));
            fleet.all().each(&mut bench.loader, &calls).outcome.rate()
        });
        rate.points.push((count as f64, median(rates.collect::<Vec<_>>())));
    }
    vec![p50, p99, rate]
}
