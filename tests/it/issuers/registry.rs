//! C10: the registrations themselves.

use jeton::proto::v1::{self as pb, trusted_issuer::KeySource};
use tonic::Code;

use super::{create, rule, update, world};
use crate::world::{Refused as _, World, until};

/// The replicas read the issuers again.
const CHANGED: &str = "select log_change(5::smallint, 'ci')";

fn good() -> pb::TrustedIssuer {
    pb::TrustedIssuer {
        issuer_id: "github".to_owned(),
        issuer: "https://token.actions.example".to_owned(),
        key_source: Some(KeySource::OidcDiscovery(true)),
        rules: vec![rule(0, &[("repository_id", "7")], "runner", "ci:{sub}")],
        ..Default::default()
    }
}

#[tokio::test]
async fn c10_every_bad_field_is_refused_by_its_name_and_nothing_is_written() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let head = world.number("select seq from log_head").await;
    let by = |key_source| pb::TrustedIssuer { key_source: Some(key_source), ..good() };
    let uri = |uri: &str| by(KeySource::JwksUri(uri.to_owned()));
    let rules = |rules| pb::TrustedIssuer { rules, ..good() };
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let bare = pb::ClaimCondition { claim: "a".into(), r#match: None };
    for (field, given) in [
        ("issuer.issuer_id", pb::TrustedIssuer { issuer_id: "GitHub".into(), ..good() }),
        ("issuer.issuer_id", pb::TrustedIssuer { issuer_id: "a".repeat(64), ..good() }),
        ("issuer.display_name", pb::TrustedIssuer { display_name: "a\nb".into(), ..good() }),
        ("issuer.issuer", pb::TrustedIssuer { issuer: "a\u{7}".into(), ..good() }),
        ("issuer.issuer", pb::TrustedIssuer { issuer: world.server.ready.issuer.clone(), ..good() }),
        ("issuer.issuer", pb::TrustedIssuer { issuer: "spiffe://example.org/path".into(), ..good() }),
        ("issuer.oidc_discovery", pb::TrustedIssuer { issuer: "http://a.example".into(), ..good() }),
        ("issuer.oidc_discovery", pb::TrustedIssuer { issuer: "spiffe://example.org".into(), ..good() }),
        ("issuer.jwks_uri", uri("http://a.example/keys")),
        ("issuer.jwks_uri", uri("https://u:p@a.example/keys")),
        ("issuer.jwks_uri", uri("file:///etc/passwd")),
        ("issuer.static_jwks", by(KeySource::StaticJwks("{}".into()))),
        ("issuer.spiffe_bundle_file", by(KeySource::SpiffeBundleFile("bundle.json".into()))),
        ("issuer.key_source", by(KeySource::SpiffeBundleFile("/bundle.json".into()))),
        ("issuer.audiences[1]", pb::TrustedIssuer { audiences: texts(&["a", "a"]), ..good() }),
        ("issuer.max_age", pb::TrustedIssuer { max_age: seconds(0), ..good() }),
        ("issuer.max_age", pb::TrustedIssuer { max_age: seconds(86_401), ..good() }),
        ("issuer.algorithms", pb::TrustedIssuer { algorithms: texts(&["HS256"]), ..good() }),
        ("issuer.algorithms", pb::TrustedIssuer { algorithms: texts(&["none"]), ..good() }),
        ("issuer.rules", rules(vec![rule(0, &[], "runner", "x")])),
        ("issuer.rules", rules(vec![rule(0, &[("a", "*")], "runner", "x")])),
        ("issuer.rules", rules(vec![rule(0, &[("a", "b")], "a b", "x")])),
        ("issuer.rules", rules(vec![rule(0, &[("a", "b")], "runner", "{sub")])),
        ("issuer.rules", rules(vec![rule(0, &[("a", "b")], "runner", "x"); 101])),
        (
            "issuer.rules[0].conditions[0]",
            rules(vec![pb::MappingRule { conditions: vec![bare.clone()], ..rule(0, &[], "runner", "x") }]),
        ),
    ] {
        let refused = create(&mut admin, given).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_INVALID", field));
    }
    for (field, given) in [
        ("issuer.issuer_id", pb::TrustedIssuer { issuer_id: String::new(), ..good() }),
        ("issuer.issuer", pb::TrustedIssuer { issuer: String::new(), ..good() }),
        ("issuer.key_source", pb::TrustedIssuer { key_source: None, ..good() }),
    ] {
        let refused = create(&mut admin, given).await.refused();
        assert_eq!((refused.reason.as_str(), refused.get("field")), ("FIELD_REQUIRED", field));
    }
    assert_eq!(world.number("select seq from log_head").await, head);
}

