//! Credentials where a name or a note belongs: a caller has mixed up two values, or a person two fields.

use jeton::proto::v1::{self as pb, lock_request, revocation_target::Kind, unlock_request};
use tonic::Status;

use crate::world::{Api, Refused as _, World, api_key, issue_request, seconds};

/// Every request in which a name or a note is kept, with this text in its place, and the field that is refused.
async fn kept(api: &Api, text: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let given = || text.to_owned();
    let (mut tokens, mut admin, mut wide) = (api.tokens.clone(), api.admin.clone(), api.wide.clone());
    let issue = |change: fn(&mut pb::IssueRequest, String)| {
        let mut request = issue_request("user:7", &["api"]);
        change(&mut request, text.to_owned());
        request
    };
    let revoke = |kind| pb::RevokeRequest {
        target: Some(pb::RevocationTarget { kind: Some(kind), ..Default::default() }),
        reason: pb::RevocationReason::Leaked.into(),
        ..Default::default()
    };
    let noted = pb::RevokeRequest { note: given(), ..revoke(Kind::Subject("user:7".into())) };
    let lock = |target, note| pb::LockRequest {
        target: Some(target),
        ttl: Some(seconds(60)),
        note,
        wait_timeout: None,
    };
    let unlock = |target, note| pb::UnlockRequest { target: Some(target), note, wait_timeout: None };
    let user = || "user:7".to_owned();
    let client = |change: fn(&mut pb::Client, String)| {
        let mut client = pb::Client { client_id: "new".into(), ..Default::default() };
        change(&mut client, text.to_owned());
        pb::CreateClientRequest { client: Some(client) }
    };
    let policy = |policy| pb::UpdatePolicyRequest { policy: Some(policy), ..Default::default() };
    vec![
        ("subject", tokens.issue(issue(|it, text| it.subject = text)).await.map(drop)),
        ("audiences[0]", tokens.issue(issue(|it, text| it.audiences = vec![text])).await.map(drop)),
        ("scopes[0]", tokens.issue(issue(|it, text| it.scopes = vec![text])).await.map(drop)),
        ("note", wide.revoke(noted).await.map(drop)),
        ("target.subject", wide.revoke(revoke(Kind::Subject(given()))).await.map(drop)),
        ("target.client_id", wide.revoke(revoke(Kind::ClientId(given()))).await.map(drop)),
        ("target.all_for_audience", wide.revoke(revoke(Kind::AllForAudience(given()))).await.map(drop)),
        ("subject", admin.lock(lock(lock_request::Target::Subject(given()), String::new())).await.map(drop)),
        (
            "client_id",
            admin.lock(lock(lock_request::Target::ClientId(given()), String::new())).await.map(drop),
        ),
        ("note", admin.lock(lock(lock_request::Target::Subject(user()), given())).await.map(drop)),
        (
            "subject",
            admin.unlock(unlock(unlock_request::Target::Subject(given()), String::new())).await.map(drop),
        ),
        ("note", admin.unlock(unlock(unlock_request::Target::Subject(user()), given())).await.map(drop)),
        ("client.client_id", admin.create_client(client(|it, text| it.client_id = text)).await.map(drop)),
        (
            "client.display_name",
            admin.create_client(client(|it, text| it.display_name = text)).await.map(drop),
        ),
        (
            "client.subjects[0]",
            admin.create_client(client(|it, text| it.subjects = vec![text])).await.map(drop),
        ),
        (
            "client.certificate_uris[0]",
            admin
                .create_client(client(|it, text| {
                    it.certificate_uris = vec![format!("spiffe://example.org/{text}")];
                }))
                .await
                .map(drop),
        ),
        (
            "client.audiences[0]",
            admin.create_client(client(|it, text| it.audiences = vec![text])).await.map(drop),
        ),
        (
            "policy.audience",
            admin
                .update_policy(policy(pb::Policy {
                    audience: given(),
                    client_id: "*".into(),
                    ..Default::default()
                }))
                .await
                .map(drop),
        ),
        (
            "policy.client_id",
            admin
                .update_policy(policy(pb::Policy {
                    audience: "api".into(),
                    client_id: given(),
                    ..Default::default()
                }))
                .await
                .map(drop),
        ),
    ]
}

#[tokio::test]
async fn e26_a_credential_is_no_name_and_no_note_and_is_kept_nowhere() {
    let world = World::start().await;
    let api = world.api("admin").await;
    let session = world.api("service").await.session("user:7", "api").await;
    let refresh_token = session.refresh.unwrap().refresh_token;
    let secrets =
        [session.access_token, refresh_token.clone(), api_key("service"), format!("{refresh_token}x")];
    for secret in &secrets {
        for (field, answer) in kept(&api, secret).await {
            let refused = answer.refused();
            assert_eq!(refused.get("field"), field, "{refused:?}");
            assert!(!format!("{refused:?}").contains(secret.as_str()), "{field}: not repeated");
        }
    }
    for (field, answer) in kept(&api, "INC-4711").await {
        // Anything else about it may be refused.
        assert!(answer.is_ok() || answer.refused().reason != "FIELD_INVALID", "{field}");
    }
    for table in ["audit_event", "lock", "mark", "client", "policy"] {
        for secret in &secrets {
            let rows = format!("select count(*) from {table} t where t::text like '%{secret}%'");
            assert_eq!(world.number(&rows).await, 0, "{table}");
        }
    }
}
