//! The view of operators: all metrics, which the hot path counts without a lock or a look-up by name, and the log.

mod heads;
mod log;
mod scrape;
mod series;
mod text;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use crate::observe::{
    heads::Heads,
    series::{Counter, Durations, Gauge, Labelled},
};

pub use heads::CHAIN_HEAD;
pub use log::{FilterError, Sampled, check_filter, log_to_stderr};

/// The status whose durations are shown from the start, for each route.
const HTTP_OK: u16 = 200;

/// gRPC codes, by number.
pub const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Algorithms that keys sign with.
pub const KEY_ALGORITHMS: [&str; 2] = ["ES256", "EdDSA"];

/// Outcomes of Refresh.
pub const REFRESH_OUTCOMES: [&str; 8] =
    ["ROTATED", "REPLAYED", "REUSED", "EXPIRED", "REVOKED", "INVALID", "RECOVERED", "REFUSED"];

/// Outcomes of Revoke.
pub const REVOKE_OUTCOMES: [&str; 4] = ["REVOKED", "ALREADY_REVOKED", "ALREADY_EXPIRED", "FOREIGN"];

/// Listeners that may have a certificate.
const TLS_LISTENERS: [&str; 2] = ["public", "admin"];

/// Tasks that write chains of audit rows.
pub const CHAIN_WRITERS: [&str; 4] = ["acts", "audit", "feed", "flusher"];

/// The results of a probe on one replica; `failed`: the probe itself failed.
pub const PROBE_OUTCOMES: [&str; 4] = ["dead", "alive", "unanswered", "failed"];

/// Every metric of a server.
pub struct Metrics {
    calls: HashMap<&'static str, Calls>,
    routes: HashMap<&'static str, Route>,
    issued: Labelled<Counter>,
    validations: Labelled<Counter>,
    refreshes: Labelled<Counter>,
    revocations: Labelled<Counter>,
    probes: Labelled<Counter>,
    probe_revoke: Gauge,
    lease_age: Gauge,
    log_sequence: Gauge,
    clock_offset: Gauge,
    held: Labelled<Gauge>,
    high_water: HighWater,
    stray: Gauge,
    chains: Labelled<Gauge>,
    heads: Heads,
    key_ages: Labelled<Gauge>,
    key_rotations: Labelled<Gauge>,
    pool: Labelled<Gauge>,
    certificate_ends: Labelled<Gauge>,
}

/// Tells whether memory holds more revocations than it should (K11).
struct HighWater {
    limit: AtomicU32,
    above: AtomicBool,
}

impl HighWater {
    /// Logs once per crossing.
    fn saw(&self, held: u32) {
        let limit = self.limit.load(Ordering::Relaxed);
        let above = held > limit;
        if self.above.swap(above, Ordering::Relaxed) == above {
            return;
        }
        if above {
            tracing::warn!(
                jeton.revocations = held,
                jeton.high_water = limit,
                "memory holds more revocations than the high-water mark: see who revokes so much"
            );
        } else {
            tracing::info!(
                jeton.revocations = held,
                jeton.high_water = limit,
                "below the high-water mark again"
            );
        }
    }
}

/// The durations of one method, by code. That of OK is shown from the start; the others from their first call on,
/// because each is a dozen series that few scrapes would ever see move.
#[derive(Default)]
pub struct Calls([Durations; CODES.len()]);

impl Calls {
    /// Records that one RPC ended, with this gRPC code.
    pub fn ended(&self, code: usize, duration: Duration) {
        if let Some(durations) = self.0.get(code) {
            durations.record(duration);
        }
    }
}

/// The durations of requests of one route, by status.
#[derive(Default)]
struct Route {
    ok: Durations,
    /// Of statuses that this server answers with, so they are few.
    others: Mutex<BTreeMap<u16, Durations>>,
}

/// The content type of the text for Prometheus (exposition format 0.0.4).
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

