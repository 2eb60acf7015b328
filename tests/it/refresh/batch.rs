//! Refreshes that come together are one statement: what holds for one of them holds for each.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use jeton::{
    proto::v1::{self as pb, revocation_target::Kind},
    store::{Presented, Presenter, Task},
};
use sqlx::{Executor, PgConnection};
use tokio::task::{JoinHandle, JoinSet};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{LONGEST_S, grace, payload, refresh, refresh_token, request};
use crate::world::{Api, REFRESH, Refused, World, until, until_within};

/// Statements that refresh at once.
const CONNECTIONS: usize = 4;

/// Every connection that refreshes waits for a row: whatever is asked meanwhile goes together afterwards.
struct Held {
    lock: PgConnection,
    waiting: Vec<JoinHandle<()>>,
}

impl Held {
    async fn hold(world: &World, api: &mut Api) -> Self {
        let mut sessions = Vec::new();
        for _ in 0..CONNECTIONS {
            sessions.push(api.session("user:held", "api").await);
        }
        let mut lock = world.database.connect().await;
        lock.execute("begin; select from session where subject = 'user:held' for update").await.unwrap();
        let mut waiting = Vec::new();
        for session in sessions {
            let mut api = api.clone();
            waiting.push(tokio::spawn(async move {
                // It may wait for the row for longer than the server lets it.
                let _late = api.refresh(refresh_token(&session)).await;
            }));
            until("it waits for the row", async || world.refreshes_that_wait().await == waiting.len() as i64)
                .await;
        }
        Self { lock, waiting }
    }

    /// Releases the row after the server has read what was sent before. Returns the answers. `None` if the machine
    /// stood still: not every connection was still waiting, or calls had waited for too long.
    async fn release(mut self, world: &World, api: &mut Api, sent: Vec<Sent>) -> Option<Vec<Answer>> {
        for _ in 0..3 {
            // Goes the way that they went, as far as the database.
            api.refresh("jtr_forged").await.unwrap_err();
        }
        let all_waited = world.refreshes_that_wait().await == CONNECTIONS as i64;
        self.lock.execute("commit").await.unwrap();
        for each in self.waiting {
            each.await.unwrap();
        }
        let mut answers = Vec::new();
        for each in sent {
            answers.push(each.await.unwrap());
        }
        let is_late = |answer: &Answer| matches!(answer, Err(status) if status.code() == Code::Unavailable);
        (all_waited && !answers.iter().any(is_late)).then_some(answers)
    }
}

/// Tries a few times, each without sessions from before, until nothing of it was late.
async fn undisturbed<T>(world: &World, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..5 {
        world.sql("delete from session").await;
        if let Some(done) = attempt().await {
            return done;
        }
    }
    panic!("refreshes were late five times");
}

async fn sessions(api: &mut Api, count: usize) -> Vec<pb::IssuedToken> {
    let mut opened = Vec::new();
    for user in 0..count {
        opened.push(api.session(&format!("user:{user}"), "api").await);
    }
    opened
}

type Answer = Result<pb::IssuedToken, Status>;
type Sent = JoinHandle<Answer>;

/// Sends all of it at once.
fn send(api: &Api, requests: impl IntoIterator<Item = pb::RefreshRequest>) -> Vec<Sent> {
    let send = |request| {
        let mut api = api.clone();
        tokio::spawn(async move { refresh(&mut api, request).await })
    };
    requests.into_iter().map(send).collect()
}

async fn generation(world: &World, session: &pb::IssuedToken) -> i64 {
    world.number(&format!("select generation from session where id = '{}'", session.session_id)).await
}

#[tokio::test]
async fn r8_refreshes_that_come_together_share_statements_and_advance_each_session_once() {
    const SESSIONS: usize = 120;
    let (world, link) = World::behind_link().await;
    let mut api = world.api("service").await;
    let (opened, answers, spent) = undisturbed(&world, async || {
        let opened = sessions(&mut api, SESSIONS).await;
        let held = Held::hold(&world, &mut api).await;
        let before = link.round_trips(REFRESH);
        let sent = send(&api, opened.iter().map(|session| request(refresh_token(session))));
        let answers = held.release(&world, &mut api, sent).await?;
        Some((opened, answers, link.round_trips(REFRESH) - before))
    })
    .await;
    for (number, (answer, session)) in answers.into_iter().zip(&opened).enumerate() {
        let token = answer.unwrap();
        assert_eq!(token.session_id, session.session_id);
        assert_eq!(
            payload(&token.access_token)["sub"],
            format!("user:{number}"),
            "each gets what is its own"
        );
    }
    let advanced = "select count(*) from session where generation = 1 and subject <> 'user:held'";
    assert_eq!(world.number(advanced).await, SESSIONS as i64);
    assert!(spent < SESSIONS as i64 / 4, "{spent} statements for {SESSIONS} refreshes");
}

