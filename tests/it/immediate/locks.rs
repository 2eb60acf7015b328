//! A new epoch begins, and the tables have lost locks.

use jeton::proto::v1 as pb;

use super::lost::{back_up, lose_all_since};
use crate::world::{Api, Fleet, Refused, issue_request, seconds};

/// Locks a subject for an hour.
pub(super) async fn lock(api: &mut Api, subject: &str) {
    let target = Some(pb::lock_request::Target::Subject(subject.to_owned()));
    let request = pb::LockRequest { target, ttl: Some(seconds(3_600)), ..Default::default() };
    api.admin.lock(request).await.unwrap();
}

/// Ends the lock of a subject.
pub(super) async fn unlock(api: &mut Api, subject: &str) {
    let target = Some(pb::unlock_request::Target::Subject(subject.to_owned()));
    api.admin.unlock(pb::UnlockRequest { target, ..Default::default() }).await.unwrap();
}

#[tokio::test]
async fn k12_a_lock_that_the_tables_have_lost_holds_again_and_so_does_one_that_they_have_shorter() {
    let mut fleet = Fleet::start(2).await;
    let mut admin = fleet.caller(0).api;
    lock(&mut admin, "user:before").await;
    back_up(&fleet.database, &[]).await;
    lock(&mut admin, "user:lost").await;
    let longer = pb::LockRequest {
        target: Some(pb::lock_request::Target::Subject("user:before".to_owned())),
        ttl: Some(seconds(7_200)),
        ..Default::default()
    };
    admin.admin.lock(longer).await.unwrap();
    let listed = async |api: &mut Api| {
        let answer = api.admin.list_locks(pb::ListLocksRequest::default()).await.unwrap().into_inner();
        let mut locks: Vec<_> = answer.locks.into_iter().map(|it| (it.target, it.end_time)).collect();
        locks.sort_by_key(|(target, _)| format!("{target:?}"));
        locks
    };
    let held = listed(&mut admin).await;
    assert_eq!(held.len(), 2);
    lose_all_since(&fleet.database, &[]).await;
    fleet.has_come_to(2).await;
    // On those that held it, and on one that starts from the tables.
    fleet.join().await;
    for place in 0..3 {
        let mut api = fleet.caller(place).api;
        for subject in ["user:lost", "user:before"] {
            let refused = api.issue(issue_request(subject, &["api"])).await.refused();
            assert_eq!(refused.reason, "SUBJECT_LOCKED", "{subject} at {place}");
        }
        assert_eq!(listed(&mut api).await, held, "with the same ends, at {place}");
    }
}
