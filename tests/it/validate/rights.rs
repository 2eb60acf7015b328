//! The rights of a caller, the parts of a token that it may read, and its requirements.

use jeton::{
    proto::v1::{
        self as pb,
        TokenStatus::{self, Active, Expired, Malformed, MissingScope, Revoked, WrongAudience, WrongBinding},
        revocation_target::Kind,
    },
    state::Permission,
};
use jeton_token::new_uuid_v7;
use serde_json::json;
use tonic::Code;

use super::support::{b64, with};
use crate::world::{Api, Refused, World, issue_request, now_s, revoke_request, validate_request};

/// The verdict has nothing of the token beyond its status and `jti`.
fn says_nothing(verdict: &pb::Verdict) -> bool {
    let bare = pb::Verdict {
        status: verdict.status,
        jti: verdict.jti.clone(),
        revision: verdict.revision.clone(),
        server_time: verdict.server_time,
        ..Default::default()
    };
    *verdict == bare
}

#[tokio::test]
async fn v6_what_a_token_says_is_told_in_full_to_its_audience_and_to_others_its_jti_alone() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let web_key = world.register("web", &[Permission::Validate], &["web"], &[]).await;
    let (mut validator, mut web) = (world.api("validator").await, world.api_with_key(&web_key).await);
    let forge = world.forge().await;
    let request = pb::IssueRequest {
        scopes: vec!["read".to_owned(), "write".to_owned()],
        refreshable: true,
        claims: Some(prost_types::Struct {
            fields: [("tenant".to_owned(), prost_types::Value::from("acme"))].into(),
        }),
        ..issue_request("user:7", &["api", "orders"])
    };
    let issued = api.issue(request.clone()).await.unwrap();
    let doomed = api.issue(request).await.unwrap();
    let leaked = pb::RevokeRequest {
        reason: pb::RevocationReason::Leaked.into(),
        ..revoke_request(Kind::Token(doomed.access_token.clone()))
    };
    admin.tokens.revoke(leaked).await.unwrap();
    let now = now_s();
    let mut old = with(&forge.claims(), "iat", Some(json!(now - 1_000)));
    old["exp"] = json!(now - 100);
    old["jti"] = json!(new_uuid_v7((now - 1_000) * 1_000).to_string());
    let expired = forge.sign(&old);

    for (token, jti, status) in [
        (&issued.access_token, issued.jti.as_str(), Active),
        (&doomed.access_token, doomed.jti.as_str(), Revoked),
        (&expired, old["jti"].as_str().unwrap(), Expired),
    ] {
        let full = validator.validate(token, &[]).await.unwrap();
        assert_eq!((full.status(), full.jti.as_str()), (status, jti));
        assert_eq!((full.subject.as_str(), full.client_id.as_str()), ("user:7", "service"));
        assert!(full.issue_time.is_some() && full.expire_time.is_some());
        let why =
            if status == Revoked { pb::RevocationReason::Leaked } else { pb::RevocationReason::Unspecified };
        assert_eq!(full.revocation_reason(), why);
        let narrow = web.validate(token, &[]).await.unwrap();
        // The token is not for it, but expired and revoked come first.
        let told = if status == Active { WrongAudience } else { status };
        assert_eq!((narrow.status(), narrow.jti.as_str()), (told, jti));
        assert!(says_nothing(&narrow), "{narrow:?}");
    }
    let full = validator.validate(&issued.access_token, &[]).await.unwrap();
    assert_eq!(full.audiences, ["api", "orders"], "all of its audiences, those of others, too");
    assert_eq!(full.scopes, ["read", "write"]);
    assert_eq!(full.session_id, issued.session_id);
    assert_eq!((full.issue_time, full.expire_time), (issued.issue_time, issued.expire_time));
    assert_eq!(full.claims.unwrap().fields["tenant"], prost_types::Value::from("acme"));
    // Registration decides, not the accepted audiences: a caller for any audience, asking for another.
    let other = api.validate(&issued.access_token, &["elsewhere"]).await.unwrap();
    assert_eq!((other.status(), other.subject.as_str()), (WrongAudience, "user:7"));
    // A batch and a stream tell no more.
    let batch = super::support::batch(&mut web, vec![validate_request(&issued.access_token, &[])]).await;
    assert!(says_nothing(&batch[0]) && !batch[0].jti.is_empty(), "{batch:?}");
}

/// A token that was revoked.
async fn revoked_token(world: &World) -> String {
    let mut service = world.api("service").await;
    let token = service.token("user:7", "api").await.access_token;
    service.revoke(Kind::Token(token.clone())).await.unwrap();
    token
}

