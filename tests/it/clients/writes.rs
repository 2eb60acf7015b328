//! Writes of clients: creation, change by mask, etag, lists; and their audit rows.

use futures_util::future::join_all;
use jeton::proto::v1::{self as pb, Permission};
use tonic::Code;

use super::{add_key, client, create, delete, get, update};
use crate::world::{Refused, World};

fn full(client_id: &str) -> pb::Client {
    pb::Client {
        display_name: "Billing, Berlin".to_owned(),
        certificate_uris: vec![
            format!("spiffe://example.org/{client_id}"),
            format!("spiffe://example.org/{client_id}/b"),
        ],
        subjects: vec!["svc:billing".to_owned(), "user:*".to_owned()],
        own_subject: "svc:billing".to_owned(),
        audiences: vec!["orders".to_owned(), "ledger".to_owned()],
        ..client(client_id)
    }
}

/// Empties one field.
type Clear = fn(&mut pb::Client);

/// The client without the fields that the server sets.
fn given(client: pb::Client) -> pb::Client {
    pb::Client { etag: String::new(), create_time: None, api_keys: Vec::new(), ..client }
}

#[tokio::test]
async fn a_client_is_read_as_it_was_created() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let created = create(&mut admin, full("billing")).await.unwrap();
    assert_eq!(given(created.clone()), full("billing"));
    assert!(!created.etag.is_empty() && created.create_time.is_some());
    assert_eq!(get(&mut admin, "billing").await.unwrap(), created);
    assert_eq!(
        world.audited("action = 'CreateClient' and client_id = 'billing' and actor = 'admin'").await,
        1
    );
    // Fields that only the server sets are ignored.
    let sent = pb::Client { etag: "1.1".into(), api_keys: vec![pb::ApiKey::default()], ..full("second") };
    let sent = pb::Client { certificate_uris: vec![], ..sent };
    let second = create(&mut admin, sent).await.unwrap();
    assert!(second.api_keys.is_empty() && second.etag != "1.1");
}

#[tokio::test]
async fn a_name_or_a_certificate_that_is_taken_is_refused_and_named() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    create(&mut admin, full("billing")).await.unwrap();
    let refused = create(&mut admin, client("billing")).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "ALREADY_EXISTS"));
    assert_eq!((refused.get("resourceType"), refused.get("resourceName")), ("client", "billing"));
    let taken = "spiffe://example.org/billing/b".to_owned();
    let rival = pb::Client {
        certificate_uris: vec!["spiffe://example.org/z".into(), taken.clone()],
        ..client("rival")
    };
    let refused = create(&mut admin, rival.clone()).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::AlreadyExists, "ALREADY_EXISTS"));
    assert_eq!(
        (refused.get("resourceType"), refused.get("resourceName")),
        ("certificate_uri", taken.as_str())
    );
    assert_eq!(get(&mut admin, "rival").await.refused().reason, "NOT_FOUND", "nothing was written");
    create(&mut admin, client("rival")).await.unwrap();
    let refused = update(&mut admin, rival.clone(), &["certificate_uris"]).await.refused();
    assert_eq!((refused.reason.as_str(), refused.get("resourceName")), ("ALREADY_EXISTS", taken.as_str()));
    // A client may keep its certificates, and those that it gives up are free.
    update(&mut admin, full("billing"), &["certificate_uris"]).await.unwrap();
    let fewer =
        pb::Client { certificate_uris: vec!["spiffe://example.org/billing".into()], ..client("billing") };
    update(&mut admin, fewer, &["certificate_uris"]).await.unwrap();
    update(&mut admin, rival, &["certificate_uris"]).await.unwrap();
    delete(&mut admin, "rival").await.unwrap();
    update(&mut admin, full("billing"), &["certificate_uris"]).await.unwrap();
}

