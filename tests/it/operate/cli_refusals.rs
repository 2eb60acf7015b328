//! The command line, end to end: what it refuses before anything is sent, and what it undoes.

use std::{
    fs,
    os::unix::fs::{FileTypeExt, symlink},
};

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::world::{Database, Shell, World, foreign_key};

const ISSUE: [&str; 5] = ["issue", "--subject", "user:7", "--audience", "api"];

#[tokio::test]
async fn e20_a_file_for_a_secret_replaces_nothing_and_makes_no_directory() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let keys = world.number("select count(*) from api_key").await;
    shell.write("taken", "another secret");
    mknodat(CWD, shell.path("fifo"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    symlink("nowhere", shell.path("dangling")).unwrap();
    for (name, said) in [
        ("taken", "exists"),
        ("fifo", "exists"),
        ("dangling", "exists"),
        ("/dev/null", "exists"),
        (".", "exists"),
        ("none/new.key", "mkdir -p none"),
    ] {
        let added = shell.run(&["client", "add-key", "other", "--key-file", name]).await;
        assert!(added.with_code(2).contains(said), "{name}: {added:?}");
        let rotated = shell.run(&["client", "rotate-key", "other", "--key-file", name]).await;
        assert!(rotated.with_code(2).contains(said), "{name}: {rotated:?}");
        let issued =
            shell.run(&[&ISSUE[..], &["--refreshable", "--refresh-token-file", name]].concat()).await;
        assert!(issued.with_code(2).contains(said), "{name}: {issued:?}");
    }
    assert_eq!(world.number("select count(*) from api_key").await, keys, "no key was made");
    assert_eq!(world.number("select count(*) from session").await, 0, "no session was opened");
    assert_eq!(fs::read_to_string(shell.path("taken")).unwrap(), "another secret");
    assert!(fs::symlink_metadata(shell.path("fifo")).unwrap().file_type().is_fifo());
    assert!(!shell.path("none").exists() && !shell.path("nowhere").exists());
    let idle = shell.run(&[&ISSUE[..], &["--refresh-token-file", "new.token"]].concat()).await;
    assert!(idle.with_code(2).contains("--refreshable"), "{idle:?}");
}

#[tokio::test]
async fn e20_what_could_not_be_handed_out_is_ended_again() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let keys = world.number("select count(*) from api_key").await;
    for verb in ["client add-key other", "client add-key other --output json", "client rotate-key other"] {
        let lost = shell.script(&format!("jeton {verb} > /dev/full")).await;
        assert!(lost.with_code(1).contains("deleted again"), "{verb}: {lost:?}");
        assert!(!lost.err.contains("jtk_"), "{verb}: {lost:?}");
        // With a file, it is the facts that cannot be printed.
        let filed =
            shell.script(&format!("jeton {verb} --output table --key-file new.key > /dev/full")).await;
        if !verb.contains("json") {
            assert!(filed.with_code(1).contains("deleted again"), "{verb}: {filed:?}");
        }
        assert!(!shell.path("new.key").exists(), "{verb}");
    }
    assert_eq!(world.number("select count(*) from api_key").await, keys);

    let issue = ISSUE.join(" ");
    let lost = shell.script(&format!("jeton {issue} --refreshable --output json > /dev/full")).await;
    assert!(lost.with_code(1).contains("was ended again"), "{lost:?}");
    let live = shell.run(&["session", "list", "--subject", "user:7", "--output", "json"]).await.json();
    assert_eq!(live.get("sessions"), None, "{live}");
}

#[tokio::test]
async fn e20_the_first_key_of_a_deployment_is_kept_when_nobody_can_read_it() {
    let database = Database::create_empty().await;
    let mut shell = Shell::new();
    shell.environment.push(("JETON_DATABASE_URL".to_owned(), database.url.clone()));
    shell.run(&["migrate", "up"]).await.with_code(0);
    let lost = shell.script("jeton client bootstrap --client-id root > /dev/full").await;
    assert!(lost.with_code(1).contains("bootstrap.key") && !lost.err.contains("jtk_"), "{lost:?}");
    assert!(fs::read_to_string(shell.path("bootstrap.key")).unwrap().starts_with("jtk_"));
}

#[tokio::test]
async fn e22_an_endpoint_that_is_no_address_is_refused_before_anything_is_sent() {
    let mut shell = Shell::new();
    shell.write("api.key", jeton_token::ApiKey::generate().expose());
    shell.write("token", "a.b.c");
    let wrong = [
        "",
        "ftp://127.0.0.1:1",
        "http://user:hunter2@127.0.0.1:1",
        "http://127.0.0.1:70700",
        "127.0.0.1:70700",
        "127.0.0.1",
        "http://127.0.0.1:0",
        "http://127.0.0.1:1/path",
        "http://127.0.0.1:1?query",
        "http://127.0.0.1:1,",
    ];
    for endpoint in wrong {
        for verb in [
            ["validate", "--token-file", "token", "--endpoint", endpoint].as_slice(),
            &["client", "list", "--admin-endpoint", endpoint],
            &["doctor", "--endpoint", "127.0.0.1:1", "--ops-endpoint", endpoint],
            &["context", "add", "prod", "--endpoint", endpoint],
        ] {
            let said = shell.run(&[verb, &["--api-key-file", "api.key"]].concat()).await;
            let told = said.with_code(2);
            assert!(
                told.contains("https://host:port")
                    || told.contains("http://host:port")
                    || endpoint.is_empty(),
                "{said:?}"
            );
            assert!(!told.contains("hunter2"), "{said:?}");
        }
    }
    assert!(!shell.path("config/jeton/contexts.toml").exists());
    // From the environment, by its name; and from a file that was edited.
    shell.environment.push(("JETON_ENDPOINT".to_owned(), "http://127.0.0.1:70700".to_owned()));
    let variable = shell.run(&["validate", "--token-file", "token", "--api-key-file", "api.key"]).await;
    assert!(variable.with_code(2).contains("JETON_ENDPOINT"), "{variable:?}");
    shell.environment.pop();
    let file = "current = \"prod\"\n[context.prod]\nendpoint = \"http://127.0.0.1:70700\"\napi_key_file = \"api.key\"\n";
    shell.write("config/jeton/contexts.toml", file);
    let context = shell.run(&["validate", "--token-file", "token"]).await;
    assert!(context.with_code(2).contains("context prod"), "{context:?}");
}

