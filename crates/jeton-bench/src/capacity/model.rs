//! The resources that a load takes, from measured figures: a pure function.

use super::figures::{Figures, Measured};

/// The fewest replicas: one may be lost.
const REPLICAS_MIN: u32 = 2;
/// The most replicas of one log. Each Revoke waits for the slowest of them, and all of them read and acknowledge each
/// batch of revocations: three times as many as were measured, and as many as the protocol's own trials had with
/// single-digit latency.
pub const REPLICAS_MAX: u32 = 30;
/// The most cells of a plan.
const CELLS_MAX: u32 = 1_000;

/// The ranges of the measurements: live tokens, live revocations, replicas, connections of one, sessions.
pub const TOKENS_MEASURED: f64 = 1e6;
pub const REVOCATIONS_MEASURED: f64 = 1e7;
pub const REPLICAS_MEASURED: u32 = 10;
pub const CONNECTIONS_MEASURED: f64 = 1e4;
pub const SESSIONS_MEASURED: f64 = 1e6;

/// A revocation's row is kept an hour longer than in memory, and until the twelve hours of its partition are over.
const ON_DISK_LONGER_S: f64 = 13.0 * 3_600.0;
/// The time for which audit rows are kept.
pub const AUDIT_DAYS: f64 = 400.0;
pub const DAY_S: f64 = 86_400.0;

/// Statements of an idle replica each second: a renewal of its lease, ten looks at the head, two at the others.
pub const IDLE_STATEMENTS: f64 = 13.0;
/// Statements for each batch: the append, and the looks of its barrier.
pub const BATCH_STATEMENTS: f64 = 4.0;
/// Statements for each batch on each other replica: reading it, and the acknowledgement.
pub const FOLLOW_STATEMENTS: f64 = 2.0;
/// Connections of a replica to Postgres under load: five of its own, four for refreshes, and sixteen.
pub const POSTGRES_CONNECTIONS: f64 = 26.0;
/// Rows and index entries that a revocation writes: two and five.
pub const REVOCATION_WRITES: f64 = 7.0;

/// The load; per second unless noted.
#[derive(Clone, Debug)]
pub struct Demand {
    pub validations: f64,
    /// Live at a time.
    pub tokens: f64,
    /// The part of the validations whose token the replica has not seen; derived if it is not given.
    pub unseen: Option<f64>,
    pub issues: f64,
    pub refreshes: f64,
    /// Live at a time.
    pub sessions: f64,
    pub revocations: f64,
    /// The time for which a revocation is kept, seconds.
    pub kept_s: f64,
    /// Cores of one replica.
    pub cores: f64,
    /// The capacity as a multiple of the load.
    pub headroom: f64,
    /// Connections of one replica.
    pub connections: f64,
}

/// The resources that the load takes. All fields but `cells` are for one cell.
#[derive(Clone, Debug)]
pub struct Plan {
    pub cells: u32,
    pub demand: Demand,
    pub replicas: u32,
    pub cpu: Cpu,
    pub memory: Memory,
    pub postgres: Postgres,
    pub revoke: Revoke,
    /// The multiple of the load at which each bottleneck binds, the first to bind first.
    pub limits: Vec<Limit>,
}

/// Busy cores, over all replicas of the cell.
#[derive(Clone, Debug)]
pub struct Cpu {
    pub seen_us: f64,
    /// The part of the validations that must verify a signature.
    pub unseen: f64,
    pub validate: f64,
    /// Cores for Validate if all tokens came in streams, or in batches of 100.
    pub streamed: f64,
    pub batched: f64,
    pub issue: f64,
    pub refresh: f64,
    pub revoke: f64,
    pub total: f64,
}

/// Bytes of one replica.
#[derive(Clone, Debug)]
pub struct Memory {
    pub live_revocations: f64,
    pub revocations: f64,
    /// The tokens that a full cache holds.
    pub cache_tokens: f64,
    pub cache: f64,
    pub connections: f64,
    pub total: f64,
    /// Seconds from the start of a replica until it serves.
    pub start_s: f64,
    /// Bytes per second that Validate receives and sends.
    pub received: f64,
    pub sent: f64,
}

/// The load of the cell's Postgres.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Batches of revocations per second.
    pub batches: f64,
    /// Commits that wait for the disk, per second.
    pub commits: f64,
    /// All statements per second, including those.
    pub statements: f64,
    /// The part of its time that it is busy.
    pub busy: f64,
    pub connections: f64,
    /// Rows and index entries per second.
    pub writes: f64,
    /// Bytes of WAL per second.
    pub wal: f64,
    pub revocation_rows: f64,
    pub revocation_bytes: f64,
    pub audit_rows_per_day: f64,
    pub audit_bytes: f64,
    pub session_bytes: f64,
}

