//! C3, C4: the caller of an endpoint is authenticated before anything else is looked at.

use std::{collections::BTreeSet, time::Duration};

use tokio::time::timeout;

use super::{INTROSPECT, REVOKE};
use crate::world::{Http, World, api_key, basic, http, http_request, post_form, until};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn c4_every_bad_credential_gets_one_answer_at_a_door() {
    let world = World::start().await;
    let (public, good) = (&world.server.ready.public, api_key("service"));
    let flipped = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { 'E' } else { 'A' });
    let bad: Vec<Vec<String>> = vec![
        vec![],
        vec![String::new()],
        vec!["Basic".to_owned()],
        vec!["Basic ".to_owned()],
        vec!["Basic !".to_owned()],
        vec![format!("Basic {good}")],
        // No colon, no user, another client's name, nobody's name.
        vec![basic("service", "").replace(':', "")],
        vec![basic("", &good)],
        vec![basic("other", &good)],
        vec![basic("SERVICE", &good)],
        vec![basic("service", "")],
        vec![basic("service", "secret")],
        vec![basic("service", &flipped)],
        vec![basic("service", &format!("{good} "))],
        vec![basic("nothing", &api_key("nobody"))],
        vec![basic("service", &good).replacen("Basic ", "Basic\t", 1)],
        vec![format!("Digest {good}")],
        vec!["Bearer".to_owned()],
        vec![format!("Bearer {flipped}")],
        vec![format!("Bearer {good}, Bearer {good}")],
        // Two are none, were they the same.
        vec![format!("Bearer {good}"), format!("Bearer {good}")],
        vec![basic("service", &good), format!("Bearer {good}")],
    ];
    let mut answers = BTreeSet::new();
    for path in [INTROSPECT, REVOKE] {
        for authorization in &bad {
            let mut headers = vec![FORM];
            headers.extend(authorization.iter().map(|value| ("authorization", value.as_str())));
            let answer = http(public, "POST", path, &headers, "token=x").await;
            assert_eq!(
                (answer.status, answer.error().as_str()),
                (401, "invalid_client"),
                "{authorization:?}"
            );
            let challenges = answer.headers("www-authenticate");
            assert_eq!(challenges, ["Basic realm=\"jeton\", charset=\"UTF-8\"", "Bearer realm=\"jeton\""]);
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            answers.insert(answer.body);
        }
    }
    assert_eq!(answers.len(), 1, "one answer, whatever is wrong: {answers:?}");
}

#[tokio::test]
async fn c3_an_api_key_is_good_as_basic_with_its_clients_name_and_as_bearer() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let name = "svc:orders+100%";
    let key = world.register(name, &[jeton::state::Permission::Validate], &["api"], &[]).await;
    let good = [
        format!("Bearer {key}"),
        format!("bearer {key}"),
        // RFC 6750 section 2.1: one space or more.
        format!("Bearer   {key}"),
        format!("Bearer {key}  "),
        // As it is, and form-encoded (RFC 6749 section 2.3.1).
        basic(name, &key),
        basic("svc%3Aorders%2B100%25", &key),
        basic(name, &key).replacen("Basic", "BASIC", 1),
    ];
    for authorization in good {
        let answer = post_form(public, INTROSPECT, &authorization, "token=x").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, "{\"active\":false}"), "{authorization}");
        // A caller that also names itself in the form must name itself truly.
        let named = "token=x&client_id=svc%3Aorders%2B100%25";
        assert_eq!(post_form(public, INTROSPECT, &authorization, named).await.status, 200);
        let other = post_form(public, INTROSPECT, &authorization, "token=x&client_id=service").await;
        assert_eq!((other.status, other.error().as_str()), (401, "invalid_client"));
    }
}

#[tokio::test]
async fn c3_a_key_that_has_expired_or_whose_client_is_disabled_opens_no_door() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let changed = |client_id: &str| format!("select log_change(2::smallint, '{client_id}')");
    for (client_id, statement) in [
        ("other", "update api_key set expire_time = now() - interval '1 second' where client_id = 'other'"),
        ("narrow", "update client set disabled = true where client_id = 'narrow'"),
    ] {
        let authorization = basic(client_id, &api_key(client_id));
        assert_eq!(post_form(public, INTROSPECT, &authorization, "token=x").await.status, 200);
        world.database.execute(&format!("{statement}; {}", changed(client_id))).await;
        until("it is refused", async || {
            post_form(public, INTROSPECT, &authorization, "token=x").await.status == 401
        })
        .await;
    }
}

/// A body that never comes would block an endpoint that read it first.
#[tokio::test]
async fn c4_nobody_is_refused_before_a_byte_of_the_body_is_read() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    for path in [INTROSPECT, REVOKE] {
        for expect in [None, Some(("expect", "100-continue"))] {
            let mut headers = vec![FORM, ("content-length", "10"), ("authorization", "Bearer x")];
            headers.extend(expect);
            let mut connection = Http::open(public).await;
            connection.write(&http_request("POST", path, &headers, "")).await;
            let answer = timeout(Duration::from_mins(1), connection.read(false)).await.expect("it waits");
            assert_eq!(answer.status, 401, "no 100, and no wait: {answer:?}");
        }
        // An authenticated caller is asked to send it.
        let key = basic("service", &api_key("service"));
        let headers = [FORM, ("content-length", "7"), ("authorization", &key), ("expect", "100-continue")];
        let mut connection = Http::open(public).await;
        connection.write(&http_request("POST", path, &headers, "")).await;
        assert_eq!(connection.read(false).await.status, 100);
        connection.write("token=x").await;
        assert_eq!(connection.read(false).await.status, 200);
    }
}

#[tokio::test]
async fn c5_failures_at_a_door_count_with_all_others_from_the_address() {
    let world = World::start().await;
    let public = &world.server.ready.public;
    let from = std::net::Ipv4Addr::new(127, 4, 0, 1);
    let mut connection = Http::open_from(from, public).await;
    let bad = basic("other", &api_key("service"));
    let bad = http_request("POST", INTROSPECT, &[FORM, ("authorization", &bad)], "token=x");
    let mut limited = None;
    // One after another, without waiting for each: even a slow machine sends too many at once.
    until("a limit is met", async || {
        connection.write(&bad.repeat(100)).await;
        for _ in 0..100 {
            let answer = connection.read(false).await;
            if answer.status != 401 {
                limited = Some(answer);
            }
        }
        limited.is_some()
    })
    .await;
    let limited = limited.unwrap();
    assert_eq!(limited.status, 429);
    assert!(limited.header("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    let good = [FORM, ("authorization", &basic("service", &api_key("service")))];
    connection.write(&http_request("POST", INTROSPECT, &good, "token=x")).await;
    assert_eq!(connection.read(false).await.status, 200, "a good one passes all the same");
}
