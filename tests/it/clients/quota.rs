//! K11: the number of revocations is bounded, and there is a warning before it is too great.

use jeton::{
    proto::v1::{self as pb, RevocationOutcome, revocation_target::Kind},
    state::Permission,
    store::BareRevocations,
};
use jeton_state::clock::Clock;
use jeton_token::{UnixSeconds, new_uuid_v7};
use tonic_types::StatusExt;

use crate::world::{Api, Refused, ServerOptions, World};

fn jti() -> Kind {
    Kind::Jti(new_uuid_v7(Clock::system().now_ms()).to_string())
}

async fn world(arguments: &[&str]) -> World {
    let arguments = arguments.iter().map(|text| (*text).to_owned()).collect();
    World::start_with(ServerOptions { arguments, ..Default::default() }).await
}

async fn held(world: &World, client_id: &str) -> i64 {
    let now = UnixSeconds::new(Clock::system().now_s());
    world.store().bare_revocations(client_id, now).await.unwrap().held
}

async fn outcome(api: &mut Api, kind: Kind) -> RevocationOutcome {
    api.revoke(kind).await.unwrap().outcome()
}

#[tokio::test]
async fn k11_live_revocations_by_bare_jti_have_a_quota_per_client() {
    let world = world(&["--bare-jti-quota", "3"]).await;
    let (mut admin, mut service) = (world.api("admin").await, world.api("service").await);
    let key = world.register("support", &[Permission::RevokeAny], &[], &[]).await;
    let mut support = world.api_with_key(&key).await;
    let first = jti();
    for kind in [first.clone(), jti(), jti()] {
        assert_eq!(outcome(&mut support, kind).await, RevocationOutcome::Revoked);
    }
    let status = support.revoke(jti()).await.unwrap_err();
    let retry = status.get_details_retry_info().unwrap().retry_delay.unwrap().as_secs();
    assert!(
        (86_400..=86_400 + 120 + 3_600).contains(&retry),
        "until the first of them is forgotten: {retry}"
    );
    let refused = Err::<(), _>(status).refused();
    assert_eq!((refused.code, refused.reason.as_str()), (tonic::Code::ResourceExhausted, "QUOTA_EXCEEDED"));
    assert_eq!(refused.get("quota"), "3");
    // A target that is revoked already is answered, and so is one known by its text, or as a session.
    assert_eq!(outcome(&mut support, first).await, RevocationOutcome::AlreadyRevoked);
    let session = service.session("user:7", "api").await;
    for kind in [Kind::Token(session.access_token), Kind::SessionId(session.session_id)] {
        assert_eq!(outcome(&mut support, kind).await, RevocationOutcome::Revoked);
    }
    // Another client has its own.
    assert_eq!(outcome(&mut admin, jti()).await, RevocationOutcome::Revoked);
    assert_eq!((held(&world, "support").await, held(&world, "admin").await), (3, 1));
    // When they have ended there is room again.
    world.sql("update bare_revocations set expire_hour = expire_hour - 48 where client_id = 'support'").await;
    assert_eq!(outcome(&mut support, jti()).await, RevocationOutcome::Revoked);
    assert_eq!(held(&world, "support").await, 1);
    let later = UnixSeconds::new(Clock::system().now_s() + 48 * 3_600);
    world.store().purge_bare_revocations(later).await.unwrap();
    let none = BareRevocations { held: 0, fewer_from: None };
    assert_eq!(world.store().bare_revocations("support", UnixSeconds::new(0)).await.unwrap(), none);
}

#[tokio::test]
async fn k11_repeated_revocations_of_one_thing_add_nothing() {
    let world = World::start().await;
    let key = world.register("support", &[Permission::RevokeAny], &[], &[]).await;
    let one = jti();
    let tasks: Vec<_> = futures_util::future::join_all((0..2).map(|_| world.api_with_key(&key))).await;
    let mut repeated = Vec::new();
    for index in 0..50 {
        let (mut api, one) = (tasks[index % 2].clone(), one.clone());
        repeated.push(tokio::spawn(async move { outcome(&mut api, one).await }));
    }
    for task in repeated {
        let outcome = task.await.unwrap();
        assert!([RevocationOutcome::Revoked, RevocationOutcome::AlreadyRevoked].contains(&outcome));
    }
    assert_eq!(held(&world, "support").await, 1, "counted once");
    assert_eq!(world.number("select count(*) from revocation").await, 1);
    assert_eq!(world.audited("action = 'Revoke' and actor = 'support'").await, 50, "each is audited");
    // A token by its text, then by its id: known already.
    let token = world.api("service").await.token("user:7", "api").await;
    let mut support = world.api_with_key(&key).await;
    support.revoke(Kind::Token(token.access_token)).await.unwrap();
    assert_eq!(outcome(&mut support, Kind::Jti(token.jti)).await, RevocationOutcome::AlreadyRevoked);
    assert_eq!(held(&world, "support").await, 1);
}

#[tokio::test]
async fn k11_a_high_water_mark_of_memory_raises_an_alert_once_per_crossing() {
    const ABOVE: &str = "jeton_revocations_above_high_water";
    let world = world(&["--revocations-high-water", "2"]).await;
    let mut admin = world.api("admin").await;
    let near = |value: f64, number: f64| (value - number).abs() < 0.5;
    assert!(near(world.metric("jeton_revocations_high_water").await, 2.0));
    for _ in 0..2 {
        admin.revoke(jti()).await.unwrap();
    }
    assert!(near(world.metric(ABOVE).await, 0.0), "at the mark");
    admin.revoke(jti()).await.unwrap();
    for _ in 0..3 {
        assert!(near(world.metric(ABOVE).await, 1.0), "above it");
        admin.revoke(jti()).await.unwrap();
    }
    let warnings = world.server.logged().matches("more revocations than the high-water mark").count();
    assert_eq!(warnings, 1, "said once");
}

