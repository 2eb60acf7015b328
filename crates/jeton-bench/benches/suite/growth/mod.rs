//! The growth of costs with the amount of data, each as a curve. Takes longer than the measures, and runs on request:
//! `make bench-growth`.

mod connections;
mod curve;
mod replicas;
mod revocations;
mod sessions;
mod tokens;

use crate::bench::Bench;

use curve::Curve;

pub fn growth(bench: &mut Bench) {
    bench.without_small();
    let mut curves = Vec::new();
    for grow in [tokens::grow, connections::grow, sessions::grow, replicas::grow, revocations::grow] {
        curves.extend(grow(bench).iter().map(Curve::show));
    }
    bench.report.detail("growth", curves.into());
}
