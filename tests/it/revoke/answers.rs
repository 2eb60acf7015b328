//! K15 to K17: what Revoke answers is true, and says all of it.

use jeton::proto::v1::{
    self as pb, RevocationOutcome, RevocationReason, TokenStatus, revocation_target::Kind,
};
use jeton_token::new_uuid_v7;

use super::{REVOCATIONS, is_active, refresh_token, text, wide_request};
use crate::world::{Api, Refused, World, api_key, issue_request, now_s, revoke_request};

/// A kind of target, of a name.
type Named = fn(String) -> Kind;

/// The latest act of Revoke.
async fn latest(admin: &mut Api) -> pb::AuditEvent {
    let request = pb::ListAuditEventsRequest { page_size: 10, ..Default::default() };
    let events = admin.admin.list_audit_events(request).await.unwrap().into_inner().audit_events;
    events.into_iter().find(|event| event.action == "Revoke").unwrap()
}

#[tokio::test]
async fn k15_the_whole_target_is_in_the_answer_the_audit_and_the_dry_run() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let session = admin.session("user:7", "api").await;
    let kid = world.forge().await.key.key_id().to_owned();
    let before = Some(prost_types::Timestamp { seconds: now_s() - 600, nanos: 0 });
    let of = |kind| pb::RevocationTarget { kind: Some(kind), ..Default::default() };
    let jti = || of(Kind::Jti(session.jti.clone()));
    let by_id = || of(Kind::SessionId(session.session_id.clone()));
    let narrowed = pb::RevocationTarget {
        audience: "orders".to_owned(),
        issue_cutoff_time: before,
        ..of(Kind::Subject("user:7".to_owned()))
    };
    let client =
        pb::RevocationTarget { audience: "web".to_owned(), ..of(Kind::ClientId("other".to_owned())) };
    for (asked, understood) in [
        (of(text(&session)), jti()),
        (jti(), jti()),
        (of(Kind::Token(refresh_token(&session).to_owned())), by_id()),
        (by_id(), by_id()),
        (narrowed.clone(), narrowed.clone()),
        (client.clone(), client),
        (of(Kind::KeyId(kid.clone())), of(Kind::KeyId(kid.clone()))),
    ] {
        for validate_only in [true, false] {
            let request = pb::RevokeRequest {
                target: Some(asked.clone()),
                reason: RevocationReason::Administrative.into(),
                validate_only,
                ..Default::default()
            };
            let answer = admin.wide.revoke(request).await.unwrap().into_inner();
            assert_eq!(answer.target.as_ref(), Some(&understood), "{asked:?}");
        }
        let event = latest(&mut admin).await;
        assert_eq!(
            (&event.audience, event.issue_cutoff_time),
            (&understood.audience, understood.issue_cutoff_time)
        );
        match understood.kind.unwrap() {
            Kind::KeyId(kid) => assert_eq!(event.key_id, kid),
            Kind::Subject(subject) => assert_eq!(event.subject, subject),
            Kind::ClientId(client) => assert_eq!(event.client_id, client),
            Kind::AllForAudience(audience) => assert_eq!(event.audience, audience),
            Kind::IssuerId(issuer) => {
                assert!(event.note.starts_with(&format!("issuer {issuer}")), "{event:?}");
            }
            Kind::Jti(jti) => assert_eq!(event.jti, jti),
            Kind::SessionId(session) => assert_eq!(event.session_id, session),
            Kind::Token(_) | Kind::Id(_) => panic!("never the text, nor what it may be"),
        }
    }
    // A cutoff that counts as none is not answered as one.
    let now = pb::RevocationTarget {
        issue_cutoff_time: Some(prost_types::Timestamp { seconds: now_s() - 5, nanos: 0 }),
        ..of(Kind::Subject("user:7".to_owned()))
    };
    let request = pb::RevokeRequest { target: Some(now), ..wide_request(Kind::Subject(String::new())) };
    let answer = admin.wide.revoke(request).await.unwrap().into_inner();
    assert_eq!(answer.target.unwrap().issue_cutoff_time, None);
}

