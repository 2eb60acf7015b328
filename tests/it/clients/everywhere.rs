//! Changes of clients that are in effect on every replica when the call returns.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use tonic::{Code, Status};

use super::{add_key, apis, client, create, create_with_key, delete, delete_key, set_disabled, update};
use crate::world::{Api, Fleet, Refused, Stream, World};

fn assert_unknown(answer: Result<impl std::fmt::Debug, Status>) {
    let refused = answer.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"));
}

#[tokio::test]
async fn c6_a_disabled_client_is_refused_at_once_on_every_replica_and_on_open_streams_and_its_tokens_live_on()
{
    let fleet = Fleet::start(3).await;
    let mut admin = fleet.caller(1).api;
    let key = create_with_key(&mut admin, client("billing")).await;
    let mut callers = apis(&fleet, &key);
    for round in 0..5 {
        let session = callers[round % 3].session("user:7", "api").await;
        let (token, refresh) = (session.access_token, session.refresh.unwrap().refresh_token);
        let mut streams = Vec::new();
        for api in &callers {
            let mut stream = Stream::open(api).await;
            assert_eq!(stream.ask(&token).await.unwrap(), TokenStatus::Active);
            streams.push(stream);
        }
        set_disabled(&mut admin, "billing", true).await.unwrap();
        for api in &mut callers {
            assert_unknown(api.validate(&token, &["api"]).await);
            assert_unknown(api.refresh(&refresh).await);
            assert_unknown(api.revoke(Kind::Token(token.clone())).await);
        }
        for mut stream in streams {
            assert_unknown(stream.ask(&token).await);
        }
        for mut caller in fleet.callers() {
            assert_eq!(caller.api.status(&token, "api").await, TokenStatus::Active, "it lives on");
        }
        set_disabled(&mut admin, "billing", false).await.unwrap();
        for api in &mut callers {
            assert_eq!(api.status(&token, "api").await, TokenStatus::Active, "enabled everywhere, too");
        }
        callers[0].refresh(&refresh).await.unwrap();
    }
}

#[tokio::test]
async fn a_deleted_clients_tokens_and_sessions_are_dead_everywhere_on_return() {
    let fleet = Fleet::start(3).await;
    let mut admin = fleet.caller(2).api;
    for round in 0..4 {
        // The same name each time: what one obtained is not its successor's.
        let key = create_with_key(&mut admin, client("billing")).await;
        let mut callers = apis(&fleet, &key);
        let session = callers[round % 3].session("user:7", "api").await;
        let (token, refresh) = (session.access_token, session.refresh.unwrap().refresh_token);
        let later = callers[(round + 1) % 3].refresh(&refresh).await.unwrap().access_token;
        for mut caller in fleet.callers() {
            assert_eq!(caller.api.status(&later, "api").await, TokenStatus::Active);
        }
        delete(&mut admin, "billing").await.unwrap();
        for (place, mut caller) in fleet.callers().into_iter().enumerate() {
            for text in [&token, &later] {
                let verdict = caller.api.validate(text, &["api"]).await.unwrap();
                assert_eq!(verdict.status(), TokenStatus::Revoked);
                assert_eq!(verdict.revocation_reason(), pb::RevocationReason::Deprovisioned);
            }
            assert_unknown(callers[place].validate(&token, &["api"]).await);
        }
        // Its keys are not the successor's, nor are its sessions.
        let again = create_with_key(&mut admin, client("billing")).await;
        assert_unknown(callers[0].validate(&token, &["api"]).await);
        let mut successor = Api::connect(&fleet.replicas[0].server.ready, &again);
        let refused = successor.refresh(&refresh).await.refused();
        assert!(
            ["SESSION_REVOKED", "REFRESH_TOKEN_INVALID"].contains(&refused.reason.as_str()),
            "{refused:?}"
        );
        let fresh = successor.token("user:7", "api").await.access_token;
        for mut caller in fleet.callers() {
            assert_eq!(
                caller.api.status(&fresh, "api").await,
                TokenStatus::Active,
                "the successor's are its own"
            );
        }
        let live = pb::ListSessionsRequest { client_id: "billing".into(), ..Default::default() };
        let live = admin.admin.list_sessions(live).await.unwrap().into_inner().sessions;
        assert_eq!(live, [], "no session of it lives");
        delete(&mut admin, "billing").await.unwrap();
    }
}

#[tokio::test]
async fn what_a_deleted_client_obtained_is_recorded_as_revoked_and_its_policies_stay() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let key = create_with_key(&mut admin, client("billing")).await;
    let rule = pb::Policy { client_id: "billing".into(), ..crate::world::policy("api") };
    admin.set_policy(pb::Policy { max_ttl: Some(crate::world::seconds(60)), ..rule }).await.unwrap();
    let token = world.api_with_key(&key).await.session("user:7", "api").await.access_token;
    let head = world.number("select seq from log_head").await;
    delete(&mut admin, "billing").await.unwrap();
    assert_eq!(world.number("select seq from log_head").await, head + 1, "one place in the log");
    let mark = "select count(*) from mark join log_head on position = epoch * 1099511627776 + seq \
                 where kind = 4 and target = 'billing' and reason = 4 and cutoff_s = 0 \
                   and expire_time between now() + interval '86500 s' and now() + interval '86540 s'";
    assert_eq!(world.number(mark).await, 1);
    assert_eq!(world.number("select count(*) from api_key where client_id = 'billing'").await, 0);
    assert_eq!(world.number("select count(*) from policy where client_id = 'billing'").await, 1);
    assert_eq!(
        world.audited("action = 'DeleteClient' and client_id = 'billing' and actor = 'admin'").await,
        1
    );
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn rights_that_are_taken_and_given_hold_everywhere_on_return() {
    let fleet = Fleet::start(3).await;
    let mut admin = fleet.caller(0).api;
    let key = create_with_key(&mut admin, client("billing")).await;
    let mut callers = apis(&fleet, &key);
    for _ in 0..4 {
        let narrow = pb::Client { permissions: vec![2], audiences: vec!["web".into()], ..client("billing") };
        update(&mut admin, narrow, &["permissions", "audiences"]).await.unwrap();
        for api in &mut callers {
            let refused = api.issue(crate::world::issue_request("user:7", &["web"])).await.refused();
            assert_eq!(refused.get("permission"), "PERMISSION_ISSUE");
            assert_eq!(api.validate("x", &["api"]).await.refused().reason, "AUDIENCE_NOT_ALLOWED");
        }
        update(&mut admin, client("billing"), &["permissions", "audiences"]).await.unwrap();
        for api in &mut callers {
            api.token("user:7", "api").await;
        }
    }
}

#[tokio::test]
async fn a_key_is_good_everywhere_on_return_and_refused_everywhere_when_it_is_removed() {
    let fleet = Fleet::start(3).await;
    let mut admin = fleet.caller(1).api;
    create(&mut admin, client("billing")).await.unwrap();
    for _ in 0..5 {
        let made = add_key(&mut admin, "billing", Some(3_600)).await.unwrap();
        let mut callers = apis(&fleet, &made.secret);
        for api in &mut callers {
            api.token("user:7", "api").await;
        }
        delete_key(&mut admin, "billing", &made.api_key.unwrap().api_key_id).await.unwrap();
        for api in &mut callers {
            assert_unknown(api.issue(crate::world::issue_request("user:7", &["api"])).await);
        }
    }
}
