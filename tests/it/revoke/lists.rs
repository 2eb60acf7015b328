//! Lists for people: sessions, and the audit.

use std::collections::HashSet;

use jeton::proto::v1::{self as pb, revocation_target::Kind};

use super::{refresh_token, text};
use crate::world::{Api, ErrorFacts, Fleet, Refused, World, revoke_request, until};

async fn sessions(api: &mut Api, request: pb::ListSessionsRequest) -> pb::ListSessionsResponse {
    api.admin.list_sessions(request).await.unwrap().into_inner()
}

async fn events(api: &mut Api, request: pb::ListAuditEventsRequest) -> Vec<pb::AuditEvent> {
    api.admin.list_audit_events(request).await.unwrap().into_inner().audit_events
}

fn of_subject(subject: &str) -> pb::ListSessionsRequest {
    pb::ListSessionsRequest { subject: subject.to_owned(), ..Default::default() }
}

fn ids(page: &pb::ListSessionsResponse) -> Vec<String> {
    page.sessions.iter().map(|session| session.session_id.clone()).collect()
}

#[tokio::test]
async fn sessions_are_listed_newest_first_page_by_page() {
    let world = World::start().await;
    let (mut api, mut reader) = (world.api("service").await, world.api("reader").await);
    let mut opened = Vec::new();
    for _ in 0..7 {
        opened.push(api.session("user:7", "api").await.session_id);
    }
    api.session("user:70", "api").await;
    opened.sort();
    opened.reverse();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    for length in [3, 3, 1] {
        let request = pb::ListSessionsRequest { page_size: 3, page_token, ..of_subject("user:7") };
        let page = sessions(&mut reader, request).await;
        assert_eq!(page.sessions.len(), length);
        listed.extend(ids(&page));
        page_token = page.next_page_token;
    }
    assert!(page_token.is_empty());
    assert_eq!(listed, opened);
    assert_eq!(ids(&sessions(&mut reader, of_subject("user:7")).await), opened);
    let first = pb::ListSessionsRequest { page_size: 3, ..of_subject("user:7") };
    let token = sessions(&mut reader, first).await.next_page_token;
    let refused = async |request: pb::ListSessionsRequest| -> ErrorFacts {
        reader.clone().admin.list_sessions(request).await.refused()
    };
    for page_token in [token, "x".to_owned(), "!".to_owned()] {
        let other = pb::ListSessionsRequest { page_token, ..of_subject("user:70") };
        assert_eq!(refused(other).await.reason, "PAGE_TOKEN_INVALID");
    }
    let negative = pb::ListSessionsRequest { page_size: -1, ..of_subject("user:7") };
    assert_eq!(refused(negative).await.get("field"), "page_size");
    assert_eq!(refused(pb::ListSessionsRequest::default()).await.reason, "FIELD_REQUIRED");
    assert_eq!(refused(of_subject("a\0b")).await.reason, "FIELD_INVALID");
    let denied = api.admin.list_sessions(of_subject("user:7")).await.refused();
    assert_eq!(
        (denied.reason.as_str(), denied.get("permission")),
        ("CALLER_FORBIDDEN", "PERMISSION_ADMIN_READ")
    );
}

#[tokio::test]
async fn a_session_is_listed_with_its_facts_until_it_ends() {
    let world = World::start().await;
    let (mut api, mut other) = (world.api("service").await, world.api("other").await);
    let mut admin = world.api("admin").await;
    let (one, two) = (api.session("user:7", "api").await, api.session("user:7", "web").await);
    let third = other.session("user:7", "api").await;
    let one = api.refresh(refresh_token(&one)).await.unwrap();
    let page = sessions(&mut admin, of_subject("user:7")).await;
    let listed = page.sessions.iter().find(|session| session.session_id == one.session_id).unwrap();
    assert_eq!((listed.subject.as_str(), listed.client_id.as_str()), ("user:7", "service"));
    assert_eq!((listed.audiences.as_slice(), listed.refresh_count), (&["api".to_owned()][..], 1));
    let refresh = one.refresh.clone().unwrap();
    assert_eq!(
        (listed.idle_expire_time, listed.expire_time),
        (refresh.expire_time, refresh.session_expire_time)
    );
    assert!(listed.revoke_time.is_none());
    let by_client = pb::ListSessionsRequest { client_id: "other".to_owned(), ..Default::default() };
    assert_eq!(ids(&sessions(&mut admin, by_client.clone()).await), std::slice::from_ref(&third.session_id));
    let both = pb::ListSessionsRequest { client_id: "other".to_owned(), ..of_subject("user:8") };
    assert!(sessions(&mut admin, both).await.sessions.is_empty(), "all that is set must hold");
    // Revoked, by id and by mark, before any sweep; expired.
    admin.revoke(Kind::SessionId(two.session_id.clone())).await.unwrap();
    admin.revoke_wide(Kind::ClientId("other".to_owned())).await.unwrap();
    world.sql(&format!("update session set expire_time = now() where id = '{}'", one.session_id)).await;
    assert!(sessions(&mut admin, of_subject("user:7")).await.sessions.is_empty());
    let ended = pb::ListSessionsRequest { show_ended: true, ..of_subject("user:7") };
    let ended = sessions(&mut admin, ended).await.sessions;
    assert_eq!(ended.len(), 3);
    for session in ended {
        assert_eq!(session.revoke_time.is_some(), session.session_id != one.session_id);
    }
}