#[tokio::test]
async fn k15_already_revoked_carries_time_and_reason_of_the_revocation_that_holds() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let session = admin.session("user:7", "api").await;
    let by_mark = admin.session("user:8", "api").await;
    let cutoff = pb::RevocationTarget {
        issue_cutoff_time: Some(prost_types::Timestamp { seconds: now_s() - 600, nanos: 0 }),
        ..pb::RevocationTarget { kind: Some(Kind::Subject("user:9".to_owned())), ..Default::default() }
    };
    let leaked = |target| pb::RevokeRequest {
        target: Some(target),
        reason: RevocationReason::Leaked.into(),
        ..Default::default()
    };
    let of = |kind| pb::RevocationTarget { kind: Some(kind), ..Default::default() };
    let by_id = of(Kind::SessionId(session.session_id.clone()));
    for (first, then) in [
        (of(text(&session)), vec![of(text(&session)), of(Kind::Jti(session.jti.clone()))]),
        (by_id.clone(), vec![by_id, of(Kind::Token(refresh_token(&session).to_owned()))]),
        (
            of(Kind::Subject("user:8".to_owned())),
            vec![of(text(&by_mark)), of(Kind::SessionId(by_mark.session_id.clone()))],
        ),
        (cutoff.clone(), vec![cutoff]),
    ] {
        let held = admin.wide.revoke(leaked(first)).await.unwrap().into_inner();
        assert_eq!(
            (held.outcome(), held.revocation_reason()),
            (RevocationOutcome::Revoked, RevocationReason::Leaked)
        );
        for target in then {
            for validate_only in [true, false] {
                let reason = RevocationReason::Administrative.into();
                let again = pb::RevokeRequest { reason, validate_only, ..leaked(target.clone()) };
                let again = admin.wide.revoke(again).await.unwrap().into_inner();
                assert_eq!(again.outcome(), RevocationOutcome::AlreadyRevoked, "{target:?}");
                assert_eq!(
                    (again.revoke_time, again.revocation_reason()),
                    (held.revoke_time, RevocationReason::Leaked),
                    "{target:?}"
                );
            }
            assert_eq!(latest(&mut admin).await.outcome, "ALREADY_REVOKED");
        }
    }
    assert_eq!(world.audited("action = 'Revoke' and outcome = 'REVOKED'").await, 4);
}

#[tokio::test]
async fn k16_a_token_is_found_whatever_surrounds_it() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let folded = |token: &str| {
        let mut folded = token.to_owned();
        folded.insert_str(50, "\r\n ");
        folded.insert(20, '\n');
        folded
    };
    let around: [fn(&str) -> String; 9] = [
        |token| format!("{token}\n"),
        |token| format!("\u{feff}{token}\r\n\r\n"),
        |token| format!("\"{token}\""),
        |token| format!("Bearer {token}"),
        |token| format!("authorization: Bearer {token}"),
        |token| format!("JETON_TOKEN={token}"),
        |token| format!("I found {token} in a log, please revoke it."),
        |token| format!("{{\"access_token\":\"{token}\",\"n\":1}}"),
        |token| format!("'{token}',"),
    ];
    for around in around {
        let session = api.session("user:7", "api").await;
        let wrapped = around(&session.access_token);
        let verdict = api.validate(&wrapped, &["api"]).await.unwrap();
        assert_eq!(verdict.status(), TokenStatus::Malformed, "Validate is strict: {wrapped:?}");
        assert_eq!(super::revoke(&mut api, Kind::Token(wrapped)).await, RevocationOutcome::Revoked);
        assert_eq!(api.status(&session.access_token, "api").await, TokenStatus::Revoked);
        let wrapped = around(refresh_token(&session));
        assert_eq!(super::revoke(&mut api, Kind::Token(wrapped)).await, RevocationOutcome::Revoked);
        assert_eq!(api.refresh(refresh_token(&session)).await.refused().reason, "SESSION_REVOKED");
    }
    let token = api.token("user:7", "api").await;
    let answer = api.revoke(Kind::Token(folded(&token.access_token))).await.unwrap();
    assert_eq!(answer.outcome(), RevocationOutcome::Revoked, "line breaks within it");
    assert!(!is_active(&mut api, &token.access_token).await);
    // Nobody can say which of two is meant; other issuers' tokens beside it are ignored.
    let (one, two) = (api.token("user:7", "api").await, api.token("user:7", "api").await);
    let both = format!("{} {}", one.access_token, two.access_token);
    let refused = api.revoke(Kind::Token(both)).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "target.token"));
    let (signed, _) = two.access_token.rsplit_once('.').unwrap();
    let foreign = format!("{signed}.{}", "A".repeat(86));
    let beside = format!("not {foreign} but {}", one.access_token);
    assert_eq!(super::revoke(&mut api, Kind::Token(beside)).await, RevocationOutcome::Revoked);
    assert!(is_active(&mut api, &two.access_token).await);
    for blank in [" ", "\n", "\"\""] {
        let refused = api.revoke(Kind::Token(blank.to_owned())).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_REQUIRED", "target.token"));
    }
}

