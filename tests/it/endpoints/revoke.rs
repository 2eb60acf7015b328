//! RFC 7009: 200 means that the token is dead everywhere.

use jeton::proto::v1::{self as pb, TokenStatus};

use super::{REVOKE, introspect, revoke};
use crate::world::{Fleet, World, api_key, basic, issue_request, post_form, until};

#[tokio::test]
async fn k1_a_token_is_dead_on_every_replica_when_the_door_has_answered() {
    let fleet = Fleet::start(3).await;
    let mut callers = fleet.callers();
    let key = basic("service", &api_key("service"));
    let mut service = crate::world::Api::connect(&fleet.replicas[0].server.ready, &api_key("service"));
    for place in [0, 1, 2, 0, 1, 2] {
        let token = service.token("user:7", "api").await.access_token;
        for caller in &mut callers {
            assert_eq!(caller.api.status(&token, "api").await, TokenStatus::Active);
        }
        let public = &fleet.replicas[place].server.ready.public;
        let answer =
            post_form(public, REVOKE, &key, &format!("token={token}&token_type_hint=access_token")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        for caller in &mut callers {
            assert_eq!(caller.api.status(&token, "api").await, TokenStatus::Revoked);
        }
    }
}

#[tokio::test]
async fn k2_whatever_is_of_no_use_any_more_is_answered_with_200() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let token = service.token("user:7", "api").await.access_token;
    let ttl = pb::issue_request::Expiration::Ttl(crate::world::seconds(1));
    let request = pb::IssueRequest { expiration: Some(ttl), ..issue_request("user:7", &["api"]) };
    let expired = service.issue(request).await.unwrap().access_token;
    until("it has expired", async || service.clone().status(&expired, "api").await == TokenStatus::Expired)
        .await;
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    for text in [&token, &token, &expired, &forged, "garbage", "jtr_forged"] {
        let answer = revoke(&world, "service", text).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{answer:?}");
    }
    assert_eq!(service.status(&token, "api").await, TokenStatus::Revoked);
    // The same audit as Revoke's.
    let request = pb::ListAuditEventsRequest { actor: "service".to_owned(), ..Default::default() };
    let events =
        world.api("admin").await.admin.list_audit_events(request).await.unwrap().into_inner().audit_events;
    let revoked = events.iter().filter(|event| event.action == "Revoke");
    assert_eq!(revoked.count(), 3, "what was ours: {events:?}");
}

#[tokio::test]
async fn k2_a_token_with_the_newline_of_its_file_is_revoked() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    for around in [("", "%0A"), ("", "%0D%0A"), ("+", "%20%09")] {
        let token = service.token("user:7", "api").await.access_token;
        let answer = revoke(&world, "service", &format!("{}{token}{}", around.0, around.1)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(service.status(&token, "api").await, TokenStatus::Revoked, "{around:?}");
    }
    let blank = revoke(&world, "service", "%0A").await;
    assert_eq!((blank.status, blank.json()["error"].as_str()), (400, Some("invalid_request")), "{blank:?}");
}

#[tokio::test]
async fn a_refresh_token_ends_its_session_with_every_token_of_it() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let session = service.session("user:7", "api").await;
    let refresh = session.refresh.unwrap().refresh_token;
    let hinted = format!("token={refresh}&token_type_hint=refresh_token");
    let key = basic("service", &api_key("service"));
    let answer = post_form(&world.server.ready.public, REVOKE, &key, &hinted).await;
    assert_eq!(answer.status, 200);
    assert_eq!(service.status(&session.access_token, "api").await, TokenStatus::Revoked);
    service.refresh(&refresh).await.unwrap_err();
    assert_eq!(introspect(&world, "narrow", &session.access_token).await.body, "{\"active\":false}");
}

#[tokio::test]
async fn k5_a_token_of_another_clients_is_refused_and_lives_on() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let session = service.session("user:7", "api").await;
    let refresh = session.refresh.unwrap().refresh_token;
    for text in [&session.access_token, &refresh] {
        let refused = revoke(&world, "other", text).await;
        assert_eq!((refused.status, refused.error().as_str()), (400, "unauthorized_client"));
    }
    assert_eq!(service.status(&session.access_token, "api").await, TokenStatus::Active);
    // PERMISSION_REVOKE_ANY.
    assert_eq!(revoke(&world, "admin", &session.access_token).await.status, 200);
    assert_eq!(service.status(&session.access_token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn k1_without_the_database_no_revocation_is_answered_as_done() {
    let world = World::start().await;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    world.database.cut_off().await;
    let refused = revoke(&world, "service", &token).await;
    assert_eq!((refused.status, refused.error().as_str()), (503, "temporarily_unavailable"));
    assert!(refused.header("retry-after").is_some());
    world.database.let_in().await;
    until("a repetition succeeds", async || revoke(&world, "service", &token).await.status == 200).await;
    assert_eq!(world.api("service").await.status(&token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn k16_a_token_is_found_over_rfc_7009_whatever_surrounds_it() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    for (before, behind) in [
        ("Bearer+", ""),
        ("authorization:+Bearer+", ""),
        ("%22", "%22"),
        ("'", "'"),
        ("%EF%BB%BF", ""),
        ("%EF%BB%BF%22Bearer+", "%22%0D%0A%0A"),
        ("JETON_TOKEN%3D", "%0A"),
        ("seen+in+a+log:+", ",+says+alice"),
    ] {
        let token = service.token("user:7", "api").await.access_token;
        let answer = revoke(&world, "service", &format!("{before}{token}{behind}")).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{before:?}: {answer:?}");
        assert_eq!(service.status(&token, "api").await, TokenStatus::Revoked, "{before:?}");
    }
    let session = service.session("user:7", "api").await;
    let refresh = session.refresh.unwrap().refresh_token;
    assert_eq!(revoke(&world, "service", &format!("Bearer+%22{refresh}%22%0A")).await.status, 200);
    assert_eq!(service.status(&session.access_token, "api").await, TokenStatus::Revoked);
    service.refresh(&refresh).await.unwrap_err();
}
