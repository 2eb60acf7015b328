//! I1 to I5 and I8: the lifetime of a token, and the answer's facts about it.

use jeton::proto::v1::{self as pb, ExpirationBasis, issue_request::Expiration};

use super::{asking, at, lifetime, now, ttl};
use crate::world::{Api, ErrorFacts, Refused, World, issue_request, policy, seconds};

const CLAMP: i32 = pb::ExcessTtlAction::Clamp as i32;

async fn refused(api: &mut Api, audiences: &[&str], expiration: Expiration) -> ErrorFacts {
    api.issue(asking(audiences, expiration)).await.refused()
}

#[tokio::test]
async fn i1_no_path_leads_to_a_token_that_lives_longer_than_a_day() {
    let mut world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let whole_day =
        || pb::Policy { max_ttl: Some(seconds(86_400)), default_ttl: Some(seconds(86_400)), ..policy("day") };
    admin.set_policy(whole_day()).await.unwrap();
    assert_eq!(lifetime(&api.token("user:7", "day").await), 86_400);
    let facts = refused(&mut api, &["day"], ttl(86_401)).await;
    assert_eq!((facts.reason.as_str(), facts.get("maxTtlSeconds")), ("TTL_EXCEEDS_MAXIMUM", "86400"));

    // A refresh, and one under a policy that has changed meanwhile.
    let session = api.session("user:7", "day").await;
    assert_eq!(lifetime(&session), 86_400);
    let second = api.refresh(&session.refresh.unwrap().refresh_token).await.unwrap();
    assert_eq!(lifetime(&second), 86_400);
    admin
        .set_policy(pb::Policy {
            max_ttl: Some(seconds(60)),
            default_ttl: Some(seconds(60)),
            ..policy("day")
        })
        .await
        .unwrap();
    let third = api.refresh(&second.refresh.unwrap().refresh_token).await.unwrap();
    assert_eq!(lifetime(&third), 60);

    // Whatever is in the table: somebody may have written it by hand.
    admin.set_policy(pb::Policy { excess_ttl_action: CLAMP, ..policy("clamps") }).await.unwrap();
    world.database.execute("update policy set max_ttl_s = 999999, default_ttl_s = 888888").await;
    world.crash_and_restart().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    assert_eq!(lifetime(&api.token("user:7", "day").await), 86_400);
    assert_eq!(refused(&mut api, &["day"], ttl(86_401)).await.get("maxTtlSeconds"), "86400");
    assert_eq!(lifetime(&api.issue(asking(&["clamps"], ttl(500_000))).await.unwrap()), 86_400);
    let request = pb::GetPolicyRequest { audience: "day".to_owned(), client_id: String::new() };
    let effective = admin.admin.get_policy(request).await.unwrap().into_inner().effective_policy.unwrap();
    assert_eq!(effective.max_ttl, Some(seconds(86_400)));
}

#[tokio::test]
async fn i2_unless_a_policy_says_otherwise_a_token_lives_900_s_and_at_most_3600_s() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = api.token("user:7", "api").await;
    assert_eq!(lifetime(&token), 900);
    assert_eq!(token.expiration_basis(), ExpirationBasis::PolicyDefault);
    let token = api.issue(asking(&["api"], ttl(3_600))).await.unwrap();
    assert_eq!(lifetime(&token), 3_600);
    assert_eq!(token.expiration_basis(), ExpirationBasis::Requested);
    assert_eq!(refused(&mut api, &["api"], ttl(3_601)).await.reason, "TTL_EXCEEDS_MAXIMUM");

    for beyond in [86_401, i64::MAX, 0, -1, i64::MIN] {
        let unwise = pb::Policy { max_ttl: Some(seconds(beyond)), ..policy("api") };
        let facts = admin.set_policy(unwise).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "policy.max_ttl"));
    }
    assert_eq!(refused(&mut api, &["api"], ttl(3_601)).await.get("maxTtlSeconds"), "3600", "nothing changed");
    admin.set_policy(pb::Policy { max_ttl: Some(seconds(86_400)), ..policy("api") }).await.unwrap();
    assert_eq!(lifetime(&api.issue(asking(&["api"], ttl(86_400))).await.unwrap()), 86_400);
    assert_eq!(lifetime(&api.token("user:7", "api").await), 900, "the default has not moved");
}