#[tokio::test]
async fn r8_a_refresh_alone_is_one_round_trip_and_nothing_comes_after_it() {
    const REFRESHES: i64 = 20;
    let (world, link) = World::behind_link().await;
    let mut api = world.api("service").await;
    let mut token = api.session("user:7", "api").await;
    // The first one connects and prepares.
    token = api.refresh(refresh_token(&token)).await.unwrap();
    let before = link.round_trips(REFRESH);
    let (mut rests, mut last) = (0, Instant::now());
    for _ in 0..REFRESHES {
        let begun = Instant::now();
        token = api.refresh(refresh_token(&token)).await.unwrap();
        // A connection that has rested for a second is asked whether it is well. So long a rest needs so long a time from
        // the beginning of the refresh before to the end of this one.
        rests += i64::from(last.elapsed() >= Duration::from_millis(990));
        last = begun;
    }
    let spent = link.round_trips(REFRESH) - before;
    let expected = REFRESHES..=REFRESHES + rests;
    assert!(expected.contains(&spent), "{spent} round trips for {REFRESHES} refreshes and {rests} rests");
}

#[tokio::test]
async fn r1_concurrent_presentations_of_many_sessions_advance_each_once_to_one_successor() {
    const SESSIONS: usize = 12;
    const EACH: usize = 8;
    let world = World::start().await;
    grace(&world, "api", LONGEST_S).await;
    let mut api = world.api("service").await;
    let answers = undisturbed(&world, async || {
        let opened = sessions(&mut api, SESSIONS).await;
        let held = Held::hold(&world, &mut api).await;
        let presented = (0..EACH).flat_map(|_| opened.iter().map(|session| request(refresh_token(session))));
        let sent = send(&api, presented);
        held.release(&world, &mut api, sent).await
    })
    .await;
    let (mut successors, mut jtis) = (HashSet::new(), HashSet::new());
    for answer in answers {
        let token = answer.unwrap();
        successors.insert((token.session_id.clone(), refresh_token(&token).to_owned()));
        jtis.insert(token.jti);
    }
    assert_eq!((successors.len(), jtis.len()), (SESSIONS, SESSIONS * EACH));
    let advanced = "select count(*) from session where generation = 1 and subject <> 'user:held'";
    assert_eq!(world.number(advanced).await, SESSIONS as i64);
    let replays = (SESSIONS * (EACH - 1)) as i64;
    let of_these = "action = 'RefreshReplayed' and outcome = 'OK' and session_id in (select id from session)";
    assert_eq!(world.audited(of_these).await, replays);
}

#[tokio::test]
async fn a_refused_refresh_among_good_ones_spends_nothing_and_hurts_nobody() {
    let world = World::start().await;
    let (mut api, admin) = (world.api("service").await, world.api("admin").await);
    let (opened, mut answers) = undisturbed(&world, async || {
        let opened = sessions(&mut api, 30).await;
        let held = Held::hold(&world, &mut api).await;
        let past = "idle_expire_time = now() - interval '1 second'";
        let (idle, revoked) = (&opened[0].session_id, &opened[1].session_id);
        world.sql(&format!("update session set {past} where id = '{idle}'")).await;
        world.sql(&format!("update session set revoke_time = now() where id = '{revoked}'")).await;
        let mut requests: Vec<_> = opened.iter().map(|session| request(refresh_token(session))).collect();
        requests[2].scopes = vec!["admin".to_owned()];
        let stolen = requests.remove(3);
        let mut sent = send(&api, requests);
        sent.extend(send(&admin, [stolen]));
        Some((opened, held.release(&world, &mut api, sent).await?))
    })
    .await;
    let (bad, good) = opened.split_at(4);
    let [idle, revoked, greedy, foreign] = bad else { panic!("four") };
    let stolen = answers.pop().unwrap();
    assert_eq!(stolen.refused().reason, "REFRESH_TOKEN_INVALID");
    let good_ones = answers.split_off(3);
    let reasons: Vec<_> = answers.into_iter().map(|answer| answer.refused().reason).collect();
    assert_eq!(reasons, ["REFRESH_TOKEN_EXPIRED", "SESSION_REVOKED", "SCOPE_NOT_ALLOWED"]);
    for (answer, session) in good_ones.into_iter().zip(good) {
        assert_eq!(answer.unwrap().session_id, session.session_id);
        assert_eq!(generation(&world, session).await, 1);
    }
    for session in [idle, revoked, greedy, foreign] {
        assert_eq!(generation(&world, session).await, 0, "nothing is spent");
    }
    api.refresh(refresh_token(greedy)).await.unwrap();
    api.refresh(refresh_token(foreign)).await.unwrap();
}

#[tokio::test]
async fn a_session_that_fails_its_statement_does_not_fail_those_beside_it() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let (opened, answers) = undisturbed(&world, async || {
        let opened = sessions(&mut api, 10).await;
        let held = Held::hold(&world, &mut api).await;
        // Its absolute end is beyond what Postgres can tell.
        let beyond = "create_time = '294276-12-31T00:00:00Z'";
        world.sql(&format!("update session set {beyond} where id = '{}'", opened[4].session_id)).await;
        let sent = send(&api, opened.iter().map(|session| request(refresh_token(session))));
        Some((opened, held.release(&world, &mut api, sent).await?))
    })
    .await;
    for (number, answer) in answers.into_iter().enumerate() {
        if number == 4 {
            assert_eq!(answer.unwrap_err().code(), Code::Internal);
        } else {
            answer.unwrap();
        }
        assert_eq!(generation(&world, &opened[number]).await, i64::from(number != 4));
    }
}

