//! I7: which policy holds, and since when.

use jeton::proto::v1::{self as pb, ExpirationBasis};

use super::{asking, lifetime, ttl};
use crate::world::{Api, Refused, Server, ServerOptions, World, api_key, issue_request, policy, seconds};

fn of(audience: &str, client_id: &str) -> pb::Policy {
    pb::Policy { client_id: client_id.to_owned(), ..policy(audience) }
}

fn default_ttl(audience: &str, client_id: &str, ttl_s: i64) -> pb::Policy {
    pb::Policy { default_ttl: Some(seconds(ttl_s)), ..of(audience, client_id) }
}

#[tokio::test]
async fn i7_the_narrowest_policy_holds_and_when_it_is_deleted_the_next_wider_one() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let (mut service, mut other) = (world.api("service").await, world.api("other").await);
    for policy in [default_ttl("*", "*", 100), default_ttl("a", "*", 200), default_ttl("a", "service", 300)] {
        admin.set_policy(policy).await.unwrap();
    }
    assert_eq!(lifetime(&service.token("user:7", "a").await), 300);
    assert_eq!(lifetime(&other.token("user:7", "a").await), 200);
    assert_eq!(lifetime(&service.token("user:7", "b").await), 100);
    for (audience, client_id, then) in [("a", "service", 200), ("a", "*", 100), ("*", "*", 900)] {
        let (audience, client_id) = (audience.to_owned(), client_id.to_owned());
        let request = pb::DeletePolicyRequest { audience, client_id, etag: String::new() };
        admin.admin.delete_policy(request).await.unwrap();
        assert_eq!(lifetime(&service.token("user:7", "a").await), then);
        assert_eq!(lifetime(&other.token("user:7", "a").await), then);
    }
}

#[tokio::test]
async fn i7_a_maximum_never_widens_on_the_way() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let max = |audience, client_id, max_s| pb::Policy {
        max_ttl: Some(seconds(max_s)),
        refresh_absolute_lifetime: Some(seconds(max_s)),
        ..of(audience, client_id)
    };
    for policy in [max("*", "*", 5_000), max("a", "*", 7_000), max("a", "service", 6_000)] {
        admin.set_policy(policy).await.unwrap();
    }
    let facts = api.issue(asking(&["a"], ttl(5_001))).await.refused();
    assert_eq!((facts.get("maxTtlSeconds"), facts.get("audience")), ("5000", "a"));
    assert_eq!(lifetime(&api.issue(asking(&["a"], ttl(5_000))).await.unwrap()), 5_000);
    let session = api.session("user:7", "a").await;
    let end = session.refresh.unwrap().session_expire_time.unwrap().seconds;
    assert_eq!(end - session.issue_time.unwrap().seconds, 5_000);

    admin.set_policy(max("a", "service", 1_000)).await.unwrap();
    assert_eq!(api.issue(asking(&["a"], ttl(1_001))).await.refused().get("maxTtlSeconds"), "1000");
    let wide = pb::DeletePolicyRequest { audience: "*".into(), client_id: "*".into(), etag: String::new() };
    admin.admin.delete_policy(wide).await.unwrap();
    let mut other = world.api("other").await;
    assert_eq!(other.issue(asking(&["a"], ttl(7_001))).await.refused().get("maxTtlSeconds"), "7000");

    // A default above the maximum counts as the maximum.
    admin.set_policy(default_ttl("*", "*", 3_000)).await.unwrap();
    let token = api.token("user:7", "a").await;
    assert_eq!((lifetime(&token), token.expiration_basis()), (1_000, ExpirationBasis::PolicyDefault));
}

#[tokio::test]
async fn i7_with_several_audiences_the_strictest_policy_holds_in_whatever_order() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let scopes = |list: &[&str]| list.iter().map(|scope| (*scope).to_owned()).collect::<Vec<_>>();
    let strict = pb::Policy {
        max_ttl: Some(seconds(500)),
        refresh_idle_lifetime: Some(seconds(50)),
        allowed_scopes: scopes(&["read", "list"]),
        ..default_ttl("a", "*", 400)
    };
    let lax = pb::Policy {
        max_ttl: Some(seconds(86_400)),
        refresh_absolute_lifetime: Some(seconds(70)),
        allowed_scopes: scopes(&["read", "write"]),
        ..default_ttl("b", "*", 80_000)
    };
    admin.set_policy(strict).await.unwrap();
    admin.set_policy(lax).await.unwrap();
    for audiences in [&["a", "b", "c"], &["c", "b", "a"]] {
        assert_eq!(lifetime(&api.issue(issue_request("user:7", audiences)).await.unwrap()), 400);
        let facts = api.issue(asking(audiences, ttl(501))).await.refused();
        assert_eq!((facts.get("maxTtlSeconds"), facts.get("audience")), ("500", "a"));
        let request = pb::IssueRequest { refreshable: true, ..issue_request("user:7", audiences) };
        let token = api.issue(request).await.unwrap();
        let start = token.issue_time.unwrap().seconds;
        let refresh = token.refresh.unwrap();
        assert_eq!(refresh.expire_time.unwrap().seconds - start, 50);
        assert_eq!(refresh.session_expire_time.unwrap().seconds - start, 70);
        for (scope, refuser) in [("write", "a"), ("list", "b")] {
            let request =
                pb::IssueRequest { scopes: scopes(&["read", scope]), ..issue_request("user:7", audiences) };
            let facts = api.issue(request).await.refused();
            assert_eq!(facts.reason, "SCOPE_NOT_ALLOWED");
            assert_eq!((facts.get("scope"), facts.get("audience")), (scope, refuser));
        }
        let request = pb::IssueRequest { scopes: scopes(&["read"]), ..issue_request("user:7", audiences) };
        api.issue(request).await.unwrap();
    }
}

#[tokio::test]
async fn i7_a_changed_policy_is_in_effect_when_update_policy_returns() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let mut api = world.api("service").await;
    for round in 0..50 {
        let ttl_s = 100 + round;
        admin.set_policy(default_ttl("api", "*", ttl_s)).await.unwrap();
        assert_eq!(lifetime(&api.token("user:7", "api").await), ttl_s, "round {round}");
        if round % 5 == 4 {
            let (audience, client_id) = ("api".to_owned(), "*".to_owned());
            let request = pb::DeletePolicyRequest { audience, client_id, etag: String::new() };
            admin.admin.delete_policy(request).await.unwrap();
            assert_eq!(lifetime(&api.token("user:7", "api").await), 900, "round {round}, deleted");
        }
    }
}

#[tokio::test]
async fn i7_a_changed_policy_is_in_effect_on_another_replica_when_update_policy_returns() {
    let world = World::start().await;
    let directory = tempfile::tempdir().unwrap();
    let second = Server::start(&world.database.url, directory.path(), &ServerOptions::default()).await;
    let mut admin = world.api("admin").await;
    let mut there = Api::connect(&second.ready, &api_key("service"));
    for round in 0..30 {
        let ttl_s = 100 + round;
        admin.set_policy(default_ttl("api", "*", ttl_s)).await.unwrap();
        assert_eq!(lifetime(&there.token("user:7", "api").await), ttl_s, "round {round}");
        if round % 5 == 4 {
            let (audience, client_id) = ("api".to_owned(), "*".to_owned());
            let request = pb::DeletePolicyRequest { audience, client_id, etag: String::new() };
            admin.admin.delete_policy(request).await.unwrap();
            assert_eq!(lifetime(&there.token("user:7", "api").await), 900, "round {round}, deleted");
        }
    }
}
