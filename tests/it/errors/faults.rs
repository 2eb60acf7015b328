//! Faults of every kind, and their answers.

use jeton::proto::v1::{
    self as pb, ErrorReason, admin_service_client::AdminServiceClient, issue_request::Expiration,
    lock_request, revocation_target::Kind, unlock_request,
};
use prost_types::value;
use tokio_stream::iter;
use tonic::{Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest,
};
use tonic_types::StatusExt;

use super::{Answers, auth::unreadable};
use crate::world::{
    Api, InProcess, World, api_key, channel, issue_request, policy, revoke_request, seconds, until,
    validate_request,
};

const FORGED: &str = "eyJhbGciOiJub25lIn0.e30.";

fn asking(expiration: Expiration) -> pb::IssueRequest {
    pb::IssueRequest { expiration: Some(expiration), ..issue_request("user:7", &["api"]) }
}

fn claiming(name: &str, kind: value::Kind) -> pb::IssueRequest {
    let value = prost_types::Value { kind: Some(kind) };
    let claims = prost_types::Struct { fields: [(name.to_owned(), value)].into() };
    pb::IssueRequest { claims: Some(claims), ..issue_request("user:7", &["api"]) }
}

/// Faults of the request itself.
pub async fn of_requests(world: &World, answers: &mut Answers) {
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let reason = ErrorReason::FieldRequired;
    answers.add(reason, "Issue", api.issue(issue_request("", &["api"])).await);
    answers.add(reason, "Issue", api.issue(issue_request("user:7", &[])).await);
    answers.add(reason, "Refresh", api.refresh("").await);
    answers.add(reason, "Validate", api.validate("", &["api"]).await);
    let good = api.token("user:7", "api").await.access_token;
    answers.add(reason, "Validate", api.validate(&good, &[]).await);
    answers.add(
        reason,
        "BatchValidate",
        api.tokens.batch_validate(pb::BatchValidateRequest::default()).await,
    );
    answers.add(reason, "Revoke", api.tokens.revoke(pb::RevokeRequest::default()).await);
    answers.add(reason, "Revoke", api.revoke(Kind::Token(String::new())).await);
    answers.add(reason, "ListSessions", admin.admin.list_sessions(pb::ListSessionsRequest::default()).await);
    answers.add(reason, "UpdatePolicy", admin.admin.update_policy(pb::UpdatePolicyRequest::default()).await);
    answers.add(reason, "GetPolicy", admin.admin.get_policy(pb::GetPolicyRequest::default()).await);

    let reason = ErrorReason::FieldInvalid;
    answers.add(reason, "Issue", api.issue(issue_request("user\n7", &["api"])).await);
    answers.add(reason, "Issue", api.issue(issue_request("user:7", &["api", "*"])).await);
    let request =
        pb::ValidateRequest { scopes: vec!["two words".to_owned()], ..validate_request("x", &["api"]) };
    answers.add(reason, "Validate", api.tokens.validate(request).await);
    answers.add(reason, "Revoke", api.revoke(Kind::Jti("x".to_owned())).await);
    let odd = pb::Policy { leeway: Some(seconds(61)), ..policy("api") };
    answers.add(reason, "UpdatePolicy", admin.set_policy(odd).await);
    let odd = pb::ListAuditEventsRequest { jti: "x".to_owned(), ..Default::default() };
    answers.add(reason, "ListAuditEvents", admin.admin.list_audit_events(odd).await);
    let long = || pb::GetPolicyRequest { audience: "x".repeat(300_000), client_id: String::new() };
    let reason = ErrorReason::MessageTooLarge;
    answers.add(reason, "GetPolicy, too long a message", admin.admin.get_policy(long()).await);
    let stream = iter([pb::StreamValidateRequest {
        request: Some(validate_request(&"x".repeat(10 << 20), &["api"])),
    }]);
    let mut verdicts = api.tokens.stream_validate(stream).await.unwrap().into_inner();
    answers.add(reason, "StreamValidate, too long a message", verdicts.message().await);
    let reason = ErrorReason::NotServedHere;
    let mut elsewhere = AdminServiceClient::new(channel(&world.server.ready.public));
    let mut request = Request::new(long());
    request.metadata_mut().insert("authorization", format!("Bearer {}", api_key("admin")).parse().unwrap());
    answers.add(reason, "GetPolicy on the public listener", elsewhere.get_policy(request).await);
    answers.add(reason, "ListWatchers", admin.admin.list_watchers(pb::ListWatchersRequest::default()).await);
    let reason = ErrorReason::FieldInvalid;
    let bearer = format!("Bearer {}", api_key("service"));
    let ready = &world.server.ready;
    answers.add(
        reason,
        "Issue, no message",
        unreadable(&ready.public, "/jeton.v1.TokenService/Issue", &[&bearer]).await,
    );

    let ttl = |value| asking(Expiration::Ttl(seconds(value)));
    answers.add(ErrorReason::TtlExceedsMaximum, "Issue", api.issue(ttl(3_700_000)).await);
    answers.add(ErrorReason::TtlExceedsMaximum, "Issue, milliseconds", api.issue(ttl(900_000)).await);
    answers.add(ErrorReason::TtlTooShort, "Issue", api.issue(ttl(0)).await);
    let past = Expiration::ExpireTime(prost_types::Timestamp { seconds: 1, nanos: 0 });
    answers.add(ErrorReason::ExpireTimePast, "Issue", api.issue(asking(past)).await);
    let reserved = claiming("exp", value::Kind::BoolValue(true));
    answers.add(ErrorReason::ClaimReserved, "Issue", api.issue(reserved).await);
    let unsafe_number = claiming("n\n\u{1f600}", value::Kind::NumberValue(f64::NAN));
    answers.add(ErrorReason::ClaimNumberUnsafe, "Issue", api.issue(unsafe_number).await);
    let scopes = (0..64).map(|index| format!("{index:0>128}")).collect();
    let large = pb::IssueRequest { scopes, ..issue_request("user:7", &["api"]) };
    answers.add(ErrorReason::TokenTooLarge, "Issue", api.issue(large).await);
    let requests = vec![validate_request("x", &["api"]); 1_001];
    let batch = api.tokens.batch_validate(pb::BatchValidateRequest { requests }).await;
    answers.add(ErrorReason::BatchTooLarge, "BatchValidate", batch);
    for min_revision in ["x", "1.4398046511"] {
        let request =
            pb::ValidateRequest { min_revision: min_revision.into(), ..validate_request("x", &["api"]) };
        answers.add(ErrorReason::RevisionInvalid, "Validate", api.tokens.validate(request).await);
    }
}

