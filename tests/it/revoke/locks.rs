//! K22: locks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use jeton::proto::v1::{
    self as pb, TokenStatus, explain_request::Question, explanation::Kind as What, lock, lock_request,
    revocation_target::Kind, unlock_request,
};
use tonic::{Code, Status};

use super::{refresh_token, wide_request};
use crate::world::{Api, Fleet, Refused, World, api_key, issue_request, seconds, until};

fn subject(name: &str) -> lock_request::Target {
    lock_request::Target::Subject(name.to_owned())
}

fn client(name: &str) -> lock_request::Target {
    lock_request::Target::ClientId(name.to_owned())
}

async fn lock_for(api: &Api, target: lock_request::Target, ttl_s: i64) -> Result<pb::Lock, Status> {
    let note = "INC-1".to_owned();
    let request =
        pb::LockRequest { target: Some(target), ttl: Some(seconds(ttl_s)), note, wait_timeout: None };
    let answer = api.admin.clone().lock(request).await?.into_inner();
    assert!(answer.propagation.is_some_and(|it| it.complete));
    Ok(answer.lock.expect("the lock as it holds"))
}

async fn unlock(api: &Api, target: lock_request::Target) -> Option<pb::Lock> {
    let target = match target {
        lock_request::Target::Subject(name) => unlock_request::Target::Subject(name),
        lock_request::Target::ClientId(name) => unlock_request::Target::ClientId(name),
    };
    let request = pb::UnlockRequest { target: Some(target), ..Default::default() };
    let answer = api.admin.clone().unlock(request).await.unwrap().into_inner();
    assert!(answer.propagation.is_some_and(|it| it.complete));
    answer.lock
}

async fn locks(api: &Api) -> Vec<pb::Lock> {
    api.admin.clone().list_locks(pb::ListLocksRequest::default()).await.unwrap().into_inner().locks
}

fn end_s(lock: &pb::Lock) -> i64 {
    lock.end_time.as_ref().unwrap().seconds
}

/// A caller of a replica, as this client.
fn caller(fleet: &Fleet, place: usize, client_id: &str) -> Api {
    Api::connect(&fleet.replicas[place].server.ready, &api_key(client_id))
}

#[tokio::test]
async fn k22_once_a_lock_is_answered_no_replica_issues_for_the_subject_until_it_is_unlocked() {
    let fleet = Fleet::start(2).await;
    let admin = caller(&fleet, 0, "admin");
    let (mut here, mut there) = (caller(&fleet, 0, "service"), caller(&fleet, 1, "service"));
    let session = there.session("user:7", "api").await;
    let lock = lock_for(&admin, subject("user:7"), 600).await.unwrap();
    let until = jiff::Timestamp::from_second(end_s(&lock)).unwrap().to_string();
    for api in [&mut here, &mut there] {
        for refreshable in [false, true] {
            let request = pb::IssueRequest { refreshable, ..issue_request("user:7", &["api"]) };
            let refused = api.issue(request).await.refused();
            assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "SUBJECT_LOCKED"));
            assert_eq!(refused.get("untilTime"), until);
        }
        let refused = api.refresh(refresh_token(&session)).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "SUBJECT_LOCKED"));
        api.token("user:70", "api").await;
    }
    assert_eq!(
        here.status(&session.access_token, "api").await,
        TokenStatus::Active,
        "a lock by itself ends nothing that was issued before"
    );
    let ended = unlock(&admin, subject("user:7")).await.expect("it was locked");
    assert_eq!(end_s(&ended), end_s(&lock));
    for api in [&mut here, &mut there] {
        api.token("user:7", "api").await;
    }
    there.refresh(refresh_token(&session)).await.expect("the refused refreshes spent nothing");
    assert!(unlock(&admin, subject("user:7")).await.is_none(), "again: nothing was locked");
}

