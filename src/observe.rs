//! The view of operators: the names of all metrics, as OpenTelemetry and Prometheus spell them, and handles to them, so
//! that the hot path looks nothing up.

mod heads;
mod log;

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use heads::Heads;

pub use heads::CHAIN_HEAD;
pub use log::{FilterError, Sampled, check_filter, log_to_stderr};

/// Server-side duration of RPCs: OpenTelemetry's `rpc.server.call.duration` in Prometheus' spelling.
const CALL_DURATION: &str = "rpc_server_call_duration_seconds";
/// Server-side duration of plain HTTP requests, as OpenTelemetry's `http.server.request.duration`.
const HTTP_DURATION: &str = "http_server_request_duration_seconds";
const ISSUED: &str = "jeton_tokens_issued_total";
const VALIDATIONS: &str = "jeton_validations_total";
const REFRESHES: &str = "jeton_refreshes_total";
const REVOCATIONS: &str = "jeton_revocations_total";
const LEASE_AGE: &str = "jeton_lease_age_seconds";
const LOG_SEQUENCE: &str = "jeton_log_applied_sequence";
const CLOCK_OFFSET: &str = "jeton_clock_offset_seconds";
const PROBES: &str = "jeton_probes_total";
const PROBE_REVOKE: &str = "jeton_probe_revoke_seconds";
const HELD: &str = "jeton_revocations_held";
const KEY_AGE: &str = "jeton_key_age_seconds";
const KEY_ROTATION: &str = "jeton_key_rotation_seconds";
const HIGH_WATER: &str = "jeton_revocations_high_water";
const ABOVE: &str = "jeton_revocations_above_high_water";
const CHAIN_NUMBER: &str = "jeton_audit_chain_number";
const STRAY: &str = "jeton_default_partition_rows";
const POOL: &str = "db_client_connection_count";
const CERTIFICATE_END: &str = "jeton_tls_certificate_not_after_seconds";

/// Seconds: from a look-up in memory to a database that is away.
const BUCKETS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0];

/// The status whose durations are registered from the start, for each route.
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

/// Handles to every metric of this process.
pub struct Metrics {
    calls: HashMap<&'static str, Calls>,
    routes: HashMap<&'static str, Histogram>,
    issued: HashMap<&'static str, Counter>,
    validations: Vec<Counter>,
    refreshes: HashMap<&'static str, Counter>,
    revocations: HashMap<&'static str, Counter>,
    probes: HashMap<&'static str, Counter>,
    probe_revoke: Gauge,
    lease_age: Gauge,
    log_sequence: Gauge,
    clock_offset: Gauge,
    held: [Gauge; 3],
    high_water: HighWater,
    stray: Gauge,
    chains: HashMap<&'static str, Gauge>,
    heads: Heads,
    keys: HashMap<&'static str, [Gauge; 2]>,
    pool: [Gauge; 2],
    certificate_ends: HashMap<&'static str, Gauge>,
}

/// Tells whether memory holds more revocations than it should (K11).
struct HighWater {
    limit: AtomicU32,
    above: AtomicBool,
    gauge: Gauge,
}

impl Default for HighWater {
    fn default() -> Self {
        Self { limit: AtomicU32::new(u32::MAX), above: AtomicBool::new(false), gauge: gauge!(ABOVE) }
    }
}