impl Metrics {
    /// Every metric at zero, so that each is there from the first scrape. `methods` are full gRPC paths without the
    /// leading slash; `routes` paths of plain HTTP; `statuses` the names of verdicts.
    #[must_use]
    pub fn register(
        methods: &[&'static str],
        routes: &[&'static str],
        statuses: &[&'static str],
    ) -> Arc<Self> {
        Arc::new(Self {
            calls: methods.iter().map(|&method| (method, Calls::default())).collect(),
            routes: routes.iter().map(|&route| (route, Route::default())).collect(),
            issued: Labelled::new("rpc", &["Issue", "Refresh"]),
            validations: Labelled::new("status", statuses),
            refreshes: Labelled::new("outcome", &REFRESH_OUTCOMES),
            revocations: Labelled::new("outcome", &REVOKE_OUTCOMES),
            probes: Labelled::new("outcome", &PROBE_OUTCOMES),
            probe_revoke: Gauge::default(),
            lease_age: Gauge::default(),
            log_sequence: Gauge::default(),
            clock_offset: Gauge::default(),
            held: Labelled::new("kind", &["token", "session", "mark"]),
            high_water: HighWater { limit: AtomicU32::new(u32::MAX), above: AtomicBool::new(false) },
            stray: Gauge::default(),
            chains: Labelled::new("writer", &CHAIN_WRITERS),
            heads: Heads::default(),
            key_ages: Labelled::new("algorithm", &KEY_ALGORITHMS),
            key_rotations: Labelled::new("algorithm", &KEY_ALGORITHMS),
            pool: Labelled::new("state", &["used", "idle"]),
            certificate_ends: Labelled::new("listener", &TLS_LISTENERS),
        })
    }

    /// The measurements of a method, if it is measured by name: its full gRPC path without the leading slash.
    #[must_use]
    pub fn calls(&self, method: &str) -> Option<&Calls> {
        self.calls.get(method)
    }

    /// Records that a plain HTTP request ended.
    pub fn http_request(&self, route: &str, status: u16, duration: Duration) {
        let Some(route) = self.routes.get(route) else { return };
        if status == HTTP_OK {
            route.ok.record(duration);
        } else {
            let mut others = route.others.lock().unwrap_or_else(PoisonError::into_inner);
            others.entry(status).or_default().record(duration);
        }
    }

    /// Counts a minted access token.
    pub fn issued(&self, rpc: &str) {
        count(self.issued.of(rpc));
    }

    /// Counts a judged token: `status` is the index among the registered statuses.
    pub fn validated(&self, status: usize) {
        count(self.validations.at(status));
    }

    /// Counts a presented refresh token.
    pub fn refreshed(&self, outcome: &str) {
        count(self.refreshes.of(outcome));
    }

    /// Counts a requested revocation.
    pub fn revoked(&self, outcome: &str) {
        count(self.revocations.of(outcome));
    }

    /// Counts revocations of a list.
    pub fn revoked_many(&self, outcome: &str, number: i64) {
        if let (Some(counter), Ok(number)) = (self.revocations.of(outcome), u64::try_from(number)) {
            counter.add(number);
        }
    }

    /// Counts a probe of another replica.
    pub fn probed(&self, outcome: &str) {
        count(self.probes.of(outcome));
    }

    /// Records that a canary was revoked.
    pub fn probe_revoked(&self, seconds: f64) {
        self.probe_revoke.set(seconds);
    }

    /// Records the revision up to which the log was read.
    pub fn log_read(&self, applied: jeton_token::Revision) {
        let sequence = u32::try_from(applied.seq()).unwrap_or(u32::MAX);
        self.log_sequence.set(f64::from(sequence));
    }

    /// Records by how many milliseconds the database's clock is ahead of this server's.
    pub fn clock_offset(&self, offset_ms: i64) {
        // Clocks that are further apart are broken.
        let offset_ms = i32::try_from(offset_ms).unwrap_or(if offset_ms < 0 { i32::MIN } else { i32::MAX });
        self.clock_offset.set(f64::from(offset_ms) / 1_000.0);
    }

    /// Records the seconds since the lease was last renewed.
    pub fn lease_age(&self, seconds: f64) {
        self.lease_age.set(seconds);
    }

    /// The number of revocations in memory from which on there is an alert.
    pub fn high_water(&self) -> u32 {
        self.high_water.limit.load(Ordering::Relaxed)
    }

    /// Sets the number of revocations in memory from which on there is an alert.
    pub fn set_high_water(&self, limit: u32) {
        self.high_water.limit.store(limit, Ordering::Relaxed);
    }

    /// Records the revocations in memory.
    pub fn held(&self, tokens: usize, sessions: usize, marks: usize) {
        let all = [tokens, sessions, marks].map(|held| u32::try_from(held).unwrap_or(u32::MAX));
        for ((_, gauge), held) in self.held.iter().zip(all) {
            gauge.set(f64::from(held));
        }
        self.high_water.saw(all.into_iter().fold(0, u32::saturating_add));
    }

    /// Records the head of a chain of audit rows that this task writes.
    pub fn audit_head(&self, writer: &str, chain: &str, number: i64, tag: &str) {
        self.heads.tell(writer, chain, number, tag);
        if let Some(gauge) = self.chains.of(writer) {
            gauge.set(f64::from(u32::try_from(number).unwrap_or(u32::MAX)));
        }
    }

    /// Records the rows that found no partition of their own.
    pub fn stray(&self, stray: i64) {
        self.stray.set(f64::from(u32::try_from(stray).unwrap_or(u32::MAX)));
    }

    /// Records the end of validity of a listener's certificate, seconds since the epoch.
    pub fn certificate_end(&self, listener: &str, end_s: i64) {
        if let Some(gauge) = self.certificate_ends.of(listener) {
            gauge.set(f64::from(u32::try_from(end_s).unwrap_or(u32::MAX)));
        }
    }

    /// Records the age of the key that signs, and the time until it is to be replaced, in seconds.
    pub fn key(&self, algorithm: &str, age_s: i64, left_s: i64) {
        let seconds = |seconds: i64| i32::try_from(seconds).map_or(f64::MAX, f64::from);
        for (gauges, value) in [(&self.key_ages, age_s), (&self.key_rotations, left_s)] {
            if let Some(gauge) = gauges.of(algorithm) {
                gauge.set(seconds(value));
            }
        }
    }

    /// Records the connections to the database.
    pub fn pool(&self, open: u32, idle: usize) {
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        for ((_, gauge), connections) in self.pool.iter().zip([open.saturating_sub(idle), idle]) {
            gauge.set(f64::from(connections));
        }
    }
}

fn count(counter: Option<&Counter>) {
    if let Some(counter) = counter {
        counter.increment();
    }
}
