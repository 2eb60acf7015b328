//! I10: a token fits into a header.

use jeton::proto::v1 as pb;

use super::lifetime;
use crate::world::{Refused, World, issue_request};

/// A request whose token grows byte by byte with `padding`, in its scopes.
fn padded(padding: usize, refreshable: bool) -> pb::IssueRequest {
    let mut scopes: Vec<_> = (0..padding / 100).map(|index| format!("{index:0>99}")).collect();
    scopes.push("s".repeat(padding % 100 + 1));
    let subject = "user:7";
    pb::IssueRequest { scopes, refreshable, ..issue_request(subject, &["api"]) }
}

#[tokio::test]
async fn i10_a_token_above_4096_bytes_is_refused_and_its_largest_claim_is_named() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    for refreshable in [false, true] {
        // One that is far too large, then byte by byte up to where it is refused.
        let far = api.issue(padded(6_000, refreshable)).await.refused();
        assert_eq!(far.reason, "TOKEN_TOO_LARGE");
        assert!(far.get("sizeBytes").parse::<usize>().unwrap() > 8_000);
        let mut longest = 0;
        let mut padding = 2_300;
        let facts = loop {
            match api.issue(padded(padding, refreshable)).await {
                Ok(token) => {
                    lifetime(&token);
                    longest = longest.max(token.access_token.len());
                    assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Active);
                }
                refused => break refused.refused(),
            }
            padding += if longest > 4_000 { 1 } else { 40 };
        };
        assert_eq!(facts.reason, "TOKEN_TOO_LARGE");
        assert_eq!(facts.get("largestClaim"), "scope", "refreshable: {refreshable}");
        assert_eq!(facts.get("maxSizeBytes"), "4096");
        assert!(facts.get("sizeBytes").parse::<usize>().unwrap() > 4_096);
        assert_eq!(facts.metadata.len(), 3);
        assert!(longest <= 4_096 && longest > 4_060, "the longest that is minted: {longest}");
        // A refusal leaves nothing behind.
        let request = pb::ListSessionsRequest {
            client_id: "service".to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        let sessions =
            world.api("admin").await.admin.list_sessions(request).await.unwrap().into_inner().sessions;
        assert!(sessions.iter().all(|session| session.scopes.len() <= padding / 100 + 1));
    }
}

#[tokio::test]
async fn i10_the_longest_session_that_opens_can_be_refreshed() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let (mut padding, mut last) = (2_300, None);
    // In long steps, then in short ones.
    for step in [40, 1] {
        while let Ok(token) = api.issue(padded(padding, true)).await {
            last = Some(token);
            padding += step;
        }
        padding = padding - step + 1;
    }
    let token = last.expect("one that opens");
    assert!(token.access_token.len() > 4_060, "the longest: {}", token.access_token.len());
    let next = api.refresh(&token.refresh.unwrap().refresh_token).await.unwrap();
    assert!(next.access_token.len() <= 4_096);
    assert_eq!(api.status(&next.access_token, "api").await, pb::TokenStatus::Active);
}

#[tokio::test]
async fn i10_the_largest_claim_may_be_the_audiences_the_scopes_or_one_of_the_callers() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let audiences: Vec<_> = (0..10).map(|index| format!("{index:0>255}")).collect();
    let scopes = |count: usize| (0..count).map(|index| format!("{index:0>128}")).collect::<Vec<_>>();
    let text = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue("x".repeat(1_900))) };
    let claims = prost_types::Struct { fields: [("big".to_owned(), text)].into() };
    let base = || pb::IssueRequest { subject: "s".repeat(255), ..issue_request("x", &["api"]) };
    for (largest, request) in [
        ("aud", pb::IssueRequest { audiences: audiences.clone(), scopes: scopes(10), ..base() }),
        ("scope", pb::IssueRequest { scopes: scopes(64), claims: Some(claims.clone()), ..base() }),
        ("big", pb::IssueRequest { scopes: scopes(12), claims: Some(claims), ..base() }),
    ] {
        let facts = api.issue(request).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("largestClaim")), ("TOKEN_TOO_LARGE", largest));
    }
}