#[tokio::test]
async fn i3_a_value_is_taken_for_milliseconds_only_where_it_looks_like_them() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let minutes = |minutes: i64| minutes * 60;
    // 61 minutes, 2 and 24 hours, some days; numbers that are no whole seconds in milliseconds; and more than a day.
    for likely in [minutes(61), 7_200, 86_400, 30 * 86_400, 999 * 86_400, 99_000, 900_001, 86_401_000] {
        let facts = api.issue(asking(&["api"], ttl(likely))).await.refused();
        assert_eq!(
            (facts.reason.as_str(), facts.metadata.get("likelyUnit")),
            ("TTL_EXCEEDS_MAXIMUM", None),
            "{likely}"
        );
    }
    for milliseconds in [100_000, 900_000, 3_600_000, 86_400_000] {
        let facts = api.issue(asking(&["api"], ttl(milliseconds))).await.refused();
        assert_eq!(facts.get("likelyUnit"), "milliseconds", "{milliseconds}");
    }
    // As it is typed.
    let shell = crate::world::Shell::of(&world, "service");
    for (typed, hint) in [
        ("30d", false),
        ("24h", false),
        ("61m", false),
        ("900000s", true),
        ("3600000s", true),
        ("86400000s", true),
    ] {
        let said = shell.run(&["issue", "--subject", "user:7", "--audience", "api", "--ttl", typed]).await;
        let told = said.with_code(2);
        assert_eq!(told.contains("looks like milliseconds"), hint, "{typed}: {said:?}");
    }
}

#[tokio::test]
async fn i3_a_ttl_above_the_maximum_names_asked_maximum_and_audience() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let status = api.issue(asking(&["api"], ttl(7_200))).await.unwrap_err();
    for part in ["7200 s", "3600 s", "\"api\"", "administrator raise"] {
        assert!(status.message().contains(part), "{part} in {}", status.message());
    }
    assert!(!status.message().contains("milliseconds"), "two hours are asked for as such");
    let facts = Err::<(), _>(status).refused();
    assert_eq!(facts.code, tonic::Code::InvalidArgument);
    assert_eq!(facts.reason, "TTL_EXCEEDS_MAXIMUM");
    assert_eq!(facts.get("audience"), "api");
    assert_eq!((facts.get("requestedTtlSeconds"), facts.get("maxTtlSeconds")), ("7200", "3600"));
    assert_eq!(facts.metadata.len(), 3, "no likelyUnit: {facts:?}");

    for days in [1, 2, 30] {
        let status = api.issue(asking(&["api"], ttl(days * 86_400))).await.unwrap_err();
        assert!(!status.message().contains("milliseconds"), "{days} days: {}", status.message());
    }
    for milliseconds in [900_000, 3_600_000] {
        let status = api.issue(asking(&["api"], ttl(milliseconds))).await.unwrap_err();
        assert!(status.message().contains("looks like milliseconds"), "{}", status.message());
        assert_eq!(Err::<(), _>(status).refused().get("likelyUnit"), "milliseconds");
    }

    // An absolute end has the same maximum, and the refusal names the field that was sent.
    let status = api.issue(asking(&["api"], at(now() + 5_000))).await.unwrap_err();
    let fields: Vec<_> = tonic_types::StatusExt::get_details_bad_request(&status).unwrap().field_violations;
    assert_eq!(fields.iter().map(|field| field.field.as_str()).collect::<Vec<_>>(), ["expire_time"]);
    let facts = Err::<(), _>(status).refused();
    assert_eq!(facts.reason, "TTL_EXCEEDS_MAXIMUM");
    let asked: i64 = facts.get("requestedTtlSeconds").parse().unwrap();
    assert!((4_900..=5_000).contains(&asked), "{asked}");

    admin.set_policy(pb::Policy { excess_ttl_action: CLAMP, ..policy("clamps") }).await.unwrap();
    for ask in [ttl(3_601), ttl(315_576_000_000), at(now() + 40_000)] {
        let token = api.issue(asking(&["clamps"], ask)).await.unwrap();
        assert_eq!(lifetime(&token), 3_600);
        assert_eq!(token.expiration_basis(), ExpirationBasis::PolicyMaximum);
    }
    let token = api.issue(asking(&["clamps"], ttl(3_600))).await.unwrap();
    assert_eq!(token.expiration_basis(), ExpirationBasis::Requested);
    // One audience that rejects is enough, and it is the one that is named.
    let facts = refused(&mut api, &["clamps", "api"], ttl(3_601)).await;
    assert_eq!((facts.reason.as_str(), facts.get("audience")), ("TTL_EXCEEDS_MAXIMUM", "api"));
}

