//! The policies' RPCs that write: `UpdatePolicy` and `DeletePolicy`.

use jeton::proto::v1 as pb;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::world::{Api, Refused, World, policy, seconds};

fn with_mask(policy: pb::Policy, paths: &[&str]) -> pb::UpdatePolicyRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    pb::UpdatePolicyRequest {
        policy: Some(policy),
        update_mask: Some(FieldMask { paths }),
        ..Default::default()
    }
}

async fn update(api: &mut Api, request: pb::UpdatePolicyRequest) -> Result<pb::Policy, Status> {
    Ok(api.admin.update_policy(request).await?.into_inner().policy.unwrap())
}

async fn get(api: &mut Api, audience: &str) -> Option<pb::Policy> {
    let request = pb::GetPolicyRequest { audience: audience.to_owned(), client_id: String::new() };
    api.admin.get_policy(request).await.unwrap().into_inner().policy
}

fn delete(audience: &str, client_id: &str, etag: &str) -> pb::DeletePolicyRequest {
    pb::DeletePolicyRequest { audience: audience.into(), client_id: client_id.into(), etag: etag.into() }
}

/// Sets one of a policy's durations.
type Set = fn(&mut pb::Policy, Option<prost_types::Duration>);

/// A policy with every field set.
fn full() -> pb::Policy {
    pb::Policy {
        default_ttl: Some(seconds(100)),
        max_ttl: Some(seconds(200)),
        excess_ttl_action: pb::ExcessTtlAction::Clamp.into(),
        leeway: Some(seconds(5)),
        refresh_idle_lifetime: Some(seconds(300)),
        refresh_absolute_lifetime: Some(seconds(400)),
        refresh_replay_grace: Some(seconds(6)),
        daily_boundary: Some(pb::DailyBoundary {
            hours: 1,
            minutes: 2,
            time_zone: "Europe/Berlin".to_owned(),
        }),
        allowed_scopes: vec!["read".to_owned()],
        algorithm: "EdDSA".to_owned(),
        audit_issue: Some(false),
        max_sessions_per_subject: Some(7),
        ..policy("api")
    }
}

/// The policy without the fields that the server sets.
fn given(policy: pb::Policy) -> pb::Policy {
    pb::Policy { etag: String::new(), update_time: None, ..policy }
}

#[tokio::test]
async fn i7_a_policy_reads_back_as_it_was_written_and_as_it_takes_effect() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let written = admin.set_policy(full()).await.unwrap();
    assert!(!written.etag.is_empty() && written.update_time.is_some());
    assert_eq!(given(written.clone()), full());
    assert_eq!(get(&mut admin, "api").await, Some(written));
    let request = pb::GetPolicyRequest { audience: "api".to_owned(), client_id: "service".to_owned() };
    let answer = admin.admin.get_policy(request).await.unwrap().into_inner();
    assert_eq!(answer.policy, None, "the client has none of its own");
    let effective = pb::Policy { client_id: "service".to_owned(), ..full() };
    assert_eq!(answer.effective_policy, Some(effective));
    // If there is none at all: the built-in values.
    let request = pb::GetPolicyRequest { audience: "none".to_owned(), client_id: String::new() };
    let effective = admin.admin.get_policy(request).await.unwrap().into_inner().effective_policy.unwrap();
    let built_in = pb::Policy {
        default_ttl: Some(seconds(900)),
        max_ttl: Some(seconds(3_600)),
        excess_ttl_action: pb::ExcessTtlAction::Reject.into(),
        leeway: Some(seconds(0)),
        refresh_idle_lifetime: Some(seconds(7 * 86_400)),
        refresh_absolute_lifetime: Some(seconds(30 * 86_400)),
        refresh_replay_grace: Some(seconds(10)),
        algorithm: "ES256".to_owned(),
        audit_issue: Some(false),
        ..policy("none")
    };
    assert_eq!(effective, built_in);
}

