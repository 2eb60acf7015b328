//! `Explain`: what is known about a token, a session or a subject, and which revocation ended it.

use jeton::proto::v1::{
    self as pb, RevocationReason,
    explain_request::Question,
    explanation::{Kind as What, State},
    revocation_target::Kind,
};
use jeton_token::new_uuid_v7;
use tonic::Code;

use super::refresh_token;
use crate::world::{Api, Refused, World, revoke_request};

async fn explained(api: &Api, question: Question) -> pb::ExplainResponse {
    let request = pb::ExplainRequest { question: Some(question) };
    api.admin.clone().explain(request).await.unwrap().into_inner()
}

/// The one explanation of an answer.
async fn one(api: &Api, question: Question) -> pb::Explanation {
    let mut answer = explained(api, question).await;
    assert_eq!(answer.explanations.len(), 1, "{answer:?}");
    answer.explanations.remove(0)
}

async fn revoke_noted(api: &mut Api, kind: Kind, note: &str) -> pb::RevokeResponse {
    let request = pb::RevokeRequest {
        reason: RevocationReason::Leaked.into(),
        note: note.to_owned(),
        ..revoke_request(kind)
    };
    api.wide.revoke(request).await.unwrap().into_inner()
}

fn unknown_session() -> String {
    new_uuid_v7(jiff::Timestamp::now().as_millisecond()).to_string()
}

/// Its causes: reason, note and actor of each.
fn causes(explanation: &pb::Explanation) -> Vec<(RevocationReason, &str, &str)> {
    explanation
        .causes
        .iter()
        .map(|cause| {
            let act = cause.audit_event.as_ref();
            (cause.reason(), act.map_or("", |it| it.note.as_str()), act.map_or("", |it| it.actor.as_str()))
        })
        .collect()
}

#[tokio::test]
async fn k18_a_token_is_explained_with_every_revocation_that_hits_it_and_its_act() {
    let world = World::start().await;
    let (mut service, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = service.session("user:7", "api").await;
    let pasted = format!("it was \"Bearer {}\", said the log", token.access_token);
    let live = one(&admin, Question::Token(pasted)).await;
    assert_eq!((live.kind(), live.state()), (What::Token, State::Live));
    assert_eq!((live.subject.as_str(), live.client_id.as_str()), ("user:7", "service"));
    assert_eq!((live.jti.as_str(), &live.audiences[..]), (token.jti.as_str(), &["api".to_owned()][..]));
    assert_eq!(live.expire_time, token.expire_time);
    assert_eq!(live.session.as_ref().unwrap().session_id, token.session_id);
    assert!(live.causes.is_empty());

    revoke_noted(&mut admin, Kind::Jti(token.jti.clone()), "INC-1").await;
    let revoked = revoke_noted(&mut admin, Kind::Subject("user:7".to_owned()), "INC-2").await;
    let dead = one(&admin, Question::Token(token.access_token.clone())).await;
    assert_eq!(dead.state(), State::Revoked);
    let leaked = RevocationReason::Leaked;
    assert_eq!(causes(&dead), [(leaked, "INC-1", "admin"), (leaked, "INC-2", "admin")]);
    let target = dead.causes[1].target.clone().unwrap().kind;
    assert_eq!(target, Some(Kind::Subject("user:7".to_owned())));
    assert_eq!(
        (&dead.causes[1].revision, dead.causes[1].revoke_time),
        (&revoked.revision, revoked.revoke_time)
    );
    // By its jti alone, only what names that is known; the session is hit by its subject.
    let by_jti = one(&admin, Question::Id(token.jti.clone())).await;
    assert_eq!((by_jti.kind(), by_jti.state(), causes(&by_jti).len()), (What::Token, State::Revoked, 1));
    let session = one(&admin, Question::Id(token.session_id.clone())).await;
    assert_eq!((session.kind(), session.state()), (What::Session, State::Revoked));
    assert_eq!(causes(&session), [(leaked, "INC-2", "admin")]);
    let session = one(&admin, Question::Token(refresh_token(&token).to_owned())).await;
    assert_eq!(session.session.unwrap().session_id, token.session_id);
    let subject = one(&admin, Question::Subject("user:7".to_owned())).await;
    assert_eq!((subject.live_sessions, subject.sample_sessions.len()), (0, 0), "at once");
    assert_eq!(
        (subject.kind(), subject.state(), causes(&subject).len()),
        (What::Subject, State::Unspecified, 1)
    );
}

#[tokio::test]
async fn k18_what_cannot_be_known_is_said_and_what_one_may_not_know_is_left_out() {
    let world = World::start().await;
    let (mut service, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = service.token("user:7", "api").await;
    // No row per token is kept.
    let unknown = one(&admin, Question::Jti(token.jti.clone())).await;
    assert_eq!((unknown.state(), unknown.subject.as_str()), (State::Unknown, ""));
    assert!(unknown.issue_time.is_some());
    let foreign = explained(&admin, Question::Token("eyJhbGciOiJFUzI1NiJ9.e30.AAAA".to_owned())).await;
    assert!(foreign.explanations.is_empty() && foreign.readable_jti.is_empty(), "{foreign:?}");
    let request = pb::ExplainRequest { question: Some(Question::SessionId(unknown_session())) };
    assert_eq!(admin.admin.explain(request).await.refused().code, Code::NotFound);

    // A revocation of a list: the act is that of its chunk.
    revoke_noted(&mut admin, Kind::Jti(token.jti.clone()), "INC-3").await;
    let key = world.register("on-call", &[jeton::state::Permission::RevokeAny], &["*"], &["*"]).await;
    let on_call = world.api_with_key(&key).await;
    let told = one(&on_call, Question::Jti(token.jti.clone())).await;
    assert_eq!(told.state(), State::Revoked);
    assert!(told.causes[0].audit_event.is_none(), "neither who nor why: {told:?}");
    let whole = pb::ExplainRequest { question: Some(Question::Jti(token.jti.clone())) };
    assert!(on_call.admin.clone().explain(whole.clone()).await.unwrap().into_inner().actors_withheld);
    assert!(!admin.admin.explain(whole).await.unwrap().into_inner().actors_withheld);
    let request = |question| pb::ExplainRequest { question: Some(question) };
    let refused =
        on_call.admin.clone().explain(request(Question::Subject("user:7".to_owned()))).await.refused();
    assert_eq!(refused.get("permission"), "PERMISSION_ADMIN_READ");
    let refused = service.admin.explain(request(Question::Jti(token.jti.clone()))).await.refused();
    assert_eq!(
        refused.get("permission"),
        "PERMISSION_ADMIN_READ",
        "of two that do, the one that changes nothing"
    );
}
