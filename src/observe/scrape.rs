//! All metrics as text: each by its name, as OpenTelemetry and Prometheus spell it, and with what it means.

use std::sync::{PoisonError, atomic::Ordering};

use crate::observe::{
    CODES, HTTP_OK, Metrics,
    series::{Counter, Gauge, Labelled},
    text::{Kind, Text},
};

/// Server-side duration of RPCs: OpenTelemetry's `rpc.server.call.duration` in Prometheus' spelling.
const CALL_DURATION: &str = "rpc_server_call_duration_seconds";
/// Server-side duration of plain HTTP requests, as OpenTelemetry's `http.server.request.duration`.
const HTTP_DURATION: &str = "http_server_request_duration_seconds";

impl Metrics {
    /// What Prometheus reads.
    #[must_use]
    pub fn scrape(&self) -> String {
        let mut text = Text::default();
        self.write_durations(&mut text);
        self.write_counters(&mut text);
        self.write_gauges(&mut text);
        self.heads.write(&mut text);
        text.finish()
    }

    fn write_durations(&self, text: &mut Text) {
        text.family(CALL_DURATION, Kind::Histogram, "Duration of RPCs by method and code.");
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_unstable_by_key(|(method, _)| **method);
        for (method, calls) in calls {
            for (place, (code, durations)) in CODES.iter().zip(&calls.0).enumerate() {
                if place == 0 || !durations.is_empty() {
                    let labels = [
                        ("rpc_system_name", "grpc"),
                        ("rpc_method", method),
                        ("rpc_response_status_code", code),
                    ];
                    text.durations(CALL_DURATION, &labels, durations);
                }
            }
        }
        text.family(HTTP_DURATION, Kind::Histogram, "Duration of plain HTTP requests by route and status.");
        let mut routes: Vec<_> = self.routes.iter().collect();
        routes.sort_unstable_by_key(|(path, _)| **path);
        for (path, route) in routes {
            let others = route.others.lock().unwrap_or_else(PoisonError::into_inner);
            let others = others.iter().map(|(status, durations)| (*status, durations));
            for (status, durations) in [(HTTP_OK, &route.ok)].into_iter().chain(others) {
                let labels = [("http_route", *path), ("http_response_status_code", &*status.to_string())];
                text.durations(HTTP_DURATION, &labels, durations);
            }
        }
    }

    fn write_counters(&self, text: &mut Text) {
        let families: [(&str, &str, &Labelled<Counter>); 5] = [
            ("jeton_tokens_issued_total", "Access tokens minted, by the RPC that minted them.", &self.issued),
            ("jeton_validations_total", "Tokens judged, by verdict.", &self.validations),
            ("jeton_refreshes_total", "Refresh tokens presented, by outcome.", &self.refreshes),
            ("jeton_revocations_total", "Revocations asked for, by outcome.", &self.revocations),
            (
                "jeton_probes_total",
                "Answers of other replicas to a revoked canary, by outcome; alive must stay 0.",
                &self.probes,
            ),
        ];
        for (name, help, counters) in families {
            text.family(name, Kind::Counter, help);
            for (value, counter) in counters.iter() {
                text.sample(name, &[(counters.label, value)], counter.get());
            }
        }
    }

    fn write_gauges(&self, text: &mut Text) {
        let limit = f64::from(self.high_water.limit.load(Ordering::Relaxed));
        let above = f64::from(u8::from(self.high_water.above.load(Ordering::Relaxed)));
        let single = [
            (
                "jeton_lease_age_seconds",
                "Time since the lease was last renewed; at 2.7 s nothing is answered.",
                self.lease_age.get(),
            ),
            ("jeton_probe_revoke_seconds", "What the latest canary's Revoke took.", self.probe_revoke.get()),
            (
                "jeton_log_applied_sequence",
                "Sequence number up to which the log is applied.",
                self.log_sequence.get(),
            ),
            (
                "jeton_clock_offset_seconds",
                "How far the database's clock is ahead of this server's.",
                self.clock_offset.get(),
            ),
            (
                "jeton_revocations_high_water",
                "Revocations that memory may hold before it is an alert.",
                limit,
            ),
            (
                "jeton_revocations_above_high_water",
                "1 while memory holds more revocations than the high-water mark, else 0.",
                above,
            ),
            (
                "jeton_default_partition_rows",
                "Rows in default partitions: above 0 partitions are not made in time.",
                self.stray.get(),
            ),
        ];
        for (name, help, value) in single {
            text.family(name, Kind::Gauge, help);
            text.sample(name, &[], value);
        }
        for (name, help, gauges) in self.labelled_gauges() {
            text.family(name, Kind::Gauge, help);
            for (value, gauge) in gauges.iter() {
                text.sample(name, &[(gauges.label, value)], gauge.get());
            }
        }
    }

    fn labelled_gauges(&self) -> [(&'static str, &'static str, &Labelled<Gauge>); 6] {
        [
            ("jeton_revocations_held", "Revocations held in memory, by kind.", &self.held),
            (
                "jeton_audit_chain_number",
                "Rows of the longest chain of audit rows that a task wrote in the last minute.",
                &self.chains,
            ),
            (
                "jeton_key_age_seconds",
                "Time since the key that signs began to, by algorithm.",
                &self.key_ages,
            ),
            (
                "jeton_key_rotation_seconds",
                "Time until the key that signs is to be replaced, by algorithm; below 0 rotation is overdue.",
                &self.key_rotations,
            ),
            ("db_client_connection_count", "Connections to the database, by state.", &self.pool),
            (
                "jeton_tls_certificate_not_after_seconds",
                "Last second, since the epoch, of the certificate that a listener uses; 0: it has none.",
                &self.certificate_ends,
            ),
        ]
    }
}
