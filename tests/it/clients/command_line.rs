//! `jeton client`.

use std::{fs, os::unix::fs::PermissionsExt};

use jeton::{proto::v1::TokenStatus, state::Permission};

use crate::world::{Shell, World, api_key, until};

fn arguments<'a>(verb: &[&'a str], rest: &[&'a str]) -> Vec<&'a str> {
    [&["client"], verb, rest].concat()
}

const CREATE: [&str; 13] = [
    "client",
    "create",
    "billing",
    "--display-name",
    "Billing",
    "--permission",
    "issue",
    "--permission",
    "validate",
    "--audience",
    "*",
    "--subject",
    "user:*",
];

#[tokio::test]
async fn a_service_is_registered_given_a_key_and_removed() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let created = shell.run(&CREATE).await;
    assert!(
        created.data().contains("issue validate") && created.err.contains("add-key billing"),
        "{created:?}"
    );
    let again = shell.run(&CREATE).await;
    assert!(again.with_code(1).contains("ALREADY_EXISTS"), "{again:?}");

    let piped = shell.run(&["client", "add-key", "billing", "--ttl", "30d"]).await;
    let key = piped.data().to_owned();
    assert!(key.starts_with("jtk_") && key.lines().count() == 1, "{piped:?}");
    let mut api = world.api_with_key(&key).await;
    let token = api.token("user:7", "api").await.access_token;
    let filed = shell.run(&["client", "add-key", "billing", "--key-file", "new.key"]).await;
    let mode = fs::metadata(shell.path("new.key")).unwrap().permissions().mode();
    let text = fs::read_to_string(shell.path("new.key")).unwrap();
    assert!(
        filed.data().contains("new.key") && !filed.out.contains("jtk_") && !filed.err.contains("jtk_"),
        "{filed:?}"
    );
    assert!(text.starts_with("jtk_") && mode & 0o777 == 0o600, "{mode:o}");
    world.api_with_key(text.trim()).await.token("user:7", "api").await;
    let json = shell.run(&["client", "add-key", "billing", "--output", "json"]).await.json();
    let id = json["apiKey"]["apiKeyId"].as_str().unwrap().to_owned();
    assert!(json["secret"].as_str().unwrap().starts_with(&format!("jtk_{id}_")), "{id}");

    let shown = shell.run(&["client", "get", "billing"]).await;
    assert!(
        shown.data().contains(&id) && shown.out.contains("user:*") && !shown.out.contains("jtk_"),
        "{shown:?}"
    );
    assert!(!shown.out.contains(" ago)"), "{shown:?}");
    shell.run(&["client", "add-key", "billing", "--ttl", "1s", "--key-file", "short.key"]).await.data();
    until("it is seen that the key has ended", async || {
        shell.run(&["client", "get", "billing"]).await.data().contains(" ago)")
    })
    .await;
    let listed = shell.run(&["client", "list"]).await;
    let line = listed.data().lines().find(|line| line.starts_with("billing")).unwrap();
    assert!(line.contains("Billing") && line.contains("enabled") && line.contains(" 4 "), "{line}");
    let json = shell.run(&["client", "list", "--output", "json"]).await.json();
    assert_eq!(json["clients"].as_array().unwrap().len(), 1 + crate::world::CLIENTS.len());
    shell.run(&["client", "delete-key", "billing", &id]).await.data();
    let gone = shell.run(&["client", "delete-key", "billing", &id]).await;
    assert!(gone.with_code(3).contains("resourceType=api_key"), "{gone:?}");

    let asked = shell.pipe(&["client", "delete", "billing"], "billing\n").await;
    assert!(asked.with_code(2).contains("--yes"), "{asked:?}");
    let last = shell.run(&["client", "delete", "admin", "--yes"]).await;
    assert!(last.with_code(2).contains("PERMISSION_ADMIN_WRITE"), "{last:?}");
    shell.run(&["client", "delete", "billing", "--yes"]).await.data();
    assert_eq!(world.api("admin").await.status(&token, "api").await, TokenStatus::Revoked);
    assert!(shell.run(&["client", "get", "billing"]).await.with_code(3).contains("NOT_FOUND"));
    let reader = Shell::of(&world, "reader").run(&CREATE).await;
    assert!(reader.with_code(4).contains("permission=PERMISSION_ADMIN_WRITE"), "{reader:?}");
}

#[tokio::test]
async fn update_changes_what_is_given_and_clears_what_is_named() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let etag =
        shell.run(&[&CREATE[..], &["--output", "json"]].concat()).await.json()["client"]["etag"].clone();
    let update = |rest: &[&'static str]| {
        let all = arguments(&["update", "billing", "--output", "json"], rest);
        let shell = &shell;
        async move { shell.run(&all).await }
    };
    let uri = "spiffe://example.org/billing";
    let updated =
        update(&["--certificate-uri", "spiffe://example.org/billing", "--clear", "subjects"]).await.json();
    assert_eq!(updated["client"]["certificateUris"], serde_json::json!([uri]));
    assert_eq!(updated["client"]["displayName"], "Billing", "what is not given stays");
    assert!(updated["client"].get("subjects").is_none());
    let stale =
        shell.run(&["client", "update", "billing", "--enable", "--etag", etag.as_str().unwrap()]).await;
    assert!(stale.with_code(1).contains("ETAG_MISMATCH"), "{stale:?}");
    update(&[]).await.with_code(2);
    update(&["--audience", "api", "--clear", "audiences"]).await.with_code(2);
    update(&["--enable", "--disable"]).await.with_code(2);
    update(&["--enable", "--revoke"]).await.with_code(2);
    update(&["--permission", "everything"]).await.with_code(2);
}

