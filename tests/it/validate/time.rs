//! Time: the exact second at which a token begins and ends.

use std::time::Duration;

use jeton::proto::v1::{
    self as pb,
    TokenStatus::{Active, Expired, NotYetValid},
};
use serde_json::json;

use super::support::batch;
use crate::world::{
    Api, Database, Forge, InProcess, World, api_key, issue_request, now_s, policy, seconds, until,
    until_within, validate_request,
};

/// A token that is judged again and again, and from which second on which status is right.
struct Watched {
    name: &'static str,
    token: String,
    before: pb::TokenStatus,
    turn_s: i64,
    after: pb::TokenStatus,
    seen: [u32; 2],
}

fn token(forge: &Forge, audiences: &[&str], iat: i64, nbf: Option<i64>, exp: i64) -> String {
    let mut claims = forge.claims();
    claims["aud"] = json!(audiences);
    claims["iat"] = json!(iat);
    claims["exp"] = json!(exp);
    claims["jti"] = json!(jeton_token::new_uuid_v7(iat * 1_000).to_string());
    if let Some(nbf) = nbf {
        claims["nbf"] = json!(nbf);
    }
    forge.sign(&claims)
}

#[tokio::test]
async fn v2_a_token_is_expired_at_the_exact_second() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    for (audience, leeway) in [("lenient", 5), ("lenient60", 60)] {
        admin.set_policy(pb::Policy { leeway: Some(seconds(leeway)), ..policy(audience) }).await.unwrap();
    }
    // A machine that stands still until the turn sees one side of it only: then the next turn is further away.
    for ahead_s in [6, 20, 60] {
        let watched = watch_the_turn(&mut api, &forge, ahead_s).await;
        let Some(missed) = watched.iter().find(|watched| watched.seen[0] == 0) else { return };
        assert!(ahead_s < 60, "{} was seen on this side only", missed.name);
    }
}

/// Judges tokens of every kind until each has turned, all in the second that is so far ahead.
async fn watch_the_turn(api: &mut Api, forge: &Forge, ahead_s: i64) -> [Watched; 11] {
    let ttl = pb::issue_request::Expiration::Ttl(seconds(ahead_s));
    let request = pb::IssueRequest { expiration: Some(ttl), ..issue_request("user:7", &["api"]) };
    let issued = api.issue(request).await.unwrap();
    let now = now_s();
    let turn = now + ahead_s;
    let watch =
        |name, token, before, turn_s, after| Watched { name, token, before, turn_s, after, seen: [0, 0] };
    let ends = |name, audiences: &[&str], exp, turn_s| {
        watch(name, token(forge, audiences, now - 300, None, exp), Active, turn_s, Expired)
    };
    let begins = |name, audiences: &[&str], iat, nbf, turn_s| {
        watch(name, token(forge, audiences, iat, nbf, now + 300), NotYetValid, turn_s, Active)
    };
    let mut all = [
        watch("issued", issued.access_token, Active, issued.expire_time.unwrap().seconds, Expired),
        ends("no leeway", &["api"], turn, turn),
        ends("a leeway of 5 s", &["lenient"], turn - 5, turn),
        ends("a leeway of 60 s", &["lenient60"], turn - 60, turn),
        ends("the smallest leeway of its audiences", &["lenient60", "lenient"], turn - 5, turn),
        ends("no leeway by one of its audiences", &["lenient60", "api"], turn, turn),
        begins("iat ahead", &["api"], turn, None, turn),
        begins("nbf ahead", &["api"], now - 5, Some(turn), turn),
        begins("iat ahead, nbf past", &["api"], turn, Some(now - 5), turn),
        begins("nbf ahead, a leeway of 5 s", &["lenient"], now - 5, Some(turn + 5), turn),
        begins("iat ahead, a leeway of 60 s", &["lenient60"], turn + 60, None, turn),
    ];
    until_within(Duration::from_mins(2), "every token has turned", async || {
        let accept = ["api", "lenient", "lenient60"];
        let requests = all.iter().map(|watched| validate_request(&watched.token, &accept)).collect();
        for (watched, verdict) in all.iter_mut().zip(batch(api, requests).await) {
            // The verdict says by which clock it was made: there is no second between the two.
            let turned = verdict.server_time.unwrap().seconds >= watched.turn_s;
            let status = if turned { watched.after } else { watched.before };
            assert_eq!(verdict.status(), status, "{}, at {:?}", watched.name, verdict.server_time);
            watched.seen[usize::from(turned)] += 1;
        }
        all.iter().all(|watched| watched.seen[1] > 0)
    })
    .await;
    all
}

#[tokio::test]
async fn v2_the_leeway_is_that_of_the_policy_in_force_at_the_verdict() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let now = now_s();
    let expired = token(&forge, &["api"], now - 300, None, now - 10);
    assert_eq!(api.status(&expired, "api").await, Expired);
    admin.set_policy(pb::Policy { leeway: Some(seconds(60)), ..policy("api") }).await.unwrap();
    assert_eq!(api.status(&expired, "api").await, Active, "in force when UpdatePolicy has returned");
    // For one client alone: the token's, not the caller's.
    let narrow = pb::Policy { client_id: "service".to_owned(), leeway: Some(seconds(0)), ..policy("api") };
    admin.set_policy(narrow).await.unwrap();
    assert_eq!(api.status(&expired, "api").await, Expired);
    assert_eq!(world.api("other").await.status(&expired, "api").await, Expired);
}

#[tokio::test]
async fn v2_the_clock_of_verdicts_is_the_time_of_day_and_never_goes_back() {
    let database = Database::create().await;
    let server = InProcess::start(&database.url, 0).await;
    let mut api = Api::connect(&server.ready, &api_key("service"));
    let token = api.token("user:7", "api").await.access_token;
    let mut latest = (now_s(), 0);
    for round in 0..200 {
        // Back by ten seconds in all.
        if (50..100).contains(&round) {
            server.clock.step(-200);
        }
        let mut verdict = None;
        until("it has a lease", async || {
            verdict = api.validate(&token, &["api"]).await.ok();
            verdict.is_some()
        })
        .await;
        let time = verdict.unwrap().server_time.unwrap();
        assert!((time.seconds, time.nanos) >= latest, "{time:?} after {latest:?}");
        assert!(time.seconds <= now_s(), "{time:?}");
        latest = (time.seconds, time.nanos);
    }
    server.ended().await;
}
