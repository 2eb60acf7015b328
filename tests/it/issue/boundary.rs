//! I6: the daily boundary.

use jeton::proto::v1::{self as pb, ExpirationBasis};
use jiff::{Timestamp, ToSpan, tz::TimeZone};

use super::{asking, lifetime, ttl};
use crate::world::{Refused, World, issue_request, policy};

/// A boundary so many minutes ahead in a zone without clock changes, and its instant.
fn ahead(minutes: i64, zone: &str) -> (pb::DailyBoundary, i64) {
    let then = Timestamp::now() + minutes.minutes();
    let local = then.to_zoned(TimeZone::get(zone).unwrap());
    let instant = local.with().second(0).subsec_nanosecond(0).build().unwrap().timestamp().as_second();
    let (hours, minutes) = (local.hour().into(), local.minute().into());
    (pb::DailyBoundary { hours, minutes, time_zone: zone.to_owned() }, instant)
}

fn bounded(audience: &str, boundary: &pb::DailyBoundary) -> pb::Policy {
    pb::Policy { daily_boundary: Some(boundary.clone()), ..policy(audience) }
}

#[tokio::test]
async fn i6_every_token_ends_at_the_next_boundary_whenever_it_was_issued() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    for zone in ["UTC", "Asia/Tokyo", "Asia/Kolkata", "Asia/Kathmandu", "America/Phoenix", "Africa/Lagos"] {
        let (boundary, instant) = ahead(30, zone);
        let written = admin.set_policy(bounded("api", &boundary)).await.unwrap();
        assert_eq!(written.daily_boundary.as_ref(), Some(&boundary), "as it was given");
        let token = api.issue(asking(&["api"], ttl(3_600))).await.unwrap();
        assert_eq!(token.expire_time.unwrap().seconds, instant, "{zone}");
        assert_eq!(token.expiration_basis(), ExpirationBasis::DailyBoundary);
        lifetime(&token);
        // A token that ends earlier is left alone.
        let token = api.issue(asking(&["api"], ttl(60))).await.unwrap();
        assert_eq!((lifetime(&token), token.expiration_basis()), (60, ExpirationBasis::Requested));
        assert_eq!(api.token("user:7", "api").await.expiration_basis(), ExpirationBasis::PolicyDefault);
    }
}

#[tokio::test]
async fn i6_the_boundary_holds_for_default_lifetimes_sessions_and_their_refreshes() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let (boundary, instant) = ahead(7, "Asia/Tokyo");
    admin.set_policy(bounded("api", &boundary)).await.unwrap();
    let ends = |token: &pb::IssuedToken| {
        lifetime(token);
        (token.expire_time.unwrap().seconds, token.expiration_basis())
    };
    let expected = (instant, ExpirationBasis::DailyBoundary);
    assert_eq!(ends(&api.token("user:7", "api").await), expected);
    let session = api.session("user:7", "api").await;
    assert_eq!(ends(&session), expected);
    let refresh = session.refresh.unwrap();
    assert!(refresh.expire_time.unwrap().seconds > instant, "the session itself goes on");
    assert_eq!(ends(&api.refresh(&refresh.refresh_token).await.unwrap()), expected);

    // A boundary of every audience: of a narrower policy that says nothing of it, too.
    let narrower = pb::Policy { client_id: "service".to_owned(), leeway: None, ..policy("api") };
    admin
        .set_policy(pb::Policy { default_ttl: Some(crate::world::seconds(1_000)), ..narrower })
        .await
        .unwrap();
    assert_eq!(ends(&api.token("user:7", "api").await), expected);
}

#[tokio::test]
async fn i6_of_several_audiences_the_earliest_boundary_holds() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let ((late, _), (early, instant)) = (ahead(13, "Asia/Kolkata"), ahead(8, "America/Phoenix"));
    admin.set_policy(bounded("late", &late)).await.unwrap();
    admin.set_policy(bounded("early", &early)).await.unwrap();
    for audiences in [["late", "early", "none"], ["none", "early", "late"]] {
        let token = api.issue(issue_request("user:7", &audiences)).await.unwrap();
        assert_eq!(token.expire_time.unwrap().seconds, instant);
        assert_eq!(token.expiration_basis(), ExpirationBasis::DailyBoundary);
    }
}

#[tokio::test]
async fn i6_a_time_or_zone_that_does_not_exist_is_refused() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let zones = [
        "",
        "CET",
        "EST5EDT",
        "+01:00",
        "Etc/GMT+1",
        "US/Eastern",
        "europe/berlin",
        "Europe/Nowhere",
        "Mars/Base",
        "UTC+1",
        "utc",
        "GMT",
        "Z",
        "Local",
        "Europe/../Europe/Berlin",
        "Europe/Berlin ",
        "CET-1CEST,M3.5.0,M10.5.0/3",
    ];
    let of_zone = |zone: &str| pb::DailyBoundary { hours: 0, minutes: 0, time_zone: zone.to_owned() };
    let of_time =
        |hours, minutes| pb::DailyBoundary { hours, minutes, time_zone: "Europe/Berlin".to_owned() };
    let times = [(24, 0), (-1, 0), (0, 60), (0, -1), (i32::MAX, 0), (0, i32::MIN), (256, 0)];
    let bad = zones.map(of_zone).into_iter().chain(times.map(|(hours, minutes)| of_time(hours, minutes)));
    for boundary in bad {
        let facts = admin.set_policy(bounded("api", &boundary)).await.refused();
        assert_eq!(facts.reason, "FIELD_INVALID", "{boundary:?}");
        assert_eq!(facts.get("field"), "policy.daily_boundary", "{boundary:?}");
    }
    for boundary in
        [of_time(0, 0), of_time(23, 59), of_zone("UTC"), of_zone("America/Argentina/Buenos_Aires")]
    {
        let written = admin.set_policy(bounded("api", &boundary)).await.unwrap();
        assert_eq!(written.daily_boundary, Some(boundary));
    }
}
