//! Issue: `behaviour.md` I1 to I14.

use jeton::proto::v1 as pb;

use crate::world::World;

#[tokio::test]
async fn i5_the_answer_says_the_times_of_the_token_exactly() {
    let world = World::start().await;
    let mut api = world.api("service").await;
    let token = api.token("user:7", "api").await;
    assert_eq!(api.status(&token.access_token, "api").await, pb::TokenStatus::Active);
    let lifetime = token.expire_time.unwrap().seconds - token.issue_time.unwrap().seconds;
    assert_eq!(lifetime, 900);
}