/// The server's presentations for these sessions, all at their opening.
fn presented(ids: &[Uuid], secret_hash: [u8; 32]) -> Vec<Presented> {
    let presenter = Arc::new(Presenter {
        client_id: "service".to_owned(),
        subjects: vec!["user:*".to_owned()],
        scopes: Vec::new(),
        rules: serde_json::json!({ "*": { "ok": 1, "idle_s": 1000, "absolute_s": 10_000 } }),
    });
    let present =
        |&id: &Uuid| Presented { id, generation: 0, secret_hash, presenter: Arc::clone(&presenter) };
    ids.iter().map(present).collect()
}

#[tokio::test]
async fn batches_of_the_same_sessions_in_opposite_orders_do_not_wait_for_each_other_in_a_circle() {
    const SESSIONS: usize = 60;
    let world = World::start().await;
    let mut api = world.api("service").await;
    let opened = sessions(&mut api, SESSIONS).await;
    let mut ids: Vec<Uuid> = opened.iter().map(|session| session.session_id.parse().unwrap()).collect();
    let store = world.store();
    let mut connections = [store.connection_of(Task::Refresh), store.connection_of(Task::Refresh)];
    let all = "secret_hash = decode(repeat('07', 32), 'hex')";
    for _ in 0..30 {
        world.sql(&format!("update session set generation = 0, {all}")).await;
        let there = presented(&ids, [7; 32]);
        ids.reverse();
        let back = presented(&ids, [7; 32]);
        let [one, two] = &mut connections;
        let (one, two) = tokio::join!(one.advance_sessions(&there), two.advance_sessions(&back));
        let advanced = one.unwrap().into_iter().chain(two.unwrap()).filter_map(Result::unwrap);
        assert_eq!(advanced.count(), SESSIONS, "each by one of the two");
        assert_eq!(world.number("select sum(generation)::bigint from session").await, SESSIONS as i64);
    }
    assert_eq!(world.number(DEADLOCKS).await, 0);
}

const DEADLOCKS: &str = "select deadlocks from pg_stat_database where datname = current_database()";

#[tokio::test]
async fn r7_batches_against_sweeps_and_revocations_neither_deadlock_nor_leave_anything_alive() {
    const SESSIONS: usize = 40;
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let opened = sessions(&mut api, SESSIONS).await;
    let mut chains = JoinSet::new();
    for session in opened.clone() {
        let mut api = api.clone();
        chains.spawn(async move {
            let mut last = session;
            loop {
                match api.refresh(refresh_token(&last)).await {
                    Ok(next) => last = next,
                    refused @ Err(_) => return (last, refused.refused().reason),
                }
            }
        });
    }
    let store = world.store();
    for (number, session) in opened.iter().enumerate() {
        if number % 2 == 0 {
            admin.revoke(Kind::SessionId(session.session_id.clone())).await.unwrap();
        } else {
            admin.revoke_wide(Kind::Subject(format!("user:{number}"))).await.unwrap();
        }
        store.sweep_sessions(number % 4 < 2).await.unwrap();
    }
    while let Some(ended) = chains.join_next().await {
        let (last, reason) = ended.unwrap();
        assert_eq!(reason, "SESSION_REVOKED");
        assert_eq!(api.status(&last.access_token, "api").await, pb::TokenStatus::Revoked);
    }
    assert_eq!(world.number(DEADLOCKS).await, 0);
}

#[tokio::test]
async fn r8_refreshes_that_come_together_are_hot_updates() {
    const SESSIONS: usize = 320;
    // Sessions that are refreshed together were seldom opened together: a page has room for some of its rows twice, not
    // for all at once.
    const APART: usize = 10;
    let world = World::start().await;
    let mut api = world.api("service").await;
    let mut opened = sessions(&mut api, SESSIONS).await;
    // No index covers columns that a refresh writes: it is a HOT update if the row stays on its page. (Postgres' own
    // count is up to ten seconds late.)
    let place =
        "create table place as select id, tableoid as part, (ctid::text::point)[0] as page from session";
    let moved = "select count(*) from session s join place p on p.id = s.id
                  where p.part <> s.tableoid or p.page <> (s.ctid::text::point)[0]";
    // Postgres gives room back only where no transaction of the whole cluster is old.
    until_within(Duration::from_mins(2), "nine of ten refreshes are HOT updates", async || {
        world.sql("drop table if exists place").await;
        world.sql(place).await;
        for from in 0..APART {
            let together = opened.iter().skip(from).step_by(APART);
            let sent = send(&api, together.map(|session| request(refresh_token(session))));
            for (answer, session) in sent.into_iter().zip(opened.iter_mut().skip(from).step_by(APART)) {
                *session = answer.await.unwrap().unwrap();
            }
        }
        world.number(moved).await * 10 <= SESSIONS as i64
    })
    .await;
}
