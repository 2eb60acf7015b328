//! Connections, all of them with calls in flight.

use crate::{
    bench::Bench,
    calls::Calls,
    command::{Command, Mode},
    subject::Subject,
};

use super::curve::Curve;

/// In flight over all connections, where these are fewer.
const IN_FLIGHT: usize = 256;

pub fn grow(bench: &mut Bench) -> Vec<Curve> {
    let issuer = bench.issuer("connections");
    let subject = Subject::start(&issuer, bench.directory(), 1);
    let (target, meter) = (&subject.target, subject.target.meter.unwrap());
    let calls = Calls::validate(bench.directory(), &issuer.tokens(1_000));
    target.each(&mut bench.loader, &calls);
    let mut cost = Curve::new("Validate, by connections with calls in flight", ["connections", "µs CPU"]);
    let mut memory = Curve::new("memory of a server, by open connections", ["connections", "kB resident"]);
    for &connections in if bench.quick { &[1, 10, 1_000][..] } else { &[1, 10, 100, 1_000, 10_000] } {
        let mode = Mode::For { ms: bench.ms() * 2, in_flight: (IN_FLIGHT / connections).max(1) };
        let command = Command { connections, ..target.command(&calls, mode) };
        bench.loader.prepare(&command);
        memory.points.push((connections as f64, meter.resident_bytes() as f64 / 1e3));
        let before = meter.ns();
        bench.loader.go();
        let outcome = bench.loader.outcome();
        let us = (meter.ns() - before) as f64 / 1e3 / outcome.calls as f64;
        cost.points.push((connections as f64, us));
    }
    vec![cost, memory]
}
