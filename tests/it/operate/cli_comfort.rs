//! The command line, end to end: errors for machines, completion, manual pages, narrow terminals, programs that give the
//! key.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::Value;

use crate::world::{Said, Shell, World, api_key};

const ISSUE: [&str; 5] = ["issue", "--subject", "user:7", "--audience", "api"];

/// The error on the last line of standard error.
fn error_of(said: &Said) -> Value {
    let line = said.err.trim_end().lines().last().unwrap_or_default();
    let json: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {said:?}"));
    assert_eq!(json["error"]["exitCode"], said.code, "{said:?}");
    json["error"].clone()
}

/// The names of a context that knows this world, kept in the shell's home.
async fn in_context(world: &World, client_id: &str) -> Shell {
    let mut shell = Shell::of(world, client_id);
    let flags = std::mem::take(&mut shell.arguments);
    let add: Vec<&str> =
        ["context", "add", "prod"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    shell.run(&add).await.with_code(0);
    shell.run(&["context", "use", "prod"]).await.with_code(0);
    shell
}

#[tokio::test]
async fn errors_are_json_where_answers_are() {
    let world = World::start().await;
    let shell = Shell::of(&world, "service");
    let json = ["--output", "json"];
    let refused = error_of(&shell.run(&[&ISSUE[..], &["--ttl", "2h"], &json].concat()).await);
    assert_eq!(
        (&refused["code"], &refused["reason"]),
        (&"INVALID_ARGUMENT".into(), &"TTL_EXCEEDS_MAXIMUM".into())
    );
    assert_eq!(refused["metadata"]["requestedTtlSeconds"], "7200", "{refused}");
    assert_eq!(refused["exitCode"], 2);
    let denied = error_of(&shell.run(&["client", "list", "--output=json"]).await);
    assert_eq!((&denied["code"], &denied["exitCode"]), (&"PERMISSION_DENIED".into(), &4.into()));
    let wrong = error_of(&shell.run(&["issue", "--output", "json"]).await);
    assert_eq!((&wrong["reason"], &wrong["exitCode"]), (&"USAGE".into(), &2.into()));
    assert!(!wrong["message"].as_str().unwrap().contains("Usage:"), "{wrong}");
    let own = error_of(&shell.run(&[&ISSUE[..], &["--refresh-token-file", "f"], &json].concat()).await);
    assert_eq!(own["reason"], "USAGE");
    let away = Shell::new();
    away.write("api.key", &api_key("service"));
    let at = ["--endpoint", "127.0.0.1:1", "--api-key-file", "api.key"];
    let away = error_of(&away.run(&[&ISSUE[..], &at, &json].concat()).await);
    assert_eq!((&away["code"], &away["exitCode"]), (&"UNAVAILABLE".into(), &5.into()));
    // Without it, people read the same.
    let said = shell.run(&[&ISSUE[..], &["--ttl", "2h"]].concat()).await;
    assert!(said.err.starts_with("error: "), "{said:?}");
}

#[tokio::test]
async fn the_nearest_spelling_is_offered_and_never_the_opposite() {
    let shell = Shell::new();
    for (words, offered) in
        [(["revok", "x"], "revoke"), (["client", "delet"], "delete"), (["policy", "lst"], "list")]
    {
        let said = shell.run(&words).await;
        assert!(said.with_code(2).contains(&format!("'{offered}'")), "{said:?}");
    }
    for words in
        [["client", "create", "x", "--enabled"].as_slice(), &["unissue"], &["client", "undelete", "x"]]
    {
        let said = shell.run(words).await;
        assert!(!said.with_code(2).contains("similar"), "{said:?}");
    }
}

#[tokio::test]
async fn help_shows_examples_before_flags() {
    let shell = Shell::new();
    let root = shell.run(&["--help"]).await.data().to_owned();
    for heading in ["Examples:", "Tokens:", "Access:", "Operations:", "Server:", "Setup:", "Exit codes:"] {
        assert!(root.contains(heading), "{heading}: {root}");
    }
    assert!(root.contains("get, create, update, delete, add-key"), "{root}");
    let verb = shell.run(&["client", "add-key", "--help"]).await.data().to_owned();
    let at = |text: &str| verb.find(text).unwrap_or_else(|| panic!("{text}: {verb}"));
    assert!(
        at("Examples:") < at("--ttl <DURATION>\n") && at("--ttl <DURATION>\n") < at("Global options:"),
        "{verb}"
    );
    let short = shell.run(&["client", "add-key", "-h"]).await.data().to_owned();
    assert!(!short.contains("--tls-ca") && short.contains("--help"), "{short}");
}

#[tokio::test]
async fn words_are_completed_with_names_that_the_server_knows() {
    let world = World::start().await;
    let shell = in_context(&world, "admin").await;
    let after = async |words: &[&str]| {
        let said = shell.run(&[&["complete-values", "--"], words].concat()).await;
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        said.out.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(after(&["revok"]).await, ["revoke"]);
    assert_eq!(after(&["client", "get", "serv"]).await, ["service"]);
    assert_eq!(after(&["--context", ""]).await, ["prod"]);
    assert_eq!(after(&["--context=p"]).await, ["--context=prod"]);
    let key = jeton_token::ApiKey::parse(&api_key("service")).unwrap();
    assert_eq!(after(&["client", "delete-key", "service", ""]).await, [key.id()]);
    assert_eq!(after(&["revoke", "--key", ""]).await.len(), 2, "one of each algorithm");
    // As bash asks.
    let line = "source <(jeton completion bash); COMP_LINE='jeton client get serv'; COMP_POINT=${#COMP_LINE}; _jeton; \
                echo \"${COMPREPLY[@]}\"";
    assert_eq!(shell.script_in("bash", line).await.data(), "service");
    for name in ["zsh", "fish"] {
        assert!(shell.run(&["completion", name]).await.data().contains("complete-values"));
    }
    // Without a server, without a right: nothing, and no word.
    let nobody = Shell::new().run(&["complete-values", "--", "client", "get", ""]).await;
    assert_eq!((nobody.code, nobody.out.as_str(), nobody.err.as_str()), (0, "", ""));
    let away = ["complete-values", "--", "--admin-endpoint=127.0.0.1:1", "client", "get", ""];
    assert_eq!(shell.run(&away).await.data(), "");
}

#[tokio::test]
async fn there_are_manual_pages() {
    let shell = Shell::new();
    assert!(shell.run(&["man"]).await.data().contains("jeton"));
    let said = shell.run(&["man", "--dir", "pages"]).await;
    assert!(said.data().ends_with("pages are in pages"), "{said:?}");
    let page = fs::read_to_string(shell.path("pages/jeton-client-add-key.1")).unwrap();
    assert!(page.contains("jeton client add\\-key checkout"), "{page}");
}

#[tokio::test]
async fn tables_fit_a_terminal_and_are_whole_in_a_pipe() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let session = api.session("user:7", "api").await.session_id;
    let list = ["session", "list", "--subject", "user:7"];
    let seen = shell.typing(&list, &[]).await;
    let lines: Vec<_> = seen.with_code(0).lines().map(|line| line.trim_end_matches('\r')).collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{seen:?}");
    assert!(lines.iter().any(|line| line.contains(&session)), "{seen:?}");
    let piped = shell.run(&list).await;
    let lines: Vec<_> = piped.data().lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("REVOKED") && lines[1].contains(&session), "{piped:?}");
    for verb in
        [["policy", "list"], ["client", "list"], ["key", "list"], ["audit", "list"], ["replica", "list"]]
    {
        let seen = shell.typing(&verb, &[]).await;
        let wide = seen.with_code(0).lines().find(|line| line.trim_end_matches('\r').chars().count() > 80);
        assert_eq!(wide, None, "{verb:?}");
    }
}