/// The time of a Revoke while all is well, ms, and the greatest rate.
#[derive(Clone, Debug)]
pub struct Revoke {
    pub commit_ms: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub per_second: f64,
}

/// The bottlenecks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Replicas' cores, with the most replicas that a cell has.
    Cores,
    /// Commits and statements of the one Postgres.
    Postgres,
    /// Appends under the lock of the log's head.
    Revokes,
    Refreshes,
}

/// The multiple of this load that a bottleneck allows, with headroom.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    pub resource: Resource,
    pub times: f64,
}

/// The fewest cells, of the fewest replicas, that carry the load with headroom; `None` if a thousand cells do not.
pub fn plan(measured: &Measured, demand: &Demand) -> Option<Plan> {
    (1..=CELLS_MAX).find_map(|cells| {
        let plan = cell(measured, demand.part(cells), cells);
        plan.limits.iter().all(|limit| limit.times >= 1.0).then_some(plan)
    })
}

impl Demand {
    /// The load of one of `cells` cells that share it.
    fn part(&self, cells: u32) -> Self {
        let part = |whole: f64| whole / f64::from(cells);
        Self {
            validations: part(self.validations),
            tokens: part(self.tokens),
            issues: part(self.issues),
            refreshes: part(self.refreshes),
            sessions: part(self.sessions),
            revocations: part(self.revocations),
            ..self.clone()
        }
    }
}

fn cell(measured: &Measured, demand: Demand, cells: u32) -> Plan {
    let carry = |replicas: &u32| {
        cpu(measured, &demand, *replicas).total * demand.headroom <= f64::from(*replicas) * demand.cores
    };
    let replicas = (REPLICAS_MIN..=REPLICAS_MAX).find(carry).unwrap_or(REPLICAS_MAX);
    let cpu = cpu(measured, &demand, replicas);
    let memory = memory(&measured.figures, &demand, replicas);
    let postgres = postgres(&measured.figures, &demand, replicas, memory.live_revocations);
    let revoke = revoke(&measured.figures, replicas);
    let mut limits = limits(measured, &demand, &postgres, &revoke);
    limits.sort_by(|a, b| a.times.total_cmp(&b.times));
    Plan { cells, demand, replicas, cpu, memory, postgres, revoke, limits }
}

fn cpu(measured: &Measured, demand: &Demand, replicas: u32) -> Cpu {
    let figures = &measured.figures;
    let seen_us = along(
        demand.tokens,
        &[
            (1e3, figures.validate_seen_1k_us),
            (1e5, figures.validate_seen_100k_us),
            (1e6, figures.validate_seen_1m_us),
        ],
    );
    let unseen = demand.unseen.unwrap_or_else(|| unseen(figures, demand, replicas));
    let cores = |calls: f64, us: f64| calls * us / 1e6;
    let signature_us = (figures.validate_unseen_us - figures.validate_seen_1k_us).max(0.0);
    let validations = |us: f64| cores(demand.validations, us + unseen * signature_us);
    let validate = validations(seen_us);
    let issue = cores(demand.issues, figures.issue_us);
    // Not measured alone, but no more than this: load, server and Postgres shared the machine's cores.
    let refresh = cores(demand.refreshes, measured.cores * 1e6 / figures.refreshes_per_second);
    let revoke = cores(demand.revocations, measured.cores * 1e6 / figures.revokes_per_second_1);
    Cpu {
        seen_us,
        unseen,
        validate,
        streamed: validations(figures.validate_stream_us),
        batched: validations(figures.validate_batch_us),
        issue,
        refresh,
        revoke,
        total: validate + issue + refresh + revoke,
    }
}

/// Calls are balanced one by one, so each replica sees each token. It verifies the token the first time, and again if
/// its cache had no room for it.
fn unseen(figures: &Figures, demand: &Demand, replicas: u32) -> f64 {
    if demand.validations <= 0.0 {
        return 0.0;
    }
    let minted = demand.issues + demand.refreshes;
    let first = (minted * f64::from(replicas) / demand.validations).min(1.0);
    let kept = (cache_tokens(figures) / demand.tokens.max(1.0)).min(1.0);
    1.0 - (1.0 - first) * kept
}

fn cache_tokens(figures: &Figures) -> f64 {
    figures.token_cache_bytes / figures.token_bytes
}

