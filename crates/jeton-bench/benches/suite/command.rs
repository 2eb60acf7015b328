//! The commands of the orchestrator to a load process, and its answers: a JSON line each.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf};

use serde::{Deserialize, Serialize};

/// One run.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Command {
    /// Connections are dealt out to them in turn.
    pub addresses: Vec<SocketAddr>,
    pub path: String,
    pub authorization: String,
    /// The longest time of a call: the server is told, and later answers count as late.
    pub timeout_s: Option<u64>,
    /// gRPC frames.
    pub bodies: PathBuf,
    pub connections: usize,
    pub mode: Mode,
    /// The file for the answers, in the order of the bodies: gRPC frames.
    pub keep: Option<PathBuf>,
    /// Calls in the other modes than by rate end with OK, or the run fails.
    pub any_code: bool,
}

/// When calls are made.
#[derive(Serialize, Deserialize, Clone, Copy, Debug)]
pub enum Mode {
    /// Always so many in flight on each connection, for so long.
    For { ms: u64, in_flight: usize },
    /// The same, each body once.
    Each { in_flight: usize },
    /// Each body once, one after the other on the first connection.
    Turn,
    /// So many calls per second over all connections, whatever the answers, for so long.
    Open { rate: f64, ms: u64 },
    /// One stream per connection, always so many messages of it in flight, for so long.
    Stream { ms: u64, in_flight: usize },
}

/// The result of a command.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub struct Outcome {
    /// Answers, or messages of a stream.
    pub calls: u64,
    /// From the start to the last answer; where calls come by rate, to the last call.
    pub seconds: f64,
    /// Answers by code of gRPC; 100 and more: reset, by code of HTTP/2 beyond 100.
    pub codes: BTreeMap<i32, u64>,
    /// Calls with code 0 that came later than the caller waits.
    pub late: u64,
    /// Calls without an answer when the patience ended.
    pub unanswered: u64,
    /// Of answers with code 0.
    pub latency: Quantiles,
    /// Of all others.
    pub latency_of_others: Quantiles,
    /// One after the other: how long each took, µs.
    pub times_us: Vec<f64>,
    /// CPU of the load process, seconds.
    pub load_cpu_s: f64,
    /// A request's and an answer's message, bytes, the frame's prefix included.
    pub bytes: [usize; 2],
}

/// Microseconds.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default)]
pub struct Quantiles {
    pub p10: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub mean: f64,
}

impl Outcome {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.calls as f64 / self.seconds
    }

    /// Answers with code 0 per second that came in time.
    pub fn goodput(&self) -> f64 {
        let good = self.codes.get(&0).copied().unwrap_or_default() - self.late;
        good as f64 / self.seconds
    }
}

impl Quantiles {
    pub fn of(mut times_ns: Vec<u64>) -> Self {
        if times_ns.is_empty() {
            return Self::default();
        }
        times_ns.sort_unstable();
        let count = times_ns.len();
        let part = |part: f64| {
            let rank = (part * count as f64).ceil() as usize;
            times_ns[rank.clamp(1, count) - 1] as f64 / 1e3
        };
        let mean = times_ns.iter().map(|time| *time as f64).sum::<f64>() / count as f64 / 1e3;
        Self {
            p10: part(0.1),
            p50: part(0.5),
            p90: part(0.9),
            p99: part(0.99),
            p999: part(0.999),
            max: part(1.0),
            mean,
        }
    }
}
