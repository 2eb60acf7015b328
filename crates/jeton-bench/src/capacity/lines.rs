//! The lines of a plan: each with the arithmetic behind it, by the names of the figures that go into it.

use super::{
    figures::Measured,
    model::{
        AUDIT_DAYS, BATCH_STATEMENTS, FOLLOW_STATEMENTS, IDLE_STATEMENTS, POSTGRES_CONNECTIONS, Plan,
        REVOCATION_WRITES,
    },
    number::{bits, bytes, number},
};

/// One line of the plan.
pub struct Line {
    /// The name in JSON.
    pub name: &'static str,
    pub what: &'static str,
    pub value: f64,
    /// The value for people.
    pub shown: String,
    /// The arithmetic, by names of figures.
    pub how: String,
}

/// All lines of the plan.
pub fn lines(measured: &Measured, plan: &Plan) -> Vec<Line> {
    let all =
        [of_cores(measured, plan), of_memory(measured, plan), of_postgres(measured, plan), of_revoke(plan)];
    all.into_iter().flatten().collect()
}

/// A line; `show` formats its value.
fn line(
    name: &'static str,
    what: &'static str,
    value: f64,
    show: impl Fn(f64) -> String,
    how: String,
) -> Line {
    Line { name, what, value, shown: show(value), how }
}

fn of_cores(measured: &Measured, plan: &Plan) -> Vec<Line> {
    let (demand, cpu, figures) = (&plan.demand, &plan.cpu, &measured.figures);
    let rate = |rate: f64| format!("{}/s", number(rate));
    let calls = demand.validations;
    let signature_us = (figures.validate_unseen_us - figures.validate_seen_1k_us).max(0.0);
    let first_sight = format!(
        "+ {:.3} % never seen × {} µs (validate_unseen_us − validate_seen_1k_us)",
        cpu.unseen * 100.0,
        number(signature_us)
    );
    let shared = |figure: &str| format!("at most {} cores of the machine ÷ {figure}", number(measured.cores));
    let cores = |value: f64| format!("{} cores", number(value));
    let replicas = f64::from(plan.replicas);
    vec![
        line(
            "validate_cores",
            "Validate",
            cpu.validate,
            cores,
            format!(
                "{} × ({} µs (validate_seen_*_us at {} tokens) {first_sight})",
                rate(calls),
                number(cpu.seen_us),
                number(demand.tokens)
            ),
        ),
        line(
            "validate_stream_cores",
            "… by StreamValidate",
            cpu.streamed,
            cores,
            format!(
                "instead: {} × ({} µs (validate_stream_us) + the same)",
                rate(calls),
                number(figures.validate_stream_us)
            ),
        ),
        line(
            "validate_batch_cores",
            "… by BatchValidate(100)",
            cpu.batched,
            cores,
            format!(
                "instead: {} × ({} µs (validate_batch_us) + the same)",
                rate(calls),
                number(figures.validate_batch_us)
            ),
        ),
        line(
            "issue_cores",
            "Issue",
            cpu.issue,
            cores,
            format!("{} × {} µs (issue_us)", rate(demand.issues), number(figures.issue_us)),
        ),
        line(
            "refresh_cores",
            "Refresh",
            cpu.refresh,
            cores,
            format!("{} × {}", rate(demand.refreshes), shared("refreshes_per_second")),
        ),
        line(
            "revoke_cores",
            "Revoke",
            cpu.revoke,
            cores,
            format!("{} × {}", rate(demand.revocations), shared("revokes_per_second_1")),
        ),
        line(
            "cores",
            "cores",
            replicas * demand.cores,
            number,
            format!(
                "the sum, {} cores, × {} headroom, in {} replicas of {}",
                number(cpu.total),
                number(demand.headroom),
                plan.replicas,
                number(demand.cores)
            ),
        ),
    ]
}

fn of_memory(measured: &Measured, plan: &Plan) -> Vec<Line> {
    let (demand, memory, figures) = (&plan.demand, &plan.memory, &measured.figures);
    vec![
        line(
            "memory_revocations",
            "memory: revocations",
            memory.revocations,
            bytes,
            format!(
                "{}/s × kept {} s = {} live × {} B (revocation_bytes)",
                number(demand.revocations),
                number(demand.kept_s),
                number(memory.live_revocations),
                number(figures.revocation_bytes)
            ),
        ),
        line(
            "memory_tokens",
            "memory: verified tokens",
            memory.cache,
            bytes,
            format!(
                "{} live × {} B (token_bytes); the cache holds {} (token_cache_bytes)",
                number(demand.tokens),
                number(figures.token_bytes),
                number(memory.cache_tokens)
            ),
        ),
        line(
            "memory_connections",
            "memory: connections",
            memory.connections,
            bytes,
            format!(
                "{} × {} (connection_bytes)",
                number(demand.connections),
                bytes(figures.connection_bytes)
            ),
        ),
        line(
            "memory",
            "memory of a replica",
            memory.total,
            bytes,
            format!(
                "the sum, and {} of an empty one (replica_base_bytes)",
                bytes(figures.replica_base_bytes)
            ),
        ),
        line(
            "start_seconds",
            "start of a replica",
            memory.start_s,
            |s| format!("{} s", number(s)),
            format!(
                "{} s (start_base_s) + {} revocations × {} µs (start_us_per_revocation)",
                number(figures.start_base_s),
                number(memory.live_revocations),
                number(figures.start_us_per_revocation)
            ),
        ),
        line(
            "received_bits_per_second",
            "network to a replica",
            memory.received * 8.0,
            bits,
            format!(
                "its validations × {} B (validate_request_bytes); back {}",
                number(figures.validate_request_bytes),
                bits(memory.sent * 8.0)
            ),
        ),
    ]
}