#[tokio::test]
async fn e22_a_text_that_is_no_api_key_is_not_sent() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let master_key = crate::world::master_key_text();
    for text in [master_key.as_str(), "jtk_nonsense", "Bearer", "{\"key\": 1}"] {
        shell.write("api.key", text);
        let said = shell.run(&["client", "list"]).await;
        let told = said.with_code(2);
        assert!(told.contains("is no API key, so it was not sent") && !told.contains(text), "{said:?}");
    }
    let two = format!("{}\n{}\n", crate::world::api_key("admin"), crate::world::api_key("service"));
    shell.write("api.key", &two);
    shell.run(&["client", "list"]).await.with_code(2);
}

#[tokio::test]
async fn e23_empty_values_and_a_scope_that_matches_nothing_are_refused() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    shell.run(&["policy", "set", "orders", "--max-ttl", "2h"]).await.data();
    for (verb, said) in [
        (["policy", "delete", "orders", "--etag", ""].as_slice(), "--etag"),
        (&["client", "update", "other", "--disable", "--etag="], "--etag"),
        (&["client", "delete", "other", "--yes", "--etag", ""], "--etag"),
        (&["audit", "list", "--subject", ""], "--subject"),
        (&["audit", "list", "--jti", ""], "--jti"),
        (&["audit", "list", "--actor="], "--actor"),
        (&["session", "list", "--client", ""], "--client"),
        (&["policy", "get", ""], "AUDIENCE"),
        (&["policy", "set", "orders", "--allow-scope", "*"], "wildcard"),
        (&["issue", "--subject", "u", "--audience", "a", "--claim-json", r#"x={"a":1,"a":2}"#], "twice"),
    ] {
        let refused = shell.run(verb).await;
        assert!(refused.with_code(2).contains(said), "{verb:?}: {refused:?}");
        assert_eq!(refused.out, "", "{verb:?}");
    }
    shell.run(&["policy", "get", "orders"]).await.data();
    assert_eq!(world.audited("action in ('DeletePolicy', 'UpdateClient', 'DeleteClient', 'Issue')").await, 0);
}

#[tokio::test]
async fn v15_a_pasted_token_is_judged_as_the_one_that_revoke_would_find() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let token = Shell::of(&world, "service").run(&ISSUE).await.data().to_owned();
    let (head, tail) = token.split_at(40);
    for text in [
        format!("\"{token}\""),
        format!("authorization: Bearer {token}"),
        format!("I found {token} in a log."),
        format!("JETON_TOKEN={token}\n"),
        format!("{head}\r\n  {tail}\n\n"),
    ] {
        for verb in ["validate", "inspect"] {
            let said = shell.pipe(&[verb, "-"], &text).await;
            let data = said.data();
            assert!(data.starts_with("ACTIVE") || data.contains("It speaks for user:7"), "{text}: {said:?}");
            assert!(said.err.contains("taken out of the text: "), "{text}: {said:?}");
            assert!(!said.err.contains("eyJ"), "{said:?}");
        }
        let json = shell.pipe(&["validate", "--output", "json"], &text).await.json();
        assert_eq!(json["verdict"]["status"], "TOKEN_STATUS_ACTIVE");
    }
    // What only begins like a token is none.
    for text in [format!("{token}A"), format!("{token}.A")] {
        shell.pipe(&["validate", "--audience", "api"], &text).await.with_code(3);
    }
    let two = shell
        .pipe(&["validate"], &format!("{token} {}", Shell::of(&world, "service").run(&ISSUE).await.data()))
        .await;
    assert!(two.with_code(2).contains("2 tokens"), "{two:?}");
    let clean = shell.pipe(&["validate", "--audience", "api"], &token).await;
    assert!(clean.data().starts_with("ACTIVE") && clean.err.is_empty(), "{clean:?}");
}

#[tokio::test]
async fn inspect_says_what_it_found_and_not_the_rule() {
    let shell = Shell::new();
    for (text, found) in [
        ("garbage", "This is no token: it is not three segments with dots between."),
        ("eyJ!.eyJ9.c2ln", "This is no token: the header is not canonical base64url."),
    ] {
        let said = shell.pipe(&["inspect"], text).await;
        said.with_code(3);
        assert_eq!(said.out.trim_end(), found, "{said:?}");
    }
}

#[tokio::test]
async fn of_two_private_keys_in_one_file_none_is_imported() {
    let world = World::start().await;
    let mut shell = Shell::new();
    let master_key = world.directory.path().join("master.key").display().to_string();
    shell.environment = vec![
        ("JETON_DATABASE_URL".to_owned(), world.database.url.clone()),
        ("JETON_MASTER_KEY_FILE".to_owned(), master_key),
    ];
    let keys = world.number("select count(*) from signing_key").await;
    let one = || foreign_key(jeton_token::Algorithm::Es256);
    shell.write("key.pem", &format!("{}{}", one(), one()));
    let said = shell.run(&["key", "import", "--file", "key.pem", "--state", "retired"]).await;
    assert!(said.with_code(1).contains("several private keys"), "{said:?}");
    assert_eq!(world.number("select count(*) from signing_key").await, keys);
}
