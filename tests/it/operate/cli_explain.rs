//! `jeton explain` and `jeton session show`: what it is, and what ended it, when, by whom.

use jeton::proto::v1::revocation_target::Kind;

use crate::world::{Shell, World, revoke_request};

#[tokio::test]
async fn explain_says_what_a_token_is_and_which_revocation_killed_it_and_whose_that_was() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let token = service.session("user:7", "api").await;
    let shell = Shell::of(&world, "admin");
    let live = shell.pipe(&["explain"], &format!("Authorization: Bearer {}\n", token.access_token)).await;
    assert_eq!(live.code, 0, "{live:?}");
    for part in [
        &format!("token {}: LIVE", token.jti)[..],
        "user:7",
        "service",
        &format!("jeton revoke --session {}", token.session_id),
    ] {
        assert!(live.data().contains(part), "{part}: {live:?}");
    }
    assert!(!live.data().contains("eyJ"), "no token text: {live:?}");
    shell
        .run(&["revoke", "--subject", "user:7", "--reason", "leaked", "--note", "INC-7", "--yes"])
        .await
        .data();
    shell.write("token", &token.access_token);
    let dead = shell.run(&["explain", "--token-file", "token"]).await;
    for part in [": REVOKED", "by admin, as subject user:7 (LEAKED), note INC-7, revision 1."] {
        assert!(dead.data().contains(part), "{part}: {dead:?}");
    }
    // By its id, and as JSON.
    let session = shell.run(&["session", "show", &token.session_id]).await;
    assert!(session.data().starts_with(&format!("session {}: REVOKED", token.session_id)), "{session:?}");
    let json = shell.run(&["explain", &token.session_id, "--output", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(json.data()).unwrap();
    assert_eq!(json["explanations"][0]["causes"][0]["auditEvent"]["note"], "INC-7", "{json}");
    // Of a bare jti, what cannot be known is said.
    let other = service.token("user:8", "api").await;
    let unknown = shell.run(&["explain", &other.jti]).await;
    assert_eq!(unknown.code, 3, "nothing is known of it: {unknown:?}");
    for part in ["UNKNOWN", "Its text would.", "If it may be of a token that leaked"] {
        assert!(unknown.out.contains(part), "{part}: {unknown:?}");
    }
    service.revoke(Kind::Token(other.access_token)).await.unwrap();
    let known = shell.run(&["explain", &other.jti]).await;
    assert!(known.data().contains("REVOKED") && known.data().contains("by service"), "{known:?}");
}

#[tokio::test]
async fn explain_refuses_token_text_as_an_argument_and_says_what_a_colleague_may_not_see() {
    let world = World::start().await;
    let mut service = world.api("service").await;
    let token = service.token("user:7", "api").await;
    let refused = Shell::of(&world, "admin").run(&["explain", &token.access_token]).await;
    assert!(refused.code == 2 && refused.err.contains("--token-file"), "{refused:?}");
    assert!(!refused.err.contains(&token.access_token), "{refused:?}");
    let request = jeton::proto::v1::RevokeRequest {
        note: "INC-8".to_owned(),
        ..revoke_request(Kind::Jti(token.jti.clone()))
    };
    world.api("admin").await.tokens.revoke(request).await.unwrap();
    let key = world.register("on-call", &[jeton::state::Permission::RevokeAny], &["*"], &["*"]).await;
    let told = Shell::of(&world, "admin");
    told.write("api.key", &key);
    let told = told.run(&["explain", &token.jti]).await;
    assert!(told.data().contains("REVOKED") && !told.data().contains("INC-8"), "{told:?}");
    assert!(told.err.contains("is shown to clients with PERMISSION_ADMIN_READ"), "{told:?}");
    let none = Shell::of(&world, "validator").run(&["explain", &token.jti]).await;
    assert!(none.with_code(4).contains("PERMISSION_ADMIN_READ"), "the one that changes nothing: {none:?}");
    let nothing = Shell::of(&world, "admin").pipe(&["explain"], "user:7\n").await;
    assert!(nothing.code == 3 && nothing.out.contains("No token is in this text."), "{nothing:?}");
    let foreign = Shell::of(&world, "admin").pipe(&["explain"], "eyJhbGciOiJFUzI1NiJ9.e30.AAAA\n").await;
    assert!(foreign.code == 3 && foreign.out.contains("cannot be verified"), "{foreign:?}");
}
