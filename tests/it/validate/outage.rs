//! Validate while its database is away: nothing is guessed.

use jeton::proto::v1::{self as pb, TokenStatus, revocation_target::Kind};
use serde_json::json;
use tonic::Code;

use super::support::with;
use crate::world::{Refused, World, until, validate_request};

#[tokio::test]
async fn v9_without_the_database_a_revision_ahead_is_stale_and_soon_everything_is() {
    let world = World::start().await;
    let (mut api, mut admin) = (world.api("service").await, world.api("admin").await);
    let forge = world.forge().await;
    let token = api.token("user:7", "api").await.access_token;
    let revoked = api.token("user:7", "api").await.access_token;
    admin.revoke(Kind::Token(revoked.clone())).await.unwrap();
    let own = api.validate(&token, &["api"]).await.unwrap().revision;
    let ahead = forge.sign(&with(&forge.claims(), "rev", Some(json!((1_i64 << 53) - 1))));
    assert_eq!(api.status(&ahead, "api").await, TokenStatus::Active);

    world.database.cut_off().await;
    let at = |revision: &str| pb::ValidateRequest {
        min_revision: revision.to_owned(),
        ..validate_request(&token, &["api"])
    };
    // A call that would need the database is refused, not guessed.
    let asked = async |request: pb::ValidateRequest| {
        let mut tokens = api.tokens.clone();
        Ok::<_, tonic::Status>(tokens.validate(request).await?.into_inner().verdict.unwrap())
    };
    for request in [at("8000.1"), validate_request(&ahead, &["api"])] {
        let refused = asked(request).await.refused();
        assert_eq!((refused.code, refused.reason.as_str()), (Code::Unavailable, "REVOCATION_STATE_STALE"));
        assert!(refused.get("ageMillis").parse::<i64>().unwrap() >= 0);
    }
    // Calls that memory can answer are answered until the state is too old: rightly, and then not at all.
    until("the state is stale", async || {
        let verdicts = [asked(at(&own)).await, asked(validate_request(&revoked, &["api"])).await];
        let mut stale = false;
        for (verdict, status) in verdicts.into_iter().zip([TokenStatus::Active, TokenStatus::Revoked]) {
            match verdict {
                Ok(verdict) => assert_eq!(verdict.status(), status),
                refused => {
                    assert_eq!(refused.refused().reason, "REVOCATION_STATE_STALE");
                    stale = true;
                }
            }
        }
        stale
    })
    .await;
    // The caller is judged by a fresh state, too: a caller without a credential learns nothing either.
    let nobody = world.api_with_key("").await.validate(&token, &["api"]).await.refused();
    assert_eq!(nobody.reason, "REVOCATION_STATE_STALE");

    world.database.let_in().await;
    until("it is back by itself", async || asked(at(&own)).await.is_ok()).await;
    assert_eq!(asked(validate_request(&revoked, &["api"])).await.unwrap().status(), TokenStatus::Revoked);
    assert_eq!(asked(at("8000.1")).await.refused().reason, "REVISION_INVALID");
}