#[tokio::test]
async fn e22_a_program_gives_the_key_and_its_output_is_not_shown() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "service");
    let endpoint = world.server.ready.public.clone();
    shell.arguments.clear();
    let key = shell.path("api.key").display().to_string();
    let add = async |command: &[&str]| {
        let words = [&["context", "add", "prod", "--endpoint", &endpoint, "--"], command].concat();
        shell.run(&words).await.with_code(0);
    };
    let issue = [&ISSUE[..], &["--context", "prod"]].concat();
    add(&["cat", &key]).await;
    shell.run(&issue).await.data();
    let listed = shell.run(&["context", "list"]).await;
    assert!(listed.data().contains("by cat "), "{listed:?}");
    // No shell reads it.
    add(&["echo", "$(cat api.key)", ";", "touch", "made"]).await;
    let literal = shell.run(&issue).await;
    assert!(literal.with_code(2).contains("is no API key") && !literal.err.contains("touch"), "{literal:?}");
    assert!(!shell.path("made").exists());
    add(&["sh", "-c", "echo nothing-to-tell; exit 3"]).await;
    let failed = shell.run(&issue).await;
    assert!(
        failed.with_code(2).contains("exit status: 3") && !failed.err.contains("nothing-to-tell"),
        "{failed:?}"
    );
    add(&["no-such-program"]).await;
    assert!(shell.run(&issue).await.with_code(2).contains("cannot be run"));
    // Whoever can write the file could have any program run.
    add(&["cat", &key]).await;
    let file = shell.path("config/jeton/contexts.toml");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let open = shell.run(&issue).await;
    assert!(open.with_code(2).contains("chmod 600"), "{open:?}");
    let both =
        ["context", "add", "x", "--endpoint", &endpoint, "--api-key-file", "api.key", "--", "cat", &key];
    shell.run(&both).await.with_code(2);
}