#[tokio::test]
async fn v13_a_verdict_says_what_surrounds_the_token() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await.access_token;
    for (text, surroundings) in [
        (format!("{token}\n"), "white space surrounds the token"),
        (format!("\"{token}\""), "quotes surround the token"),
        (format!("Bearer {token}"), "a scheme or a name stands before the token"),
        (format!("{token}x"), ""),
        ("garbage\n".to_owned(), ""),
    ] {
        let verdict = api.validate(&text, &["api"]).await.unwrap();
        assert_eq!(
            (verdict.status(), verdict.surroundings.as_str()),
            (TokenStatus::Malformed, surroundings),
            "{text:?}"
        );
    }
    assert_eq!(api.validate(&token, &["api"]).await.unwrap().surroundings, "");
}

#[tokio::test]
async fn k16_a_foreign_text_is_answered_with_what_can_be_read_in_it() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.token("user:7", "api").await;
    let (signed, _) = token.access_token.rsplit_once('.').unwrap();
    for text in [
        signed.to_owned(),
        format!("{signed}.[REDACTED]"),
        format!("{signed}.{}", "A".repeat(86)),
        token.jti.to_uppercase(),
        format!("{{{}}}", token.jti),
    ] {
        let answer = api.revoke(Kind::Token(text.clone())).await.unwrap();
        assert_eq!((answer.outcome(), answer.target), (RevocationOutcome::Foreign, None), "{text:?}");
        assert_eq!(answer.findings.unwrap().readable_jti, token.jti, "{text:?}");
    }
    let key = api_key("service");
    let id = key.strip_prefix("jtk_").unwrap().split('_').next().unwrap().to_owned();
    let found = admin.revoke(Kind::Token(format!("Bearer {key}"))).await.unwrap().findings.unwrap();
    assert_eq!((found.api_key_id, found.api_key_client_id), (id.clone(), "service".to_owned()));
    let found = api.revoke(Kind::Token(key)).await.unwrap().findings.unwrap();
    assert_eq!(
        (found.api_key_id, found.api_key_client_id),
        (id, String::new()),
        "whose it is, is not for all"
    );
    let answer = api.revoke(Kind::Token("garbage".to_owned())).await.unwrap();
    assert_eq!(answer.findings, None);
    // An id in another spelling is told its own, and taken for no other.
    for text in [token.jti.to_uppercase(), format!("{{{}}}", token.jti), format!("{}\n", token.jti)] {
        let refused = admin.revoke(Kind::Jti(text.clone())).await.refused();
        assert!(refused.get("rule").ends_with(&token.jti), "{refused:?}");
        let refused = admin.revoke(Kind::SessionId(text)).await.refused();
        assert!(refused.get("rule").ends_with(&token.jti), "{refused:?}");
    }
    assert_eq!(world.number(REVOCATIONS).await, 0);
    assert!(is_active(&mut api, &token.access_token).await);
}

