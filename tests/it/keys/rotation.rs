//! C1: keys are rotated by themselves, one replica takes each step, and no caller notices.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use jeton::{
    proto::v1::{RotateKeyRequest, TokenStatus},
    replica::{MAC_AFTER_RETIREMENT_S, VERIFY_AFTER_RETIREMENT_S},
};
use jeton_token::LIFETIME_CAP_S;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{AUDIENCES, apis, both_algorithms, is_active_everywhere, jwks, kid_of};
use crate::world::{
    Api, Database, FEED, Fleet, InProcess, Refused, Server, ServerOptions, World, seconds, until,
    until_within,
};

/// Two periods and their lead, six times over.
const PERIODS: Duration = Duration::from_mins(1);
const SHORT: [&str; 4] = ["--rotate-keys-every", "5s", "--publish-keys-ahead", "2s"];

/// The time for which a key is published before it signs.
const AHEAD: Duration = Duration::from_secs(2);

/// By `kid`: the first time that it was seen.
type First<T> = Arc<Mutex<HashMap<String, T>>>;

/// The observations of a load.
#[derive(Clone, Default)]
struct Seen {
    /// When a token was signed.
    signing: First<Instant>,
    /// When the key sets of all replicas were asked for that held it, and when those before, which did not.
    published: First<(Instant, Instant)>,
}

impl Seen {
    /// Returns whether a verifier that fetches the key set in time knew this key before it signed. `None`: no fetch
    /// came in time, because the machine stood still.
    fn was_ahead(&self, kid: &str, signed: Instant) -> Option<bool> {
        let published = self.published.lock().unwrap();
        let (before, at) =
            *published.get(kid).unwrap_or_else(|| panic!("{kid} signed and was never published"));
        if at < signed {
            return Some(true);
        }
        (signed.duration_since(before) < AHEAD / 2).then_some(false)
    }
}

/// Issues on one replica, and asks all of them in the moment of the answer.
async fn issue_and_ask(mut apis: Vec<Api>, place: usize, seen: Seen, stop: CancellationToken) -> usize {
    let mut tokens = 0;
    while !stop.is_cancelled() {
        for (audience, _) in AUDIENCES {
            let token = apis[place].token("user:7", audience).await.access_token;
            seen.signing.lock().unwrap().entry(kid_of(&token)).or_insert_with(Instant::now);
            for api in &mut apis {
                assert_eq!(api.status(&token, audience).await, TokenStatus::Active);
            }
            tokens += 1;
        }
    }
    tokens
}

async fn watch_key_sets(mut apis: Vec<Api>, seen: Seen, stop: CancellationToken) -> usize {
    let mut before = Instant::now();
    while !stop.is_cancelled() {
        let at = Instant::now();
        let mut sets = Vec::new();
        for api in &mut apis {
            sets.push(jwks(api).await);
        }
        let set: serde_json::Value = serde_json::from_str(&sets[0]).unwrap();
        for key in set["keys"].as_array().unwrap() {
            let kid = key["kid"].as_str().unwrap();
            if sets.iter().all(|set| set.contains(kid)) {
                seen.published.lock().unwrap().entry(kid.to_owned()).or_insert((before, at));
            }
        }
        before = at;
        // It looks often enough: a key is published for a hundred times as long.
        tokio::time::sleep(AHEAD / 100).await;
    }
    0
}