#[tokio::test]
async fn of_two_that_want_one_name_or_certificate_at_once_one_gets_it() {
    let world = World::start().await;
    let admin = world.api("admin").await;
    for round in 0..5 {
        let rivals = (0..4).map(|rival| {
            let mut admin = admin.clone();
            let certificate_uris = vec![format!("spiffe://example.org/{round}")];
            let rival = pb::Client { certificate_uris, ..client(&format!("c{round}-{}", rival / 2)) };
            async move { create(&mut admin, rival).await }
        });
        let mut won = 0;
        for rival in world.at_once(4, join_all(rivals)).await {
            match rival {
                Ok(_) => won += 1,
                Err(status) => assert_eq!(status.code(), Code::AlreadyExists, "{status:?}"),
            }
        }
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn an_update_writes_what_its_mask_names_and_clears_what_it_names_empty() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let created = create(&mut admin, full("billing")).await.unwrap();
    // Without a mask: every populated field.
    let sparse =
        pb::Client { client_id: "billing".into(), display_name: "Other".into(), ..Default::default() };
    let updated = update(&mut admin, sparse, &[]).await.unwrap();
    assert_eq!(given(updated.clone()), pb::Client { display_name: "Other".into(), ..full("billing") });
    assert_ne!(updated.etag, created.etag);
    assert_eq!(updated.create_time, created.create_time);
    assert_eq!(get(&mut admin, "billing").await.unwrap(), updated);
    // A field that is named and empty is cleared, one by one, and nothing else.
    let clears: [(&str, Clear); 6] = [
        ("display_name", |it| it.display_name.clear()),
        ("certificate_uris", |it| it.certificate_uris.clear()),
        ("permissions", |it| it.permissions.clear()),
        ("audiences", |it| it.audiences.clear()),
        // Before the subjects, of which it is one.
        ("own_subject", |it| it.own_subject.clear()),
        ("subjects", |it| it.subjects.clear()),
    ];
    let mut expected = given(updated);
    for (path, clear) in clears {
        clear(&mut expected);
        let empty = pb::Client { client_id: "billing".into(), ..Default::default() };
        assert_eq!(given(update(&mut admin, empty, &[path]).await.unwrap()), expected, "{path}");
        let named = if path == "permissions" { "permissions=" } else { path };
        let note = format!("action = 'UpdateClient' and client_id = 'billing' and note = '{named}'");
        assert!(world.audited(&note).await >= 1, "the audit names the field");
    }
    let whole = pb::Client { disabled: true, ..full("billing") };
    assert_eq!(given(update(&mut admin, whole.clone(), &["*"]).await.unwrap()), whole);
    let enabled = update(&mut admin, client("billing"), &["disabled"]).await.unwrap();
    assert_eq!(given(enabled), full("billing"), "false can be named");
    update(&mut admin, client("billing"), &["permissions"]).await.unwrap();
    // The audit shows the direction of the change, and the granted rights.
    for note in ["enabled", "permissions=ISSUE,VALIDATE"] {
        let event = format!("action = 'UpdateClient' and client_id = 'billing' and note = '{note}'");
        assert_eq!(world.audited(&event).await, 1, "{note}");
    }
    assert_eq!(
        world.audited("action = 'UpdateClient' and note like '%subjects own_subject disabled'").await,
        1
    );
    update(&mut admin, full("billing"), &["*"]).await.unwrap();
    for path in ["client_id", "etag", "api_keys", "create_time", "certificateUris", "nonsense", ""] {
        let refused = update(&mut admin, full("billing"), &["display_name", path]).await.refused();
        assert_eq!(
            (refused.reason.as_str(), refused.get("field")),
            ("FIELD_INVALID", "update_mask"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_stale_etag_is_refused_with_the_current_one() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let first = create(&mut admin, full("billing")).await.unwrap();
    let second = update(&mut admin, first.clone(), &["display_name"]).await.unwrap();
    let refused = update(&mut admin, first.clone(), &["display_name"]).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(refused.get("currentEtag"), second.etag);
    // A key is part of a client.
    add_key(&mut admin, "billing", None).await.unwrap();
    let request = pb::DeleteClientRequest { client_id: "billing".into(), etag: second.etag };
    let refused = admin.admin.delete_client(request).await.refused();
    let current = get(&mut admin, "billing").await.unwrap().etag;
    assert_eq!((refused.reason.as_str(), refused.get("currentEtag")), ("ETAG_MISMATCH", current.as_str()));
    let request = pb::DeleteClientRequest { client_id: "billing".into(), etag: "x".into() };
    assert_eq!(admin.admin.delete_client(request).await.refused().reason, "FIELD_INVALID");
    let request = pb::DeleteClientRequest { client_id: "billing".into(), etag: current };
    admin.admin.delete_client(request).await.unwrap();
    for refused in [
        get(&mut admin, "billing").await.refused(),
        update(&mut admin, full("billing"), &[]).await.refused(),
        delete(&mut admin, "billing").await.refused(),
        add_key(&mut admin, "billing", None).await.refused(),
    ] {
        assert_eq!((refused.code, refused.reason.as_str()), (Code::NotFound, "NOT_FOUND"));
        assert_eq!((refused.get("resourceType"), refused.get("resourceName")), ("client", "billing"));
    }
}

#[tokio::test]
async fn writers_of_one_client_at_once_lose_nothing_of_each_other() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    create(&mut admin, client("billing")).await.unwrap();
    let writes: [&[&str]; 4] =
        [&["display_name"], &["certificate_uris"], &["audiences"], &["subjects", "own_subject"]];
    let writers = writes.map(|paths| {
        let mut api = admin.clone();
        async move { update(&mut api, full("billing"), paths).await.unwrap() }
    });
    world.at_once(4, join_all(writers)).await;
    assert_eq!(given(get(&mut admin, "billing").await.unwrap()), full("billing"));
}

#[tokio::test]
async fn clients_are_listed_by_name_page_by_page() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    for name in ["Z", "a", "b-1", "b:1", "svc"] {
        create(&mut admin, client(name)).await.unwrap();
    }
    let mut names = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListClientsRequest { page_size: 5, page_token };
        let page = admin.admin.list_clients(request).await.unwrap().into_inner();
        names.extend(page.clients.into_iter().map(|client| client.client_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let mut sorted = names.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((names.len(), &names), (5 + crate::world::CLIENTS.len(), &sorted), "each once, by bytes");
    let foreign = admin.admin.list_sessions(pb::ListSessionsRequest {
        client_id: "service".into(),
        page_token: "AAAA".into(),
        ..Default::default()
    });
    assert_eq!(foreign.await.refused().reason, "PAGE_TOKEN_INVALID");
    for (page_size, page_token, reason) in [(-1, "", "FIELD_INVALID"), (0, "AAAA", "PAGE_TOKEN_INVALID")] {
        let request = pb::ListClientsRequest { page_size, page_token: page_token.into() };
        assert_eq!(admin.admin.list_clients(request).await.refused().reason, reason);
    }
    let mut reader = world.api("reader").await;
    assert_eq!(get(&mut reader, "svc").await.unwrap().client_id, "svc");
    let refused = create(&mut reader, client("x")).await.refused();
    assert_eq!(refused.get("permission"), Permission::AdminWrite.as_str_name());
}
