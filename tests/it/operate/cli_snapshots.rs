//! What the command line prints, word by word: in a pipe, and on a terminal of 80 columns. `INSTA_UPDATE=always` accepts
//! a change.

use insta::{Settings, assert_snapshot};
use jeton::proto::v1 as pb;

use crate::world::{Said, Shell, World, policy, seconds, until};

/// What differs from run to run, and what is shown in its place. Blanks align columns, whose widths differ with it.
const FILTERS: [(&str, &str); 20] = [
    (r"\r", ""),
    (r"\x1b\[([0-9;]*)m", "<$1>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
    (r"\d\d:\d\d:\d\d\.\d{3}Z", "[time of day]"),
    (r"\b[0-9a-f]{32}\b", "[trace]"),
    (r"127\.\d+\.\d+\.\d+:\d+", "[address]"),
    (r"version \d+\.\d+\.\d+", "version [version]"),
    (r"replica [a-z0-9.-]+-\d+\b", "replica [replica]"),
    (r"(ahead of|behind) the database", "[ahead or behind] the database"),
    (r"for [0-9dhm ]*\d+s\b", "for [duration]"),
    (r"(\W|^)[A-Za-z0-9_-]{43}(\W|$)", "$1[key]$2"),
    (r"API key [A-Za-z0-9_-]{22}\b", "API key [key id]"),
    (r"\b1\.\d+\b", "[revision]"),
    (r"\(in [0-9dhms ]+\)", "(in [duration])"),
    (r"\((now|[0-9dhms ]+ ago)\)", "([duration] ago)"),
    (r"-?\b\d+(\.\d+)? (ms|s|µs)\b", "[n] ms"),
    (r"\b[01]/1\b", "[n]/1"),
    (r"[ ]{2,}", "  "),
    (r"(?m)[ ]+$", ""),
];

/// Everything that was printed: on a terminal both streams are one.
fn shown(said: &Said) -> String {
    match (said.out.as_str(), said.err.as_str()) {
        ("", err) => format!("exit {}\n{err}", said.code),
        (out, "") => format!("exit {}\n{out}", said.code),
        (out, err) => format!("exit {}\n{out}--- standard error\n{err}", said.code),
    }
}

fn settings(filters: &[(&str, &str)]) -> Settings {
    let mut settings = Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    for (pattern, instead) in filters {
        settings.add_filter(pattern, *instead);
    }
    settings
}

/// What a command says. `doctor` warns of what a slow machine does: it is asked until it does not.
async fn at_ease(words: &[&str], run: impl AsyncFn() -> Said) -> Said {
    let mut said = run().await;
    if words == ["doctor"] {
        until("nothing is slow", async || {
            let is_slow = said.code != 0 || shown(&said).contains("warn");
            if is_slow {
                said = run().await;
            }
            !is_slow
        })
        .await;
    }
    said
}

/// Holds what a command prints in a pipe.
async fn holds_in_a_pipe(shell: &Shell, name: &str, words: &[&str], filters: &[(&str, &str)]) {
    let piped = at_ease(words, async || shell.run(words).await).await;
    settings(filters).bind(|| assert_snapshot!(format!("{name}_in_a_pipe"), shown(&piped)));
}

/// The same, and what it prints on a terminal.
async fn holds(shell: &Shell, name: &str, words: &[&str], filters: &[(&str, &str)]) {
    holds_in_a_pipe(shell, name, words, filters).await;
    let seen = at_ease(words, async || shell.typing(words, &[]).await).await;
    settings(filters).bind(|| assert_snapshot!(format!("{name}_on_a_terminal"), shown(&seen)));
}

#[tokio::test]
async fn snapshots_of_help() {
    let shell = Shell::new();
    for (name, words) in [
        ("help", ["--help"].as_slice()),
        ("help_of_revoke", &["revoke", "--help"]),
        ("help_of_revoke_in_short", &["revoke", "-h"]),
        ("help_of_session_list", &["session", "list", "--help"]),
    ] {
        // Nothing of it differs from run to run.
        holds(&shell, name, words, &[(r"\r", "")]).await;
    }
}

#[tokio::test]
async fn snapshots_of_answers() {
    let world = World::start().await;
    let shell = Shell::of(&world, "admin");
    let mut api = world.api("service").await;
    let token = api.session("user:7", "api").await;
    api.session("user:7", "api").await;
    let revoke = ["session", "revoke", &token.session_id, "--reason", "leaked", "--note", "INC-1"];
    // On a terminal a line also shows who has applied it, as they do.
    holds_in_a_pipe(&shell, "session_revoke", &revoke, &FILTERS).await;
    let wide = ["revoke", "--subject", "user:8", "--reason", "compromised", "--note", "INC-2", "--yes"];
    shell.run(&wide).await.data();
    until("the audit trail has both", async || world.audited("action = 'Revoke'").await == 2).await;
    let stored = pb::Policy { max_ttl: Some(seconds(3_600)), ..policy("orders") };
    world.api("admin").await.set_policy(stored).await.unwrap();
    shell.write(
        "policies.toml",
        "[[policy]]\naudience = \"orders\"\nmax_ttl = \"2h\"\n\n[[policy]]\naudience = \"web\"\nmax_ttl = \"30m\"\n",
    );
    for (name, words) in [
        ("explain_token", ["explain", &token.jti].as_slice()),
        ("explain_session", &["explain", "--session", &token.session_id]),
        ("explain_subject", &["explain", "--subject", "user:7"]),
        ("policy_diff", &["policy", "diff", "-f", "policies.toml"]),
        ("whoami", &["whoami"]),
        ("session_list", &["session", "list", "--subject", "user:7", "--show-ended"]),
        ("audit_list", &["audit", "list", "--action", "Revoke"]),
        ("revocation_list", &["revocation", "list"]),
        ("doctor", &["doctor"]),
        ("revoke_of_nonsense", &["revoke", "nonsense"]),
        ("preview_of_a_subject", &["revoke", "--subject", "user:7", "--reason", "leaked", "--dry-run"]),
    ] {
        holds(&shell, name, words, &FILTERS).await;
    }
}
