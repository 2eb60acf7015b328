//! The form of help: examples first, verbs in groups, and the flags of all verbs at the end of the long help.

use std::fmt::Write as _;

use clap::Command;

use crate::args::examples;

/// Groups of verbs, as `jeton --help` lists them. Names that no verb has yet are skipped.
const GROUPS: [(&str, &[&str]); 5] = [
    ("Tokens", &["issue", "validate", "inspect", "refresh", "revoke", "session", "explain"]),
    ("Access", &["client", "issuer", "policy", "lock", "unlock"]),
    ("Operations", &["doctor", "audit", "key", "replica", "revocation", "watcher", "watch"]),
    ("Server", &["dev", "serve", "migrate", "epoch"]),
    ("Setup", &["whoami", "context", "completion", "man", "version"]),
];

/// What to try first.
const FIRST: &str = "  jeton dev                                       a server of your own
  jeton issue --subject user:7 --audience orders  a token, on standard output
  jeton validate < token                          is it good?
  jeton revoke < token                            it is dead, on every replica
  jeton doctor                                    what is wrong, and what to do";

/// Exit codes, for the end of the long help.
pub const EXIT_CODES: &str = "  0    done
  1    the server or this program failed
  2    the command line is wrong, or a value in it is not allowed
  3    the answer is no: not ACTIVE, not ours, unknown, a failed check of doctor
  4    not authenticated, or not allowed
  5    unavailable or timed out: safe to try again
  6    partly done: what was not done is listed
  7    revoked, but not everywhere within --wait
  130  interrupted";

const SHORT_END: &str = "The flags of every verb, such as --context and --output json, are shown by --help.";
const OF_A_VERB: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";
/// The longest line of the list of verbs.
const COLUMNS: usize = 80;
/// Where the words on a verb begin.
const INDENT: usize = 14;

/// The command with this form of help.
pub(super) fn shaped(command: Command) -> Command {
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\nExamples:\n{FIRST}\n\n{}Options:\n{{options}}{{after-help}}",
        verbs(&command)
    );
    let command = command.mut_subcommands(|verb| {
        let path = verb.get_name().to_owned();
        of_a_verb(verb, &path)
    });
    command
        .help_template(template)
        .after_help(
            "`jeton VERB --help` shows a verb with examples; `jeton --help` also the flags of every verb.",
        )
        .after_long_help(format!("Exit codes:\n{EXIT_CODES}"))
}

fn of_a_verb(verb: Command, path: &str) -> Command {
    let examples = examples::of(path)
        .map(|lines| lines.iter().fold("Examples:".to_owned(), |text, line| text + "\n  " + line));
    let verb = verb.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        of_a_verb(inner, &path)
    });
    let verb =
        verb.help_template(OF_A_VERB).after_help(SHORT_END).after_long_help("Exit codes: jeton --help");
    match examples {
        Some(examples) => verb.before_help(examples),
        None => verb,
    }
}

/// The groups, a verb on a line; the verbs below it behind.
fn verbs(command: &Command) -> String {
    let mut text = String::new();
    let mut listed = Vec::new();
    let mut group = |name: &str, verbs: &mut dyn Iterator<Item = &Command>| {
        let lines: Vec<String> = verbs.map(line).collect();
        if !lines.is_empty() {
            // Writing to a string cannot fail.
            let _infallible = writeln!(text, "{name}:\n{}\n", lines.join("\n"));
        }
    };
    for (name, names) in GROUPS {
        let found: Vec<&Command> = names
            .iter()
            .filter_map(|name| command.find_subcommand(name))
            .filter(|verb| !verb.is_hide_set())
            .collect();
        listed.extend(found.iter().map(|verb| verb.get_name()));
        group(name, &mut found.into_iter());
    }
    let mut others =
        command.get_subcommands().filter(|verb| !verb.is_hide_set() && !listed.contains(&verb.get_name()));
    group("Others", &mut others);
    text
}

