//! Where the text of a token does not go: the arguments of a process, a shell's history, logs, the terminal.

use std::{fs, os::unix::fs::symlink};

use tokio::{process::Command, time::timeout};

use crate::world::{Api, PATIENCE, Shell, Terminal, World, api_key};

/// The beginnings of everything secret.
const SECRETS: [&str; 4] = ["eyJ", "jtr_", "jtk_", "hunter2"];

fn holds_no_secret(what: &str, text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{what} holds {secret}: {text}");
    }
}

/// An access token and a refresh token, as a person finds them in a chat.
async fn leak(api: &mut Api) -> (String, String) {
    let session = api.session("user:7", "api").await;
    let other = api.token("user:8", "api").await.access_token;
    let refresh = session.refresh.unwrap().refresh_token;
    let (head, tail) = other.split_at(50);
    (other.clone(), format!("look what I found:\n\n> {head}\n> {tail}\n\nand {refresh} !\ntouch reached\n"))
}

#[tokio::test]
async fn k21_a_paste_reaches_no_history_no_argument_no_log_and_no_screen() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    fs::create_dir(shell.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_jeton"), shell.path("bin/jeton")).unwrap();
    let (token, text) = leak(&mut api).await;
    let (terminal, end) = Terminal::open();
    let mut command = Command::new("bash");
    let home = shell.directory.path();
    command.args(["--norc", "--noprofile", "-i"]).current_dir(home).env_clear().env("HOME", home);
    command.env("PATH", format!("{}:/usr/bin:/bin", shell.path("bin").display())).env("TERM", "dumb");
    command.env("HISTFILE", shell.path("history")).env("PS1", "ready> ");
    command.stdin(terminal.another_end()).stdout(terminal.another_end()).stderr(end).kill_on_drop(true);
    let mut bash = command.spawn().unwrap();
    drop(command);
    let (mut terminal, mut seen) = terminal.until("ready> ").await;
    terminal.type_line(&format!("jeton revoke --reason leaked {}", shell.arguments.join(" ")));
    let steps = [
        ("empty line: ", format!("\u{1b}[200~{text}\u{1b}[201~\n")),
        ("Type 2 to revoke them: ", "2\n".to_owned()),
        ("revoked 2 of 2", String::new()),
    ];
    let typing = async {
        for (awaited, keys) in steps {
            let (next, more) = terminal.until(awaited).await;
            (terminal, seen) = (next, seen + &more);
            if awaited == "empty line: " {
                holds_no_secret("the arguments of a process", &arguments_below(bash.id().unwrap()));
            }
            terminal.type_keys(&keys);
        }
        (terminal, seen)
    };
    let (mut terminal, mut seen) = timeout(PATIENCE, typing).await.expect("in time");
    terminal.type_line("exit");
    bash.wait().await.unwrap();
    seen += &terminal.read().await;
    holds_no_secret("the terminal", &seen);
    let history = fs::read_to_string(shell.path("history")).unwrap();
    assert!(history.contains("jeton revoke"), "{history}");
    holds_no_secret("the history", &history);
    holds_no_secret("the server's log", &world.server.logged());
    assert!(!shell.path("reached").exists(), "nothing of it was run");
    assert!(api.status(&token, "api").await != jeton::proto::v1::TokenStatus::Active);
}

/// The arguments of a process, and of all that it started.
fn arguments_below(process: u32) -> String {
    let own = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    let below = children.split_whitespace().map(|child| arguments_below(child.parse().unwrap()));
    format!("{}\n{}", String::from_utf8_lossy(&own), below.collect::<String>())
}

#[tokio::test]
async fn e22_what_a_program_that_gives_the_key_can_see_of_jeton_holds_no_secret() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "service");
    let endpoint = world.server.ready.public.clone();
    let flags = std::mem::take(&mut shell.arguments);
    let token = world.api("service").await.token("user:7", "api").await.access_token;
    let script = format!(
        "tr '\\0' ' ' </proc/$PPID/cmdline >seen; env >>seen; tr '\\0' ' ' </proc/$$/cmdline >>seen; cat '{}'",
        flags[5]
    );
    let add = ["context", "add", "prod", "--endpoint", &endpoint, "--", "sh", "-c", &script];
    shell.run(&add).await.with_code(0);
    let said = shell.pipe(&["revoke", "-", "--context", "prod"], &token).await;
    assert!(said.data().starts_with("revoked token "), "{said:?}");
    let seen = fs::read_to_string(shell.path("seen")).unwrap();
    assert!(seen.contains("revoke - --context prod"), "{seen}");
    holds_no_secret("what the program sees", &seen);
}

#[tokio::test]
async fn k21_token_text_in_the_wrong_place_is_not_repeated() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let session = api.session("user:7", "api").await;
    let (token, refresh, key) =
        (session.access_token, session.refresh.unwrap().refresh_token, api_key("narrow"));
    let (head, _) = token.rsplit_once('.').unwrap();
    for secret in [token.as_str(), &refresh, &key, head] {
        for words in [
            ["explain", secret].as_slice(),
            &["explain", "--jti", secret],
            &["session", "show", secret],
            &["session", "revoke", secret],
            &["revoke", "--session", secret],
            &["revoke", "--key", secret, "--reason", "leaked"],
            &["validate", secret],
            &["inspect", secret],
            &["refresh", secret],
            &["audit", "list", "--jti", secret],
            &["client", "delete-key", "narrow", "--ttl", secret],
            &[secret],
            &["revoke", "--wait", secret],
            &["policy", "set", "orders", "--max-ttl", secret],
        ] {
            let said = shell.typing(words, &[]).await;
            assert_ne!(said.code, 0, "{words:?}: {said:?}");
            holds_no_secret("the terminal", &said.err);
            let json = shell.run(&[words, &["--output", "json"]].concat()).await;
            holds_no_secret("the error as JSON", &format!("{}{}", json.out, json.err));
        }
    }
    // Revoke obeys, and repeats nothing either.
    for secret in [&token, &refresh] {
        let said = shell.typing(&["revoke", secret, "--reason", "leaked"], &[]).await;
        holds_no_secret("the terminal", said.with_code(0));
    }
    let said = shell.dialogue(&["revoke", &key], &[("or Enter to leave it: ", "")]).await;
    holds_no_secret("the terminal", said.with_code(6));
    // What is minted is shown on a terminal only when it is asked for.
    let issue = ["issue", "--subject", "user:7", "--audience", "api"];
    holds_no_secret("the terminal", shell.typing(&issue, &[]).await.with_code(0));
    let shown = shell.typing(&[&issue[..], &["--show"]].concat(), &[]).await;
    assert!(shown.with_code(0).contains("eyJ"), "{shown:?}");
    holds_no_secret("the server's log", &world.server.logged());
}
