//! Distinct tokens, all of them seen before.

use crate::{bench::Bench, calls::Calls, statistics::median, subject::Subject};

use super::curve::Curve;

pub fn grow(bench: &mut Bench) -> Vec<Curve> {
    let mut cost = Curve::new("Validate, by distinct tokens", ["tokens", "µs CPU"]);
    let mut memory = Curve::new("memory of a server, by distinct tokens seen", ["tokens", "kB resident"]);
    for &count in if bench.quick { &[100, 1_000, 10_000][..] } else { &[1_000, 10_000, 100_000, 1_000_000] } {
        let issuer = bench.issuer("tokens");
        let subject = Subject::start(&issuer, bench.directory(), 1);
        let calls = Calls::validate(bench.directory(), &issuer.tokens(count));
        subject.target.each(&mut bench.loader, &calls);
        let costs = (0..bench.rounds()).map(|_| bench.busy(&subject.target, &calls).cpu_s * 1e6);
        cost.points.push((count as f64, median(costs.collect::<Vec<_>>())));
        let resident = subject.target.meter.unwrap().resident_bytes();
        memory.points.push((count as f64, resident as f64 / 1e3));
    }
    vec![cost, memory]
}
