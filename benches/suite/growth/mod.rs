//! How costs grow with what there is, each as a curve with the law that it follows. Takes longer than the measures,
//! and runs when it is asked for: `make bench-growth`.

mod connections;
mod replicas;
mod revocations;
mod sessions;
mod tokens;

use crate::{bench::Bench, law::Curve};

pub fn growth(bench: &mut Bench) {
    bench.without_small();
    let mut curves = Vec::new();
    for grow in [tokens::grow, connections::grow, sessions::grow, replicas::grow, revocations::grow] {
        curves.extend(grow(bench).iter().map(Curve::show));
    }
    bench.report.detail("growth", curves.into());
}
