//! Tests of the model with figures that are easy to compute by hand.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{super::figures::measured, *};

fn demand() -> Demand {
    Demand {
        validations: 1e6,
        tokens: 1e5,
        unseen: Some(0.0),
        issues: 0.0,
        refreshes: 0.0,
        sessions: 0.0,
        revocations: 100.0,
        kept_s: 1_020.0,
        cores: 4.0,
        headroom: 2.0,
        connections: 1_000.0,
    }
}

fn planned(demand: &Demand) -> Plan {
    plan(&measured().unwrap(), demand).unwrap()
}

#[track_caller]
fn close(value: f64, expected: f64) {
    assert!((value - expected).abs() <= expected.abs() * 1e-9, "{value} is {expected}");
}

fn times(plan: &Plan, resource: Resource) -> f64 {
    plan.limits.iter().find(|limit| limit.resource == resource).unwrap().times
}

#[test]
fn cores_are_calls_by_what_one_takes_and_replicas_leave_headroom() {
    let figures = measured().unwrap().figures;
    let plan = planned(&Demand { revocations: 0.0, ..demand() });
    close(plan.cpu.validate, figures.validate_seen_100k_us);
    close(plan.cpu.total, plan.cpu.validate);
    let replicas = f64::from(plan.replicas);
    assert!(replicas * 4.0 >= plan.cpu.total * 2.0, "{plan:?}");
    assert!((replicas - 1.0) * 4.0 < plan.cpu.total * 2.0, "no more than needed: {plan:?}");
    // All tokens are verified at each call. That may be more than one cell carries; the cores are those of one.
    let plan = planned(&Demand { unseen: Some(1.0), tokens: 1e3, ..demand() });
    close(plan.cpu.validate * f64::from(plan.cells), figures.validate_unseen_us);
    // No load; yet one replica may be lost.
    let idle = Demand { validations: 0.0, revocations: 0.0, unseen: None, ..demand() };
    assert_eq!((planned(&idle).replicas, planned(&idle).cells), (2, 1));
}

#[test]
fn each_replica_verifies_each_token_once_and_again_what_its_cache_cannot_hold() {
    let few = planned(&Demand { unseen: None, issues: 100.0, ..demand() });
    close(few.cpu.unseen, 100.0 * f64::from(few.replicas) / 1e6);
    let room = few.memory.cache_tokens;
    let many = planned(&Demand { unseen: None, tokens: room * 4.0, ..demand() });
    close(many.cpu.unseen, 0.75);
    assert!(many.cpu.validate > few.cpu.validate * 2.0);
    close(many.memory.cache, measured().unwrap().figures.token_cache_bytes);
}

#[test]
fn what_lies_between_measured_points_is_on_the_line_and_beyond_goes_on_along_it() {
    let points = [(1.0, 1.0), (10.0, 3.0), (100.0, 4.0)];
    for (x, y) in [(0.5, 1.0), (1.0, 1.0), (10.0, 3.0), (100.0, 4.0), (1_000.0, 5.0)] {
        close(along(x, &points), y);
    }
    close(along(10_f64.sqrt(), &points), 2.0);
    let figures = measured().unwrap().figures;
    close(revoke(&figures, 3).p50_ms, figures.revoke_p50_ms_3);
    close(revoke(&figures, 10).per_second, figures.revokes_per_second_10);
    assert!(revoke(&figures, 30).per_second > 0.0);
}

#[test]
fn memory_is_base_revocations_cache_and_connections() {
    let figures = measured().unwrap().figures;
    let plan = planned(&demand());
    close(plan.memory.live_revocations, 102_000.0);
    close(plan.memory.revocations, 102_000.0 * figures.revocation_bytes);
    let sum = figures.replica_base_bytes
        + plan.memory.revocations
        + 1e5 * figures.token_bytes
        + 1e3 * figures.connection_bytes;
    close(plan.memory.total, sum);
}

#[test]
fn tables_grow_with_revocations_and_statements_with_replicas() {
    let plan = planned(&demand());
    let replicas = f64::from(plan.replicas);
    close(plan.postgres.batches, 100.0);
    close(plan.postgres.commits, 100.0 + replicas);
    close(plan.postgres.statements, replicas * 13.0 + 100.0 * (4.0 + 2.0 * (replicas - 1.0)));
    close(plan.postgres.audit_rows_per_day, 8.64e6);
    close(plan.postgres.revocation_rows, 102_000.0 + 100.0 * 46_800.0);
    let figures = measured().unwrap().figures;
    let reads = plan.postgres.statements - plan.postgres.commits;
    close(
        plan.postgres.busy,
        plan.postgres.commits / figures.commits_per_second + reads / figures.reads_per_second,
    );
    // Revocations that arrive during a batch go into the next one.
    let most = 1e3 / figures.revoke_p50_ms_1;
    let many = Demand { revocations: most * 5.0, ..demand() };
    close(postgres(&figures, &many, 3, 0.0).batches, most);
}

#[test]
fn what_one_postgres_cannot_carry_is_cut_into_cells_and_no_plan_is_none() {
    let one = planned(&demand());
    assert_eq!(one.cells, 1);
    let first = one.limits.first().unwrap();
    assert!(one.limits.iter().all(|limit| limit.times >= first.times && first.times >= 1.0));
    let most = measured().unwrap().figures.revokes_per_second_1;
    let many = planned(&Demand { revocations: most * 3.0, ..demand() });
    assert!(many.cells > 3, "{many:?}");
    assert!(times(&many, Resource::Revokes) >= 1.0);
    close(many.demand.revocations * f64::from(many.cells), most * 3.0);
    let large = planned(&Demand { validations: 1e8, ..demand() });
    assert!(large.cells > 1 && large.replicas <= REPLICAS_MAX, "{large:?}");
    assert!(plan(&measured().unwrap(), &Demand { validations: 1e12, ..demand() }).is_none());
}
