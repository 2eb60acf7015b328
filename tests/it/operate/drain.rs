//! E4: SIGTERM.

use std::{
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use prost::Message;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::{Connection, Executor};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::world::{
    AS_JETON, Database, PATIENCE, Refused, ServerOptions, Shell, World, api_key, channel, frame,
    frames::{self, END_STREAM, Frames, HEADERS, INITIAL_WINDOW_SIZE, WINDOW_UPDATE, headers},
    is_for_now, issue_request, master_key_text, open, steady, until, validate_request,
};

/// Callers at once.
const CALLERS: usize = 200;

/// hyper's error for a request that still waited for its turn when the connection ended.
const NEVER_SENT: &str = "hyper::Error(Canceled, \"connection closed\")";

/// The error for a request that was written when the server had closed the connection already.
const WRITTEN_TOO_LATE: [&str; 2] = ["kind: BrokenPipe", "kind: ConnectionReset"];

/// Returns whether a call was never taken up: the peer's last GOAWAY says that it did not look at it, or no connection
/// can be had any more. A stream that is reset is neither; the count of calls below proves that no call was taken up
/// and lost.
fn was_never_taken_up(status: &Status) -> bool {
    let cause = format!("{status:?}");
    let refused = [
        "GoAway(b\"\", NO_ERROR, Remote)",
        "REFUSED_STREAM",
        "ConnectError",
        "ConnectionRefused",
        NEVER_SENT,
    ];
    status.details().is_empty() && refused.iter().chain(&WRITTEN_TOO_LATE).any(|it| cause.contains(it))
}

#[tokio::test]
async fn e4_a_drain_answers_every_call_that_it_took_and_ends_with_exit_0() {
    steady(async || {
        let mut world = World::start().await;
        let ready_file = world.directory.path().join("ready.json");
        assert!(ready_file.exists());
        let token = world.api("service").await.token("user:7", "api").await.access_token;
        let asked = Arc::new(AtomicBool::new(false));
        let (answered, too_many) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut callers = Vec::new();
        for index in 0..CALLERS {
            // A few connections, shared as by a client's pool.
            let mut api = if index % 20 == 0 { Some(world.api("service").await) } else { None };
            if api.is_none() {
                let shared: &(crate::world::Api, _) = callers.last().unwrap();
                api = Some(shared.0.clone());
            }
            let mut mine = api.clone().unwrap();
            // One in four keeps a session going.
            let mut refresh_token = None;
            if index % 4 == 1 {
                refresh_token = Some(mine.session("user:7", "api").await.refresh.unwrap().refresh_token);
            }
            let (asked, answered, token) = (Arc::clone(&asked), Arc::clone(&answered), token.clone());
            let too_many = Arc::clone(&too_many);
            let caller = tokio::spawn(async move {
                loop {
                    let was_asked = asked.load(Ordering::SeqCst);
                    let ended = if let Some(spent) = &mut refresh_token {
                        mine.refresh(spent).await.map(|next| *spent = next.refresh.unwrap().refresh_token)
                    } else if index % 4 == 0 {
                        let refreshable = index % 8 == 0;
                        let request = pb::IssueRequest { refreshable, ..issue_request("user:7", &["api"]) };
                        mine.issue(request).await.map(|token| assert!(!token.access_token.is_empty()))
                    } else {
                        mine.validate(&token, &["api"])
                            .await
                            .map(|verdict| assert_eq!(verdict.status(), pb::TokenStatus::Active))
                    };
                    match ended {
                        Ok(()) => answered.fetch_add(1, Ordering::SeqCst),
                        // So many at once are more than a busy machine has time for: that, too, is an answer.
                        Err(status) if status.code() == Code::ResourceExhausted && is_for_now(&status) => {
                            too_many.fetch_add(1, Ordering::SeqCst)
                        }
                        Err(status) => return (was_asked || asked.load(Ordering::SeqCst), status),
                    };
                }
            });
            callers.push((api.unwrap(), caller));
        }
        until("calls are in flight", async || answered.load(Ordering::SeqCst) > 2 * CALLERS).await;

        asked.store(true, Ordering::SeqCst);
        world.server.terminate();
        let status = world.server.ended().await;
        assert_eq!(status.code(), Some(0), "{}", world.server.logged());
        assert!(!ready_file.exists(), "the ready file is gone");
        for (_, caller) in callers {
            let (after_the_signal, status) = caller.await.unwrap();
            assert!(after_the_signal, "nothing fails before: {status:?}");
            assert!(was_never_taken_up(&status), "{status:?}");
        }
        let log = world.server.logged();
        let calls: Vec<_> =
            log.lines().filter(|line| line.contains("\"call\"") && !line.contains("/grpc.")).collect();
        let like = |code: &str| {
            calls.iter().filter(|line| line.contains(&format!("\"rpc.code\":\"{code}\""))).count()
        };
        let (good, refused) = (like("Ok"), like("ResourceExhausted"));
        assert_eq!(calls.len(), good + refused, "none failed");
        // Beside them, one token and a session for each fourth, before they began.
        let before = 1 + CALLERS / 4;
        assert_eq!(good, answered.load(Ordering::SeqCst) + before, "what was taken up was answered");
        assert_eq!(refused, too_many.load(Ordering::SeqCst), "and what was too much was told so");
        assert!(world.server.logged().contains("\"draining\""), "it says so");
        assert!(!world.server.logged().contains("still in flight"), "nothing had to be cut off");
    })
    .await;
}

#[tokio::test]
async fn e4_streams_that_clients_hold_open_end_with_the_drain() {
    let mut world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await.access_token;
    let (ask, requests) = mpsc::channel(4);
    let request = || pb::StreamValidateRequest { request: Some(validate_request(&token, &["api"])) };
    ask.send(request()).await.unwrap();
    let mut verdicts = api.tokens.stream_validate(ReceiverStream::new(requests)).await.unwrap().into_inner();
    let first = verdicts.message().await.unwrap().unwrap().verdict.unwrap();
    assert_eq!(first.status(), pb::TokenStatus::Active);
    let mut watcher = HealthClient::new(channel(&world.server.ready.public));
    let mut health = watcher.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status, 1, "SERVING");

    world.server.terminate();
    let told = health.message().await.unwrap().unwrap();
    assert_eq!(told.status, 2, "NOT_SERVING");
    assert!(health.message().await.unwrap().is_none(), "and then it ends");
    let ended = verdicts.message().await.refused();
    assert_eq!((ended.code, ended.reason.as_str()), (Code::Unavailable, "SERVER_DRAINING"));
    let status = world.server.ended().await;
    assert_eq!(status.code(), Some(0));
    let log = world.server.logged();
    assert!(
        log.contains("\"draining\"") && !log.contains("still in flight"),
        "it did not wait for them: {log}"
    );
    drop(ask);
}

