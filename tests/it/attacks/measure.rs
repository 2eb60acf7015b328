//! Prints the effect of each attack on this machine, for the documents.

#![allow(clippy::print_stdout, reason = "its figures are to be read")]

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    ATTACKS,
    means::{Site, latencies},
};

/// The time for which calls are made, each time.
const LASTS: Duration = Duration::from_secs(4);

fn percentile(took: &mut [f64], part: usize) -> f64 {
    took.sort_by(f64::total_cmp);
    took.get(took.len() * part / 100).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "prints figures: make attacks"]
async fn figures() {
    println!(
        "| attack | transport | MiB over rest | p50, p99 at rest, ms | p99 beside another server that is attacked, ms | p50, p99 meanwhile, ms | ratio of the p99 to the greater of both | longest probe, ms |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let only = std::env::var("JETON_ATTACKS").unwrap_or_default();
    for (name, attack) in ATTACKS.into_iter().filter(|(name, _)| name.contains(&only)) {
        for (transport, tls) in [("plaintext", false), ("TLS", true)] {
            let [site, other] = if tls {
                [Site::with_tls().await, Site::with_tls().await]
            } else {
                [Site::plaintext().await, Site::plaintext().await]
            };
            let [site, other] = [Arc::new(site), Arc::new(other)];
            let (mut before, _) = latencies(&site, Instant::now() + LASTS).await;
            // What the machine makes of it: whoever attacks has a part of it, too.
            let under_way = attack(&other);
            let (mut beside, _) = latencies(&site, Instant::now() + LASTS).await;
            drop(under_way.join_all().await);
            drop(other);
            let rest = site.world.server.resident();
            let mut under_way = attack(&site);
            let (mut meanwhile, probe) = latencies(&site, Instant::now() + LASTS).await;
            let mut most = site.world.server.resident();
            let mut held = Vec::new();
            while let Some(done) = under_way.join_next().await {
                held.push(done.unwrap());
                most = most.max(site.world.server.resident());
            }
            let [rest_p99, beside_p99, p99] =
                [&mut before, &mut beside, &mut meanwhile].map(|took| percentile(took, 99));
            println!(
                "| {name} | {transport} | {:.1} | {:.2}, {rest_p99:.2} | {beside_p99:.2} | {:.2}, {p99:.2} | {:.1} | {probe:.1} |",
                f64::from(u32::try_from(most.saturating_sub(rest) >> 10).unwrap()) / 1_024.0,
                percentile(&mut before, 50),
                percentile(&mut meanwhile, 50),
                p99 / rest_p99.max(beside_p99),
            );
            drop(held);
        }
    }
}
