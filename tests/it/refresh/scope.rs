//! R5: a refresh never widens, and keeps the properties of the session.

use std::collections::BTreeMap;

use jeton::proto::v1::{self as pb, TokenStatus};
use prost_types::value::Kind;

use super::{grace, payload, refresh, refresh_token, request};
use crate::world::{Refused, World, issue_request, policy};

fn scoped(scopes: &[&str]) -> Vec<String> {
    scopes.iter().map(|scope| (*scope).to_owned()).collect()
}

#[tokio::test]
async fn r5_claims_binding_audiences_and_subject_carry_over() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let thumbprint = "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dgA";
    let claims = prost_types::Struct {
        fields: BTreeMap::from([
            (
                "tenant".to_owned(),
                prost_types::Value { kind: Some(Kind::StringValue("a\u{e9}\"".to_owned())) },
            ),
            ("level".to_owned(), prost_types::Value { kind: Some(Kind::NumberValue(7.0)) }),
        ]),
    };
    let opened = api
        .issue(pb::IssueRequest {
            scopes: scoped(&["read", "write"]),
            claims: Some(claims),
            certificate_thumbprint: thumbprint.to_owned(),
            refreshable: true,
            ..issue_request("user:7", &["api", "web"])
        })
        .await;
    let opened = opened.unwrap();
    let next = api.refresh(refresh_token(&opened)).await.unwrap();
    let (mut before, mut after) = (payload(&opened.access_token), payload(&next.access_token));
    assert_ne!(before["jti"], after["jti"]);
    assert_eq!(after["cnf"]["x5t#S256"], thumbprint);
    assert_eq!(after["tenant"], "a\u{e9}\"");
    assert_eq!(after["level"].to_string(), "7", "whole numbers stay whole");
    for claims in [&mut before, &mut after] {
        for name in ["jti", "iat", "exp", "rev"] {
            assert!(claims.as_object_mut().unwrap().remove(name).is_some());
        }
    }
    assert_eq!(before, after);
    assert_eq!(api.status(&next.access_token, "api").await, TokenStatus::WrongBinding);
}

#[tokio::test]
async fn r5_scopes_may_be_narrowed_for_one_token_and_never_widened() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    grace(&world, "api", 0).await;
    let opened = api
        .issue(pb::IssueRequest {
            scopes: scoped(&["read", "write"]),
            refreshable: true,
            ..issue_request("user:7", &["api"])
        })
        .await
        .unwrap();
    let ask = |token: &pb::IssuedToken, scopes: &[&str]| pb::RefreshRequest {
        scopes: scoped(scopes),
        ..request(refresh_token(token))
    };
    let narrow = refresh(&mut api, ask(&opened, &["read"])).await.unwrap();
    assert_eq!(payload(&narrow.access_token)["scope"], "read");
    let refused = refresh(&mut api, ask(&narrow, &["read", "admin"])).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("scope")), ("SCOPE_NOT_ALLOWED", "admin"));
    let all = refresh(&mut api, ask(&narrow, &[])).await.unwrap();
    assert_eq!(payload(&all.access_token)["scope"], "read write", "the session keeps its scopes");
}

#[tokio::test]
async fn r5_a_policy_that_narrows_the_scopes_narrows_the_refreshed_token() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let opened = api
        .issue(pb::IssueRequest {
            scopes: scoped(&["read", "write"]),
            refreshable: true,
            ..issue_request("user:7", &["api"])
        })
        .await
        .unwrap();
    let rules = pb::Policy {
        allowed_scopes: scoped(&["read", "list"]),
        refresh_replay_grace: Some(crate::world::seconds(0)),
        ..policy("api")
    };
    admin.set_policy(rules).await.unwrap();
    let asked = pb::RefreshRequest { scopes: scoped(&["write"]), ..request(refresh_token(&opened)) };
    let refused = refresh(&mut api, asked).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("audience")), ("SCOPE_NOT_ALLOWED", "api"));
    let asked = pb::RefreshRequest { scopes: scoped(&["list"]), ..request(refresh_token(&opened)) };
    assert_eq!(refresh(&mut api, asked).await.refused().reason, "SCOPE_NOT_ALLOWED", "not the session's");
    let next = api.refresh(refresh_token(&opened)).await.unwrap();
    assert_eq!(payload(&next.access_token)["scope"], "read");
}