#[tokio::test]
async fn audit_events_are_found_by_each_filter_and_all_that_are_set_must_hold() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let mut reader = world.api("reader").await;
    let session = api.session("user:7", "api").await;
    let token = api.token("user:8", "api").await;
    let noted = pb::RevokeRequest {
        note: "ticket 4711".to_owned(),
        reason: pb::RevocationReason::Logout.into(),
        ..revoke_request(text(&token))
    };
    api.tokens.revoke(noted).await.unwrap();
    admin.revoke(Kind::SessionId(session.session_id.clone())).await.unwrap();
    let none = pb::ListAuditEventsRequest::default;
    let by_jti = events(&mut reader, pb::ListAuditEventsRequest { jti: token.jti.clone(), ..none() }).await;
    assert_eq!(by_jti.len(), 1);
    let event = &by_jti[0];
    assert_eq!((event.actor.as_str(), event.action.as_str()), ("service", "Revoke"));
    assert_eq!((event.subject.as_str(), event.client_id.as_str()), ("user:8", "service"));
    assert_eq!((event.outcome.as_str(), event.note.as_str()), ("REVOKED", "ticket 4711"));
    assert_eq!(event.reason(), pb::RevocationReason::Logout);
    assert!(event.sequence > 0);
    let by_subject = pb::ListAuditEventsRequest { subject: "user:8".to_owned(), ..none() };
    assert_eq!(events(&mut reader, by_subject.clone()).await, by_jti);
    let by_session = pb::ListAuditEventsRequest { session_id: session.session_id.clone(), ..none() };
    let by_session = events(&mut reader, by_session).await;
    assert_eq!(by_session.len(), 1);
    assert_eq!((by_session[0].actor.as_str(), by_session[0].subject.as_str()), ("admin", "user:7"));
    let by_actor = pb::ListAuditEventsRequest { actor: "service".to_owned(), ..none() };
    assert_eq!(events(&mut reader, by_actor).await, by_jti);
    let neither = pb::ListAuditEventsRequest { actor: "admin".to_owned(), ..by_subject };
    assert!(events(&mut reader, neither).await.is_empty());
    let action = "Revoke".to_owned();
    let by_client = pb::ListAuditEventsRequest { client_id: "service".to_owned(), action, ..none() };
    assert_eq!(events(&mut reader, by_client).await.len(), 2, "whose tokens they were");
    for (note, found) in [("4711", 1), ("ticket", 1), ("INC", 0), ("%", 0)] {
        let request = pb::ListAuditEventsRequest { note: note.to_owned(), ..none() };
        assert_eq!(events(&mut reader, request).await.len(), found, "{note}");
    }
    let of = |action: &str| pb::ListAuditEventsRequest { action: action.to_owned(), ..none() };
    assert_eq!(events(&mut reader, of("Revoke")).await.len(), 2);
    assert!(events(&mut reader, of("Rev")).await.is_empty(), "by its whole name");
    admin.admin.rotate_key(pb::RotateKeyRequest { emergency: true, ..Default::default() }).await.unwrap();
    let signs = world.forge().await.key.key_id().to_owned();
    let by_key = pb::ListAuditEventsRequest { key_id: signs.clone(), ..none() };
    let acts: Vec<_> = events(&mut reader, by_key).await.into_iter().map(|event| event.action).collect();
    assert!(acts.contains(&"RotateKey".to_owned()), "{acts:?}");
    // From inclusive, to exclusive.
    let time = event.event_time;
    let later = time.map(|time| prost_types::Timestamp { nanos: time.nanos + 1_000, ..time });
    for (start_time, end_time, found) in
        [(time, None, 1), (later, None, 0), (None, time, 0), (None, later, 1), (time, later, 1)]
    {
        let request = pb::ListAuditEventsRequest { jti: token.jti.clone(), start_time, end_time, ..none() };
        assert_eq!(events(&mut reader, request).await.len(), found, "{start_time:?} {end_time:?}");
    }
    let refused = reader
        .admin
        .list_audit_events(pb::ListAuditEventsRequest { jti: "X".to_owned(), ..none() })
        .await
        .refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "jti"));
    let denied = api.admin.list_audit_events(none()).await.refused();
    assert_eq!(
        (denied.reason.as_str(), denied.get("permission")),
        ("CALLER_FORBIDDEN", "PERMISSION_ADMIN_READ")
    );
}