#[tokio::test]
async fn i7_an_update_mask_writes_what_it_names_and_clears_what_it_names_unset() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    admin.set_policy(full()).await.unwrap();
    // None, or an empty one: every populated field.
    let some = || pb::Policy { default_ttl: Some(seconds(101)), ..policy("api") };
    let after =
        update(&mut admin, pb::UpdatePolicyRequest { policy: Some(some()), ..Default::default() }).await;
    assert_eq!(given(after.unwrap()), pb::Policy { default_ttl: Some(seconds(101)), ..full() });
    let after =
        update(&mut admin, with_mask(pb::Policy { leeway: Some(seconds(0)), ..policy("api") }, &[])).await;
    let expected = pb::Policy { default_ttl: Some(seconds(101)), leeway: Some(seconds(0)), ..full() };
    assert_eq!(given(after.unwrap()), expected, "zero is a value");
    // Some: those alone, whatever else is populated.
    let both = pb::Policy { default_ttl: Some(seconds(102)), max_ttl: Some(seconds(999)), ..policy("api") };
    let after = update(&mut admin, with_mask(both, &["default_ttl"])).await.unwrap();
    assert_eq!(given(after), pb::Policy { default_ttl: Some(seconds(102)), ..expected });
    // Each field can be cleared by itself.
    for path in [
        "default_ttl",
        "max_ttl",
        "excess_ttl_action",
        "leeway",
        "refresh_idle_lifetime",
        "refresh_absolute_lifetime",
        "refresh_replay_grace",
        "daily_boundary",
        "allowed_scopes",
        "algorithm",
        "max_sessions_per_subject",
    ] {
        update(&mut admin, with_mask(full(), &["*"])).await.unwrap();
        let cleared = given(update(&mut admin, with_mask(policy("api"), &[path])).await.unwrap());
        assert_ne!(cleared, full(), "{path} is cleared");
        let restored = given(update(&mut admin, with_mask(full(), &[path])).await.unwrap());
        assert_eq!(restored, full(), "{path} alone was cleared");
    }
    // All of them.
    let after = update(&mut admin, with_mask(some(), &["*"])).await.unwrap();
    assert_eq!(given(after), some());
    for unknown in [
        "ttl",
        "defaultTtl",
        "policy.default_ttl",
        "default_ttl.seconds",
        "etag",
        "audience",
        "update_time",
        "",
    ] {
        let before = get(&mut admin, "api").await;
        let facts = update(&mut admin, with_mask(full(), &["max_ttl", unknown])).await.refused();
        assert_eq!(
            (facts.reason.as_str(), facts.get("field")),
            ("FIELD_INVALID", "update_mask"),
            "{unknown}"
        );
        assert_eq!(get(&mut admin, "api").await, before);
    }
}

#[tokio::test]
async fn i7_a_stale_etag_refuses_the_write_and_the_current_one_is_told() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let first = admin.set_policy(full()).await.unwrap();
    let second = admin.set_policy(pb::Policy { leeway: Some(seconds(7)), ..first.clone() }).await.unwrap();
    assert_ne!(first.etag, second.etag);
    let facts = admin.set_policy(first.clone()).await.refused();
    assert_eq!((facts.code, facts.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(facts.get("currentEtag"), second.etag);
    let facts = admin.admin.delete_policy(delete("api", "*", &first.etag)).await.refused();
    assert_eq!((facts.reason.as_str(), facts.get("currentEtag")), ("ETAG_MISMATCH", second.etag.as_str()));
    assert_eq!(get(&mut admin, "api").await, Some(second.clone()), "neither has changed it");
    for nonsense in ["x", "1", "1.", "01.5", "W/\"1.5\"", "9999999999.1"] {
        let facts = admin.set_policy(pb::Policy { etag: nonsense.to_owned(), ..full() }).await.refused();
        assert_eq!(
            (facts.reason.as_str(), facts.get("field")),
            ("FIELD_INVALID", "policy.etag"),
            "{nonsense}"
        );
        let facts = admin.admin.delete_policy(delete("api", "*", nonsense)).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "etag"), "{nonsense}");
    }
    let third = admin.set_policy(pb::Policy { leeway: Some(seconds(8)), ..second }).await.unwrap();
    admin.admin.delete_policy(delete("api", "*", &third.etag)).await.unwrap();
    // A holder of the etag learns that the policy is gone.
    let facts = admin.set_policy(third.clone()).await.refused();
    assert_eq!((facts.reason.as_str(), facts.get("currentEtag")), ("ETAG_MISMATCH", ""));
    let facts =
        update(&mut admin, pb::UpdatePolicyRequest { policy: Some(third), ..Default::default() }).await;
    assert_eq!(facts.refused().reason, "NOT_FOUND");
}

