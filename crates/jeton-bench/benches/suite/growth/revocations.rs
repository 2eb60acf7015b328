//! Live revocations.

use crate::{
    bench::Bench,
    calls::Calls,
    measures::{large, revoke},
    statistics::median,
    subject::Subject,
};

use super::curve::Curve;

pub fn grow(bench: &mut Bench) -> Vec<Curve> {
    let of = |y| ["revocations", y];
    let mut cost = Curve::new("Validate, by live revocations", of("µs CPU"));
    let mut time = Curve::new("Revoke of one caller, by live revocations: p50", of("ms"));
    let mut start = Curve::new("start of a server, by live revocations", of("s"));
    let mut memory = Curve::new("memory of a server, by live revocations", of("kB resident"));
    for count in if bench.quick { [0, 10_000, 100_000] } else { [0, 1_000_000, large::REVOCATIONS] } {
        let issuer = bench.issuer("revocations");
        if count > 0 {
            bench.runtime.block_on(large::revoke_many(&issuer, count));
        }
        let subject = Subject::start(&issuer, bench.directory(), 1);
        let x = count as f64;
        start.points.push((x, subject.start_s));
        memory.points.push((x, subject.target.meter.unwrap().resident_bytes() as f64 / 1e3));
        let calls = Calls::validate(bench.directory(), &issuer.tokens(1_000));
        subject.target.each(&mut bench.loader, &calls);
        let costs = (0..bench.rounds()).map(|_| bench.busy(&subject.target, &calls).cpu_s * 1e6);
        cost.points.push((x, median(costs.collect::<Vec<_>>())));
        time.points.push((x, median(revoke::in_turn(bench, &subject.target, 200))));
    }
    vec![cost, time, start, memory]
}