/// Rights that the caller lacks.
pub async fn of_callers(world: &World, answers: &mut Answers) {
    let reason = ErrorReason::CallerUnauthenticated;
    for key in ["", "jtk_x", &api_key("admin").replace("jtk_", "jtk-")] {
        let mut api = world.api_with_key(key).await;
        answers.add(reason, "Issue", api.issue(issue_request("user:7", &["api"])).await);
        answers.add(reason, "Refresh", api.refresh("x").await);
        answers.add(reason, "Validate", api.validate("x", &["api"]).await);
        answers.add(reason, "Revoke", api.revoke(Kind::Token("x".to_owned())).await);
        answers.add(
            reason,
            "ListPolicies",
            api.admin.list_policies(pb::ListPoliciesRequest::default()).await,
        );
        // Public facts are for everybody.
        api.discovery.get_jwks(pb::GetJwksRequest::default()).await.unwrap();
        api.discovery.get_server_info(pb::GetServerInfoRequest::default()).await.unwrap();
    }
    let reason = ErrorReason::CallerForbidden;
    let mut nobody = world.api("nobody").await;
    answers.add(reason, "Issue", nobody.issue(issue_request("user:7", &["api"])).await);
    answers.add(reason, "Validate", nobody.validate("x", &["api"]).await);
    answers.add(reason, "Refresh", nobody.refresh("x").await);
    answers.add(reason, "ListPolicies", nobody.admin.list_policies(pb::ListPoliciesRequest::default()).await);
    answers.add(reason, "UpdatePolicy", nobody.set_policy(policy("api")).await);
    answers.add(reason, "Revoke", nobody.revoke_wide(Kind::Subject("user:7".to_owned())).await);

    let mut narrow = world.api("narrow").await;
    answers.add(
        ErrorReason::AudienceNotAllowed,
        "Issue",
        narrow.issue(issue_request("user:7", &["web"])).await,
    );
    answers.add(ErrorReason::AudienceNotAllowed, "Validate", narrow.validate("x", &["web"]).await);
    answers.add(ErrorReason::SubjectNotAllowed, "Issue", narrow.issue(issue_request("root", &["api"])).await);
    let mut admin = world.api("admin").await;
    for target in [
        lock_request::Target::Subject("locked".to_owned()),
        lock_request::Target::ClientId("other".to_owned()),
    ] {
        let request = pb::LockRequest { target: Some(target), ttl: Some(seconds(600)), ..Default::default() };
        admin.admin.lock(request).await.unwrap();
    }
    let request = issue_request("locked", &["api"]);
    answers.add(ErrorReason::SubjectLocked, "Issue", world.api("service").await.issue(request.clone()).await);
    answers.add(ErrorReason::ClientLocked, "Issue", world.api("other").await.issue(request).await);
    let target = Some(unlock_request::Target::ClientId("other".to_owned()));
    admin.admin.unlock(pb::UnlockRequest { target, ..Default::default() }).await.unwrap();
    let wide = admin.revoke(Kind::Subject("user:7".to_owned())).await;
    answers.add(ErrorReason::WideRevocationForbidden, "Revoke", wide);
    let allowed = pb::Policy { allowed_scopes: vec!["read".to_owned()], ..policy("scoped") };
    admin.set_policy(allowed).await.unwrap();
    let scopes = vec!["write".to_owned()];
    let request = pb::IssueRequest { scopes, ..issue_request("user:7", &["scoped"]) };
    answers.add(ErrorReason::ScopeNotAllowed, "Issue", world.api("service").await.issue(request).await);
}