fn of_postgres(measured: &Measured, plan: &Plan) -> Vec<Line> {
    let (demand, postgres, figures) = (&plan.demand, &plan.postgres, &measured.figures);
    let per_second = |value: f64| format!("{}/s", number(value));
    let rows =
        |rows: f64, figure: &str, each: f64| format!("{} rows × {} B ({figure})", number(rows), number(each));
    vec![
        line(
            "commits_per_second",
            "Postgres: commits",
            postgres.commits,
            per_second,
            format!(
                "{} batches of revocations + {} leases + {} refreshes",
                per_second(postgres.batches),
                plan.replicas,
                per_second(demand.refreshes)
            ),
        ),
        line(
            "statements_per_second",
            "Postgres: statements in all",
            postgres.statements,
            per_second,
            format!(
                "refreshes + {} replicas × {} + {} batches × ({} + {} × other replicas)",
                plan.replicas,
                number(IDLE_STATEMENTS),
                number(postgres.batches),
                number(BATCH_STATEMENTS),
                number(FOLLOW_STATEMENTS)
            ),
        ),
        line(
            "postgres_busy",
            "Postgres: busy",
            postgres.busy * 100.0,
            |percent| format!("{} %", number(percent)),
            format!(
                "commits ÷ {} (commits_per_second) + the other statements ÷ {} (reads_per_second)",
                per_second(figures.commits_per_second),
                per_second(figures.reads_per_second)
            ),
        ),
        line(
            "postgres_connections",
            "Postgres: connections",
            postgres.connections,
            number,
            format!("{} replicas × {} at most", plan.replicas, number(POSTGRES_CONNECTIONS)),
        ),
        line(
            "writes_per_second",
            "Postgres: rows, index entries",
            postgres.writes,
            per_second,
            format!(
                "{} × {} + refreshes + acknowledgements + leases",
                per_second(demand.revocations),
                number(REVOCATION_WRITES)
            ),
        ),
        line(
            "wal_bytes_per_second",
            "Postgres: log",
            postgres.wal,
            |value| format!("{}/s", bytes(value)),
            format!(
                "{} × {} B (revocation_wal_bytes) + the others × {} B (refresh_wal_bytes); images of pages beside",
                per_second(demand.revocations),
                number(figures.revocation_wal_bytes),
                number(figures.refresh_wal_bytes)
            ),
        ),
        line(
            "revocation_table_bytes",
            "table revocation",
            postgres.revocation_bytes,
            bytes,
            rows(postgres.revocation_rows, "revocation_row_bytes", figures.revocation_row_bytes),
        ),
        line(
            "audit_table_bytes",
            "table audit_event",
            postgres.audit_bytes,
            bytes,
            format!(
                "{} rows a day × {} days × {} B (audit_row_bytes)",
                number(postgres.audit_rows_per_day),
                number(AUDIT_DAYS),
                number(figures.audit_row_bytes)
            ),
        ),
        line(
            "session_table_bytes",
            "table session",
            postgres.session_bytes,
            bytes,
            rows(demand.sessions, "session_row_bytes", figures.session_row_bytes),
        ),
    ]
}

fn of_revoke(plan: &Plan) -> Vec<Line> {
    let revoke = &plan.revoke;
    let ms = |value: f64| format!("{} ms", number(value));
    vec![
        line(
            "revoke_p50_ms",
            "a Revoke: p50",
            revoke.p50_ms,
            ms,
            format!(
                "a commit, {} (commit_p50_ms), and the barrier of {} replicas (revoke_p50_ms_*)",
                ms(revoke.commit_ms),
                plan.replicas
            ),
        ),
        line(
            "revoke_p99_ms",
            "a Revoke: p99",
            revoke.p99_ms,
            ms,
            "a commit and the barrier (revoke_p99_ms_*); 3.3 s, once, when a replica has died".to_owned(),
        ),
    ]
}
