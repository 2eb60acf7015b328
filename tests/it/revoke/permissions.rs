//! K5: who may revoke what, and where.

use jeton::{
    proto::v1::{self as pb, RevocationOutcome, revocation_target::Kind},
    state::Permission,
};

use super::{HEAD, is_active, refresh_token, text, wide_request};
use crate::world::{Api, Refused, World};

/// Every narrow way to name a token or its session; the bare jti last.
fn ways(token: &pb::IssuedToken) -> [Kind; 4] {
    [
        text(token),
        Kind::SessionId(token.session_id.clone()),
        Kind::Token(refresh_token(token).to_owned()),
        Kind::Jti(token.jti.clone()),
    ]
}

async fn forbidden(api: &mut Api, kind: Kind) -> String {
    let refused = api.revoke(kind).await.refused();
    assert_eq!((refused.reason.as_str(), refused.code), ("CALLER_FORBIDDEN", tonic::Code::PermissionDenied));
    refused.get("permission").to_owned()
}

#[tokio::test]
async fn k5_ones_own_may_any_client_revoke_but_for_a_bare_jti() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    for way in 0..3 {
        let token = api.session("user:7", "api").await;
        let answer = api.revoke(ways(&token)[way].clone()).await.unwrap();
        assert_eq!(answer.outcome(), RevocationOutcome::Revoked);
        assert!(!is_active(&mut api, &token.access_token).await);
    }
    let token = api.session("user:7", "api").await;
    assert_eq!(forbidden(&mut api, ways(&token)[3].clone()).await, "PERMISSION_REVOKE_ANY");
    assert!(is_active(&mut api, &token.access_token).await);
}

#[tokio::test]
async fn k5_others_take_permission_revoke_any_even_by_text() {
    let world = World::start().await;
    let (mut api, mut other) = (world.api("service").await, world.api("other").await);
    let key = world.register("support", &[Permission::RevokeAny], &[], &[]).await;
    let mut support = world.api_with_key(&key).await;
    for way in 0..4 {
        let token = api.session("user:7", "api").await;
        let head = world.number(HEAD).await;
        let kind = ways(&token)[way].clone();
        assert_eq!(forbidden(&mut other, kind.clone()).await, "PERMISSION_REVOKE_ANY");
        assert!(is_active(&mut api, &token.access_token).await);
        assert_eq!(world.number(HEAD).await, head);
        assert_eq!(support.revoke(kind).await.unwrap().outcome(), RevocationOutcome::Revoked);
        assert!(!is_active(&mut api, &token.access_token).await);
    }
    // An unknown session: nothing tells whose it is.
    let unknown = jeton_token::new_uuid_v7(crate::world::now_s() * 1000).to_string();
    let kind = Kind::SessionId(unknown);
    assert_eq!(forbidden(&mut api, kind.clone()).await, "PERMISSION_REVOKE_ANY");
    assert_eq!(support.revoke(kind).await.refused().reason, "NOT_FOUND");
}

#[tokio::test]
async fn k5_wide_targets_take_permission_revoke_wide_and_the_admin_listener() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let wide = world.register("oncall", &[Permission::RevokeWide], &[], &[]).await;
    let any = world.register("support", &[Permission::RevokeAny], &[], &[]).await;
    let (mut oncall, mut support) = (world.api_with_key(&wide).await, world.api_with_key(&any).await);
    let token = api.token("user:7", "api").await;
    let key_id = world.forge().await.key.key_id().to_owned();
    let head = world.number(HEAD).await;
    for (kind, name) in [
        (Kind::Subject("user:7".to_owned()), "subject"),
        (Kind::ClientId("service".to_owned()), "client_id"),
        (Kind::KeyId(key_id), "key_id"),
    ] {
        for api in [&mut admin, &mut oncall, &mut api] {
            let refused = api.tokens.revoke(wide_request(kind.clone())).await.refused();
            assert_eq!(refused.reason, "WIDE_REVOCATION_FORBIDDEN", "the public listener, whoever asks");
            assert_eq!(refused.get("targetKind"), name);
        }
        for api in [&mut support, &mut api] {
            let refused = api.wide.revoke(wide_request(kind.clone())).await.refused();
            assert_eq!(refused.reason, "CALLER_FORBIDDEN");
            assert_eq!(refused.get("permission"), "PERMISSION_REVOKE_WIDE");
        }
        let asked = pb::RevokeRequest { validate_only: true, ..wide_request(kind) };
        let refused = support.wide.revoke(asked).await.refused();
        assert_eq!(refused.get("permission"), "PERMISSION_REVOKE_WIDE", "not even to ask what would happen");
    }
    assert!(is_active(&mut api, &token.access_token).await);
    assert_eq!(world.number(HEAD).await, head);
    oncall.revoke_wide(Kind::Subject("user:7".to_owned())).await.unwrap();
    assert!(!is_active(&mut api, &token.access_token).await);
    // Narrow targets are served on the admin listener, too, under the same rules.
    let token = api.token("user:8", "api").await;
    assert_eq!(oncall.wide.revoke(wide_request(text(&token))).await.refused().reason, "CALLER_FORBIDDEN");
    support.wide.revoke(wide_request(text(&token))).await.unwrap();
    assert!(!is_active(&mut api, &token.access_token).await);
}
