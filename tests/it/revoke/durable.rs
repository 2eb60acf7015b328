//! K9, K10: an acknowledged revocation is durable, done once, and audited.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jeton::{
    proto::v1::{self as pb, RevocationOutcome, TokenStatus, revocation_target::Kind},
    state::{Entry, MarkKind, Reason},
    store::{AppendTarget, NewAudit, NewRevocation, Task},
};
use jeton_state::clock::Clock;
use jeton_token::{Revision, UnixSeconds, new_uuid_v7};
use tokio::{sync::Notify, task::JoinSet};

use super::{HEAD, REVOCATIONS, is_active, place, refresh_token, text};
use crate::world::{AS_HERE, AS_JETON, Api, Refused, World, now_s, revoke_request, steady, until_within};

/// The time that a busy machine may need to read so many entries of a log.
const LONG: Duration = Duration::from_mins(2);

/// Returns whether a token is answered REVOKED. A replica that has not read far enough may refuse to answer.
async fn is_revoked(api: &mut Api, token: &str) -> bool {
    let verdict = api.validate(token, &["api"]).await;
    verdict.is_ok_and(|verdict| verdict.status() == TokenStatus::Revoked)
}

#[tokio::test]
async fn k9_what_was_acknowledged_before_a_crash_is_revoked_after_it() {
    let mut world = World::start().await;
    let mut api = world.api("service").await;
    let mut tokens = Vec::new();
    for user in 0..200 {
        tokens.push(api.token(&format!("user:{user}"), "api").await);
    }
    let (acknowledged, some) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Notify::new()));
    let mut tasks = JoinSet::new();
    for token in tokens.clone() {
        let (mut api, acknowledged, some) = (api.clone(), Arc::clone(&acknowledged), Arc::clone(&some));
        tasks.spawn(async move {
            if api.revoke(text(&token)).await.is_ok() {
                acknowledged.lock().unwrap().push(token.access_token);
                some.notify_one();
            }
        });
    }
    some.notified().await;
    world.crash_and_restart().await;
    while tasks.join_next().await.is_some() {}
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
    assert!(!acknowledged.is_empty());
    let mut api = world.api("service").await;
    for token in &acknowledged {
        assert_eq!(api.status(token, "api").await, TokenStatus::Revoked);
    }
    // The others may be either; but revoked ones are audited, and the other way round.
    let mut revoked = 0;
    for token in &tokens {
        revoked += i64::from(!is_active(&mut api, &token.access_token).await);
    }
    assert_eq!(world.number(REVOCATIONS).await, revoked);
    assert_eq!(world.audited("action = 'Revoke'").await, revoked);
}

#[tokio::test]
async fn k9_every_kind_of_revocation_survives_a_restart() {
    steady(async || {
        let mut world = World::start().await;
        let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
        let mut other = world.api("other").await;
        let by_text = api.token("user:1", "api").await;
        let by_session = api.session("user:2", "api").await;
        let by_subject = api.session("user:3", "api").await;
        let by_client = other.session("user:4", "api").await;
        let reused = api.session("user:5", "api").await;
        let spared = api.session("user:6", "api").await;
        admin.revoke(text(&by_text)).await.unwrap();
        admin.revoke(Kind::SessionId(by_session.session_id.clone())).await.unwrap();
        admin.revoke_wide(Kind::Subject("user:3".to_owned())).await.unwrap();
        admin.revoke_wide(Kind::ClientId("other".to_owned())).await.unwrap();
        let second = api.refresh(refresh_token(&reused)).await.unwrap();
        api.refresh(refresh_token(&second)).await.unwrap();
        assert_eq!(api.refresh(refresh_token(&reused)).await.refused().reason, "REFRESH_TOKEN_REUSED");
        for _ in 0..2 {
            world.crash_and_restart().await;
            let (mut api, mut other) = (world.api("service").await, world.api("other").await);
            for token in [&by_text, &by_session, &by_subject, &by_client, &reused, &second] {
                assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
            }
            for token in [&by_session, &by_subject, &second] {
                assert_eq!(api.refresh(refresh_token(token)).await.refused().reason, "SESSION_REVOKED");
            }
            assert_eq!(other.refresh(refresh_token(&by_client)).await.refused().reason, "SESSION_REVOKED");
            assert!(is_active(&mut api, &spared.access_token).await);
        }
    })
    .await;
}