#[tokio::test]
async fn c1_keys_of_both_algorithms_rotate_under_load_without_one_failed_validation() {
    let fleet = Fleet::told(3, &SHORT).await;
    let mut admin = apis(&fleet, "admin").remove(0);
    both_algorithms(&mut admin).await;
    let (seen, stop) = (Seen::default(), CancellationToken::new());
    let mut early = Vec::new();
    for (audience, _) in AUDIENCES {
        early.push((admin.token("user:early", audience).await.access_token, audience));
    }
    let began_ms = "select (extract(epoch from clock_timestamp()) * 1000)::bigint";
    let began_ms = fleet.database.number(began_ms).await;
    let mut load = JoinSet::new();
    for place in [0, 1, 2] {
        load.spawn(issue_and_ask(apis(&fleet, "service"), place, seen.clone(), stop.clone()));
    }
    load.spawn(watch_key_sets(apis(&fleet, "service"), seen.clone(), stop.clone()));
    let retired = "select count(*) from (select from signing_key where retire_time is not null
                   group by algorithm having count(*) >= 2) rotated";
    let seen_ahead = || {
        let signing = seen.signing.lock().unwrap().clone();
        // Keys from before the load were there from the beginning: no key set was fetched without them.
        let ahead = |(kid, signed): (&String, &Instant)| {
            let known = seen.published.lock().unwrap().contains_key(kid);
            known && seen.was_ahead(kid, *signed) == Some(true)
        };
        signing.iter().filter(|signed| ahead(*signed)).count()
    };
    // The first key, the second and the third of each.
    until_within(PERIODS, "both have rotated twice, and all their keys have signed", async || {
        let all_signed = seen.signing.lock().unwrap().len() >= 6;
        all_signed && fleet.database.number(retired).await == 2 && seen_ahead() >= 4
    })
    .await;
    stop.cancel();
    let tokens: usize = load.join_all().await.into_iter().sum();
    assert!(tokens > 100, "there was a load: {tokens}");

    // A verifier that fetches the set in time knows a key before it signs.
    let signing = seen.signing.lock().unwrap().clone();
    for (kid, signed) in &signing {
        // Keys from before the load were there from the beginning; the database has the times of the others.
        let known = format!(
            "select count(*) from signing_key
              where key_id = '{kid}' and create_time > to_timestamp({began_ms} / 1000.0)"
        );
        let late = seen.was_ahead(kid, *signed) == Some(false);
        assert!(!late || fleet.database.number(&known).await == 0, "{kid} was not published ahead");
    }
    let ahead = async |condition: &str| {
        let sql = format!(
            "select count(*) from signing_key
              where create_time > to_timestamp({began_ms} / 1000.0) and signing_time is not null and {condition}"
        );
        fleet.database.number(&sql).await
    };
    assert!(ahead("true").await >= 2, "some were published under load");
    let in_time = "activate_time - create_time >= interval '2 s' and signing_time >= activate_time";
    assert_eq!(ahead(&format!("not ({in_time})")).await, 0, "published ahead, and not signed with before");
    for (token, audience) in early {
        is_active_everywhere(&mut apis(&fleet, "service"), &token, audience).await;
        let still = jwks(&mut admin).await;
        assert!(still.contains(&kid_of(&token)), "a retired key is published");
    }
    one_replica_took_each_step(&fleet).await;
}

/// Each key was published once and activated once, in its time, whichever replicas looked.
async fn one_replica_took_each_step(fleet: &Fleet) {
    let number = async |sql: &str| fleet.database.number(sql).await;
    for (action, table, condition) in [
        ("PublishKey", "signing_key", "true"),
        ("ActivateKey", "signing_key", "signing_time is not null"),
        ("PublishMacKey", "mac_key", "true"),
        ("ActivateMacKey", "mac_key", "signing_time is not null"),
    ] {
        // In one statement: rotation goes on.
        let sql = format!(
            "select (select count(*) from audit_event where action = '{action}')
                  - (select count(*) from {table} where {condition})"
        );
        assert_eq!(number(&sql).await, 0, "{action}");
    }
    let close = "select count(*) from signing_key a join signing_key b using (algorithm)
                  where a.signing_time < b.signing_time and b.signing_time - a.signing_time < interval '4900 ms'";
    assert_eq!(number(close).await, 0, "no two in one period");
}

#[tokio::test]
async fn i14_a_retired_key_is_kept_for_longer_than_the_longest_token_that_it_signed() {
    // The leeway there can be, and what replicas may still sign with it before they have read of its retirement.
    const { assert!(VERIFY_AFTER_RETIREMENT_S >= LIFETIME_CAP_S + 60 + 4 + 30) };
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    super::emergency(&mut admin, "ES256").await;
    let kept = format!(
        "select count(*) from signing_key
          where expire_time - retire_time = make_interval(secs => {VERIFY_AFTER_RETIREMENT_S})"
    );
    assert_eq!(world.number(&kept).await, 1);
    assert_eq!(world.number("select count(*) from signing_key where retire_time is not null").await, 1);
    // And a MAC key for longer than a session lives.
    const { assert!(MAC_AFTER_RETIREMENT_S > 90 * 86_400) };
}

#[tokio::test]
async fn c1_a_key_that_a_replica_published_signs_in_time_though_that_replica_died() {
    let mut fleet = Fleet::start(2).await;
    let mut others = apis(&fleet, "admin");
    let request = RotateKeyRequest { publication_lead: Some(seconds(2)), ..Default::default() };
    let published = super::rotate(&mut others[0], request).await.unwrap().key.unwrap();
    fleet.server(0).kill();
    let mut alive = others.remove(1);
    let before = alive.token("user:7", "api").await;
    let due = published.activate_time.unwrap().seconds;
    let early = before.issue_time.unwrap().seconds < due;
    let before = before.access_token;
    assert!(!early || kid_of(&before) != published.key_id, "not before its time");
    until("it signs", async || kid_of(&alive.token("user:7", "api").await.access_token) == published.key_id)
        .await;
    let early = format!(
        "select count(*) from signing_key where key_id = '{}' and signing_time < activate_time",
        published.key_id
    );
    assert_eq!(fleet.database.number(&early).await, 0);
    assert_eq!(alive.status(&before, "api").await, TokenStatus::Active);
}

