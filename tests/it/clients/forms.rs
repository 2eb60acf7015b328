//! Every field of a client, and the values that are refused.

use jeton::proto::v1 as pb;
use jeton_token::ApiKey;

use super::{add_key, client, create, delete_key, get, update};
use crate::world::{ErrorFacts, Refused, World, now_s};

fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix}{index}")).collect()
}

fn texts(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

/// A field with a value that is not to be, and the path that the refusal names.
fn bad() -> Vec<(&'static str, pb::Client)> {
    let base = || client("bad");
    let uris = |list: &[&str]| pb::Client { certificate_uris: texts(list), ..base() };
    let audiences = |audiences| pb::Client { audiences, ..base() };
    let subjects = |subjects| pb::Client { subjects, ..base() };
    let permissions = |permissions| pb::Client { permissions, ..base() };
    let (first, second) = ("spiffe://example.org/a", "https://example.org/a");
    vec![
        ("client.display_name", pb::Client { display_name: "x".repeat(101), ..base() }),
        ("client.display_name", pb::Client { display_name: "a\nb".into(), ..base() }),
        ("client.certificate_uris[1]", uris(&[first, second])),
        ("client.certificate_uris[0]", uris(&["spiffe://Example.org/a"])),
        ("client.certificate_uris[0]", uris(&["spiffe://example.org"])),
        ("client.certificate_uris[0]", uris(&["spiffe://example.org/a/../b"])),
        ("client.certificate_uris[0]", uris(&["spiffe://example.org/a%20b"])),
        ("client.certificate_uris[1]", uris(&[first, first])),
        (
            "client.certificate_uris",
            pb::Client { certificate_uris: names("spiffe://example.org/", 33), ..base() },
        ),
        ("client.permissions", permissions(vec![0])),
        ("client.permissions", permissions(vec![1, 8])),
        ("client.permissions", permissions(vec![-1])),
        ("client.permissions", permissions(vec![65_537])),
        ("client.permissions", permissions(vec![1, 2, 1])),
        ("client.audiences[0]", audiences(texts(&[""]))),
        ("client.audiences[1]", audiences(texts(&["a", "a\u{7}"]))),
        ("client.audiences[1]", audiences(texts(&["a", "a"]))),
        ("client.audiences[0]", audiences(texts(&["or\u{200b}ders"]))),
        ("client.subjects[1]", subjects(texts(&["a", "user\u{202e}:*"]))),
        ("client.subjects[0]", subjects(texts(&["cafe\u{301}"]))),
        ("client.client_id", pb::Client { client_id: "c\u{200b}".into(), ..base() }),
        ("client.client_id", pb::Client { client_id: ApiKey::generate().expose().to_owned(), ..base() }),
        ("client.audiences[0]", audiences(vec!["a".repeat(256)])),
        ("client.audiences", audiences(names("a", 101))),
        // A prefix is what subjects have: taken by its letter, it would cover nothing that anybody meant.
        ("client.audiences[1]", audiences(texts(&["a", "orders*"]))),
        ("client.audiences[0]", audiences(texts(&["**"]))),
        ("client.subjects[0]", subjects(texts(&[""]))),
        ("client.subjects[0]", subjects(texts(&["a*b"]))),
        ("client.subjects[0]", subjects(texts(&["a**"]))),
        ("client.subjects[1]", subjects(texts(&["a*", "a*"]))),
        ("client.subjects[0]", subjects(vec!["a".repeat(256)])),
        ("client.subjects", subjects(names("a", 101))),
        ("client.own_subject", pb::Client { own_subject: "a".repeat(256), ..base() }),
        ("client.own_subject", pb::Client { own_subject: "user\u{202e}:7".into(), ..base() }),
        (
            "client.own_subject",
            pb::Client { own_subject: "svc:billing".into(), ..subjects(texts(&["svc:b", "user:*"])) },
        ),
    ]
}

fn assert_invalid(refused: &ErrorFacts, field: &str) {
    assert_eq!(
        (refused.code, refused.reason.as_str()),
        (tonic::Code::InvalidArgument, "FIELD_INVALID"),
        "{field}"
    );
    assert_eq!(refused.get("field"), field);
}

#[tokio::test]
async fn every_bad_field_is_refused_by_its_name_and_nothing_is_written() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let head = world.number("select seq from log_head").await;
    for (field, given) in bad() {
        assert_invalid(&create(&mut admin, given).await.refused(), field);
    }
    for client_id in ["a b", "*", "é", "a\n", &"a".repeat(256)] {
        assert_invalid(&create(&mut admin, client(client_id)).await.refused(), "client.client_id");
        assert_invalid(&get(&mut admin, client_id).await.refused(), "client_id");
    }
    let refused = create(&mut admin, client("")).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_REQUIRED", "client.client_id"));
    let refused = admin.admin.create_client(pb::CreateClientRequest { client: None }).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_REQUIRED", "client"));
    let refused = get(&mut admin, "").await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_REQUIRED", "client_id"));
    assert_eq!(world.number("select seq from log_head").await, head);
    create(&mut admin, client("bad")).await.unwrap();
    for (field, given) in bad() {
        assert_invalid(&update(&mut admin, given, &["*"]).await.refused(), field);
    }
}