#[tokio::test]
async fn k9_a_session_whose_entry_ended_unswept_stays_dead_after_a_restart() {
    let mut world = World::start().await;
    let token = world.api("service").await.session("user:7", "api").await;
    world.api("admin").await.revoke(Kind::SessionId(token.session_id.clone())).await.unwrap();
    // Every replica was away for a day: nothing was swept, and the entry is past its end.
    world.sql("update revocation set expire_time = now() - interval '1 hour'").await;
    assert_eq!(world.number("select count(*) from session where revoke_time is null").await, 1);
    world.crash_and_restart().await;
    let refused = world.api("service").await.refresh(refresh_token(&token)).await.refused();
    assert_eq!(refused.reason, "SESSION_REVOKED");
}

const FAILING_AUDIT: &str = "
    create function refuse_audit() returns trigger language plpgsql as $$
        begin raise exception 'no room for the audit'; end $$;
    create trigger refuse_audit before insert on audit_event
        for each row when (new.note = 'unlucky') execute function refuse_audit()";

#[tokio::test]
async fn k10_no_audit_row_no_revocation_and_the_neighbours_of_a_batch_survive() {
    let world = World::start().await;
    world.sql(FAILING_AUDIT).await;
    let mut api = world.api("service").await;
    let noted = |token: &pb::IssuedToken, note: &str| pb::RevokeRequest {
        note: note.to_owned(),
        ..revoke_request(text(token))
    };
    let unlucky = api.token("user:7", "api").await;
    let refused = api.tokens.revoke(noted(&unlucky, "unlucky")).await.refused();
    assert_eq!(refused.reason, "INTERNAL");
    assert!(is_active(&mut api, &unlucky.access_token).await);
    assert_eq!(world.number(REVOCATIONS).await, 0);
    let mut tokens = Vec::new();
    for _ in 0..64 {
        tokens.push(api.token("user:7", "api").await);
    }
    let mut tasks = JoinSet::new();
    for (place, token) in tokens.iter().enumerate() {
        let (mut api, request) = (api.clone(), noted(token, if place == 20 { "unlucky" } else { "lucky" }));
        tasks.spawn(async move { (place, api.tokens.revoke(request).await) });
    }
    for (place, answer) in tasks.join_all().await {
        if place == 20 {
            assert_eq!(answer.refused().reason, "INTERNAL");
        } else {
            assert_eq!(answer.unwrap().into_inner().outcome(), RevocationOutcome::Revoked);
        }
        assert_eq!(is_active(&mut api, &tokens[place].access_token).await, place == 20);
    }
    assert_eq!(world.number(REVOCATIONS).await, 63);
    assert_eq!(world.audited("action = 'Revoke' and outcome = 'REVOKED' and note = 'lucky'").await, 63);
    // Reuse of a refresh token, too, is refused as such only when it is durable.
    world
        .sql(
            "create trigger no_reuse before insert on audit_event for each row
               when (new.action = 'RefreshReuseDetected') execute function refuse_audit()",
        )
        .await;
    let session = api.session("user:8", "api").await;
    let second = api.refresh(refresh_token(&session)).await.unwrap();
    api.refresh(refresh_token(&second)).await.unwrap();
    assert_eq!(api.refresh(refresh_token(&session)).await.refused().reason, "INTERNAL");
    assert!(is_active(&mut api, &session.access_token).await);
}

/// Something to append.
pub fn item(target: AppendTarget) -> NewRevocation {
    let now_ms = Clock::system().now_ms();
    NewRevocation {
        target,
        reason: Reason::Leaked,
        expire_time: UnixSeconds::new(now_s() + 86_400),
        audit: NewAudit {
            id: new_uuid_v7(now_ms),
            actor: "test".to_owned(),
            action: "Revoke",
            ..NewAudit::default()
        },
    }
}

fn mark_of(subject: &str) -> AppendTarget {
    AppendTarget::Wide {
        kind: MarkKind::Subject,
        target: subject.to_owned(),
        audience: String::new(),
        cutoff: UnixSeconds::new(0),
    }
}