#[tokio::test]
async fn i4_a_ttl_that_makes_no_sense_is_refused_whatever_its_form() {
    const TOO_SHORT: &str = "TTL_TOO_SHORT";
    const INVALID: &str = "FIELD_INVALID";
    const ABOVE: &str = "TTL_EXCEEDS_MAXIMUM";
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    admin.set_policy(pb::Policy { excess_ttl_action: CLAMP, ..policy("clamps") }).await.unwrap();
    let session = api.session("user:7", "api").await.refresh.unwrap().refresh_token;
    let cases: [(i64, i32, &str, &str); 17] = [
        (0, 0, TOO_SHORT, "0"),
        (0, 999_999_999, TOO_SHORT, "999"),
        (0, 1, TOO_SHORT, "0"),
        (0, -1, TOO_SHORT, "0"),
        (-1, 0, TOO_SHORT, "-1000"),
        (-5, -500_000_000, TOO_SHORT, "-5500"),
        (-315_576_000_000, 0, TOO_SHORT, "-315576000000000"),
        (i64::MAX, 0, INVALID, "ttl"),
        (i64::MIN, 0, INVALID, "ttl"),
        (315_576_000_001, 0, INVALID, "ttl"),
        (1, 1_000_000_000, INVALID, "ttl"),
        (0, i32::MAX, INVALID, "ttl"),
        (0, i32::MIN, INVALID, "ttl"),
        (1, -1, INVALID, "ttl"),
        (-1, 1, INVALID, "ttl"),
        (3_601, 0, ABOVE, "3601"),
        (315_576_000_000, 0, ABOVE, "315576000000"),
    ];
    for (seconds, nanos, reason, value) in cases {
        let odd = prost_types::Duration { seconds, nanos };
        let key = match reason {
            TOO_SHORT => "requestedTtlMillis",
            INVALID => "field",
            _ => "requestedTtlSeconds",
        };
        for refreshable in [false, true] {
            let request = pb::IssueRequest { refreshable, ..asking(&["api"], Expiration::Ttl(odd)) };
            let facts = api.issue(request).await.refused();
            assert_eq!((facts.reason.as_str(), facts.get(key)), (reason, value), "{odd:?}");
        }
        let request =
            pb::RefreshRequest { refresh_token: session.clone(), ttl: Some(odd), scopes: Vec::new() };
        let facts = api.tokens.refresh(request).await.refused();
        assert_eq!((facts.reason.as_str(), facts.get(key)), (reason, value), "Refresh, {odd:?}");
        if reason != ABOVE {
            let facts = refused(&mut api, &["clamps"], Expiration::Ttl(odd)).await;
            assert_eq!(facts.reason, reason, "clamping mends none of these: {odd:?}");
        }
    }
    // None of it spent the refresh token.
    assert_eq!(lifetime(&api.refresh(&session).await.unwrap()), 900);
    // From one second on it is a lifetime; the fraction is dropped.
    for nanos in [0, 999_999_999] {
        let ask = Expiration::Ttl(prost_types::Duration { seconds: 1, nanos });
        assert_eq!(lifetime(&api.issue(asking(&["api"], ask)).await.unwrap()), 1);
    }
}