#[tokio::test]
async fn v8_the_accepted_audiences_come_from_the_request_within_the_registration() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let api_token = service.token("user:7", "api").await.access_token;
    let web_token = service.token("user:7", "web").await.access_token;
    let both = service.issue(issue_request("user:7", &["web", "api"])).await.unwrap().access_token;
    let mixed_key = world.register("mixed", &[Permission::Validate], &["*", "api"], &[]).await;
    let two_key = world.register("two", &[Permission::Validate], &["orders", "api"], &[]).await;
    let none_key = world.register("none", &[Permission::Validate], &[], &[]).await;
    let (mut narrow, mut validator) = (world.api("narrow").await, world.api("validator").await);
    let mut two = world.api_with_key(&two_key).await;
    let mut mixed = world.api_with_key(&mixed_key).await;
    for api in [&mut narrow, &mut validator, &mut two, &mut mixed] {
        // None asked for: those of the registration.
        assert_eq!(status(api, &api_token, &[]).await, Active);
        assert_eq!(status(api, &web_token, &[]).await, WrongAudience);
        assert_eq!(status(api, &both, &[]).await, Active);
        assert_eq!(status(api, &api_token, &["api"]).await, Active);
    }
    for api in [&mut narrow, &mut validator, &mut two] {
        for asked in [&["web"][..], &["api", "web"], &["API"], &["api2"]] {
            let refused = api.validate(&api_token, asked).await.refused();
            assert_eq!(
                (refused.code, refused.reason.as_str()),
                (Code::PermissionDenied, "AUDIENCE_NOT_ALLOWED")
            );
            assert_eq!(refused.get("audience"), *asked.last().unwrap());
        }
    }
    for api in [&mut service, &mut mixed] {
        assert_eq!(status(api, &api_token, &["web"]).await, WrongAudience);
        assert_eq!(status(api, &api_token, &["web", "api"]).await, Active, "one of them is enough");
        assert_eq!(status(api, &both, &["web"]).await, Active);
        assert_eq!(status(api, &api_token, &["ap"]).await, WrongAudience, "no prefixes");
        assert_eq!(status(api, &api_token, &["API"]).await, WrongAudience, "no folding of case");
    }
    // "*" alone says nothing of which audience the caller is; no audience says nothing at all.
    let mut none = world.api_with_key(&none_key).await;
    for api in [&mut service, &mut none] {
        let refused = api.validate(&api_token, &[]).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "FIELD_REQUIRED"));
        assert_eq!(refused.get("field"), "audiences");
        // Faults that do not depend on an audience are answered even so.
        assert_eq!(status(api, "garbage", &[]).await, Malformed);
        let revoked = revoked_token(&world).await;
        assert_eq!(status(api, &revoked, &[]).await, Revoked);
    }
    for asked in [&["*"][..], &[""], &["api", ""], &["a\nb"]] {
        let refused = service.validate(&api_token, asked).await.refused();
        assert_eq!(refused.reason, "FIELD_INVALID", "{asked:?}");
        assert!(refused.get("field").starts_with("audiences"), "{refused:?}");
    }
    // The caller's own faults come before what becomes of the token.
    assert_eq!(narrow.validate("garbage", &["web"]).await.refused().reason, "AUDIENCE_NOT_ALLOWED");
    let refused = narrow.validate("", &["api"]).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_REQUIRED", "token"));
    for client in ["nobody", "reader"] {
        let refused = world.api(client).await.validate(&api_token, &["api"]).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::PermissionDenied, "CALLER_FORBIDDEN"));
        assert_eq!(refused.get("permission"), "PERMISSION_VALIDATE");
        let refused = at(&mut world.api(client).await, &api_token, "8000.1").await.refused();
        assert_eq!(refused.reason, "CALLER_FORBIDDEN", "whatever else it asks for");
    }
    let refused = world.api_with_key("").await.validate(&api_token, &["api"]).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"));
}

async fn status(api: &mut Api, token: &str, audiences: &[&str]) -> TokenStatus {
    api.validate(token, audiences).await.unwrap().status()
}

#[tokio::test]
async fn v8_every_scope_that_is_asked_for_must_be_in_the_token() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let scopes = |list: &[&str]| list.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
    let request =
        pb::IssueRequest { scopes: scopes(&["read", "write:all"]), ..issue_request("user:7", &["api"]) };
    let able = api.issue(request).await.unwrap().access_token;
    let bare = api.token("user:7", "api").await.access_token;
    for (token, asked, status) in [
        (&able, &[][..], Active),
        (&able, &["read"], Active),
        (&able, &["write:all", "read"], Active),
        (&able, &["read", "admin"], MissingScope),
        (&able, &["write"], MissingScope),
        (&able, &["Read"], MissingScope),
        (&able, &["rea"], MissingScope),
        (&bare, &[], Active),
        (&bare, &["read"], MissingScope),
    ] {
        let request = pb::ValidateRequest { scopes: scopes(asked), ..validate_request(token, &["api"]) };
        let verdict = api.tokens.validate(request).await.unwrap().into_inner().verdict.unwrap();
        assert_eq!(verdict.status(), status, "{asked:?}");
    }
    for asked in [&[""][..], &["read write"], &["re\"ad"], &["\u{e9}"]] {
        let request = pb::ValidateRequest { scopes: scopes(asked), ..validate_request(&able, &["api"]) };
        let refused = api.tokens.validate(request).await.refused();
        assert_eq!(refused.reason, "FIELD_INVALID", "{asked:?}");
        assert!(refused.get("field").starts_with("scopes"), "{refused:?}");
    }
}

