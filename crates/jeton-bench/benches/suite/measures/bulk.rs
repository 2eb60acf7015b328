//! `BulkRevoke` of a list, ÷ COPY of the same rows into a table with the same indexes: P9; and what Validate beside it
//! takes.

use std::{fmt::Write as _, time::Instant};

use jeton::proto::v1::{
    BulkRevokeRequest, RevocationReason, RevocationTarget, admin_service_client::AdminServiceClient,
    revocation_target::Kind,
};
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, transport::Endpoint};

use crate::{
    bench::Bench,
    calls::Calls,
    command::Mode,
    cpu::{Pinned, hurry, parent_of},
    issuer::fresh_jtis,
    loader::Loader,
    report::{Bar, Figure, Unit},
    statistics::{Pair, Summary},
    target::Target,
};

/// Ids of a list.
const IDS: usize = 1_000_000;
/// Ids of a chunk: the most that the API takes.
const CHUNK: usize = 10_000;
/// Rounds: each writes a million rows twice.
const ROUNDS: usize = 3;
/// Calls per second of Validate beside it.
const RATE: f64 = 2_000.0;
/// The length of a run of these calls, ms.
const BESIDE_MS: u64 = 4_000;

/// The table of revocations, as it is for one half day.
const TABLE: &str = "create unlogged table if not exists bare_list (
    id uuid not null, kind smallint not null, expire_time timestamptz not null, revision bigint not null,
    reason smallint not null, revoke_time timestamptz not null default clock_timestamp(),
    primary key (id, kind, expire_time));
    create index if not exists bare_list_revision on bare_list (revision);
    alter table bare_list set logged; truncate bare_list";

/// One list and its floor, in turn.
pub fn p9(bench: &mut Bench) {
    let small = bench.small();
    let target = small.subject.target.clone();
    let ids = if bench.quick { IDS / 20 } else { IDS };
    let rounds = if bench.quick { 1 } else { ROUNDS };
    let mut pairs = Vec::new();
    for _ in 0..rounds {
        let jtis: Vec<String> = fresh_jtis(ids).collect();
        let floor = bench.runtime.block_on(copy(&small.issuer.database_url, &jtis));
        let took = bench.runtime.block_on(bulk(&target, jtis));
        pairs.push(Pair::times(took, floor));
    }
    let name = format!("BulkRevoke of {ids} ids ÷ COPY of the same rows, in seconds");
    let (bar, unit, summary, beside) = (Bar::AtMost(4.0), Unit::Seconds, Summary::of(&pairs), json!({}));
    bench.report.add(&Figure { id: "P9", name: &name, bar, unit, summary, beside });
    p9_beside(bench, &target, ids / 4);
    // It holds millions of revocations now.
    drop(small);
    bench.without_small();
}

/// p99 of Validate at a steady rate, beside a list and without one. The server has a core of its own; Postgres, the load
/// and the sender of the list share the others.
fn p9_beside(bench: &mut Bench, target: &Target, ids: usize) {
    let small = bench.small();
    let calls = Calls::validate(bench.directory(), &small.issuer.tokens(1_000));
    target.each(&mut bench.loader, &calls);
    let command = target.command(&calls, Mode::Open { rate: RATE, ms: BESIDE_MS });
    let postgres = bench.runtime.block_on(postmaster(&small.issuer.database_url));
    let server = target.meter.unwrap().pid();
    let pinned = Pinned::apart(server, &[postgres]);
    // A process of its own: its priority ends with it.
    let mut loader = Loader::start();
    let load_is_first = hurry(loader.pid());
    let mut pairs = Vec::new();
    for _ in 0..bench.rounds() {
        let alone = loader.run(&command).latency.p99;
        let jtis: Vec<String> = fresh_jtis(ids).collect();
        let of = target.clone();
        let list = bench.runtime.spawn(async move { bulk(&of, jtis).await });
        let beside = loader.run(&command).latency.p99;
        bench.runtime.block_on(list).unwrap();
        pairs.push(Pair::times(beside, alone));
    }
    let name = "Validate beside a BulkRevoke: p99 ÷ p99 without it";
    let beside = json!({ "server_pinned": pinned.is_some(), "load_is_first": load_is_first });
    let (bar, unit, summary) = (Bar::AtMost(2.0), Unit::Us, Summary::of(&pairs));
    bench.report.add(&Figure { id: "P9.beside", name, bar, unit, summary, beside });
}

/// The process that started a server of Postgres.
async fn postmaster(url: &str) -> u32 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let own: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut connection).await.unwrap();
    parent_of(own.try_into().unwrap()).unwrap()
}

/// Seconds that a COPY of these rows takes, in one transaction.
async fn copy(url: &str, jtis: &[String]) -> f64 {
    let mut connection = PgConnection::connect(url).await.unwrap();
    for statement in TABLE.split(';') {
        connection.execute(statement).await.unwrap();
    }
    let mut text = String::new();
    for (index, jti) in jtis.iter().enumerate() {
        writeln!(text, "{jti}\t1\t2036-01-01 00:00:00+00\t{index}\t2").unwrap();
    }
    let started = Instant::now();
    let mut copying = connection
        .copy_in_raw("copy bare_list (id, kind, expire_time, revision, reason) from stdin")
        .await
        .unwrap();
    for part in text.as_bytes().chunks(1 << 20) {
        copying.send(part).await.unwrap();
    }
    copying.finish().await.unwrap();
    started.elapsed().as_secs_f64()
}

/// Seconds until the list is in force.
async fn bulk(target: &Target, jtis: Vec<String>) -> f64 {
    let address = target.admin.unwrap();
    let channel = Endpoint::new(format!("http://{address}")).unwrap().connect().await.unwrap();
    let mut client = AdminServiceClient::new(channel);
    let (send, receive) = mpsc::channel(2);
    let authorization = format!("Bearer {}", target.api_key).parse().unwrap();
    let mut request = Request::new(ReceiverStream::new(receive));
    request.metadata_mut().insert("authorization", authorization);
    let count = i64::try_from(jtis.len()).unwrap();
    let started = Instant::now();
    let sending = tokio::spawn(async move {
        let opening = BulkRevokeRequest {
            bulk_id: fresh_jtis(1).next().unwrap(),
            reason: RevocationReason::Leaked.into(),
            target_count: count,
            force: true,
            ..BulkRevokeRequest::default()
        };
        send.send(opening).await.unwrap();
        for (number, chunk) in (1_i64..).zip(jtis.chunks(CHUNK)) {
            let target =
                |jti: &String| RevocationTarget { kind: Some(Kind::Jti(jti.clone())), ..Default::default() };
            let targets = chunk.iter().map(target).collect();
            let chunk = BulkRevokeRequest { chunk_number: number, targets, ..Default::default() };
            send.send(chunk).await.unwrap();
        }
    });
    let mut answers = client.bulk_revoke(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(answer) = answers.message().await.unwrap() {
        last = Some(answer);
    }
    sending.await.unwrap();
    let last = last.unwrap();
    assert!(last.propagation.unwrap().complete, "it is in force");
    assert_eq!(last.outcome_counts["REVOKED"], count);
    started.elapsed().as_secs_f64()
}