#[tokio::test]
async fn c6_disabling_says_that_tokens_live_on_and_offers_to_revoke_them() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut admin = world.api("admin").await;
    let mut service = world.api("service").await;
    let token = service.token("user:7", "api").await.access_token;
    let disable = ["client", "update", "service", "--disable"];
    let said = shell.run(&disable).await;
    assert!(said.data().contains("disabled") && said.err.contains("live on"), "{said:?}");
    assert!(said.err.contains("jeton revoke --client service"), "{said:?}");
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Active);
    // At a terminal it asks; whatever is not the name is no.
    let no = shell.typing(&disable, &["yes"]).await;
    assert!(no.with_code(0).contains("Nothing was revoked"), "{no:?}");
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Active);
    let yes = shell.typing(&disable, &["service"]).await;
    assert!(yes.with_code(0).contains("revoked client service at"), "{yes:?}");
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Revoked);
    // A script says so.
    let token = world.api("other").await.token("user:7", "api").await.access_token;
    let said = shell.run(&["client", "update", "other", "--disable", "--revoke"]).await;
    assert!(said.data().contains("revoked client other at"), "{said:?}");
    assert_eq!(admin.status(&token, "api").await, TokenStatus::Revoked);
}

#[tokio::test]
async fn at_a_terminal_a_key_is_not_shown_unasked_and_a_name_is_typed_to_remove() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let keys = "select count(*) from api_key where client_id = 'service'";
    for rest in [&[][..], &["--output", "token"], &["--output", "json"], &["--output", "table"]] {
        let said = shell.typing(&arguments(&["add-key", "service"], rest), &[]).await;
        assert!(said.with_code(2).contains("--key-file"), "{said:?}");
        assert!(!said.err.contains("jtk_"), "{said:?}");
    }
    assert_eq!(world.number(keys).await, 1, "a key that nobody would see is not made");
    let said = shell.typing(&["client", "add-key", "service", "--show"], &[]).await;
    assert!(said.with_code(0).contains("jtk_"), "{said:?}");
    let said =
        shell.typing(&["client", "add-key", "service", "--key-file", "k", "--output", "json"], &[]).await;
    assert!(said.with_code(0).contains("hidden") && !said.err.contains("jtk_"), "{said:?}");
    assert!(shell.path("k").exists());
    let unwritable = shell.run(&["client", "add-key", "service", "--key-file", "."]).await;
    unwritable.with_code(2);
    assert_eq!(world.number(keys).await, 3, "nothing is made that could not be kept");

    let refused = shell.typing(&["client", "delete", "service"], &["other"]).await;
    assert!(refused.with_code(2).contains("nothing was removed"), "{refused:?}");
    assert!(refused.err.contains("3 API keys"), "{refused:?}");
    let done = shell.typing(&["client", "delete", "service"], &["service"]).await;
    assert!(done.with_code(0).contains("is removed"), "{done:?}");
    assert_eq!(world.number("select count(*) from client where client_id = 'service'").await, 0);
}

#[tokio::test]
async fn an_interrupt_at_a_question_says_what_was_not_done() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let wide = ["revoke", "--client", "service", "--reason", "leaked"];
    for arguments in
        [&["client", "update", "service", "--disable"][..], &["client", "delete", "service"], &wide]
    {
        let said = shell.interrupting(arguments, "ype service to").await;
        assert!(said.with_code(130).contains("Nothing was done"), "{said:?}");
    }
    assert_eq!(world.api("admin").await.status(&token, "api").await, TokenStatus::Active);
    assert_eq!(world.number("select count(*) from client where client_id = 'service'").await, 1);
}

#[tokio::test]
async fn c6_who_may_disable_but_not_revoke_is_told_what_lives_on() {
    let world = World::start().await;
    let key = world.register("platform", &[Permission::AdminRead, Permission::AdminWrite], &[], &[]).await;
    let mut shell = Shell::of(&world, "admin");
    let file = shell.write("platform.key", &key).display().to_string();
    let place = shell.arguments.iter().position(|it| it == "--api-key-file").unwrap();
    shell.arguments[place + 1] = file;
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let said = shell.run(&["client", "update", "service", "--disable", "--revoke"]).await;
    let error = said.with_code(4);
    assert!(error.contains("its tokens may live on") && error.contains("REVOKE_WIDE"), "{said:?}");
    assert!(said.out.contains("disabled"), "{said:?}");
    assert_eq!(world.api("admin").await.status(&token, "api").await, TokenStatus::Active);
}

#[tokio::test]
async fn an_api_key_in_place_of_its_files_name_is_refused_and_not_repeated() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    let key = api_key("admin");
    let place = shell.arguments.iter().position(|it| it == "--api-key-file").unwrap();
    shell.arguments[place + 1].clone_from(&key);
    for arguments in [&["client", "list"][..], &["context", "add", "prod"]] {
        let said = shell.run(arguments).await;
        assert!(said.with_code(2).contains("replace that key") && !said.err.contains(&key), "{said:?}");
    }
    assert!(!shell.path("config/jeton/contexts.toml").exists(), "nothing is kept of it");
    let empty = shell.write("empty.key", "\n").display().to_string();
    shell.arguments[place + 1] = empty;
    let said = shell.run(&["client", "list"]).await;
    assert!(said.with_code(2).contains("empty.key is empty"), "{said:?}");
}
