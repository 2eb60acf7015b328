//! I16: Issue leaves an audit row where a policy says so.

use jeton::proto::v1::{self as pb, TokenStatus};
use tonic::Code;

use crate::world::{ALL, Api, Link, World, api_key, issue_request, policy, seconds, until};

/// A policy of an audience, or of one client there.
fn audited(audience: &str, client_id: &str, audit_issue: Option<bool>) -> pb::Policy {
    pb::Policy { client_id: client_id.to_owned(), audit_issue, leeway: Some(seconds(1)), ..policy(audience) }
}

async fn issues(world: &World) -> Vec<pb::AuditEvent> {
    let request = pb::ListAuditEventsRequest { action: "Issue".to_owned(), ..Default::default() };
    let listed = world.api("reader").await.admin.list_audit_events(request).await.unwrap();
    listed.into_inner().audit_events
}

#[tokio::test]
async fn i16_under_a_policy_that_says_so_each_issue_has_a_row_and_under_no_other() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for policy in [
        audited("orders", "*", Some(true)),
        audited("orders", "other", Some(false)),
        audited("mail", "*", None),
    ] {
        admin.set_policy(policy).await.unwrap();
    }
    for audience in ["api", "mail"] {
        api.token("user:7", audience).await;
    }
    let mut other = world.api("other").await;
    other.token("user:7", "orders").await;
    api.issue(issue_request("user:*", &["orders"])).await.unwrap_err();
    assert_eq!(issues(&world).await, [], "no row but where it is said");

    let token = api.token("user:7", "orders").await;
    let session = api.session("user:8", "orders").await;
    let both = api.issue(issue_request("user:9", &["api", "orders"])).await.unwrap();
    // It is minted again, not issued again.
    api.refresh(&session.refresh.clone().unwrap().refresh_token).await.unwrap();
    let rows = issues(&world).await;
    let facts: Vec<_> = rows
        .iter()
        .map(|row| (row.subject.as_str(), row.audience.as_str(), row.jti.as_str(), row.session_id.as_str()))
        .collect();
    assert_eq!(
        facts,
        [
            ("user:9", "api orders", both.jti.as_str(), ""),
            ("user:8", "orders", session.jti.as_str(), session.session_id.as_str()),
            ("user:7", "orders", token.jti.as_str(), ""),
        ]
    );
    for row in &rows {
        assert_eq!(
            (row.actor.as_str(), row.client_id.as_str(), row.outcome.as_str()),
            ("service", "service", "OK")
        );
    }
    let effective = async |client_id: &str| {
        let request = pb::GetPolicyRequest { audience: "orders".to_owned(), client_id: client_id.to_owned() };
        let answer = world.api("admin").await.admin.get_policy(request).await.unwrap().into_inner();
        answer.effective_policy.unwrap().audit_issue
    };
    assert_eq!((effective("service").await, effective("other").await), (Some(true), Some(false)));
    // Many at once, by way of what answers without waiting.
    let calls = (0..100).map(|index| {
        let mut api = api.clone();
        async move { api.token(&format!("svc:{index}"), "orders").await.jti }
    });
    let mut jtis = futures_util::future::join_all(calls).await;
    jtis.sort();
    let mut rows: Vec<_> = issues(&world)
        .await
        .into_iter()
        .filter(|row| row.subject.starts_with("svc:"))
        .map(|row| row.jti)
        .collect();
    rows.sort();
    assert!(rows.iter().all(|row| jtis.contains(row)) && rows.len() == 50, "a page of them");
    assert_eq!(world.audited("action = 'Issue' and subject like 'svc:%'").await, 100);
}

#[tokio::test]
async fn i16_canaries_that_are_issued_are_left_out_of_the_audit_unless_they_are_asked_for() {
    let world = World::start().await;
    world.api("admin").await.set_policy(audited("*", "*", Some(true))).await.unwrap();
    let mut api = world.api("service").await;
    let canary = api.token("jeton-canary", "jeton-canary").await;
    let token = api.token("user:7", "api").await;
    let jtis = async |show_canaries: bool| -> Vec<String> {
        let action = "Issue".to_owned();
        let request = pb::ListAuditEventsRequest { action, show_canaries, ..Default::default() };
        let listed = world.api("reader").await.admin.list_audit_events(request).await.unwrap().into_inner();
        listed.audit_events.into_iter().map(|event| event.jti).collect()
    };
    assert_eq!(jtis(false).await, std::slice::from_ref(&token.jti));
    assert_eq!(jtis(true).await, [token.jti, canary.jti]);
}

#[tokio::test]
async fn i16_what_cannot_be_audited_is_not_issued() {
    let (world, link): (World, Link) = World::behind_link().await;
    let mut admin = world.api("admin").await;
    admin.set_policy(audited("orders", "*", Some(true))).await.unwrap();
    let mut api = Api::connect(&world.server.ready, &api_key("service"));
    api.token("user:7", "orders").await;
    world
        .database
        .execute("alter table audit_event add constraint none check (action <> 'Issue') not valid")
        .await;
    for refreshable in [false, true] {
        let request = pb::IssueRequest { refreshable, ..issue_request("user:8", &["orders"]) };
        let refused = api.issue(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::Internal, "{refused:?}");
    }
    api.token("user:8", "api").await;
    world.database.execute("alter table audit_event drop constraint none").await;
    link.cut(ALL);
    let refused = api.issue(issue_request("user:8", &["orders"])).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    link.resume(ALL);
    until("it is issued again", async || api.issue(issue_request("user:8", &["orders"])).await.is_ok()).await;
    let token = api.token("user:8", "orders").await;
    assert_eq!(api.status(&token.access_token, "orders").await, TokenStatus::Active);
    let rows = world.audited("action = 'Issue' and subject = 'user:8'").await;
    assert!(rows >= 2, "{rows}");
}