#[tokio::test]
async fn k22_a_locked_client_is_issued_nothing_and_its_other_calls_go_on() {
    let fleet = Fleet::start(2).await;
    let admin = caller(&fleet, 0, "admin");
    let (mut locked, mut other) = (caller(&fleet, 1, "service"), caller(&fleet, 1, "other"));
    let session = locked.session("user:7", "api").await;
    lock_for(&admin, client("service"), 600).await.unwrap();
    let refused = locked.issue(issue_request("user:7", &["api"])).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "CLIENT_LOCKED"));
    assert!(!refused.get("untilTime").is_empty());
    assert_eq!(locked.refresh(refresh_token(&session)).await.refused().reason, "CLIENT_LOCKED");
    assert_eq!(locked.status(&session.access_token, "api").await, TokenStatus::Active);
    other.token("user:7", "api").await;
    let whoami = locked.tokens.get_caller(pb::GetCallerRequest {}).await.unwrap().into_inner();
    let told = whoami.lock.expect("the caller is told that it is locked");
    assert_eq!(told.target, Some(lock::Target::ClientId("service".to_owned())));
    assert_eq!((told.actor.as_str(), told.note.as_str()), ("", ""), "it may not read the audit trail");
    unlock(&admin, client("service")).await.expect("it was locked");
    locked.refresh(refresh_token(&session)).await.expect("the refused refresh spent nothing");
}

/// Issues until it is stopped; gives every token that it got, and counts them.
async fn issuing(mut api: Api, stop: Arc<AtomicBool>, got: Arc<AtomicU32>) -> Vec<String> {
    let mut tokens = Vec::new();
    while !stop.load(Ordering::SeqCst) {
        match api.issue(issue_request("user:7", &["api"])).await {
            Ok(token) => {
                tokens.push(token.access_token);
                got.fetch_add(1, Ordering::SeqCst);
            }
            refused @ Err(_) => assert_eq!(refused.refused().reason, "SUBJECT_LOCKED"),
        }
    }
    tokens
}

#[tokio::test]
async fn k22_after_a_revocation_with_a_lock_nothing_of_the_subject_is_active_whoever_was_asking_meanwhile() {
    let fleet = Fleet::start(2).await;
    let mut admin = caller(&fleet, 0, "admin");
    for round in 0..6 {
        let (stop, got) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
        let tasks: Vec<_> = (0..4)
            .map(|n| {
                let api = caller(&fleet, n % 2, "service");
                tokio::spawn(issuing(api, Arc::clone(&stop), Arc::clone(&got)))
            })
            .collect();
        until("tokens are issued", async || got.load(Ordering::SeqCst) > 20).await;
        let request = pb::RevokeRequest {
            lock_ttl: Some(seconds(600)),
            ..wide_request(Kind::Subject("user:7".to_owned()))
        };
        let answer = admin.wide.revoke(request).await.unwrap().into_inner();
        assert!(answer.propagation.as_ref().is_some_and(|it| it.complete));
        let lock = answer.lock.expect("the lock that was made");
        assert_eq!(lock.target, Some(lock::Target::Subject("user:7".to_owned())));
        let had = got.load(Ordering::SeqCst);
        // Calls that were under way may still end; what they get is dead.
        let mut after = caller(&fleet, 1, "service");
        for _ in 0..20 {
            let refused = after.issue(issue_request("user:7", &["api"])).await.refused();
            assert_eq!(refused.reason, "SUBJECT_LOCKED", "round {round}");
        }
        stop.store(true, Ordering::SeqCst);
        assert!(had > 20);
        for task in tasks {
            for token in task.await.unwrap() {
                assert_eq!(after.status(&token, "api").await, TokenStatus::Revoked, "round {round}");
            }
        }
        unlock(&admin, subject("user:7")).await.expect("it was locked");
    }
}