#[tokio::test]
async fn k1_a_batch_that_is_sent_again_acts_once() {
    let world = World::start().await;
    let store = world.store();
    let id = || new_uuid_v7(Clock::system().now_ms());
    let batch = [
        item(AppendTarget::Token(id())),
        item(AppendTarget::Session(id())),
        item(mark_of("user:7")),
        item(AppendTarget::Nothing),
    ];
    let first = store.connection_of(Task::Flusher).append(&batch).await.unwrap();
    let position = world.number("select position from mark").await;
    let again = store.connection_of(Task::Flusher).append(&batch).await.unwrap();
    assert!(again.revision > first.revision, "the head that it answers is good for a barrier");
    assert_eq!(world.number("select position from mark").await, position, "the mark does not move");
    assert_eq!(world.number("select revision from mark").await, position);
    assert_eq!(world.number(REVOCATIONS).await, 2);
    assert_eq!(world.audited("actor = 'test' and action = 'Revoke'").await, 4);
    // In part new: the new one acts, the old one does not.
    let mixed = [batch[2].clone(), item(AppendTarget::Token(id()))];
    store.connection_of(Task::Flusher).append(&mixed).await.unwrap();
    assert_eq!(world.number("select position from mark").await, position);
    assert_eq!(world.number(REVOCATIONS).await, 3);
    // The same token and the same mark twice in one batch.
    let token = item(AppendTarget::Token(id()));
    let same = NewRevocation { audit: item(AppendTarget::Token(id())).audit, ..token.clone() };
    store
        .connection_of(Task::Flusher)
        .append(&[token, same, item(mark_of("a")), item(mark_of("a"))])
        .await
        .unwrap();
    assert_eq!(world.number(REVOCATIONS).await, 4);
    assert_eq!(world.number("select count(*) from mark").await, 2);
}

#[tokio::test]
async fn k1_a_mark_that_moves_on_while_the_log_is_read_is_not_missed() {
    let world = World::start().await;
    let store = world.store();
    let first = store.connection_of(Task::Flusher).append(&[item(mark_of("user:7"))]).await.unwrap().revision;
    // Moved past the end of what one read takes, before it is read.
    store.connection_of(Task::Flusher).append(&[item(mark_of("user:7"))]).await.unwrap();
    world.sql("update mark set revision = revision + 60000").await;
    world.sql(&format!("update log_head set seq = seq + 60000, {AS_JETON}")).await;
    let before = Revision::from_i64(first.as_i64() - 1).unwrap();
    let read = store.connection_of(Task::Flusher).read(before, 50_000).await.unwrap();
    assert!(read.upto < read.head.revision, "not all in one read");
    let marks: Vec<_> = read
        .entries
        .entries
        .iter()
        .filter_map(|entry| if let Entry::Mark(mark) = entry { Some(mark) } else { None })
        .collect();
    assert_eq!(marks.len(), 1);
    assert!(marks[0].position >= first);
}

#[tokio::test]
async fn k1_a_log_that_has_grown_by_much_is_read_in_pieces_to_its_end() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let before = Revision::new(1, world.number(HEAD).await).unwrap();
    let (first, last) = (api.token("user:7", "api").await, api.token("user:8", "api").await);
    world
        .sql(&format!(
            "with grown as (update log_head set seq = seq + 120001, {AS_JETON} returning epoch * 1099511627776 + seq - 120000 as first)
             insert into revocation (id, kind, expire_time, revision, reason)
             select case n when 0 then '{}' when 120000 then '{}' else gen_random_uuid() end, 1,
                    now() + interval '1 hour', first + n, 2
               from grown, generate_series(0, 120000) n",
            first.jti, last.jti
        ))
        .await;
    let (mut connection, mut read) = (world.store().connection_of(Task::Feed), None);
    // A machine that stands still meanwhile lets a read be late: then it is asked again.
    until_within(LONG, "the first piece is read", async || {
        read = connection.read(before, 50_000).await.ok();
        read.is_some()
    })
    .await;
    let read = read.unwrap();
    assert_eq!(read.entries.entries.len(), 50_000);
    assert_eq!(read.upto.as_i64(), before.as_i64() + 50_000);
    assert_eq!(read.head.revision.as_i64(), before.as_i64() + 120_001);
    for token in [&first, &last] {
        until_within(LONG, "it is read", async || is_revoked(&mut api, &token.access_token).await).await;
    }
}

