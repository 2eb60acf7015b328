//! The command line in the shells that people use: completion, and colours. `scripts/need-shells` installs them.

use std::{fs, os::unix::fs::symlink, process::Stdio};

use tokio::{process::Command, time::timeout};

use crate::world::{PATIENCE, Shell, Terminal, World, api_key};

/// The prompt of a shell.
const PROMPT: &str = "ready> ";

/// A directory in which `jeton` is this program, and a context that knows this world.
async fn at_home(world: &World) -> Shell {
    let mut shell = Shell::of(world, "admin");
    let flags = std::mem::take(&mut shell.arguments);
    let add: Vec<&str> =
        ["context", "add", "prod"].into_iter().chain(flags.iter().map(String::as_str)).collect();
    shell.run(&add).await.with_code(0);
    shell.run(&["context", "use", "prod"]).await.with_code(0);
    fs::create_dir(shell.path("bin")).unwrap();
    symlink(env!("CARGO_BIN_EXE_jeton"), shell.path("bin/jeton")).unwrap();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", shell.path("bin").display());
    shell.environment.push(("PATH".to_owned(), path));
    shell
}

/// zsh on a terminal that is its own, in this shell's directory and environment.
fn zsh(shell: &Shell) -> (Terminal, tokio::process::Child) {
    let (terminal, end) = Terminal::open();
    let mut command = Command::new("setsid");
    let home = shell.directory.path();
    command.args(["--ctty", "zsh", "-f", "-i"]).current_dir(home).env_clear().env("HOME", home);
    command.env("TERM", "xterm").env("PS1", PROMPT);
    command.env("XDG_CONFIG_HOME", shell.path("config")).envs(shell.environment.iter().cloned());
    command.stdin(terminal.another_end()).stdout(terminal.another_end()).stderr(end).kill_on_drop(true);
    (terminal, command.spawn().unwrap())
}

#[tokio::test]
async fn fish_completes_verbs_contexts_clients_and_keys() {
    let world = World::start().await;
    let shell = at_home(&world).await;
    let after = async |line: &str| {
        let script = format!("jeton completion fish | source; complete --do-complete '{line}'");
        let mut command = Command::new("fish");
        let home = shell.directory.path();
        command.args(["--no-config", "-c", &script]).current_dir(home).env_clear().env("HOME", home);
        command.env("XDG_CONFIG_HOME", shell.path("config")).envs(shell.environment.iter().cloned());
        let output = command.stdin(Stdio::null()).output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(after("jeton revok").await, ["revoke"]);
    assert_eq!(after("jeton context use p").await, ["prod"]);
    assert_eq!(after("jeton client get serv").await, ["service"]);
    assert_eq!(after("jeton revoke --key ").await.len(), 2, "one of each algorithm");
    let key = jeton_token::ApiKey::parse(&api_key("service")).unwrap();
    assert_eq!(after("jeton client delete-key service ").await, [key.id()]);
}

#[tokio::test]
async fn zsh_completes_verbs_contexts_clients_and_keys() {
    let world = World::start().await;
    let shell = at_home(&world).await;
    let (terminal, mut child) = zsh(&shell);
    let key = jeton_token::ApiKey::parse(&api_key("service")).unwrap();
    timeout(PATIENCE, complete_in_zsh(terminal, key.id())).await.expect("in time");
    child.wait().await.unwrap();
}

async fn complete_in_zsh(terminal: Terminal, key: &str) {
    let (mut terminal, _) = terminal.until(PROMPT).await;
    terminal.type_line("autoload -U compinit && compinit -u -D && source <(jeton completion zsh)");
    // What is completed is printed, and not done.
    terminal.type_line(
        "jeton() { [[ $1 = complete-values ]] && command jeton \"$@\" || print -r -- \"<${(j: :)@}>\" }",
    );
    for (typed, completed) in [
        ("revok", "revoke".to_owned()),
        ("context use p", "context use prod".to_owned()),
        ("client get serv", "client get service".to_owned()),
        ("client delete-key service ", format!("client delete-key service {key}")),
    ] {
        terminal.type_line(&format!("jeton {typed}\t"));
        (terminal, _) = terminal.until(format!("<{completed}>").leak()).await;
    }
    terminal.type_line("exit");
}

const DOCTOR: [&str; 1] = ["doctor"];

#[tokio::test]
async fn colours_are_for_terminals_and_no_color_is_heard() {
    let world = World::start().await;
    let mut shell = Shell::of(&world, "admin");
    assert!(shell.typing(&DOCTOR, &[]).await.err.contains("\u{1b}["), "a terminal gets colours");
    assert!(!shell.run(&DOCTOR).await.out.contains('\u{1b}'), "a pipe does not");
    assert!(shell.run(&["doctor", "--color", "always"]).await.out.contains("\u{1b}["));
    let never = shell.typing(&["doctor", "--color", "never"], &[]).await;
    assert!(!never.err.contains("\u{1b}["), "{never:?}");
    shell.environment.push(("NO_COLOR".to_owned(), "1".to_owned()));
    for verb in [&["doctor"][..], &["--help"], &["revoke", "--help"], &["revok"], &["client", "list"]] {
        let said = shell.typing(verb, &[]).await;
        assert!(!said.err.contains("\u{1b}["), "{verb:?}: {said:?}");
    }
    // By the standard, an empty value is none.
    shell.environment.last_mut().unwrap().1.clear();
    assert!(shell.typing(&DOCTOR, &[]).await.err.contains("\u{1b}["));
}
