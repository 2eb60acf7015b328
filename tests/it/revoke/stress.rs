//! Many at once: no deadlock, one order, and an audit row for each act.

use jeton::proto::v1::{self as pb, revocation_target::Kind};
use tokio::task::JoinSet;

use super::{place, text, wide_request};
use crate::world::{Api, World, now_s, policy, seconds};

const TASKS: i64 = 8;
const ACTS: i64 = 200;

/// One act; the revision it answers.
async fn act(api: &mut Api, admin: &mut Api, task: i64, turn: i64) -> Option<(i64, i64)> {
    let subject = format!("user:{}", turn % 5);
    let revision = match (task + turn) % 6 {
        0 => {
            let token = api.token(&subject, "api").await;
            api.revoke(text(&token)).await.unwrap().revision
        }
        1 => {
            let jti = jeton_token::new_uuid_v7(now_s() * 1000).to_string();
            admin.revoke(Kind::Jti(jti)).await.unwrap().revision
        }
        2 => admin.revoke_wide(Kind::Subject(subject)).await.unwrap().revision,
        3 => {
            let mut request = wide_request(Kind::Subject(subject));
            let cutoff = prost_types::Timestamp { seconds: now_s() - 300 + turn, nanos: 0 };
            request.target.as_mut().unwrap().issue_cutoff_time = (turn < 200).then_some(cutoff);
            request.target.as_mut().unwrap().audience = format!("aud{}", turn % 3);
            admin.wide.revoke(request).await.unwrap().into_inner().revision
        }
        4 => {
            admin
                .revoke_wide(Kind::ClientId(["narrow", "reader"][turn as usize % 2].to_owned()))
                .await
                .unwrap()
                .revision
        }
        // Shared by all tasks: a task that comes second too often is told to retry.
        _ => {
            let rules =
                pb::Policy { max_ttl: Some(seconds(600 + turn)), ..policy(&format!("aud{}", turn % 4)) };
            match admin.set_policy(rules).await {
                Ok(policy) => policy.etag,
                Err(status) => {
                    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status:?}");
                    return None;
                }
            }
        }
    };
    Some(place(&revision))
}

#[tokio::test]
async fn k9_many_revocations_and_policies_at_once_keep_one_order_and_an_audit_row_each() {
    let world = World::start().await;
    let (api, admin) = (world.api("service").await, world.api("admin").await);
    let mut tasks = JoinSet::new();
    for task in 0..TASKS {
        let (mut api, mut admin) = (api.clone(), admin.clone());
        tasks.spawn(async move {
            let (mut last, mut acts) = ((0, 0), 0);
            for turn in 0..ACTS {
                if let Some(revision) = act(&mut api, &mut admin, task, turn).await {
                    assert!(revision > last, "{revision:?} after {last:?}");
                    last = revision;
                    acts += 1;
                }
            }
            acts
        });
    }
    let acts: i64 = tasks.join_all().await.into_iter().sum();
    assert!(acts > TASKS * ACTS * 9 / 10, "{acts}");
    assert_eq!(
        world
            .audited(
                "action in ('Revoke', 'UpdatePolicy') and outcome in ('OK', 'REVOKED', 'ALREADY_REVOKED')"
            )
            .await,
        acts
    );
    let doubled = "select count(*) - count(distinct revision) from audit_event where action in ('Revoke', 'UpdatePolicy')";
    assert_eq!(world.number(doubled).await, 0, "each act has a place of its own");
    let logged = world.server.logged();
    assert!(!logged.contains("deadlock"), "a deadlock");
    assert_eq!(world.store().rows_in_default_partitions().await.unwrap(), 0);
    assert_eq!(
        world.number("select deadlocks from pg_stat_database where datname = current_database()").await,
        0
    );
}