/// Refresh tokens that are of no use.
pub async fn of_refreshes(world: &World, answers: &mut Answers) {
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let refresh_token = |token: &pb::IssuedToken| token.refresh.clone().unwrap().refresh_token;
    let session = api.session("user:8", "api").await;
    answers.add(ErrorReason::RefreshTokenInvalid, "Refresh", api.refresh("jtr_x").await);
    answers.add(ErrorReason::RefreshTokenInvalid, "Refresh", api.refresh(FORGED).await);
    let other = world.api("other").await.refresh(&refresh_token(&session)).await;
    answers.add(ErrorReason::RefreshTokenInvalid, "Refresh, another client", other);
    let scopes = vec!["more".to_owned()];
    let request = pb::RefreshRequest { refresh_token: refresh_token(&session), scopes, ttl: None };
    answers.add(ErrorReason::ScopeNotAllowed, "Refresh", api.tokens.refresh(request).await);

    for limit in ["idle_expire_time", "expire_time"] {
        let session = api.session("user:8", "api").await;
        let sql = format!(
            "update session set {limit} = create_time - interval '1 s' where id = '{}'",
            session.session_id
        );
        world.database.execute(&sql).await;
        answers.add(ErrorReason::RefreshTokenExpired, "Refresh", api.refresh(&refresh_token(&session)).await);
    }
    let strict = pb::Policy { refresh_replay_grace: Some(seconds(0)), ..policy("strict") };
    admin.set_policy(strict).await.unwrap();
    let session = api.session("user:8", "strict").await;
    api.refresh(&refresh_token(&session)).await.unwrap();
    answers.add(ErrorReason::RefreshTokenReused, "Refresh", api.refresh(&refresh_token(&session)).await);
    let session = api.session("user:8", "api").await;
    api.revoke(Kind::SessionId(session.session_id.clone())).await.unwrap();
    answers.add(ErrorReason::SessionRevoked, "Refresh", api.refresh(&refresh_token(&session)).await);

    api.session("user:9", "api").await;
    let request = pb::RevokeRequest {
        max_affected_sessions: Some(0),
        reason: pb::RevocationReason::Compromised.into(),
        ..revoke_request(Kind::Subject("user:9".to_owned()))
    };
    answers.add(ErrorReason::AffectedSessionsExceeded, "Revoke", admin.wide.revoke(request).await);
}

/// Refusals of `AdminService`.
pub async fn of_admin(world: &World, answers: &mut Answers) {
    let mut admin = world.api("admin").await;
    let absent = pb::UpdatePolicyRequest { policy: Some(policy("none")), ..Default::default() };
    answers.add(ErrorReason::NotFound, "UpdatePolicy", admin.admin.update_policy(absent).await);
    let delete = |etag: &str| pb::DeletePolicyRequest {
        audience: "etag".to_owned(),
        client_id: "*".to_owned(),
        etag: etag.to_owned(),
    };
    answers.add(ErrorReason::NotFound, "DeletePolicy", admin.admin.delete_policy(delete("")).await);
    let mut health = HealthClient::new(channel(&world.server.ready.public));
    let unknown = health.check(HealthCheckRequest { service: "nothing.Here".to_owned() }).await;
    answers.add(ErrorReason::NotFound, "Health.Check", unknown);
    let mut reflection = ServerReflectionClient::new(channel(&world.server.ready.admin));
    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::FileContainingSymbol("nothing.Here".to_owned())),
    };
    let mut told = reflection.server_reflection_info(iter([ask])).await.unwrap().into_inner();
    answers.add(ErrorReason::NotFound, "ServerReflectionInfo", told.message().await);
    admin.set_policy(policy("etag")).await.unwrap();
    let stale = pb::Policy { etag: "1.0".to_owned(), ..policy("etag") };
    answers.add(ErrorReason::EtagMismatch, "UpdatePolicy", admin.set_policy(stale).await);
    answers.add(ErrorReason::EtagMismatch, "DeletePolicy", admin.admin.delete_policy(delete("1.0")).await);
    let client = pb::Client { client_id: "service".to_owned(), ..Default::default() };
    let taken = pb::CreateClientRequest { client: Some(client) };
    answers.add(ErrorReason::AlreadyExists, "CreateClient", admin.admin.create_client(taken).await);
    let page_token = "x".to_owned();
    let reason = ErrorReason::PageTokenInvalid;
    let request = pb::ListPoliciesRequest { page_token: page_token.clone(), page_size: 0 };
    answers.add(reason, "ListPolicies", admin.admin.list_policies(request).await);
    let request = pb::ListAuditEventsRequest { page_token: page_token.clone(), ..Default::default() };
    answers.add(reason, "ListAuditEvents", admin.admin.list_audit_events(request).await);
    let request = pb::ListSessionsRequest { subject: "x".to_owned(), page_token, ..Default::default() };
    answers.add(reason, "ListSessions", admin.admin.list_sessions(request).await);
}