#[tokio::test]
async fn whoami_says_who_asks_and_until_when() {
    let world = World::start().await;
    let key = jeton_token::ApiKey::parse(&api_key("service")).unwrap();
    let shell = Shell::of(&world, "service");
    let said = shell.run(&["whoami"]).await;
    let line =
        |name: &str| said.data().lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("client").ends_with("service"), "{said:?}");
    assert!(line("by").contains(&format!("API key {}", key.id())), "{said:?}");
    assert!(line("ends").ends_with("never"), "{said:?}");
    assert!(line("permissions").contains("issue validate"), "{said:?}");
    assert!(!said.out.contains("jtk_"), "{said:?}");
    let json = shell.run(&["whoami", "--output", "json"]).await.json();
    assert_eq!((&json["client"]["clientId"], &json["apiKeyId"]), (&"service".into(), &key.id().into()));
    // The admin listener answers, too.
    let mut admin = Shell::of(&world, "admin");
    admin.arguments.drain(..2);
    assert!(admin.run(&["whoami"]).await.data().contains("admin-write"));
    let unknown = Shell::of(&world, "service");
    unknown.write("api.key", jeton_token::ApiKey::generate().expose());
    unknown.run(&["whoami"]).await.with_code(4);

    // Doctor warns before it ends.
    let admin = Shell::of(&world, "admin");
    admin.run(&["client", "add-key", "service", "--ttl", "13d", "--key-file", "short.key"]).await.data();
    let mut short = Shell::of(&world, "service");
    let file = admin.path("short.key").display().to_string();
    *short.arguments.last_mut().unwrap() = file;
    let doctor = short.run(&["doctor"]).await;
    let caller = doctor.out.lines().find(|line| line[6..].starts_with("caller")).unwrap();
    assert!(
        caller.starts_with("warn") && caller.contains("client service") && caller.contains("it ends in 1"),
        "{doctor:?}"
    );
    assert!(doctor.out.contains("jeton client rotate-key service "), "{doctor:?}");
    let doctor = admin.run(&["doctor"]).await;
    let keys = doctor.out.lines().find(|line| line[6..].starts_with("api keys")).unwrap();
    assert!(keys.starts_with("warn") && keys.contains("of service in 1"), "{doctor:?}");
}

#[tokio::test]
async fn a_key_is_rotated_with_an_overlap_or_at_once() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let service = Shell::of(&world, "service");
    let old = jeton_token::ApiKey::parse(&api_key("service")).unwrap();
    let said = shell.run(&["client", "rotate-key", "service", "--key-file", "new.key"]).await;
    let told = said.with_code(0);
    assert!(
        told.contains(&format!("jeton client delete-key service {}", old.id())) && told.contains("(in 24h)"),
        "{said:?}"
    );
    service.run(&ISSUE).await.data();
    let mut renewed = Shell::of(&world, "service");
    *renewed.arguments.last_mut().unwrap() = shell.path("new.key").display().to_string();
    renewed.run(&ISSUE).await.data();
    // There are two now.
    let which = shell.run(&["client", "rotate-key", "service", "--key-file", "third.key"]).await;
    assert!(which.with_code(2).contains(old.id()), "{which:?}");
    let at_once = ["client", "rotate-key", "service", old.id(), "--overlap", "0s", "--key-file", "third.key"];
    assert!(shell.run(&at_once).await.with_code(0).contains("is refused"));
    service.run(&ISSUE).await.with_code(4);
    renewed.run(&ISSUE).await.data();
}
