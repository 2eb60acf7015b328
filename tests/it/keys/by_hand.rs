//! `RotateKey` and `ListKeys`, and `jeton key`.

use jeton::proto::v1::{self as pb, TokenStatus, key::State};
use tonic::Code;

use super::{apis, emergency, in_state, is_active_everywhere, jwks, kid_of, list, rotate};
use crate::world::{Fleet, Refused, Shell, World, seconds};

fn with_lead(lead_s: i64) -> pb::RotateKeyRequest {
    pb::RotateKeyRequest { publication_lead: Some(seconds(lead_s)), ..Default::default() }
}

#[tokio::test]
async fn c1_a_key_is_published_everywhere_when_rotate_returns_and_asking_again_changes_nothing() {
    let fleet = Fleet::start(3).await;
    let mut admins = apis(&fleet, "admin");
    let active = in_state(&mut admins[0], "ES256", State::Active).await.remove(0);
    let rotated = rotate(&mut admins[0], pb::RotateKeyRequest::default()).await.unwrap();
    let key = rotated.key.unwrap();
    assert_eq!((key.state(), key.algorithm.as_str()), (State::Pending, "ES256"));
    assert_eq!(rotated.replaced_key.unwrap().key_id, active.key_id);
    let lead = key.activate_time.unwrap().seconds - key.create_time.unwrap().seconds;
    assert!((3_599..=3_601).contains(&lead), "an hour: {lead}");
    for admin in &mut admins {
        // It has a lease, so it has heard: the key set is shown without one.
        let token = admin.token("user:7", "api").await.access_token;
        assert_eq!(kid_of(&token), active.key_id, "it does not sign yet");
        assert!(jwks(admin).await.contains(&key.key_id), "published");
    }
    let again = rotate(&mut admins[1], with_lead(60)).await.unwrap();
    assert_eq!(again.key.unwrap(), key);
    assert_eq!(fleet.database.number("select count(*) from signing_key").await, 3);
    assert_eq!(
        fleet
            .database
            .number("select count(*) from audit_event where action = 'RotateKey' and actor = 'admin'")
            .await,
        1
    );
}

#[tokio::test]
async fn c1_an_emergency_signs_everywhere_when_it_returns_and_promotes_a_published_key() {
    let fleet = Fleet::start(3).await;
    let mut admins = apis(&fleet, "admin");
    for round in 0..6 {
        let before = admins[2].token("user:7", "api").await.access_token;
        let published = match round % 2 {
            0 => None,
            _ => rotate(&mut admins[1], pb::RotateKeyRequest::default()).await.unwrap().key,
        };
        let rotated = emergency(&mut admins[0], "").await;
        let key = rotated.key.unwrap();
        assert_eq!(key.state(), State::Active);
        assert!(published.is_none_or(|it| it.key_id == key.key_id), "the one that verifiers know");
        let replaced = rotated.replaced_key.unwrap();
        assert_eq!((replaced.key_id.clone(), replaced.state()), (kid_of(&before), State::Retired));
        assert!(replaced.expire_time.is_some());
        for place in 0..3 {
            let token = admins[place].token("user:7", "api").await.access_token;
            assert_eq!(kid_of(&token), key.key_id);
            is_active_everywhere(&mut admins, &token, "api").await;
        }
        is_active_everywhere(&mut admins, &before, "api").await;
    }
    // Six that were made, and three that were published and let sign by hand.
    let audited = "select count(*) from audit_event where action = 'RotateKey' and actor = 'admin'";
    assert_eq!(fleet.database.number(audited).await, 9);
}