impl HighWater {
    /// Logs once per crossing.
    fn saw(&self, held: u32) {
        let limit = self.limit.load(Ordering::Relaxed);
        let above = held > limit;
        self.gauge.set(f64::from(u8::from(above)));
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

/// The durations of one method, by code. That of OK is registered from the start; the others come with their first
/// call, because each is a dozen series that few scrapes would ever see move.
pub struct Calls {
    method: &'static str,
    by_code: [OnceLock<Histogram>; CODES.len()],
}

impl Calls {
    fn new(method: &'static str) -> Self {
        let calls = Self { method, by_code: [const { OnceLock::new() }; CODES.len()] };
        calls.histogram(0);
        calls
    }

    /// Records that one RPC ended, with this gRPC code.
    pub fn ended(&self, code: usize, seconds: f64) {
        if let Some(histogram) = self.histogram(code) {
            histogram.record(seconds);
        }
    }

    fn histogram(&self, code: usize) -> Option<&Histogram> {
        let (method, name) = (self.method, *CODES.get(code)?);
        let made = || {
            histogram!(CALL_DURATION, "rpc_system_name" => "grpc", "rpc_method" => method,
                       "rpc_response_status_code" => name)
        };
        Some(self.by_code.get(code)?.get_or_init(made))
    }
}

/// Reads the metrics of this process.
pub type Exporter = PrometheusHandle;

/// The content type of the text for Prometheus (exposition format 0.0.4).
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The exporter of this process, set up at the first call.
pub fn exporter() -> Result<Exporter, BuildError> {
    static EXPORTER: OnceLock<Exporter> = OnceLock::new();
    if let Some(exporter) = EXPORTER.get() {
        return Ok(exporter.clone());
    }
    let exporter = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full(CALL_DURATION.to_owned()), &BUCKETS)?
        .set_buckets_for_metric(Matcher::Full(HTTP_DURATION.to_owned()), &BUCKETS)?
        .install_recorder()?;
    Ok(EXPORTER.get_or_init(|| exporter).clone())
}

impl Metrics {
    /// Registers every metric at zero, so that each is there from the first scrape. `methods` are
    /// full gRPC paths without the leading slash; `routes` paths of plain HTTP; `statuses` the names of verdicts.
    #[must_use]
    pub fn register(
        methods: &[&'static str],
        routes: &[&'static str],
        statuses: &[&'static str],
    ) -> Arc<Self> {
        describe_histogram!(
            HTTP_DURATION,
            metrics::Unit::Seconds,
            "Duration of plain HTTP requests by route and status."
        );
        describe_histogram!(CALL_DURATION, metrics::Unit::Seconds, "Duration of RPCs by method and code.");
        describe_counter!(ISSUED, "Access tokens minted, by the RPC that minted them.");
        describe_counter!(VALIDATIONS, "Tokens judged, by verdict.");
        describe_counter!(REFRESHES, "Refresh tokens presented, by outcome.");
        describe_counter!(REVOCATIONS, "Revocations asked for, by outcome.");
        describe_gauge!(
            LEASE_AGE,
            metrics::Unit::Seconds,
            "Time since the lease was last renewed; at 2.7 s nothing is answered."
        );
        describe_counter!(
            PROBES,
            "Answers of other replicas to a revoked canary, by outcome; alive must stay 0."
        );
        describe_gauge!(PROBE_REVOKE, metrics::Unit::Seconds, "What the latest canary's Revoke took.");
        describe_gauge!(LOG_SEQUENCE, "Sequence number up to which the log is applied.");
        describe_gauge!(
            CLOCK_OFFSET,
            metrics::Unit::Seconds,
            "How far the database's clock is ahead of this server's."
        );
        describe_gauge!(HELD, "Revocations held in memory, by kind.");
        describe_gauge!(HIGH_WATER, "Revocations that memory may hold before it is an alert.");
        describe_gauge!(ABOVE, "1 while memory holds more revocations than the high-water mark, else 0.");
        describe_gauge!(
            CHAIN_NUMBER,
            "Rows of the longest chain of audit rows that a task wrote in the last minute."
        );
        describe_gauge!(STRAY, "Rows in default partitions: above 0 partitions are not made in time.");
        describe_gauge!(
            KEY_AGE,
            metrics::Unit::Seconds,
            "Time since the key that signs began to, by algorithm."
        );
        describe_gauge!(
            KEY_ROTATION,
            metrics::Unit::Seconds,
            "Time until the key that signs is to be replaced, by algorithm; below 0 rotation is overdue."
        );
        describe_gauge!(POOL, "Connections to the database, by state.");
        describe_gauge!(
            CERTIFICATE_END,
            metrics::Unit::Seconds,
            "Last second, since the epoch, of the certificate that a listener uses; 0: it has none."
        );
        let certificate_end = |listener| (listener, gauge!(CERTIFICATE_END, "listener" => listener));
        let calls = methods.iter().map(|&method| (method, Calls::new(method)));
        let metrics = Self {
            calls: calls.collect(),
            routes: routes.iter().map(|&route| (route, http_histogram(route, HTTP_OK))).collect(),
            issued: counters(ISSUED, "rpc", &["Issue", "Refresh"]),
            validations: statuses.iter().map(|&status| counter!(VALIDATIONS, "status" => status)).collect(),
            refreshes: counters(REFRESHES, "outcome", &REFRESH_OUTCOMES),
            revocations: counters(REVOCATIONS, "outcome", &REVOKE_OUTCOMES),
            probes: counters(PROBES, "outcome", &PROBE_OUTCOMES),
            probe_revoke: gauge!(PROBE_REVOKE),
            lease_age: gauge!(LEASE_AGE),
            log_sequence: gauge!(LOG_SEQUENCE),
            clock_offset: gauge!(CLOCK_OFFSET),
            held: ["token", "session", "mark"].map(|kind| gauge!(HELD, "kind" => kind)),
            high_water: HighWater::default(),
            stray: gauge!(STRAY),
            chains: CHAIN_WRITERS.map(|writer| (writer, gauge!(CHAIN_NUMBER, "writer" => writer))).into(),
            heads: Heads::default(),
            keys: KEY_ALGORITHMS
                .into_iter()
                .map(|name| (name, [KEY_AGE, KEY_ROTATION].map(|gauge| gauge!(gauge, "algorithm" => name))))
                .collect(),
            pool: ["used", "idle"].map(|state| gauge!(POOL, "state" => state)),
            certificate_ends: TLS_LISTENERS.map(certificate_end).into(),
        };
        Arc::new(metrics)
    }

    /// The measurements of a method, if it is measured by name: its full gRPC path without the leading slash.
    #[must_use]
    pub fn calls(&self, method: &str) -> Option<&Calls> {
        self.calls.get(method)
    }

    /// Records that a plain HTTP request ended.
    pub fn http_request(&self, route: &str, status: u16, seconds: f64) {
        if status == HTTP_OK {
            if let Some(histogram) = self.routes.get(route) {
                histogram.record(seconds);
            }
        } else {
            http_histogram(route.to_owned(), status).record(seconds);
        }
    }

    /// Counts a minted access token.
    pub fn issued(&self, rpc: &str) {
        count(&self.issued, rpc);
    }

    /// Counts a judged token: `status` is the index among the registered statuses.
    pub fn validated(&self, status: usize) {
        if let Some(counter) = self.validations.get(status) {
            counter.increment(1);
        }
    }

    /// Counts a presented refresh token.
    pub fn refreshed(&self, outcome: &str) {
        count(&self.refreshes, outcome);
    }

    /// Counts a requested revocation.
    pub fn revoked(&self, outcome: &str) {
        count(&self.revocations, outcome);
    }

    /// Counts a probe of another replica.
    pub fn probed(&self, outcome: &str) {
        count(&self.probes, outcome);
    }

    /// Records that a canary was revoked.
    pub fn probe_revoked(&self, seconds: f64) {
        self.probe_revoke.set(seconds);
    }

    /// Records the revision up to which the log was read.
    pub fn log_read(&self, applied: crate::token::Revision) {
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

    /// Sets the number of revocations in memory from which on there is an alert.
    pub fn set_high_water(&self, limit: u32) {
        self.high_water.limit.store(limit, Ordering::Relaxed);
        gauge!(HIGH_WATER).set(f64::from(limit));
    }

    /// Records the revocations in memory.
    pub fn held(&self, tokens: usize, sessions: usize, marks: usize) {
        let all = [tokens, sessions, marks].map(|held| u32::try_from(held).unwrap_or(u32::MAX));
        for (gauge, held) in self.held.iter().zip(all) {
            gauge.set(f64::from(held));
        }
        self.high_water.saw(all.into_iter().fold(0, u32::saturating_add));
    }

    /// Records the head of a chain of audit rows that this task writes.
    pub fn audit_head(&self, writer: &str, chain: &str, number: i64, tag: &str) {
        self.heads.tell(writer, chain, number, tag);
        if let Some(gauge) = self.chains.get(writer) {
            gauge.set(f64::from(u32::try_from(number).unwrap_or(u32::MAX)));
        }
    }

    /// The heads of all chains, as text for Prometheus.
    #[must_use]
    pub fn audit_heads(&self) -> String {
        self.heads.render()
    }

    /// Records the rows that found no partition of their own.
    pub fn stray(&self, stray: i64) {
        self.stray.set(f64::from(u32::try_from(stray).unwrap_or(u32::MAX)));
    }

    /// Records the end of validity of a listener's certificate, seconds since the epoch.
    pub fn certificate_end(&self, listener: &str, end_s: i64) {
        if let Some(gauge) = self.certificate_ends.get(listener) {
            gauge.set(f64::from(u32::try_from(end_s).unwrap_or(u32::MAX)));
        }
    }

    /// Records the age of the key that signs, and the time until it is to be replaced, in seconds.
    pub fn key(&self, algorithm: &str, age_s: i64, left_s: i64) {
        let seconds = |seconds: i64| i32::try_from(seconds).map_or(f64::MAX, f64::from);
        if let Some([age, left]) = self.keys.get(algorithm) {
            age.set(seconds(age_s));
            left.set(seconds(left_s));
        }
    }

    /// Records the connections to the database.
    pub fn pool(&self, open: u32, idle: usize) {
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        for (gauge, connections) in self.pool.iter().zip([open.saturating_sub(idle), idle]) {
            gauge.set(f64::from(connections));
        }
    }
}

/// `route` is one of the served routes, so that series stay few.
fn http_histogram(route: impl Into<metrics::SharedString>, status: u16) -> Histogram {
    histogram!(HTTP_DURATION, "http_route" => route.into(), "http_response_status_code" => status.to_string())
}

fn counters(
    name: &'static str,
    label: &'static str,
    values: &[&'static str],
) -> HashMap<&'static str, Counter> {
    values.iter().map(|&value| (value, counter!(name, label => value))).collect()
}

fn count(counters: &HashMap<&'static str, Counter>, value: &str) {
    if let Some(counter) = counters.get(value) {
        counter.increment(1);
    }
}