#[tokio::test]
async fn c10_an_issuer_is_written_read_listed_changed_and_removed() {
    let world = World::start().await;
    let mut admin = world.api("admin").await;
    let created = create(&mut admin, good()).await.unwrap();
    assert_eq!(created.max_age, Some(prost_types::Duration { seconds: 3600, nanos: 0 }));
    let read = pb::GetIssuerRequest { issuer_id: "github".into() };
    let shown = admin.admin.get_issuer(read.clone()).await.unwrap().into_inner().issuer.unwrap();
    let without_fault = pb::TrustedIssuer { keys_fault: String::new(), ..shown };
    assert_eq!(without_fault, created);
    assert_eq!(create(&mut admin, good()).await.refused().reason, "ALREADY_EXISTS");
    let same_iss = pb::TrustedIssuer { issuer_id: "other".into(), ..good() };
    assert_eq!(create(&mut admin, same_iss).await.refused().reason, "ALREADY_EXISTS");
    for id in ["a", "b", "c"] {
        let one =
            pb::TrustedIssuer { issuer_id: id.into(), issuer: format!("https://{id}.example"), ..good() };
        create(&mut admin, one).await.unwrap();
    }
    let mut ids = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = pb::ListIssuersRequest { page_size: 2, page_token };
        let page = admin.admin.list_issuers(request).await.unwrap().into_inner();
        ids.extend(page.issuers.into_iter().map(|issuer| issuer.issuer_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids, ["a", "b", "c", "github"]);
    // Only what the mask names, and only at the etag that was read.
    let other = pb::TrustedIssuer { display_name: "GitHub".into(), rules: vec![], ..good() };
    let changed = update(&mut admin, other.clone(), &["display_name"]).await.unwrap();
    assert_eq!((changed.display_name.as_str(), changed.rules.len()), ("GitHub", 1));
    let stale = pb::TrustedIssuer { etag: created.etag, ..other };
    let refused = update(&mut admin, stale, &["rules"]).await.refused();
    assert_eq!((refused.code, refused.reason.as_str()), (Code::Aborted, "ETAG_MISMATCH"));
    assert_eq!(update(&mut admin, good(), &["nonsense"]).await.refused().get("field"), "update_mask");
    let request = pb::DeleteIssuerRequest { issuer_id: "github".into(), etag: changed.etag };
    admin.admin.delete_issuer(request).await.unwrap();
    assert_eq!(admin.admin.get_issuer(read).await.refused().reason, "NOT_FOUND");
    for action in ["CreateIssuer", "UpdateIssuer", "DeleteIssuer"] {
        let event = format!("action = '{action}' and note like 'issuer github%' and outcome = 'OK'");
        assert_eq!(world.audited(&event).await, 1, "{action}");
    }
}

#[tokio::test]
async fn c10_a_row_that_jeton_did_not_write_is_no_issuer_and_in_nobodys_way() {
    let (world, foreign, mut admin) = world().await;
    assert_eq!(super::bearer(&world, &foreign.assertion()).await.status, 200);
    for change in ["version = version + 1", "registration = replace(registration, 'runner', 'service')"] {
        let registration =
            pb::TrustedIssuer { issuer_id: "ci".into(), ..foreign.registration("ci", "runner") };
        world.sql(&format!("begin; update trusted_issuer set {change}; {CHANGED}; commit")).await;
        until("it is refused", async || super::bearer(&world, &foreign.assertion()).await.status == 400)
            .await;
        let read = pb::GetIssuerRequest { issuer_id: "ci".into() };
        let shown = admin.admin.get_issuer(read).await.unwrap().into_inner().issuer.unwrap();
        assert!(shown.refused.contains("was not written by jeton"), "{shown:?}");
        let refused = update(&mut admin, registration.clone(), &["disabled"]).await.refused();
        assert_eq!(refused.reason, "NOT_FOUND", "it is no base for another");
        // Its `iss` is free for one that jeton writes.
        let again = pb::TrustedIssuer { issuer_id: "again".into(), ..registration.clone() };
        create(&mut admin, again).await.unwrap();
        let request = pb::DeleteIssuerRequest { issuer_id: "again".into(), ..Default::default() };
        admin.admin.delete_issuer(request).await.unwrap();
        create(&mut admin, registration).await.unwrap();
        assert_eq!(super::bearer(&world, &foreign.assertion()).await.status, 200);
    }
}
