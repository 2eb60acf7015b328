//! The policies' RPCs that read, their permissions, and the audit rows of policies.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jeton::proto::v1 as pb;
use tonic::Code;

use crate::world::{Api, Refused, World, policy, seconds};

async fn list(api: &mut Api, page_size: i32, page_token: &str) -> pb::ListPoliciesResponse {
    let request = pb::ListPoliciesRequest { page_size, page_token: page_token.to_owned() };
    api.admin.list_policies(request).await.unwrap().into_inner()
}

async fn audit(api: &mut Api) -> Vec<pb::AuditEvent> {
    let request = pb::ListAuditEventsRequest { actor: "admin".to_owned(), ..Default::default() };
    api.admin.list_audit_events(request).await.unwrap().into_inner().audit_events
}

#[tokio::test]
async fn i7_policies_are_listed_by_audience_then_client_page_by_page() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    assert_eq!(list(&mut admin, 0, "").await, pb::ListPoliciesResponse::default());
    let names = [
        ("b", "*"),
        ("a", "service"),
        ("*", "*"),
        ("é", "*"),
        ("a", "*"),
        ("a b", "*"),
        ("B", "*"),
        ("a", "A"),
        ("a/b", "*"),
    ];
    for (audience, client_id) in names {
        let client_id = client_id.to_owned();
        admin
            .set_policy(pb::Policy { client_id, leeway: Some(seconds(1)), ..policy(audience) })
            .await
            .unwrap();
    }
    let mut sorted = names.to_vec();
    sorted.sort_unstable();
    let name = |policy: &pb::Policy| (policy.audience.clone(), policy.client_id.clone());
    for page_size in [0, 1, 2, 4, 8, 9, 10, i32::MAX] {
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = list(&mut admin, page_size, &token).await;
            assert!(page_size == 0 || page.policies.len() <= page_size.try_into().unwrap());
            assert!(!page.policies.is_empty(), "no page is empty");
            seen.extend(page.policies.iter().map(name));
            (token, pages) = (page.next_page_token, pages + 1);
            if token.is_empty() {
                break;
            }
        }
        let seen: Vec<_> = seen.iter().map(|(a, c)| (a.as_str(), c.as_str())).collect();
        assert_eq!(seen, sorted, "page_size {page_size}");
        let expected = if page_size == 0 { 1 } else { 9_usize.div_ceil(page_size.try_into().unwrap()) };
        assert_eq!(pages, expected, "page_size {page_size}");
    }
    // A page goes on where the last one ended, whatever has gone meanwhile.
    let first = list(&mut admin, 3, "").await;
    let (audience, client_id) = name(first.policies.last().unwrap());
    admin
        .admin
        .delete_policy(pb::DeletePolicyRequest { audience, client_id, etag: String::new() })
        .await
        .unwrap();
    let rest = list(&mut admin, 100, &first.next_page_token).await;
    assert_eq!(
        rest.policies.iter().map(name).map(|(a, c)| a + &c).collect::<Vec<_>>(),
        sorted[3..].iter().map(|(a, c)| format!("{a}{c}")).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn i7_a_page_token_from_elsewhere_is_refused() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    for audience in ["a", "b", "c"] {
        admin.set_policy(pb::Policy { leeway: Some(seconds(1)), ..policy(audience) }).await.unwrap();
    }
    let mut own = list(&mut admin, 1, "").await.next_page_token;
    let request = pb::ListAuditEventsRequest { page_size: 1, ..Default::default() };
    let foreign = admin.admin.list_audit_events(request).await.unwrap().into_inner().next_page_token;
    assert!(!foreign.is_empty());
    let truncated = own[..4].to_owned();
    // The beginning is of this query, but the rest is no place in it: no UTF-8, one name, none.
    let query = &URL_SAFE_NO_PAD.decode(&own).unwrap()[..8];
    let places = [b"\xff\n\xfe".as_slice(), b"name", b""];
    let no_places = places.map(|place| URL_SAFE_NO_PAD.encode([query, place].concat()));
    let spaced = format!(" {own}");
    let strange = [foreign.as_str(), "x", "====", "é", "AAAAAAAAAAAAAAAA", &truncated, &spaced];
    for token in strange.into_iter().chain(no_places.iter().map(String::as_str)) {
        let request = pb::ListPoliciesRequest { page_size: 1, page_token: token.to_owned() };
        let facts = admin.admin.list_policies(request).await.refused();
        assert_eq!(
            (facts.code, facts.reason.as_str()),
            (Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
            "{token}"
        );
    }
    let of = |subject: &str, page_token: &str| pb::ListAuditEventsRequest {
        subject: subject.to_owned(),
        page_size: 1,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    admin.admin.list_audit_events(of("", &foreign)).await.unwrap();
    for (subject, token) in [("other", &foreign), ("", &own)] {
        let facts = admin.admin.list_audit_events(of(subject, token)).await.refused();
        assert_eq!(facts.reason, "PAGE_TOKEN_INVALID", "of another query");
    }
    let facts = admin
        .admin
        .list_sessions(pb::ListSessionsRequest {
            subject: "x".into(),
            page_token: own.clone(),
            ..Default::default()
        })
        .await
        .refused();
    assert_eq!(facts.reason, "PAGE_TOKEN_INVALID");
    for page_size in [-1, i32::MIN] {
        let request = pb::ListPoliciesRequest { page_size, page_token: std::mem::take(&mut own) };
        let facts = admin.admin.list_policies(request).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "page_size"));
    }
}