#[tokio::test]
async fn k17_what_does_not_exist_is_not_said_to_be_revoked() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let unknown = new_uuid_v7(now_s() * 1000).to_string();
    let cases: [(Named, String, &str); 3] = [
        (Kind::SessionId, unknown.clone(), "session"),
        (Kind::ClientId, "servise".to_owned(), "client"),
        (Kind::KeyId, "k".repeat(43), "key"),
    ];
    for (of, name, resource) in cases {
        let kind = of(name.clone());
        for validate_only in [true, false] {
            let request = pb::RevokeRequest { validate_only, ..wide_request(kind.clone()) };
            let refused = admin.wide.revoke(request).await.refused();
            assert_eq!(
                (refused.code, refused.get("resourceType"), refused.get("resourceName")),
                (tonic::Code::NotFound, resource, name.as_str())
            );
        }
    }
    // A caller without the permission learns nothing.
    assert_eq!(api.revoke(Kind::SessionId(unknown.clone())).await.refused().reason, "CALLER_FORBIDDEN");
    assert_eq!(world.audited("action = 'Revoke'").await, 0);

    // A bare jti cannot be told apart, and that is said.
    for validate_only in [true, false] {
        let request = pb::RevokeRequest { validate_only, ..revoke_request(Kind::Jti(unknown.clone())) };
        let answer = admin.tokens.revoke(request).await.unwrap().into_inner();
        let time = answer.findings.unwrap().unverified_jti_time.unwrap();
        assert!((time.seconds - now_s()).abs() < 60);
    }
    assert_eq!(world.number(REVOCATIONS).await, 1, "it is recorded");
    let again = admin.revoke(Kind::Jti(unknown)).await.unwrap();
    assert_eq!((again.outcome(), again.findings), (RevocationOutcome::AlreadyRevoked, None));
    // The id of a live session is no jti.
    let session = api.session("user:7", "api").await;
    let answer = admin.revoke(Kind::Jti(session.session_id.clone())).await.unwrap();
    assert!(answer.findings.unwrap().is_live_session);
    assert!(is_active(&mut api, &session.access_token).await, "it goes on");
    // One that was revoked, and is gone from its table, is still known by its entry.
    admin.revoke(Kind::SessionId(session.session_id.clone())).await.unwrap();
    world.sql("delete from session").await;
    let answer = admin.revoke(Kind::SessionId(session.session_id)).await.unwrap();
    assert_eq!(answer.outcome(), RevocationOutcome::AlreadyRevoked);
}

#[tokio::test]
async fn k17_a_subject_is_named_exactly_and_near_ones_are_offered() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for wild in ["user:*", "*", "us*r:500"] {
        let refused = admin.revoke_wide(Kind::Subject(wild.to_owned())).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "target.subject"));
        assert!(refused.get("rule").contains("wildcard"), "{refused:?}");
        let refused = api.issue(issue_request(wild, &["api"])).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "subject"));
    }
    let session = api.session("user:500", "api").await;
    api.session("svc:billing", "api").await;
    for near in ["User:500", "user:50", "user-500"] {
        for validate_only in [true, false] {
            let kind = Kind::Subject(near.to_owned());
            let request = pb::RevokeRequest { validate_only, ..wide_request(kind) };
            let found = admin.wide.revoke(request).await.unwrap().into_inner().findings.unwrap();
            assert!(found.no_live_sessions, "{near}");
            assert_eq!(found.similar_subjects, ["user:500"], "{near}");
        }
    }
    assert!(is_active(&mut api, &session.access_token).await);
    let far = admin.revoke_wide(Kind::Subject("user:7".to_owned())).await.unwrap().findings.unwrap();
    assert!(far.no_live_sessions && far.similar_subjects.is_empty(), "{far:?}");
    let hit = admin.revoke_wide(Kind::Subject("user:500".to_owned())).await.unwrap();
    assert_eq!((hit.outcome(), hit.findings), (RevocationOutcome::Revoked, None));
    let idle = admin.revoke_wide(Kind::ClientId("narrow".to_owned())).await.unwrap().findings.unwrap();
    assert!(idle.no_live_sessions, "{idle:?}");
}

