//! V9 on a replica that has not yet read the requested revision.

use jeton::proto::v1::{
    self as pb,
    TokenStatus::{Active, Revoked},
    revocation_target::Kind,
};

use crate::world::{Api, FEED, Fleet, Refused, World, api_key, revoke_request, until, validate_request};

/// A lease lasts for 2.7 s, and the steps under it take some milliseconds.
const ATTEMPTS: u32 = 20;

#[tokio::test]
async fn v9_a_replica_that_has_not_read_so_far_as_it_is_asked_for_never_answers_from_before() {
    let fleet = Fleet::start(2).await;
    let api_of = |place: usize| Api::connect(&fleet.replicas[place].server.ready, &api_key("admin"));
    let (mut here, mut there) = (api_of(0), api_of(1));
    let link = fleet.link_of(1);
    for _ in 0..ATTEMPTS {
        let token = here.token("user:7", "api").await.access_token;
        assert_eq!(there.status(&token, "api").await, Active);
        link.stall(FEED);
        link.has_held(FEED).await;
        let revoke = pb::RevokeRequest {
            wait_for: pb::Reach::Local.into(),
            ..revoke_request(Kind::Token(token.clone()))
        };
        let min_revision = here.tokens.revoke(revoke).await.unwrap().into_inner().revision;
        let before = there.validate(&token, &["api"]).await;
        let asked = pb::ValidateRequest { min_revision, ..validate_request(&token, &["api"]) };
        let ahead = there.tokens.validate(asked.clone()).await;
        link.resume(FEED);
        let mut after = None;
        until("it has read the log", async || {
            after = there.tokens.validate(asked.clone()).await.ok();
            after.is_some()
        })
        .await;
        assert_eq!(after.unwrap().into_inner().verdict.unwrap().status(), Revoked);
        // If its lease had ended before the call, nothing was seen: once more.
        if before.is_ok_and(|verdict| verdict.status() == Active) {
            assert_eq!(ahead.refused().reason, "REVOCATION_STATE_STALE", "nothing is guessed");
            return;
        }
    }
    panic!("the lease had ended each time before it was asked");
}

#[tokio::test]
async fn v9_a_request_of_the_wrong_form_is_refused_before_its_revision_is_waited_for() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await.access_token;
    let ahead = |change: &dyn Fn(&mut pb::ValidateRequest)| {
        let mut request = validate_request(&token, &["api"]);
        request.min_revision = "1.999999999".to_owned();
        change(&mut request);
        request
    };
    assert_eq!(api.tokens.validate(ahead(&|_| {})).await.refused().reason, "REVISION_INVALID");
    let many = |count: usize| (0..count).map(|index| format!("a{index}")).collect::<Vec<_>>();
    let (audiences, scopes) = (many(8_000 / 4), many(8_000 / 4));
    let wrong = [
        ("audiences", ahead(&|request| request.audiences.clone_from(&audiences))),
        ("scopes", ahead(&|request| request.scopes.clone_from(&scopes))),
        ("audiences[0]", ahead(&|request| request.audiences = vec![String::new()])),
        ("token", ahead(&|request| request.token.clear())),
    ];
    for (field, request) in wrong {
        let refused = api.tokens.validate(request.clone()).await.refused();
        assert_eq!(refused.get("field"), field);
        let batch = pb::BatchValidateRequest { requests: vec![ahead(&|_| {}), request.clone()] };
        let refused = api.tokens.batch_validate(batch).await.refused();
        assert_eq!(refused.get("field"), format!("requests[1].{field}"));
        let one = pb::StreamValidateRequest { request: Some(request) };
        let stream = api.tokens.stream_validate(tokio_stream::iter([one])).await;
        let refused = match stream {
            Ok(stream) => stream.into_inner().message().await.refused(),
            refused => refused.refused(),
        };
        assert_eq!(refused.get("field"), format!("request.{field}"));
    }
}