fn line(verb: &Command) -> String {
    let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
    let inner: Vec<&str> =
        verb.get_subcommands().filter(|inner| !inner.is_hide_set()).map(Command::get_name).collect();
    let words = if inner.is_empty() { about } else { format!("{about}: {}", inner.join(", ")) };
    let mut text = format!("  {:<width$}", verb.get_name(), width = INDENT.saturating_sub(2));
    let mut column = INDENT;
    for word in words.split(' ') {
        let length = word.chars().count();
        if column.saturating_add(length) > COLUMNS {
            text = text.trim_end().to_owned() + "\n" + &" ".repeat(INDENT);
            column = INDENT;
        }
        text.push_str(word);
        text.push(' ');
        column = column.saturating_add(length).saturating_add(1);
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

    use super::*;
    use crate::args::{CommandLine, command, examples::EXAMPLES};

    fn leaves(path: &str, command: &Command, found: &mut Vec<String>) {
        let inner: Vec<_> =
            command.get_subcommands().filter(|it| !it.is_hide_set() && it.get_name() != "help").collect();
        if inner.is_empty() {
            found.push(path.to_owned());
        }
        for verb in inner {
            leaves(format!("{path} {}", verb.get_name()).trim(), verb, found);
        }
    }

    /// The words of a line, as a shell splits them.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut quoted = false;
        for letter in line.chars() {
            match letter {
                '\'' => quoted = !quoted,
                ' ' if !quoted => words.push(String::new()),
                letter => words.last_mut().unwrap().push(letter),
            }
        }
        words
    }

    #[test]
    fn each_verb_has_examples_and_each_example_parses() {
        let command = command(|_| true);
        let mut verbs = Vec::new();
        leaves("", &command, &mut verbs);
        let without: Vec<_> = verbs.iter().filter(|path| examples::of(path).is_none()).collect();
        assert!(without.iter().all(|path| path.starts_with("revoke ")), "without an example: {without:?}");
        for (path, lines) in EXAMPLES {
            assert!(verbs.iter().any(|verb| verb == path), "{path} is no verb");
            for line in *lines {
                let own = line.split(" | ").filter(|part| part.starts_with("jeton "));
                for part in own.map(|part| part.split(['<', '>']).next().unwrap()) {
                    let parsed = command.clone().try_get_matches_from(words(part.trim_end()));
                    let read = parsed.and_then(|matches| CommandLine::read(&matches));
                    assert!(read.is_ok(), "{part}: {}", read.map(drop).unwrap_err());
                }
                assert!(line.starts_with(&format!("jeton {path}")), "{line} is of {path}");
            }
        }
    }

    #[test]
    fn help_begins_with_examples_and_ends_with_the_flags_of_every_verb() {
        let mut command = command(|_| true);
        let text = command.render_long_help().to_string();
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} is missing: {text}"));
        assert!(
            at("Examples:") < at("Tokens:")
                && at("Tokens:") < at("Access:")
                && at("Setup:") < at("--endpoint")
        );
        assert!(at("--endpoint") < at("Exit codes:") && !text.contains("Others:"), "{text}");
        let listed = text.lines().take_while(|line| !line.starts_with("Options:"));
        assert!(listed.clone().all(|line| line.chars().count() <= COLUMNS), "{text}");
        command.build();
        let issue = command.find_subcommand_mut("issue").unwrap();
        let short = issue.render_help().to_string();
        assert!(short.contains("Examples:\n  jeton issue") && !short.contains("--tls-ca"), "{short}");
        let long = issue.render_long_help().to_string();
        let at = |part: &str| long.find(part).unwrap_or_else(|| panic!("{part} is missing: {long}"));
        assert!(
            at("Examples:") < at("--subject <SUBJECT>\n")
                && at("--subject <SUBJECT>\n") < at("Global options:"),
            "{long}"
        );
    }
}