#[tokio::test]
async fn v9_a_verdict_reflects_at_least_the_revision_asked_for() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for _ in 0..10 {
        let token = api.token("user:7", "api").await.access_token;
        let request = pb::RevokeRequest {
            wait_for: pb::Reach::Local.into(),
            ..revoke_request(Kind::Token(token.clone()))
        };
        let revision = admin.tokens.revoke(request).await.unwrap().into_inner().revision;
        let verdict = at(&mut api, &token, &revision).await.unwrap();
        assert_eq!(verdict.status(), Revoked);
        assert!(place(&verdict.revision) >= place(&revision), "{} after {revision}", verdict.revision);
    }
    let token = api.token("user:7", "api").await.access_token;
    let head = api.validate(&token, &["api"]).await.unwrap().revision;
    let (epoch, seq) = place(&head);
    for old in
        ["0.0".to_owned(), format!("{epoch}.0"), format!("{}.{}", epoch - 1, (1_i64 << 40) - 1), head.clone()]
    {
        assert_eq!(at(&mut api, &token, &old).await.unwrap().status(), Active, "{old}");
    }
    let malformed = [
        " ",
        "x",
        "1",
        ".",
        "1.",
        ".1",
        "1.1.1",
        "01.1",
        "1.01",
        "+1.1",
        "1.+1",
        "-1.1",
        "1.-1",
        "1 .1",
        "1.1 ",
        "1.1\n",
        "1,1",
        "0x1.1",
        "1e3.1",
        "8192.0",
        "1.1099511627776",
        "99999999999999999999.1",
        "1.99999999999999999999",
        "\u{661}.\u{661}",
        "1.1\0",
        "NaN.1",
    ];
    let ahead =
        [format!("{epoch}.{}", seq + 1_000_000), format!("{}.0", epoch + 1), "8191.1099511627775".to_owned()];
    for text in malformed.into_iter().map(str::to_owned).chain(ahead).chain(["1".repeat(10_000)]) {
        let refused = at(&mut api, &token, &text).await.refused();
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (Code::InvalidArgument, "REVISION_INVALID"),
            "{text:?}"
        );
    }
}

async fn at(api: &mut Api, token: &str, revision: &str) -> Result<pb::Verdict, tonic::Status> {
    let request =
        pb::ValidateRequest { min_revision: revision.to_owned(), ..validate_request(token, &["api"]) };
    Ok(api.tokens.validate(request).await?.into_inner().verdict.unwrap())
}

/// A revision as numbers that can be compared.
fn place(revision: &str) -> (i64, i64) {
    let (epoch, seq) = revision.split_once('.').unwrap();
    (epoch.parse().unwrap(), seq.parse().unwrap())
}

#[tokio::test]
async fn v10_a_bound_token_is_active_only_with_its_certificates_thumbprint() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let (mine, other) = (b64([1; 32]), b64([2; 32]));
    let request =
        pb::IssueRequest { certificate_thumbprint: mine.clone(), ..issue_request("user:7", &["api"]) };
    let bound = api.issue(request).await.unwrap().access_token;
    let free = api.token("user:7", "api").await.access_token;
    for (token, shown, status) in [
        (&bound, mine.as_str(), Active),
        (&bound, other.as_str(), WrongBinding),
        (&bound, "", WrongBinding),
        (&free, "", Active),
        (&free, mine.as_str(), Active),
    ] {
        let request = pb::ValidateRequest {
            certificate_thumbprint: shown.to_owned(),
            ..validate_request(token, &["api"])
        };
        let verdict = api.tokens.validate(request).await.unwrap().into_inner().verdict.unwrap();
        assert_eq!(verdict.status(), status, "{shown:?}");
    }
    // A session's later tokens are bound as its first.
    let request = pb::IssueRequest {
        certificate_thumbprint: mine.clone(),
        refreshable: true,
        ..issue_request("user:7", &["api"])
    };
    let first = api.issue(request).await.unwrap();
    let second = api.refresh(&first.refresh.unwrap().refresh_token).await.unwrap();
    assert_eq!(api.status(&second.access_token, "api").await, WrongBinding);
    for text in ["x", &mine[1..], &format!("{mine}="), &format!("{}B", &mine[..42]), &"01".repeat(32)] {
        let request = pb::ValidateRequest {
            certificate_thumbprint: text.to_owned(),
            ..validate_request(&bound, &["api"])
        };
        let refused = api.tokens.validate(request).await.refused();
        assert_eq!(
            (refused.reason.as_str(), refused.get("field")),
            ("FIELD_INVALID", "certificate_thumbprint")
        );
    }
}