#[tokio::test]
async fn i7_a_policy_that_does_not_exist_is_created_only_when_that_was_allowed() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let request = || pb::UpdatePolicyRequest { policy: Some(full()), ..Default::default() };
    let facts = update(&mut admin, request()).await.refused();
    assert_eq!((facts.code, facts.reason.as_str()), (Code::NotFound, "NOT_FOUND"));
    assert_eq!((facts.get("resourceType"), facts.get("resourceName")), ("policy", "(api, *)"));
    let facts = admin.admin.delete_policy(delete("api", "*", "")).await.refused();
    assert_eq!((facts.code, facts.reason.as_str()), (Code::NotFound, "NOT_FOUND"));

    // The policy that would be written; none is.
    let validate_only = || pb::UpdatePolicyRequest { validate_only: true, allow_missing: true, ..request() };
    let dry = update(&mut admin, validate_only()).await.unwrap();
    assert_eq!(dry, full(), "no etag and no time: it was not written");
    assert_eq!(get(&mut admin, "api").await, None);
    let created =
        update(&mut admin, pb::UpdatePolicyRequest { allow_missing: true, ..request() }).await.unwrap();
    let dry = pb::UpdatePolicyRequest {
        policy: Some(pb::Policy { leeway: Some(seconds(9)), ..policy("api") }),
        ..validate_only()
    };
    let dry = update(&mut admin, dry).await.unwrap();
    assert_eq!(dry.leeway, Some(seconds(9)));
    assert_eq!(get(&mut admin, "api").await, Some(created.clone()), "still as it was");
    // A dry run finds the same faults.
    let stale = pb::Policy { etag: "1.1".to_owned(), ..full() };
    let stale = pb::UpdatePolicyRequest { policy: Some(stale), ..validate_only() };
    assert_eq!(update(&mut admin, stale).await.refused().reason, "ETAG_MISMATCH");
    let absent =
        pb::UpdatePolicyRequest { policy: Some(policy("none")), validate_only: true, ..Default::default() };
    assert_eq!(update(&mut admin, absent).await.refused().reason, "NOT_FOUND");
    let wrong = pb::Policy { max_ttl: Some(seconds(50)), ..policy("api") };
    let wrong = pb::UpdatePolicyRequest { policy: Some(wrong), ..validate_only() };
    assert_eq!(update(&mut admin, wrong).await.refused().get("field"), "policy.default_ttl");
}

#[tokio::test]
async fn i7_every_value_of_a_policy_has_bounds_and_the_bounds_themselves_are_good() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let ranges: [(&str, i64, i64, Set); 6] = [
        ("default_ttl", 1, 86_400, |policy, value| policy.default_ttl = value),
        ("max_ttl", 1, 86_400, |policy, value| policy.max_ttl = value),
        ("leeway", 0, 60, |policy, value| policy.leeway = value),
        ("refresh_idle_lifetime", 1, 90 * 86_400, |policy, value| policy.refresh_idle_lifetime = value),
        ("refresh_absolute_lifetime", 1, 90 * 86_400, |policy, value| {
            policy.refresh_absolute_lifetime = value;
        }),
        ("refresh_replay_grace", 0, 60, |policy, value| policy.refresh_replay_grace = value),
    ];
    for (field, min, max, set) in ranges {
        let audience = format!("of-{field}");
        let with = |seconds, nanos| {
            let mut policy = policy(&audience);
            set(&mut policy, Some(prost_types::Duration { seconds, nanos }));
            policy
        };
        for (seconds, nanos) in [
            (min - 1, 0),
            (max + 1, 0),
            (i64::MAX, 0),
            (i64::MIN, 0),
            (min + 1, 1),
            (min, -1),
            (max, i32::MAX),
        ] {
            let facts = admin.set_policy(with(seconds, nanos)).await.refused();
            let expected = format!("policy.{field}");
            assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", expected.as_str()));
        }
        assert_eq!(get(&mut admin, &audience).await, None);
        for bound in [min, max] {
            assert_eq!(given(admin.set_policy(with(bound, 0)).await.unwrap()), with(bound, 0));
        }
    }
    let scopes = |scopes: &[&str]| pb::Policy {
        allowed_scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        ..policy("api")
    };
    let named = |audience: &str, client_id: &str| pb::Policy {
        audience: audience.to_owned(),
        client_id: client_id.to_owned(),
        leeway: Some(seconds(1)),
        ..Default::default()
    };
    for (field, bad) in [
        (
            "policy.default_ttl",
            pb::Policy { default_ttl: Some(seconds(9)), max_ttl: Some(seconds(8)), ..policy("api") },
        ),
        ("policy.excess_ttl_action", pb::Policy { excess_ttl_action: 77, ..policy("api") }),
        ("policy.allowed_scopes[1]", scopes(&["read", "two words"])),
        ("policy.allowed_scopes[1]", scopes(&["read", "read"])),
        ("policy.client_id", named("*", "service")),
        ("policy.client_id", named("api", "two words")),
        ("policy.audience", named("a\nb", "*")),
        ("policy.audience", named(&"x".repeat(256), "*")),
    ] {
        let facts = admin.set_policy(bad).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", field));
    }
    for (field, bad) in [("policy.audience", named("", "*")), ("policy.client_id", named("api", ""))] {
        let facts = admin.set_policy(bad).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_REQUIRED", field));
    }
    let facts = update(&mut admin, pb::UpdatePolicyRequest::default()).await.refused();
    assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_REQUIRED", "policy"));
    // A default that fits the stored maximum no more.
    admin.set_policy(pb::Policy { max_ttl: Some(seconds(50)), ..policy("api") }).await.unwrap();
    let facts =
        admin.set_policy(pb::Policy { default_ttl: Some(seconds(51)), ..policy("api") }).await.refused();
    assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "policy.default_ttl"));
    for (audience, client_id, field) in [("", "*", "audience"), ("api", "", "client_id")] {
        let facts = admin.admin.delete_policy(delete(audience, client_id, "")).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_REQUIRED", field));
    }
    let facts = admin.admin.delete_policy(delete("*", "service", "")).await.refused();
    assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "client_id"));
}