#[tokio::test]
async fn k22_a_lock_ends_by_itself_and_locked_again_the_later_end_holds() {
    let world = World::start().await;
    let (mut api, admin) = (world.api("service").await, world.api("admin").await);
    lock_for(&admin, subject("user:7"), 1).await.unwrap();
    until("the lock has ended", async || api.issue(issue_request("user:7", &["api"])).await.is_ok()).await;
    assert!(locks(&admin).await.is_empty());

    let long = lock_for(&admin, subject("user:7"), 3_600).await.unwrap();
    let short = lock_for(&admin, subject("user:7"), 60).await.unwrap();
    assert_eq!(end_s(&short), end_s(&long), "a second lock shortens nothing");
    assert_eq!(short.lock_time, long.lock_time, "locked since the first");
    let longer = lock_for(&admin, subject("user:7"), 7_200).await.unwrap();
    assert!(end_s(&longer) > end_s(&long));
    unlock(&admin, subject("user:7")).await.expect("it was locked");
    let again = lock_for(&admin, subject("user:7"), 60).await.unwrap();
    assert!(end_s(&again) < end_s(&long), "the earlier lock is over, and does not come back");
}

#[tokio::test]
async fn k22_of_two_locks_the_one_that_ends_later_holds_with_its_note_and_the_other_is_told() {
    let world = World::start().await;
    let admin = world.api("admin").await;
    let lock = async |ttl_s, note: &str| {
        let note = note.to_owned();
        let target = Some(subject("user:7"));
        let request = pb::LockRequest { target, ttl: Some(seconds(ttl_s)), note, wait_timeout: None };
        admin.admin.clone().lock(request).await.unwrap().into_inner()
    };
    let first = lock(3_600, "the longer").await;
    assert_eq!(first.earlier_lock, None);
    let second = lock(60, "the shorter").await;
    assert_eq!(second.earlier_lock, first.lock);
    let holds = second.lock.unwrap();
    assert_eq!((end_s(&holds), holds.note.as_str()), (end_s(&first.lock.unwrap()), "the longer"));

    let mut beside = wide_request(Kind::Subject("user:7".to_owned()));
    (beside.lock_ttl, beside.note) = (Some(seconds(60)), "with a revocation".to_owned());
    let revoked = admin.wide.clone().revoke(beside).await.unwrap().into_inner();
    assert_eq!(revoked.earlier_lock, Some(holds));
    assert_eq!(revoked.lock.unwrap().note, "the longer");

    let third = lock(7_200, "the longest").await.lock.unwrap();
    assert_eq!(third.note, "the longest");
    assert_eq!(locks(&admin).await, [third]);
    let acts = "select count(*) from audit_event where action = 'Lock' and note like '%: the %'";
    assert_eq!(world.number(acts).await, 3, "each act stands with its own note");
}

#[tokio::test]
async fn k22_locks_are_listed_explained_and_audited() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.session("user:7", "api").await;
    lock_for(&admin, subject("user:7"), 600).await.unwrap();
    lock_for(&admin, client("other"), 600).await.unwrap();
    let listed = locks(&admin).await;
    let targets: Vec<_> = listed.iter().map(|it| it.target.clone().unwrap()).collect();
    let newest = lock::Target::ClientId("other".to_owned());
    assert_eq!(targets, [newest, lock::Target::Subject("user:7".to_owned())], "newest first");
    assert!(listed.iter().all(|it| it.actor == "admin" && it.note == "INC-1"), "{listed:?}");
    let first = pb::ListLocksRequest { page_size: 1, page_token: String::new() };
    let first = admin.admin.list_locks(first).await.unwrap().into_inner();
    let rest = pb::ListLocksRequest { page_size: 1, page_token: first.next_page_token.clone() };
    let rest = admin.admin.list_locks(rest).await.unwrap().into_inner();
    assert_eq!([first.locks, rest.locks].concat(), listed);
    assert!(rest.next_page_token.is_empty());

    for question in [Question::Subject("user:7".to_owned()), Question::Token(token.access_token.clone())] {
        let request = pb::ExplainRequest { question: Some(question) };
        let explained = admin.admin.explain(request).await.unwrap().into_inner().explanations.remove(0);
        assert_eq!(explained.locks.len(), 1, "{explained:?}");
        assert!([What::Subject, What::Token].contains(&explained.kind()));
    }
    unlock(&admin, subject("user:7")).await.expect("it was locked");
    let request = pb::ListAuditEventsRequest { subject: "user:7".to_owned(), ..Default::default() };
    let events = admin.admin.list_audit_events(request).await.unwrap().into_inner().audit_events;
    let told: Vec<_> = events.iter().map(|it| (it.action.as_str(), it.actor.as_str())).collect();
    assert_eq!(told, [("Unlock", "admin"), ("Lock", "admin")]);
    let note = &events[1].note;
    assert!(note.starts_with("until ") && note.ends_with(": INC-1"), "{note}");
}