#[tokio::test]
async fn c1_a_rotation_that_makes_no_sense_is_refused_and_nothing_is_written() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let cases = [
        (pb::RotateKeyRequest { algorithm: "RS256".to_owned(), ..Default::default() }, "algorithm"),
        (pb::RotateKeyRequest { algorithm: "es256".to_owned(), ..Default::default() }, "algorithm"),
        (with_lead(-1), "publication_lead"),
        (with_lead(7 * 86_400 + 1), "publication_lead"),
        (pb::RotateKeyRequest { emergency: true, ..with_lead(60) }, "publication_lead"),
    ];
    for (request, field) in cases {
        let refused = rotate(&mut admin, request).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        assert_eq!(refused.get("field"), field);
    }
    for client in ["reader", "service", "nobody"] {
        let mut api = world.api(client).await;
        let refused = rotate(&mut api, pb::RotateKeyRequest::default()).await.refused();
        assert_eq!(refused.code, Code::PermissionDenied, "{client}");
        let listed = api.admin.list_keys(pb::ListKeysRequest::default()).await;
        assert_eq!(listed.is_ok(), client == "reader", "{client}");
    }
    assert_eq!(world.number("select count(*) from signing_key").await, 2);
}

#[tokio::test]
async fn c1_keys_are_listed_by_pages_newest_first_in_every_state() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    for _ in 0..3 {
        emergency(&mut admin, "EdDSA").await;
    }
    rotate(&mut admin, with_lead(7 * 86_400)).await.unwrap();
    let revoked = in_state(&mut admin, "EdDSA", State::Retired).await.remove(0).key_id;
    admin.revoke_wide(pb::revocation_target::Kind::KeyId(revoked)).await.unwrap();
    let all = list(&mut admin).await;
    assert_eq!(all.len(), 6);
    assert!(all.is_sorted_by_key(|key| {
        let time = key.create_time.unwrap();
        std::cmp::Reverse((time.seconds, time.nanos))
    }));
    for state in [State::Pending, State::Active, State::Retired, State::Revoked] {
        assert!(all.iter().any(|key| key.state() == state), "{state:?}");
    }
    assert!(all.iter().all(|key| key.public_jwk.contains(&key.key_id) && !key.public_jwk.contains("\"d\"")));
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListKeysRequest { page_size: 2, page_token };
        let page = admin.admin.list_keys(request).await.unwrap().into_inner();
        pages.extend(page.keys);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(pages, all);
    let foreign = pb::ListKeysRequest { page_size: 2, page_token: "AAAA".to_owned() };
    assert_eq!(admin.admin.list_keys(foreign).await.refused().reason, "PAGE_TOKEN_INVALID");
}

#[tokio::test]
async fn the_command_line_lists_rotates_and_exports_keys() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let rotated = shell.run(&["key", "rotate", "--lead", "2h", "--algorithm", "EdDSA"]).await;
    assert!(rotated.data().contains("EdDSA key ") && rotated.data().contains("(in "), "{rotated:?}");
    let listed = shell.run(&["key", "list", "--output", "json"]).await.json();
    let keys = listed["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 3);
    let pending = keys.iter().find(|key| key["state"] == "STATE_PENDING").unwrap();
    let kid = pending["keyId"].as_str().unwrap();
    assert!(rotated.out.contains(kid));
    let table = shell.run(&["key", "list"]).await;
    assert!(table.data().contains(kid) && table.out.contains("pending") && table.out.contains("active"));
    let doctor = shell.run(&["doctor"]).await;
    let line = doctor.data().lines().find(|line| line.contains("  keys")).unwrap().to_owned();
    assert!(
        line.starts_with("ok") && line.contains("EdDSA has signed for") && line.contains("next one"),
        "{line}"
    );

    let promoted = shell.run(&["key", "rotate", "--emergency", "--algorithm", "EdDSA"]).await;
    assert!(promoted.data().contains(&format!("EdDSA key {kid} signs on every replica; ")), "{promoted:?}");
    let exported = shell.run(&["key", "export-jwks"]).await.json();
    assert_eq!(exported["keys"].as_array().unwrap().len(), 3);
    shell.run(&["key", "export-jwks", "--file", "jwks.json"]).await.data();
    let written = std::fs::read_to_string(shell.path("jwks.json")).unwrap();
    assert_eq!(serde_json::from_str::<serde_json::Value>(&written).unwrap(), exported);
    shell.run(&["key", "rotate", "--emergency", "--lead", "1h"]).await.with_code(2);
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    assert_eq!(world.api("service").await.status(&token, "api").await, TokenStatus::Active);
}