#[tokio::test]
async fn the_probers_canaries_are_left_out_of_the_audit_unless_they_are_asked_for() {
    let world = World::start().await;
    let (mut api, mut reader) = (world.api("service").await, world.api("reader").await);
    let canary = api.token("jeton-canary", "jeton-canary").await;
    let token = api.token("user:7", "api").await;
    for token in [&canary, &token] {
        api.revoke(text(token)).await.unwrap();
    }
    let revokes = || pb::ListAuditEventsRequest { action: "Revoke".to_owned(), ..Default::default() };
    for (request, found) in [
        (revokes(), 1),
        (pb::ListAuditEventsRequest { show_canaries: true, ..revokes() }, 2),
        (pb::ListAuditEventsRequest { subject: "jeton-canary".to_owned(), ..revokes() }, 1),
        (pb::ListAuditEventsRequest { jti: canary.jti.clone(), ..revokes() }, 1),
    ] {
        assert_eq!(events(&mut reader, request.clone()).await.len(), found, "{request:?}");
    }
    let lines = world.server.logged();
    assert!(lines.contains(&token.jti) && !lines.contains(&canary.jti), "nor has each a line of the log");
}

#[tokio::test]
async fn audit_events_come_newest_first_page_by_page_each_once() {
    let world = World::start().await;
    let (mut api, mut reader) = (world.api("service").await, world.api("reader").await);
    for _ in 0..11 {
        let token = api.token("user:7", "api").await;
        api.revoke(text(&token)).await.unwrap();
    }
    let (mut seen, mut times, mut page_token) = (HashSet::new(), Vec::new(), String::new());
    for length in [4, 4, 3] {
        let request = pb::ListAuditEventsRequest {
            subject: "user:7".to_owned(),
            page_size: 4,
            page_token: page_token.clone(),
            ..Default::default()
        };
        let page = reader.admin.list_audit_events(request).await.unwrap().into_inner();
        assert_eq!(page.audit_events.len(), length);
        for event in page.audit_events {
            assert!(seen.insert(event.jti));
            times.push((event.event_time.unwrap().seconds, event.event_time.unwrap().nanos));
        }
        if length == 4 {
            let other = pb::ListAuditEventsRequest {
                page_token: page.next_page_token.clone(),
                actor: "service".to_owned(),
                ..Default::default()
            };
            assert_eq!(reader.admin.list_audit_events(other).await.refused().reason, "PAGE_TOKEN_INVALID");
        }
        page_token = page.next_page_token;
    }
    assert!(page_token.is_empty());
    assert!(times.is_sorted_by(|a, b| a >= b));
}

#[tokio::test]
async fn k15_an_act_is_listed_with_the_replicas_that_have_applied_it_by_now() {
    let mut fleet = Fleet::start(2).await;
    let mut admin = fleet.caller(0).api;
    admin.revoke_wide(Kind::Subject("user:7".to_owned())).await.unwrap();
    let listed = async |admin: &mut Api, subject: &str| {
        let request = pb::ListAuditEventsRequest { subject: subject.to_owned(), ..Default::default() };
        let event = admin.admin.list_audit_events(request).await.unwrap().into_inner().audit_events.remove(0);
        (event.applied_replicas, event.replicas)
    };
    assert_eq!(listed(&mut admin, "user:7").await, (2, 2));
    fleet.server(1).pause();
    let request = pb::RevokeRequest {
        reason: pb::RevocationReason::Leaked.into(),
        wait_for: pb::Reach::Local.into(),
        ..revoke_request(Kind::Subject("user:8".to_owned()))
    };
    admin.wide.revoke(request).await.unwrap();
    assert_eq!(listed(&mut admin, "user:8").await.0, 1, "one replica stands still");
    fleet.server(1).resume();
    until("both have applied it", async || listed(&mut admin, "user:8").await.0 == 2).await;
}