#[tokio::test]
async fn k11_live_sessions_have_a_quota_per_client() {
    let world = world(&["--sessions-per-client", "3"]).await;
    let (mut service, mut other) = (world.api("service").await, world.api("other").await);
    let mut sessions = Vec::new();
    for _ in 0..3 {
        sessions.push(service.session("user:7", "api").await);
    }
    let request =
        || pb::IssueRequest { refreshable: true, ..crate::world::issue_request("user:8", &["api"]) };
    for _ in 0..3 {
        let refused = service.issue(request()).await.refused();
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (tonic::Code::ResourceExhausted, "QUOTA_EXCEEDED")
        );
        assert_eq!(refused.get("quota"), "3");
    }
    // Tokens without a session go on, and so do sessions that there are, and other clients.
    service.token("user:7", "api").await;
    let refresh_token = sessions.pop().unwrap().refresh.unwrap().refresh_token;
    service.refresh(&refresh_token).await.unwrap();
    other.session("user:7", "api").await;
    // One that ends makes room.
    let ended = sessions.pop().unwrap().session_id;
    assert_eq!(outcome(&mut service, Kind::SessionId(ended)).await, RevocationOutcome::Revoked);
    crate::world::until("there is room", async || service.issue(request()).await.is_ok()).await;
    assert!(service.issue(request()).await.is_err());
}

/// Opens a session for this subject and audience; or the refusal.
async fn open(api: &mut Api, subject: &str, audience: &str) -> Result<pb::IssuedToken, tonic::Status> {
    let request = crate::world::issue_request(subject, &[audience]);
    api.issue(pb::IssueRequest { refreshable: true, ..request }).await
}

#[tokio::test]
async fn k11_a_client_at_its_quota_of_sessions_gets_no_more_at_once_and_holds_up_no_other() {
    let world = world(&["--sessions-per-client", "3"]).await;
    let (service, other) = (world.api("service").await, world.api("other").await);
    let all = (0..40).map(|_| {
        let mut api = service.clone();
        async move { open(&mut api, "user:7", "api").await }
    });
    let others = (0..2).map(|_| {
        let mut api = other.clone();
        async move { api.session("user:7", "api").await }
    });
    let (opened, _) =
        tokio::join!(futures_util::future::join_all(all), futures_util::future::join_all(others));
    let refused: Vec<_> = opened.into_iter().filter(Result::is_err).map(Refused::refused).collect();
    assert_eq!(refused.len(), 37, "three are opened, whoever asks at the same time");
    assert!(refused.iter().all(|refused| refused.reason == "QUOTA_EXCEEDED"), "{refused:?}");
    assert_eq!(world.number("select count(*) from session where client_id = 'service'").await, 3);
}

#[tokio::test]
async fn k11_a_policy_limits_the_live_sessions_of_a_subject() {
    let world = World::start().await;
    let (mut admin, mut service, mut other) =
        (world.api("admin").await, world.api("service").await, world.api("other").await);
    let most = |most| pb::Policy { max_sessions_per_subject: Some(most), ..crate::world::policy("api") };
    for wrong in [0, -1, 1_000_001] {
        let refused = admin.set_policy(most(wrong)).await.refused();
        let field = refused.get("field");
        assert_eq!((refused.reason.as_str(), field), ("FIELD_INVALID", "policy.max_sessions_per_subject"));
    }
    admin.set_policy(most(2)).await.unwrap();
    // Of those that ask at the same time, as many as allowed, whichever client opens them.
    let at_once = (0..12).map(|index| {
        let mut api = if index % 2 == 0 { service.clone() } else { other.clone() };
        async move { open(&mut api, "user:7", "api").await }
    });
    let opened = futures_util::future::join_all(at_once).await;
    let (opened, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 2);
    for refused in refused.into_iter().map(Refused::refused) {
        assert_eq!(
            (refused.code, refused.reason.as_str()),
            (tonic::Code::ResourceExhausted, "QUOTA_EXCEEDED")
        );
        assert_eq!(refused.get("quota"), "2");
    }
    // Another subject, another audience, and a token without a session are none of it; with a second audience it is.
    service.session("user:8", "api").await;
    service.session("user:7", "web").await;
    service.token("user:7", "api").await;
    let both =
        pb::IssueRequest { refreshable: true, ..crate::world::issue_request("user:7", &["web", "api"]) };
    assert_eq!(service.issue(both).await.refused().reason, "QUOTA_EXCEEDED");
    // One that ends makes room for one.
    let ended = opened.into_iter().next().unwrap().unwrap();
    assert_eq!(outcome(&mut admin, Kind::SessionId(ended.session_id)).await, RevocationOutcome::Revoked);
    crate::world::until("there is room", async || open(&mut service, "user:7", "api").await.is_ok()).await;
    assert_eq!(open(&mut other, "user:7", "api").await.refused().reason, "QUOTA_EXCEEDED");
    // Without the policy field there is no limit.
    let update_mask = Some(prost_types::FieldMask { paths: vec!["max_sessions_per_subject".to_owned()] });
    let cleared = pb::UpdatePolicyRequest {
        policy: Some(crate::world::policy("api")),
        update_mask,
        ..Default::default()
    };
    admin.admin.update_policy(cleared).await.unwrap();
    open(&mut other, "user:7", "api").await.unwrap();
}