#[tokio::test]
async fn k22_the_last_administrator_that_is_not_locked_cannot_be() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let refused = lock_for(&admin, client("admin"), 60).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "client_id"));
    let second = pb::Client {
        client_id: "second".to_owned(),
        permissions: vec![pb::Permission::AdminWrite.into()],
        certificate_uris: vec!["spiffe://jeton.test/second".to_owned()],
        ..Default::default()
    };
    admin.admin.create_client(pb::CreateClientRequest { client: Some(second) }).await.unwrap();
    lock_for(&admin, client("admin"), 60).await.unwrap();
    let refused = lock_for(&admin, client("second"), 60).await.refused();
    assert_eq!(refused.get("field"), "client_id", "the other one is locked");
    let both = pb::RevokeRequest {
        lock_ttl: Some(seconds(60)),
        ..wide_request(Kind::ClientId("second".to_owned()))
    };
    let refused = admin.wide.revoke(both).await.refused();
    assert_eq!(refused.get("field"), "target.client_id", "nothing is revoked either");
    assert_eq!(world.number("select count(*) from mark").await, 0);
}

#[tokio::test]
async fn k22_what_cannot_be_locked_is_refused_and_nothing_is_written() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    for ttl_s in [i64::MIN, -1, 0, 30 * 86_400 + 1, i64::MAX] {
        let refused = lock_for(&admin, subject("user:7"), ttl_s).await.refused();
        assert_eq!((refused.code, refused.get("field")), (Code::InvalidArgument, "ttl"), "{ttl_s}");
    }
    let without = pb::LockRequest { target: Some(subject("user:7")), ..Default::default() };
    assert_eq!(admin.admin.lock(without).await.refused().reason, "FIELD_REQUIRED");
    let untargeted = pb::LockRequest { ttl: Some(seconds(60)), ..Default::default() };
    assert_eq!(admin.admin.lock(untargeted).await.refused().get("field"), "target");
    assert_eq!(lock_for(&admin, subject(""), 60).await.refused().reason, "FIELD_REQUIRED");
    assert_eq!(lock_for(&admin, subject("a\u{7}"), 60).await.refused().get("field"), "subject");
    assert_eq!(lock_for(&admin, client("gone"), 60).await.refused().reason, "NOT_FOUND");
    let long = pb::LockRequest {
        target: Some(subject("user:7")),
        ttl: Some(seconds(60)),
        note: "x".repeat(501),
        wait_timeout: None,
    };
    assert_eq!(admin.admin.lock(long).await.refused().get("field"), "note");

    let beside = |kind| pb::RevokeRequest { lock_ttl: Some(seconds(60)), ..wide_request(kind) };
    let mut for_audience = beside(Kind::Subject("user:7".to_owned()));
    for_audience.target.as_mut().unwrap().audience = "api".to_owned();
    let session = beside(Kind::SessionId("0192f0c8-0000-7000-8000-000000000001".to_owned()));
    for request in [for_audience, beside(Kind::AllForAudience("api".to_owned())), session] {
        assert!(!admin.wide.revoke(request).await.refused().reason.is_empty());
    }
    let preview = pb::RevokeRequest { validate_only: true, ..beside(Kind::Subject("user:7".to_owned())) };
    assert!(admin.wide.revoke(preview).await.unwrap().into_inner().lock.is_none());
    let none = pb::LockRequest::default();
    for role in ["service", "reader", "validator"] {
        let refused = world.api(role).await.admin.lock(none.clone()).await.refused();
        assert_eq!(refused.get("permission"), "PERMISSION_REVOKE_WIDE");
    }
    assert_eq!(world.number("select count(*) from lock").await, 0);
    assert_eq!(world.number("select count(*) from mark").await, 0);
}