#[tokio::test]
async fn e4_a_second_signal_and_an_early_one_end_it_too() {
    let mut world = World::start().await;
    world.server.terminate();
    world.server.terminate();
    assert_eq!(world.server.ended().await.code(), Some(0));
    // Before it serves: it waits for the state of a log that was written elsewhere.
    let database = Database::create().await;
    database
        .execute(&format!("update log_head set system_identifier = system_identifier + 1, {AS_JETON}"))
        .await;
    let shell = Shell::new();
    shell.write("master.key", &master_key_text());
    let local = ["--listen", "--admin-listen", "--ops-listen"].map(|flag| [flag, "127.0.0.1:0"]).concat();
    let more = [
        "--master-key-file",
        "master.key",
        "--issuer",
        "http://jeton.test",
        "--plaintext",
        "--allow-fsync-off",
    ];
    let named = ["serve", "--ready-file", "ready.json", "--database-url", &database.url];
    let mut command = shell.command(&[&named[..], &more, &local].concat());
    let mut child = command.stderr(std::fs::File::create(shell.path("log")).unwrap()).spawn().unwrap();
    until("it waits", async || std::fs::read_to_string(shell.path("log")).unwrap().contains("waiting for"))
        .await;
    let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = tokio::time::timeout(PATIENCE, child.wait()).await.expect("it does not end");
    assert_eq!(ended.unwrap().code(), Some(0));
    assert!(!shell.path("ready.json").exists(), "it did not serve");
}

fn with_delay(delay: &str) -> ServerOptions {
    let arguments = ["--drain-delay", delay].map(str::to_owned).to_vec();
    ServerOptions { arguments, ..ServerOptions::default() }
}

#[tokio::test]
async fn e4_balancers_see_it_before_a_listener_takes_no_more_and_probes_are_answered_last() {
    // Longer than any machine stalls: a second signal ends it.
    let mut world = World::start_with(with_delay("10m")).await;
    let ready = world.server.ready.clone();
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let mut watcher = HealthClient::new(channel(&ready.public));
    let mut health = watcher.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    assert_eq!(health.message().await.unwrap().unwrap().status, 1, "SERVING");
    world.server.terminate();
    assert_eq!(health.message().await.unwrap().unwrap().status, 2, "NOT_SERVING");
    until("it is not ready", async || {
        let (status, body) = world.server.ops("/readyz").await;
        status == 503 && body.contains("[-]draining")
    })
    .await;
    assert!(!world.directory.path().join("ready.json").exists(), "the ready file is gone");
    // Clients that have not seen it yet are served, on old and new connections, with every method.
    for _ in 0..3 {
        let mut api = world.api("service").await;
        assert_eq!(api.status(&token, "api").await, pb::TokenStatus::Active);
        let session = api.session("user:7", "api").await.refresh.unwrap().refresh_token;
        api.refresh(&session).await.unwrap();
        let mut stream = crate::world::Stream::open(&api).await;
        assert_eq!(stream.ask(&token).await.unwrap(), pb::TokenStatus::Active);
    }
    assert_eq!(world.server.ops("/livez").await.0, 200);
    assert!(world.server.is_running());
    world.server.terminate();
    assert!(health.message().await.unwrap().is_none(), "and then it ends");
    assert_eq!(world.server.ended().await.code(), Some(0));
    let log = world.server.logged();
    assert!(!log.contains("STORE_UNAVAILABLE") && !log.contains("in time"), "{log}");
}