fn memory(figures: &Figures, demand: &Demand, replicas: u32) -> Memory {
    let live_revocations = demand.revocations * demand.kept_s;
    let revocations = live_revocations * figures.revocation_bytes;
    let cache_tokens = cache_tokens(figures);
    let cache = demand.tokens.min(cache_tokens) * figures.token_bytes;
    let connections = demand.connections * figures.connection_bytes;
    let calls = demand.validations / f64::from(replicas);
    Memory {
        live_revocations,
        revocations,
        cache_tokens,
        cache,
        connections,
        total: figures.replica_base_bytes + revocations + cache + connections,
        start_s: figures.start_base_s + live_revocations * figures.start_us_per_revocation / 1e6,
        received: calls * figures.validate_request_bytes,
        sent: calls * figures.validate_answer_bytes,
    }
}

fn postgres(figures: &Figures, demand: &Demand, replicas: u32, live_revocations: f64) -> Postgres {
    let replicas = f64::from(replicas);
    // One batch at a time holds the head; revocations that arrive meanwhile form the next batch.
    let batches = demand.revocations.min(1e3 / figures.revoke_p50_ms_1);
    let commits = batches + replicas + demand.refreshes;
    let others = replicas - 1.0;
    let statements = demand.refreshes
        + replicas * IDLE_STATEMENTS
        + batches * (BATCH_STATEMENTS + FOLLOW_STATEMENTS * others);
    let acknowledgements = batches * others;
    let revocation_rows = live_revocations + demand.revocations * ON_DISK_LONGER_S;
    let audit_rows_per_day = demand.revocations * DAY_S;
    Postgres {
        batches,
        commits,
        statements,
        busy: commits / figures.commits_per_second + (statements - commits) / figures.reads_per_second,
        connections: replicas * POSTGRES_CONNECTIONS,
        writes: demand.revocations * REVOCATION_WRITES + demand.refreshes + acknowledgements + replicas,
        wal: demand.revocations * figures.revocation_wal_bytes
            + (demand.refreshes + acknowledgements + replicas) * figures.refresh_wal_bytes,
        revocation_rows,
        revocation_bytes: revocation_rows * figures.revocation_row_bytes,
        audit_rows_per_day,
        audit_bytes: audit_rows_per_day * AUDIT_DAYS * figures.audit_row_bytes,
        session_bytes: demand.sessions * figures.session_row_bytes,
    }
}

fn revoke(figures: &Figures, replicas: u32) -> Revoke {
    let among =
        |[one, three, ten]: [f64; 3]| along(f64::from(replicas), &[(1.0, one), (3.0, three), (10.0, ten)]);
    let Figures { revoke_p50_ms_1, revoke_p50_ms_3, revoke_p50_ms_10, .. } = *figures;
    let Figures { revoke_p99_ms_1, revoke_p99_ms_3, revoke_p99_ms_10, .. } = *figures;
    let Figures { revokes_per_second_1, revokes_per_second_3, revokes_per_second_10, .. } = *figures;
    // Logarithms, because the rates fall by factors, not by steps.
    let per_second = among([revokes_per_second_1, revokes_per_second_3, revokes_per_second_10].map(f64::ln));
    Revoke {
        commit_ms: figures.commit_p50_ms,
        p50_ms: among([revoke_p50_ms_1, revoke_p50_ms_3, revoke_p50_ms_10]),
        p99_ms: among([revoke_p99_ms_1, revoke_p99_ms_3, revoke_p99_ms_10]),
        per_second: per_second.exp(),
    }
}

fn limits(measured: &Measured, demand: &Demand, postgres: &Postgres, revoke: &Revoke) -> Vec<Limit> {
    let figures = &measured.figures;
    let limit =
        |resource, capacity: f64, load: f64| Limit { resource, times: capacity / (load * demand.headroom) };
    let all_cores = f64::from(REPLICAS_MAX) * demand.cores;
    let limits = [
        limit(Resource::Cores, all_cores, cpu(measured, demand, REPLICAS_MAX).total),
        limit(Resource::Postgres, 1.0, postgres.busy),
        limit(Resource::Revokes, revoke.per_second, demand.revocations),
        limit(Resource::Refreshes, figures.refreshes_per_second, demand.refreshes),
    ];
    limits.into_iter().filter(|limit| limit.times.is_finite()).collect()
}

/// Between measured points, by the logarithm of x; before the first, the first; beyond the last, along the line.
fn along(x: f64, points: &[(f64, f64)]) -> f64 {
    let mut value = points.first().map_or(0.0, |(_, y)| *y);
    for pair in points.windows(2) {
        if let [(from, y), (to, z)] = *pair
            && x > from
        {
            value = y + (z - y) * (x / from).ln() / (to / from).ln();
        }
    }
    value
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;