#[tokio::test]
async fn i7_reads_need_admin_read_and_writes_admin_write() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let written = admin.set_policy(pb::Policy { leeway: Some(seconds(1)), ..policy("api") }).await.unwrap();
    let get = || pb::GetPolicyRequest { audience: "api".to_owned(), client_id: String::new() };
    let request = || pb::UpdatePolicyRequest {
        policy: Some(pb::Policy { leeway: Some(seconds(2)), ..policy("api") }),
        ..Default::default()
    };
    let delete =
        || pb::DeletePolicyRequest { audience: "api".into(), client_id: "*".into(), etag: String::new() };
    for who in ["service", "nobody", "reader"] {
        let mut api = world.api(who).await.admin;
        let reads = [
            api.get_policy(get()).await.map(drop),
            api.list_policies(pb::ListPoliciesRequest::default()).await.map(drop),
            api.list_audit_events(pb::ListAuditEventsRequest::default()).await.map(drop),
            api.list_sessions(pb::ListSessionsRequest { subject: "x".into(), ..Default::default() })
                .await
                .map(drop),
        ];
        for read in reads {
            if who == "reader" {
                read.unwrap();
            } else {
                let facts = read.refused();
                assert_eq!((facts.code, facts.reason.as_str()), (Code::PermissionDenied, "CALLER_FORBIDDEN"));
                assert_eq!(facts.get("permission"), "PERMISSION_ADMIN_READ");
            }
        }
        let dry = pb::UpdatePolicyRequest { validate_only: true, ..request() };
        let writes = [
            api.update_policy(request()).await.map(drop),
            api.update_policy(dry).await.map(drop),
            api.delete_policy(delete()).await.map(drop),
        ];
        for write in writes {
            let facts = write.refused();
            assert_eq!((facts.code, facts.reason.as_str()), (Code::PermissionDenied, "CALLER_FORBIDDEN"));
            assert_eq!(facts.get("permission"), "PERMISSION_ADMIN_WRITE");
        }
    }
    assert_eq!(list(&mut admin, 0, "").await.policies, [written]);
}

#[tokio::test]
async fn i7_each_write_of_a_policy_is_audited_in_the_same_act() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let written = admin.set_policy(pb::Policy { leeway: Some(seconds(1)), ..policy("api") }).await.unwrap();
    let events = audit(&mut admin).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(
        (event.actor.as_str(), event.action.as_str(), event.outcome.as_str()),
        ("admin", "UpdatePolicy", "OK")
    );
    assert_eq!((event.note.as_str(), event.client_id.as_str()), ("api", "*"), "it says which policy");
    let revision: jeton_token::Revision = written.etag.parse().unwrap();
    assert_eq!(event.sequence, revision.as_i64());
    // Neither a dry run nor a refusal is an act.
    let dry = pb::UpdatePolicyRequest {
        policy: Some(pb::Policy { leeway: Some(seconds(2)), ..policy("api") }),
        validate_only: true,
        ..Default::default()
    };
    admin.admin.update_policy(dry).await.unwrap();
    admin.set_policy(pb::Policy { leeway: Some(seconds(99)), ..policy("api") }).await.refused();
    assert_eq!(audit(&mut admin).await.len(), 1);
    let delete = |audience: &str| pb::DeletePolicyRequest {
        audience: audience.to_owned(),
        client_id: "*".to_owned(),
        etag: String::new(),
    };
    let mut traced = tonic::Request::new(delete("api"));
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    traced
        .metadata_mut()
        .insert("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01").parse().unwrap());
    admin.admin.delete_policy(traced).await.unwrap();
    let events = audit(&mut admin).await;
    assert_eq!(
        events.iter().map(|event| event.action.as_str()).collect::<Vec<_>>(),
        ["DeletePolicy", "UpdatePolicy"]
    );
    assert_eq!((events[0].note.as_str(), events[0].client_id.as_str()), ("api", "*"));
    assert_eq!(events[0].trace_id, trace_id);
    assert!(events[0].sequence > events[1].sequence);

    // No audit row, no write.
    let kept = admin.set_policy(pb::Policy { leeway: Some(seconds(3)), ..policy("kept") }).await.unwrap();
    world.database.execute("alter table audit_event add check (note <> 'kept') not valid").await;
    let change = pb::Policy { leeway: Some(seconds(4)), ..policy("kept") };
    assert_eq!(admin.set_policy(change).await.refused().reason, "INTERNAL");
    assert_eq!(admin.admin.delete_policy(delete("kept")).await.refused().reason, "INTERNAL");
    assert_eq!(list(&mut admin, 0, "").await.policies, [kept]);
}