#[tokio::test]
async fn e4_without_a_second_signal_it_ends_after_the_delay() {
    let mut world = World::start_with(with_delay("2s")).await;
    let begun = std::time::Instant::now();
    world.server.terminate();
    assert_eq!(world.server.ended().await.code(), Some(0));
    assert!(begun.elapsed().as_secs() >= 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn e4_sigquit_drains_and_sighup_ends_nothing() {
    let mut world = World::start().await;
    for _ in 0..3 {
        world.server.signal(Signal::HUP);
    }
    until("it says so", async || world.server.logged().contains("SIGHUP")).await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    assert_eq!(world.api("service").await.status(&token, "api").await, pb::TokenStatus::Active);
    world.server.signal(Signal::QUIT);
    assert_eq!(world.server.ended().await.code(), Some(0));
    assert!(world.server.logged().contains("\"draining\""));
}

/// The statements that wait for the row of the log's head.
const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database()
    and application_name like 'jeton%' and wait_event_type = 'Lock'";

#[tokio::test]
async fn e4_work_whose_caller_has_gone_is_done_before_the_end() {
    const REVOKED: usize = 20;
    let mut world = World::start_with(with_delay("0s")).await;
    let mut api = world.api("service").await;
    let mut tokens = Vec::new();
    for _ in 0..REVOKED {
        tokens.push(api.token("user:7", "api").await.access_token);
    }
    let mut holder = world.database.connect().await;
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("select from log_head for update").await.unwrap();
    let callers: Vec<_> = tokens
        .iter()
        .map(|token| {
            let (mut api, kind) = (api.clone(), Kind::Token(token.clone()));
            tokio::spawn(async move { api.revoke(kind).await })
        })
        .collect();
    until("one of them waits in the database", async || world.number(WAITING).await > 0).await;
    // Later calls on their connection are answered: so all of them have begun.
    for token in &tokens {
        assert_eq!(api.status(token, "api").await, pb::TokenStatus::Active);
    }
    callers.iter().for_each(tokio::task::JoinHandle::abort);
    drop(api);
    world.server.terminate();
    let closed = async || tokio::net::TcpStream::connect(&world.server.ready.public).await.is_err();
    until("its listeners are closed", closed).await;
    // Were they not waited for, it would end now.
    let ends = until("it ends", async || world.server.logged().contains("\"ended\""));
    assert!(tokio::time::timeout(Duration::from_secs(1), ends).await.is_err(), "it did not wait");
    transaction.rollback().await.unwrap();
    assert_eq!(world.server.ended().await.code(), Some(0));
    let log = world.server.logged();
    assert_eq!(world.number("select count(*) from revocation").await, REVOKED as i64, "{log}");
    assert!(!log.contains("cut off") && !log.contains("a call was refused"), "{log}");
}

#[tokio::test]
async fn e4_a_longer_time_to_end_is_the_callers() {
    const BATCH: &str = "/jeton.v1.TokenService/BatchValidate";
    let arguments = ["--drain-delay", "0s", "--drain-timeout", "60s"].map(str::to_owned).to_vec();
    let mut world = World::start_with(ServerOptions { arguments, ..ServerOptions::default() }).await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let batch =
        pb::BatchValidateRequest { requests: vec![validate_request(&token, &["api"])] }.encode_to_vec();
    let wire = open(&world.server.ready.public).await;
    // The peer has room for nothing of the answer yet.
    let mut peer = Frames::with_settings(wire, &[(INITIAL_WINDOW_SIZE, 0)]).await;
    let bearer = format!("Bearer {}", api_key("service"));
    peer.write(&headers(1, BATCH, &[("authorization", &bearer)], 0)).await;
    peer.write(&frames::frame(frames::DATA, END_STREAM, 1, &frame(&batch))).await;
    while peer.next().await.is_some_and(|came| came.kind != HEADERS) {}
    world.server.terminate();
    let begun = std::time::Instant::now();
    let closed = async || tokio::net::TcpStream::connect(&world.server.ready.public).await.is_err();
    until("its listeners are closed", closed).await;
    // Longer than calls have by default.
    until("so long passes", async || begun.elapsed() > Duration::from_secs(12)).await;
    assert!(world.server.is_running(), "it waits");
    peer.write(&frames::frame(WINDOW_UPDATE, 0, 1, &1_000_000_u32.to_be_bytes())).await;
    let mut answered = false;
    while let Some(came) = peer.next().await {
        answered |= came.stream == 1 && came.flags & END_STREAM != 0 && came.error().is_none();
    }
    assert!(answered, "the answer comes to its end");
    assert_eq!(world.server.ended().await.code(), Some(0));
    assert!(!world.server.logged().contains("cut off"));
}