#[tokio::test]
async fn the_largest_registration_is_taken() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let largest = pb::Client {
        display_name: "ü".repeat(100),
        certificate_uris: names("spiffe://example.org/", 32),
        permissions: (1..=7).collect(),
        audiences: names("a", 99).into_iter().chain(["*".to_owned()]).collect(),
        subjects: names("s", 99).into_iter().chain(["*".to_owned()]).collect(),
        own_subject: "o".repeat(255),
        ..client(&"c".repeat(255))
    };
    let created = create(&mut admin, largest.clone()).await.unwrap();
    let written = pb::Client { etag: String::new(), create_time: None, ..created };
    assert_eq!(written, largest);
}

#[tokio::test]
async fn an_api_key_lives_for_a_whole_second_at_least_and_a_client_has_twenty_at_most() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    create(&mut admin, client("billing")).await.unwrap();
    let asking = admin.clone();
    let ask = async |seconds, nanos| {
        let ttl = Some(prost_types::Duration { seconds, nanos });
        let request = pb::CreateApiKeyRequest { client_id: "billing".into(), ttl };
        asking.clone().admin.create_api_key(request).await
    };
    for (seconds, nanos, millis) in [(0, 0, "0"), (-5, 0, "-5000"), (0, 999_000_000, "999")] {
        let refused = ask(seconds, nanos).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("requestedTtlMillis")), ("TTL_TOO_SHORT", millis));
    }
    assert_invalid(&ask(1, 500_000_000).await.refused(), "ttl");
    assert_invalid(&ask(i64::MAX, 0).await.refused(), "ttl");
    assert_invalid(&ask(10 * 366 * 86_400 + 1, 0).await.refused(), "ttl");
    assert_eq!(get(&mut admin, "billing").await.unwrap().api_keys, []);
    let before = now_s();
    let longest = ask(10 * 366 * 86_400, 0).await.unwrap().into_inner().api_key.unwrap();
    let (start, end) = (longest.create_time.unwrap(), longest.expire_time.unwrap());
    let asked = before..=now_s();
    assert!(
        asked.contains(&start.seconds) && asked.contains(&(end.seconds - 10 * 366 * 86_400)),
        "{longest:?}"
    );
    assert_eq!(end.nanos, 0);
    for _ in 1..20 {
        add_key(&mut admin, "billing", None).await.unwrap();
    }
    assert_invalid(&add_key(&mut admin, "billing", None).await.refused(), "client_id");
    delete_key(&mut admin, "billing", &longest.api_key_id).await.unwrap();
    add_key(&mut admin, "billing", None).await.unwrap();

    let refused = delete_key(&mut admin, "billing", "").await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_REQUIRED", "api_key_id"));
    // One in so many ids looks like a part of a JWS, and is not repeated either.
    let secret = std::iter::repeat_with(ApiKey::generate).find(|key| !key.id().contains("eyJ")).unwrap();
    let refused = delete_key(&mut admin, "billing", secret.expose()).await;
    assert!(!format!("{refused:?}").contains(secret.id()), "a whole key is not repeated");
    assert_invalid(&refused.refused(), "api_key_id");
    let refused = delete_key(&mut admin, "billing", secret.id()).await.refused();
    assert_eq!((refused.get("resourceType"), refused.get("resourceName")), ("api_key", secret.id()));
    let others = get(&mut admin, "admin").await.unwrap().api_keys.remove(0).api_key_id;
    assert_eq!(
        delete_key(&mut admin, "billing", &others).await.refused().reason,
        "NOT_FOUND",
        "another client's"
    );
}