#[tokio::test]
async fn i4_an_expire_time_that_is_past_or_no_time_is_refused() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    for (past, text) in
        [(0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"), (-62_135_596_800, "0001-01-01T00:00:00Z")]
    {
        let before = now();
        let facts = refused(&mut api, &["api"], at(past)).await;
        assert_eq!((facts.reason.as_str(), facts.get("expireTime")), ("EXPIRE_TIME_PAST", text));
        let server: jiff::Timestamp = facts.get("serverTime").parse().unwrap();
        assert!((before..=now()).contains(&server.as_second()), "the server's time: {server}");
    }
    // The very second of now has begun, whatever its fraction: it is not ahead.
    let ask = prost_types::Timestamp { seconds: now(), nanos: 999_999_999 };
    let facts = refused(&mut api, &["api"], Expiration::ExpireTime(ask)).await;
    assert_eq!(facts.reason, "EXPIRE_TIME_PAST");

    for (seconds, nanos) in [
        (i64::MAX, 0),
        (i64::MIN, 0),
        (-62_135_596_801, 0),
        (253_402_300_800, 0),
        (now() * 1_000, 0),
        (now() + 100, -1),
        (now() + 100, 1_000_000_000),
        (now() + 100, i32::MIN),
    ] {
        let ask = prost_types::Timestamp { seconds, nanos };
        let facts = refused(&mut api, &["api"], Expiration::ExpireTime(ask)).await;
        assert_eq!((facts.reason.as_str(), facts.get("field")), ("FIELD_INVALID", "expire_time"), "{ask:?}");
    }
    assert_eq!(refused(&mut api, &["api"], at(253_402_300_799)).await.reason, "TTL_EXCEEDS_MAXIMUM");

    let end = now() + 100;
    let ask = prost_types::Timestamp { seconds: end, nanos: 999_999_999 };
    let token = api.issue(asking(&["api"], Expiration::ExpireTime(ask))).await.unwrap();
    assert_eq!(token.expire_time.unwrap().seconds, end, "the fraction is dropped, never rounded up");
    assert_eq!(token.expiration_basis(), ExpirationBasis::Requested);
    lifetime(&token);
}

#[tokio::test]
async fn i5_the_answer_says_the_times_of_the_token_exactly() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    admin.set_policy(pb::Policy { excess_ttl_action: CLAMP, ..policy("clamps") }).await.unwrap();
    for ask in [ttl(1), ttl(2), ttl(19), ttl(61), ttl(3_599), ttl(90_000), at(now() + 77)] {
        for refreshable in [false, true] {
            let request = pb::IssueRequest { refreshable, ..asking(&["clamps"], ask) };
            let token = api.issue(request).await.unwrap();
            // Holds the answer to the token.
            let first = lifetime(&token);
            assert!(first <= 3_600);
            if let Some(refresh) = token.refresh {
                assert_eq!(refresh.expire_time.unwrap().nanos, 0);
                assert_eq!(refresh.session_expire_time.unwrap().nanos, 0);
                assert_eq!(lifetime(&api.refresh(&refresh.refresh_token).await.unwrap()), 900);
            }
        }
    }
    let token = api.token("user:7", "api").await;
    assert_eq!(lifetime(&token), 900);
    assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Active);
}

#[tokio::test]
async fn i5_a_token_of_a_session_ends_with_the_session_and_says_so() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let short = pb::Policy { refresh_absolute_lifetime: Some(seconds(300)), ..policy("short") };
    admin.set_policy(short).await.unwrap();
    let token = api.session("user:7", "short").await;
    assert_eq!(lifetime(&token), 300);
    assert_eq!(token.expiration_basis(), ExpirationBasis::SessionEnd);
    let refresh = token.refresh.unwrap();
    assert_eq!(refresh.session_expire_time, token.expire_time);
    assert_eq!(refresh.expire_time, token.expire_time, "idle never outlasts absolute");
    let next = api.refresh(&refresh.refresh_token).await.unwrap();
    assert_eq!(next.expire_time, token.expire_time, "nor does a refresh outlast the session");
    lifetime(&next);
}

#[tokio::test]
async fn i8_refresh_time_is_at_80_percent_of_the_lifetime_give_or_take_5() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let mut offsets = Vec::new();
    for _ in 0..400 {
        let token = api.issue(issue_request("user:7", &["api"])).await.unwrap();
        lifetime(&token);
        offsets.push(token.refresh_time.unwrap().seconds - token.issue_time.unwrap().seconds);
    }
    assert!(offsets.iter().all(|offset| (675..=765).contains(offset)), "{offsets:?}");
    let mean = offsets.iter().sum::<i64>() / 400;
    assert!((712..=728).contains(&mean), "720 on average, not {mean}");
    let few =
        |range: std::ops::Range<i64>| offsets.iter().filter(|offset| range.contains(offset)).count() < 60;
    assert!(!few(675..705) && !few(705..735) && !few(735..766), "spread evenly: {offsets:?}");

    for (short, expected) in [(1, 0), (2, 1), (10, 8), (19, 15)] {
        let token = api.issue(asking(&["api"], ttl(short))).await.unwrap();
        let offset = token.refresh_time.unwrap().seconds - token.issue_time.unwrap().seconds;
        assert_eq!(offset, expected, "floor(80 %) of {short} s");
    }
    for _ in 0..20 {
        let token = api.issue(asking(&["api"], ttl(20))).await.unwrap();
        let offset = token.refresh_time.unwrap().seconds - token.issue_time.unwrap().seconds;
        assert!((15..=17).contains(&offset), "{offset}");
    }
}