/// Clocks too far apart, however imprecisely that is measured.
pub async fn of_clocks(world: &World, answers: &mut Answers) {
    let skewed = InProcess::start(&world.database.url, 33_000).await;
    let mut api = Api::connect(&skewed.ready, &api_key("service"));
    answers.add(ErrorReason::ClockSkew, "Issue", api.issue(issue_request("user:7", &["api"])).await);
    answers.add(ErrorReason::ClockSkew, "Refresh", api.refresh("x").await);
    answers.add(ErrorReason::ClockSkew, "Validate", api.validate("x", &["api"]).await);
    skewed.ended().await;
}

/// A key whose signatures nobody can verify.
pub async fn of_keys(world: &mut World, answers: &mut Answers) {
    let (_, status) = crate::issue::keys::spoil_key(world).await;
    answers.add(ErrorReason::SigningKeyUnavailable, "Issue", Err::<(), _>(status));
}

/// A database that takes no connections.
pub async fn of_the_database(world: &World, answers: &mut Answers) {
    let (api, admin) = (world.api("service").await, world.api("admin").await);
    let reason = ErrorReason::StoreUnavailable;
    let list = || pb::ListPoliciesRequest::default();
    let listed = without_database(world, async || admin.clone().admin.list_policies(list()).await).await;
    answers.add(reason, "ListPolicies", listed);
    let written = without_database(world, async || admin.clone().set_policy(policy("api")).await).await;
    answers.add(reason, "UpdatePolicy", written);
    let session = || Kind::SessionId(SESSION.to_owned());
    let revoked = without_database(world, async || api.clone().revoke(session()).await).await;
    answers.add(reason, "Revoke", revoked);

    let (mut api, mut admin) = (api, admin);
    until("the state is too old to judge by", async || api.validate("x", &["api"]).await.is_err()).await;
    answers.add(ErrorReason::RevocationStateStale, "Validate", api.validate("x", &["api"]).await);
    let issue = api.issue(issue_request("user:7", &["api"])).await;
    answers.add(ErrorReason::RevocationStateStale, "Issue", issue);
    answers.add(ErrorReason::RevocationStateStale, "UpdatePolicy", admin.set_policy(policy("api")).await);
    world.database.let_in().await;
    until("it is back by itself", async || api.validate("x", &["api"]).await.is_ok()).await;
    admin.set_policy(policy("api")).await.unwrap();
}

/// The answer of a call while the database is away and the lease is still held: a call that must write or read there
/// fails at once. The database stays away.
async fn without_database<T>(world: &World, call: impl AsyncFn() -> Result<T, Status>) -> Result<T, Status> {
    let mut api = world.api("service").await;
    loop {
        world.database.let_in().await;
        until("it holds a lease", async || api.validate("x", &["api"]).await.is_ok()).await;
        world.database.cut_off().await;
        let answer = call().await;
        let told = answer.as_ref().err().and_then(Status::get_details_error_info);
        // If the machine stood still, the lease had ended: then once more.
        if told.is_none_or(|told| told.reason != "REVOCATION_STATE_STALE") {
            return answer;
        }
    }
}

const SESSION: &str = "019a0000-0000-7000-8000-000000000000";

/// A schema that is not ours any more: a defect, of which the caller learns nothing.
pub async fn of_ours(world: &World, answers: &mut Answers) {
    world.database.execute("alter function put_policy rename to put_policy_elsewhere").await;
    let mut admin = world.api("admin").await;
    answers.add(ErrorReason::Internal, "UpdatePolicy", admin.set_policy(policy("api")).await);
}