#[tokio::test]
async fn e3_a_replica_that_is_far_behind_catches_up_however_slowly_the_database_reads() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let (first, last) = (api.token("user:7", "api").await, api.token("user:8", "api").await);
    // Each row takes a millisecond to read: all of them take longer than the replica waits for one answer.
    world
        .sql(&format!(
            "begin;
             alter table revocation rename to revocation_rows;
             create view revocation as select * from revocation_rows where pg_sleep(0.001)::text is not null;
             with grown as (update log_head set seq = seq + 2501, {AS_HERE} returning epoch * 1099511627776 + seq - 2500 as first)
             insert into revocation_rows (id, kind, expire_time, revision, reason)
             select case n when 0 then '{}' when 2500 then '{}' else gen_random_uuid() end::uuid, 1,
                    now() + interval '1 hour', first + n, 2
               from grown, generate_series(0, 2500) n;
             commit",
            first.jti, last.jti
        ))
        .await;
    for token in [&first, &last] {
        until_within(LONG, "it is read", async || is_revoked(&mut api, &token.access_token).await).await;
    }
    assert!(world.server.logged().contains("did not answer in time"), "some reads were too large");
}

#[tokio::test]
async fn k1_a_revocation_of_a_subject_holds_while_others_move_its_mark() {
    let world = World::start().await;
    let (mut api, admin) = (world.api("service").await, world.api("admin").await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = JoinSet::new();
    for _ in 0..6 {
        let (mut admin, stop) = (admin.clone(), Arc::clone(&stop));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                admin.revoke_wide(Kind::Subject("user:7".to_owned())).await.unwrap();
            }
        });
    }
    let mut admin = admin;
    for round in 0..60 {
        let token = api.token("user:7", "api").await;
        let answer = admin.revoke_wide(Kind::Subject("user:7".to_owned())).await.unwrap();
        assert!(answer.propagation.unwrap().complete);
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked, "round {round}");
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn k1_the_answer_names_the_place_where_it_can_be_seen() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    for reach in [pb::Reach::Unspecified, pb::Reach::Local, pb::Reach::Replicas] {
        let token = api.token("user:7", "api").await;
        let head = world.number(HEAD).await;
        let request = pb::RevokeRequest { wait_for: reach.into(), ..revoke_request(text(&token)) };
        let answer = api.tokens.revoke(request).await.unwrap().into_inner();
        assert_eq!(place(&answer.revision), (1, head + 1));
        assert!(answer.propagation.unwrap().complete);
        let seen = pb::ValidateRequest {
            min_revision: answer.revision,
            ..crate::world::validate_request(&token.access_token, &["api"])
        };
        let verdict = api.tokens.validate(seen).await.unwrap().into_inner().verdict.unwrap();
        assert_eq!(verdict.status(), TokenStatus::Revoked);
    }
}

#[tokio::test]
async fn k1_what_nobody_can_wait_for_is_refused_and_nothing_is_revoked() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await;
    for validate_only in [true, false] {
        let wait_for = pb::Reach::Watchers.into();
        let request = pb::RevokeRequest { wait_for, validate_only, ..revoke_request(text(&token)) };
        let refused = api.tokens.revoke(request).await.refused();
        assert_eq!(
            (refused.code, refused.reason.as_str(), refused.get("service"), refused.get("listener")),
            (tonic::Code::Unimplemented, "NOT_SERVED_HERE", "jeton.v1.RevocationService", "public")
        );
    }
    assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn k1_whoever_will_not_wait_is_answered_and_a_call_given_up_may_be_repeated() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    for wait_us in [1, 200, 500, 1_000, 2_000, 4_000] {
        let token = api.token("user:7", "api").await;
        let given_up = tokio::time::timeout(Duration::from_micros(wait_us), api.revoke(text(&token))).await;
        let unanswered = given_up.is_err();
        let again = api.revoke(text(&token)).await.unwrap();
        assert!(again.propagation.unwrap().complete);
        let outcome = RevocationOutcome::try_from(again.outcome).unwrap();
        assert!(unanswered || outcome == RevocationOutcome::AlreadyRevoked);
        assert_eq!(api.status(&token.access_token, "api").await, TokenStatus::Revoked);
    }
    let token = api.token("user:7", "api").await;
    let request =
        pb::RevokeRequest { wait_timeout: Some(crate::world::seconds(0)), ..revoke_request(text(&token)) };
    let answer = api.tokens.revoke(request).await.unwrap().into_inner();
    assert_eq!(answer.outcome(), RevocationOutcome::Revoked, "durable, whoever has it");
    assert_eq!(world.number(&format!("select count(*) from revocation where id = '{}'", token.jti)).await, 1);
}
