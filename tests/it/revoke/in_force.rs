//! `ListRevocations`: what is in force, newest first.

use jeton::proto::v1::{self as pb, RevocationReason, revocation_target::Kind};

use crate::world::{Api, Refused, Shell, World, revoke_request};

async fn listed(api: &Api, request: pb::ListRevocationsRequest) -> pb::ListRevocationsResponse {
    api.admin.clone().list_revocations(request).await.unwrap().into_inner()
}

fn kinds(page: &pb::ListRevocationsResponse) -> Vec<Kind> {
    page.revocations.iter().map(|it| it.target.clone().unwrap().kind.unwrap()).collect()
}

#[tokio::test]
async fn k19_the_revocations_in_force_are_listed_newest_first_page_by_page() {
    let world = World::start().await;
    let (mut service, mut admin) = (world.api("service").await, world.api("admin").await);
    let token = service.token("user:7", "api").await;
    let session = service.session("user:8", "api").await;
    let made = [
        Kind::Jti(token.jti.clone()),
        Kind::Subject("user:7".to_owned()),
        Kind::SessionId(session.session_id.clone()),
        Kind::AllForAudience("web".to_owned()),
        Kind::ClientId("other".to_owned()),
    ];
    let mut revoked = Vec::new();
    for kind in &made {
        let request =
            pb::RevokeRequest { reason: RevocationReason::Leaked.into(), ..revoke_request(kind.clone()) };
        revoked.push(admin.wide.revoke(request).await.unwrap().into_inner());
    }
    let newest_first: Vec<Kind> = made.iter().rev().cloned().collect();
    let all = listed(&admin, pb::ListRevocationsRequest::default()).await;
    assert_eq!(kinds(&all), newest_first);
    assert_eq!((all.token_count, all.session_count, all.wide_count), (1, 1, 3));
    for (listed, revoked) in all.revocations.iter().zip(revoked.iter().rev()) {
        assert_eq!((&listed.revision, listed.revoke_time), (&revoked.revision, revoked.revoke_time));
        assert_eq!(listed.reason(), RevocationReason::Leaked);
        let seconds = |time: Option<prost_types::Timestamp>| time.unwrap().seconds;
        assert!(seconds(listed.expire_time) > seconds(listed.revoke_time));
    }
    // In pages, and without the narrow ones.
    let (mut paged, mut page_token) = (Vec::new(), String::new());
    for length in [2, 2, 1] {
        let request = pb::ListRevocationsRequest { page_size: 2, page_token, ..Default::default() };
        let page = listed(&admin, request).await;
        assert_eq!(page.revocations.len(), length);
        paged.extend(kinds(&page));
        page_token = page.next_page_token;
    }
    assert_eq!((paged, page_token.as_str()), (newest_first.clone(), ""));
    let wide = listed(&admin, pb::ListRevocationsRequest { wide_only: true, ..Default::default() }).await;
    assert_eq!(kinds(&wide), [4, 3, 1].map(|place: usize| made[place].clone()));
    let other = pb::ListRevocationsRequest { page_token: "AAAA".to_owned(), ..Default::default() };
    assert_eq!(admin.admin.list_revocations(other).await.refused().reason, "PAGE_TOKEN_INVALID");

    let shell = Shell::of(&world, "reader");
    let shown = shell.run(&["revocation", "list"]).await;
    let rows = ["client other", "audience web", &format!("session {}", session.session_id), "subject user:7"];
    let places: Vec<_> = rows.iter().map(|row| shown.data().find(row)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{shown:?}");
    assert!(shown.err.contains("In force: 1 of tokens, 1 of sessions, 3 wide."), "{shown:?}");
    let wide = shell.run(&["revocation", "list", "--wide", "--output", "json"]).await;
    let wide: serde_json::Value = serde_json::from_str(wide.data()).unwrap();
    assert_eq!(wide["revocations"].as_array().unwrap().len(), 3, "{wide}");
}