#[tokio::test]
async fn i7_concurrent_updates_of_different_fields_lose_nothing() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let part = |index: usize| {
        let (full, mut part) = (full(), policy("api"));
        match index {
            0 => part.default_ttl = full.default_ttl,
            1 => part.max_ttl = full.max_ttl,
            2 => part.excess_ttl_action = full.excess_ttl_action,
            3 => part.leeway = full.leeway,
            4 => part.refresh_idle_lifetime = full.refresh_idle_lifetime,
            5 => part.refresh_absolute_lifetime = full.refresh_absolute_lifetime,
            6 => part.daily_boundary = full.daily_boundary,
            7 => part.allowed_scopes = full.allowed_scopes,
            8 => part.refresh_replay_grace = full.refresh_replay_grace,
            9 => part.algorithm = full.algorithm,
            10 => part.max_sessions_per_subject = full.max_sessions_per_subject,
            _ => part.audit_issue = full.audit_issue,
        }
        part
    };
    for round in 0..5 {
        let updates = (0..12).map(|index| {
            let mut admin = admin.clone();
            async move { admin.set_policy(part(index)).await }
        });
        for (index, answer) in futures_util::future::join_all(updates).await.into_iter().enumerate() {
            assert!(answer.is_ok(), "round {round}, field {index}: {answer:?}");
        }
        assert_eq!(given(get(&mut admin, "api").await.unwrap()), full(), "round {round}");
        admin.admin.delete_policy(delete("api", "*", "")).await.unwrap();
    }
    // Of several writes with one etag, one wins.
    let first = admin.set_policy(full()).await.unwrap();
    let rivals =
        (0..8).map(|index| {
            let (mut admin, etag) = (admin.clone(), first.etag.clone());
            async move {
                admin.set_policy(pb::Policy { leeway: Some(seconds(index)), etag, ..policy("api") }).await
            }
        });
    let answers = futures_util::future::join_all(rivals).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for refused in answers.into_iter().filter(Result::is_err) {
        assert_eq!(refused.refused().reason, "ETAG_MISMATCH");
    }
}

#[tokio::test]
async fn v14_a_policy_names_an_audience_and_a_client_as_they_are_seen_and_without_wildcards() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let of = |audience: &str, client_id: &str| pb::Policy {
        max_ttl: Some(seconds(60)),
        client_id: client_id.to_owned(),
        ..policy(audience)
    };
    for (audience, client_id, field, word) in [
        ("orders-*", "*", "audience", "no wildcard here"),
        ("*orders", "*", "audience", "no wildcard here"),
        ("ord\u{200b}ers", "*", "audience", "U+200B at byte 3"),
        ("orders\u{202e}", "*", "audience", "U+202E at byte 6"),
        ("orders\u{a0}", "*", "audience", "U+00A0 at byte 6"),
        ("\u{3000}orders", "*", "audience", "U+3000 at byte 0"),
        ("orders\u{2800}", "*", "audience", "U+2800 at byte 6"),
        ("orders\u{3164}", "*", "audience", "U+3164 at byte 6"),
        ("orders ", "*", "audience", "without spaces at its beginning and its end"),
        ("orders", "bill*", "client_id", "no wildcard here"),
        ("orders", "billing\u{200b}", "client_id", "printable ASCII"),
        ("orders", "billing ", "client_id", "without spaces"),
    ] {
        let refused = admin.set_policy(of(audience, client_id)).await.refused();
        let field = format!("policy.{field}");
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", field.as_str()));
        assert!(refused.get("rule").contains(word), "{audience:?} {client_id:?}: {refused:?}");
        let refused = admin.admin.delete_policy(delete(audience, client_id, "")).await.refused();
        assert_eq!(refused.reason, "FIELD_INVALID");
    }
    let shell = crate::world::Shell::of(&world, "admin");
    let said = shell.run(&["policy", "set", "orders-*", "--max-ttl", "1m"]).await;
    assert!(said.with_code(2).contains("no wildcard here"), "{said:?}");
}