/// Issues here and asks there until the key has changed: good or, for want of a lease, not judged, but never unknown.
async fn asked_while_it_changes(here: &mut Api, there: &Api, kid: &str) {
    // One that waits for a renewal must not keep the others from asking.
    let mut asked = JoinSet::new();
    until("another key signs", async || {
        let token = here.token("user:7", "api").await.access_token;
        let changed = kid_of(&token) != kid;
        let mut there = there.clone();
        asked.spawn(async move { there.validate(&token, &["api"]).await });
        changed
    })
    .await;
    let mut refused = 0;
    for answer in asked.join_all().await {
        match answer {
            Ok(verdict) => assert_eq!(verdict.status(), TokenStatus::Active),
            Err(status) => {
                assert_eq!(Err::<(), _>(status).refused().reason, "REVOCATION_STATE_STALE");
                refused += 1;
            }
        }
    }
    assert!(refused > 0, "the other replica could hold no lease before the key signed");
}

#[tokio::test]
async fn c1_no_replica_signs_with_a_key_that_another_may_not_know() {
    let fleet = Fleet::start(2).await;
    let [mut here, mut there] = <[Api; 2]>::try_from(apis(&fleet, "admin")).ok().unwrap();
    for request in [
        RotateKeyRequest { emergency: true, ..Default::default() },
        // Due at once, for every replica that looks.
        RotateKeyRequest { publication_lead: Some(seconds(0)), ..Default::default() },
    ] {
        let kid = kid_of(&here.token("user:7", "api").await.access_token);
        let link = fleet.link_of(1);
        link.stall(FEED);
        link.has_held(FEED).await;
        let mut asking = here.clone();
        let rotating = tokio::spawn(async move { super::rotate(&mut asking, request).await });
        asked_while_it_changes(&mut here, &there, &kid).await;
        link.resume(FEED);
        rotating.await.unwrap().unwrap();
        until("the other replica is back", async || there.validate("x", &["api"]).await.is_ok()).await;
        let token = here.token("user:7", "api").await.access_token;
        is_active_everywhere(&mut [here.clone(), there.clone()], &token, "api").await;
    }
}

/// The age of the key that signs with ES256, as a server last measured it.
async fn age_s(server: &InProcess) -> f64 {
    let (_, text) = server.ready.ops("/metrics").await;
    let age = text.lines().find_map(|line| line.strip_prefix("jeton_key_age_seconds{algorithm=\"ES256\"} "));
    age.map_or(0.0, |age| age.parse().unwrap())
}

#[tokio::test]
async fn c1_a_server_whose_clock_is_far_from_the_databases_rotates_nothing() {
    let mut world = World::start().await;
    world.server.kill();
    world.sql("update signing_key set signing_time = now() - interval '31 days'").await;
    let skewed = InProcess::start(&world.database.url, 45_000).await;
    let published = "select count(*) from audit_event where action = 'PublishKey'";
    let before = world.number(published).await;
    // Each look measures the age of the key before it decides what is due: when the age is a second greater, the look
    // that measured it has ended.
    let month_s = 30.0 * 86_400.0;
    let mut found = 0.0;
    until("it has looked at keys that are due", async || {
        found = age_s(&skewed).await;
        found > month_s
    })
    .await;
    until("it has looked again", async || age_s(&skewed).await > found).await;
    assert_eq!(world.number(published).await, before);
    world.crash_and_restart().await;
    until("one whose clock is right does", async || world.number(published).await == before + 2).await;
    skewed.ended().await;
}

#[tokio::test]
async fn c1_a_schedule_that_cannot_be_kept_is_refused_at_start() {
    let database = Database::create().await;
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        ["--rotate-keys-every", "1h", "--publish-keys-ahead", "1h"],
        ["--rotate-keys-every", "30d", "--publish-keys-ahead", "0s"],
        ["--rotate-keys-every", "400d", "--publish-keys-ahead", "1h"],
        ["--rotate-keys-every", "3600", "--publish-keys-ahead", "1h"],
    ] {
        let options =
            ServerOptions { arguments: arguments.map(str::to_owned).to_vec(), ..ServerOptions::default() };
        let refused = Server::try_start(&database.url, directory.path(), &options).await;
        let (status, said) = refused.err().unwrap();
        assert!(!status.success() && said.contains("--rotate-keys-every"), "{arguments:?}: {said}");
    }
    assert_eq!(database.number("select count(*) from signing_key").await, 0);
}

#[tokio::test]
async fn e7_the_age_of_the_key_that_signs_and_the_time_to_its_rotation_are_measured() {
    let world = World::start().await;
    let period_s = f64::from(30 * 86_400);
    for algorithm in ["ES256", "EdDSA"] {
        let left = format!("jeton_key_rotation_seconds{{algorithm=\"{algorithm}\"}}");
        let age = format!("jeton_key_age_seconds{{algorithm=\"{algorithm}\"}}");
        until("they are measured", async || world.metric(&left).await > period_s - 60.0).await;
        assert!((0.0..60.0).contains(&world.metric(&age).await));
    }
}