#[tokio::test]
async fn k17_no_target_and_no_filter_has_wildcards_or_what_cannot_be_seen() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    api.session("user:500", "api").await;
    let subject = |name: &str| Kind::Subject(name.to_owned());
    let narrowed = |audience: &str| pb::RevokeRequest {
        target: Some(pb::RevocationTarget {
            kind: Some(subject("user:500")),
            audience: audience.to_owned(),
            ..Default::default()
        }),
        ..wide_request(subject("user:500"))
    };
    for (name, word) in [
        ("ord*", "no wildcard here"),
        ("user:7 ", "without spaces"),
        ("user:7\u{a0}", "U+00A0 at byte 6"),
        ("user\u{3000}7", "U+3000 at byte 4"),
        ("user:7\u{2800}", "U+2800 at byte 6"),
        ("user:7\u{3164}", "U+3164 at byte 6"),
        ("us\u{200b}er:7", "U+200B at byte 2"),
        ("\u{202e}7:resu", "U+202E at byte 0"),
    ] {
        let refused = admin.revoke_wide(subject(name)).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "target.subject"));
        assert!(refused.get("rule").contains(word), "{name:?}: {refused:?}");
        let refused = admin.wide.revoke(narrowed(name)).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "target.audience"));
        assert!(refused.get("rule").contains(word), "{name:?}: {refused:?}");
        let request = pb::ListSessionsRequest { subject: name.to_owned(), ..Default::default() };
        let refused = admin.admin.list_sessions(request).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", "subject"));
        assert!(refused.get("rule").contains(word), "{name:?}: {refused:?}");
        for field in ["subject", "actor", "client_id", "key_id", "action"] {
            let mut request = pb::ListAuditEventsRequest::default();
            let set = match field {
                "subject" => &mut request.subject,
                "actor" => &mut request.actor,
                "client_id" => &mut request.client_id,
                "key_id" => &mut request.key_id,
                _ => &mut request.action,
            };
            name.clone_into(set);
            let refused = admin.admin.list_audit_events(request).await.refused();
            assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", field), "{name:?}");
        }
    }
    assert_eq!(world.audited("action = 'Revoke'").await, 0);
    // Nothing found looks like an answer: names that are nearly so are told.
    let request =
        |subject: &str| pb::ListSessionsRequest { subject: subject.to_owned(), ..Default::default() };
    let listed = admin.admin.list_sessions(request("User:500")).await.unwrap().into_inner();
    assert_eq!((listed.sessions.len(), listed.similar_subjects), (0, vec!["user:500".to_owned()]));
    let listed = admin.admin.list_sessions(request("user:500")).await.unwrap().into_inner();
    assert_eq!((listed.sessions.len(), listed.similar_subjects), (1, Vec::new()));
    let request = pb::ListAuditEventsRequest { subject: "User:500".to_owned(), ..Default::default() };
    let listed = admin.admin.list_audit_events(request).await.unwrap().into_inner();
    assert_eq!((listed.audit_events.len(), listed.similar_subjects), (0, vec!["user:500".to_owned()]));
    let shell = crate::world::Shell::of(&world, "admin");
    for verb in ["session", "audit"] {
        let said = shell.run(&[verb, "list", "--subject", "User:500"]).await;
        assert!(said.err.contains("spelled nearly so: user:500"), "{said:?}");
        shell.run(&[verb, "list", "--subject", "user:*"]).await.with_code(2);
    }
    // A name that stands for any client in policies is taken literally here.
    admin.set_policy(crate::world::policy("orders")).await.unwrap();
    let request = pb::ListAuditEventsRequest { client_id: "*".to_owned(), ..Default::default() };
    assert_eq!(admin.admin.list_audit_events(request).await.unwrap().into_inner().audit_events.len(), 1);
}

#[tokio::test]
async fn k17_where_sessions_were_not_looked_for_that_is_said() {
    use sqlx::{Connection, Executor};

    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let session = api.session("user:7", "api").await;
    let looked_for = admin.revoke(Kind::Jti(session.session_id.clone())).await.unwrap().findings.unwrap();
    assert!(looked_for.is_live_session && !looked_for.sessions_not_looked_for, "{looked_for:?}");
    let mut holder = world.database.connect().await;
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("lock table session in access exclusive mode").await.unwrap();
    let other = new_uuid_v7(now_s() * 1_000).to_string();
    let found = admin.revoke(Kind::Jti(other)).await.unwrap().findings.unwrap();
    assert!(found.sessions_not_looked_for && !found.is_live_session, "{found:?}");
    assert!(found.unverified_jti_time.is_some(), "{found:?}");
    transaction.rollback().await.unwrap();
    holder.close().await.unwrap();
}
