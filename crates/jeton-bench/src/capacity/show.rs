//! A plan as a table for people, in which each line shows its arithmetic, and as JSON for programs.

use serde_json::{Value, json};

use super::{
    figures::Measured,
    lines::lines,
    model::{Demand, Limit, Plan, REPLICAS_MAX, Resource},
    number::{bytes, number},
};

/// The plan for people.
pub fn table(measured: &Measured, whole: &Demand, plan: &Plan) -> String {
    let of = if plan.cells == 1 { String::new() } else { format!("{} cells, each of ", plan.cells) };
    let (replicas, cores) = (plan.replicas, number(plan.demand.cores));
    let head = format!(
        "{of}{replicas} replicas with {cores} cores and {} each, on one Postgres: for {} validations/s, {} live \
         tokens, {} issues/s, {} refreshes/s and {} revocations/s, {} times of which they carry.",
        bytes(plan.memory.total),
        number(whole.validations),
        number(whole.tokens),
        number(whole.issues),
        number(whole.refreshes),
        number(whole.revocations),
        number(whole.headroom),
    );
    let mut rows = vec![[
        if plan.cells == 1 { "WHAT" } else { "OF EACH CELL" }.to_owned(),
        "TAKES".to_owned(),
        "HOW".to_owned(),
    ]];
    rows.extend(lines(measured, plan).into_iter().map(|line| [line.what.to_owned(), line.shown, line.how]));
    let machine = |name| measured.machine.get(name).map_or("", String::as_str);
    format!(
        "{head}\n\n{}\n{}\nMeasured on {}, {} cores, {}; Postgres {}; {}. `--output json` says what each figure is \
         from.",
        aligned(&rows),
        sentence(plan),
        machine("cpu"),
        machine("cores"),
        machine("memory"),
        machine("postgres"),
        machine("time"),
    )
}

/// Rows whose columns begin below each other, each with a newline.
fn aligned(rows: &[[String; 3]]) -> String {
    let width = |of: fn(&[String; 3]) -> &String| {
        rows.iter().map(|row| of(row).chars().count()).max().unwrap_or_default()
    };
    let (first, second) = (width(|[it, _, _]| it), width(|[_, it, _]| it));
    let line = |[what, takes, how]: &[String; 3]| format!("{what:first$}  {takes:second$}  {how}\n");
    rows.iter().map(line).collect()
}

/// The plan as JSON.
pub fn json(measured: &Measured, whole: &Demand, plan: &Plan, warning: Option<&str>) -> Value {
    let lines = lines(measured, plan).into_iter().map(|line| {
        json!({ "name": line.name, "what": line.what, "value": line.value, "shown": line.shown, "how": line.how })
    });
    let limits =
        plan.limits.iter().map(|limit| json!({ "what": name(limit.resource), "times": limit.times }));
    json!({
        "demand": {
            "validations": whole.validations, "tokens": whole.tokens, "issues": whole.issues,
            "refreshes": whole.refreshes, "sessions": whole.sessions, "revocations": whole.revocations,
            "revocationKeptSeconds": whole.kept_s, "connections": whole.connections, "headroom": whole.headroom,
        },
        "cells": plan.cells,
        "replicasPerCell": plan.replicas,
        "coresPerReplica": whole.cores,
        "bytesPerReplica": plan.memory.total,
        "perCell": lines.collect::<Vec<_>>(),
        "limits": limits.collect::<Vec<_>>(),
        "bindsFirst": plan.limits.first().map(|limit| name(limit.resource)),
        "warning": warning,
        "machine": measured.machine,
        "figures": measured.all,
    })
}

/// The first bottleneck when the load grows, and advice.
fn sentence(plan: &Plan) -> String {
    let Some(first) = plan.limits.first() else { return "Nothing binds.".to_owned() };
    let others: Vec<_> =
        plan.limits.iter().skip(1).map(|it| format!("{} {}", name(it.resource), times(it))).collect();
    let others = if others.is_empty() { String::new() } else { format!(" Then {}.", others.join(", ")) };
    let why = match first.resource {
        Resource::Cores => {
            format!("a cell has {REPLICAS_MAX} replicas at most, as each Revoke waits for all of them")
        }
        Resource::Postgres => {
            "each batch of revocations is read and acknowledged by every other replica".to_owned()
        }
        Resource::Revokes => {
            "appends stand in line for the head of the log, and every replica follows each".to_owned()
        }
        Resource::Refreshes => "each rotates one row".to_owned(),
    };
    let cache = if plan.demand.tokens > plan.memory.cache_tokens {
        " Already now more tokens live than a replica's cache holds, and the rest are verified at each call."
    } else {
        ""
    };
    format!(
        "Binds first: {} {}, since {why}.{others} Beyond that, cut into more cells: each with an issuer, a log and a \
         Postgres of its own.{cache}",
        name(first.resource),
        times(first)
    )
}

fn times(limit: &Limit) -> String {
    format!("at {} times this load", number(limit.times))
}

fn name(resource: Resource) -> &'static str {
    match resource {
        Resource::Cores => "cores of replicas",
        Resource::Postgres => "Postgres",
        Resource::Revokes => "Revokes per second",
        Resource::Refreshes => "refreshes per second",
    }
}
