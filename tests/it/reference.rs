//! The references of the command line and of the configuration, made from the parser itself. `make reference` writes
//! them.

use std::{fmt::Write as _, fs, path::Path};

use clap::{Arg, Command};

const WRITE: &str = "JETON_WRITE_REFERENCE";

fn command() -> Command {
    let mut command = jeton::args::command(|_| false);
    command.build();
    command
}

/// One paragraph, safe in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}

fn help(arg: &Arg) -> String {
    let values = arg.get_possible_values();
    let values: Vec<_> =
        values.iter().filter(|it| !it.is_hide_set()).map(clap::builder::PossibleValue::get_name).collect();
    let text = cell(&arg.get_help().map(ToString::to_string).unwrap_or_default());
    let defaults: Vec<_> = arg.get_default_values().iter().map(|it| it.to_string_lossy()).collect();
    let mut text = text;
    if !values.is_empty() && arg.get_action().takes_values() {
        write!(text, " One of {}", values.iter().map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", "))
            .unwrap();
        text.push('.');
    }
    if !defaults.is_empty() && arg.get_action().takes_values() {
        write!(text, " [default: {}]", cell(&defaults.join(" "))).unwrap();
    }
    text.trim().to_owned()
}

fn form(arg: &Arg) -> String {
    let value = if arg.get_action().takes_values() {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().fold(String::new(), |text, name| text + " <" + name + ">")
    } else {
        String::new()
    };
    match (arg.get_long(), arg.get_short()) {
        (Some(long), Some(short)) => format!("`-{short}`, `--{long}{value}`"),
        (Some(long), None) => format!("`--{long}{value}`"),
        (None, Some(short)) => format!("`-{short}{value}`"),
        (None, None) => format!("`{}`", value.trim()),
    }
}

fn variable(arg: &Arg) -> String {
    arg.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default()
}

fn is_shown(arg: &Arg) -> bool {
    !arg.is_hide_set() && !["help", "version"].contains(&arg.get_id().as_str())
}

fn table(args: &[&Arg], out: &mut String) {
    out.push_str("| flag | variable | meaning |\n|---|---|---|\n");
    for arg in args {
        writeln!(out, "| {} | {} | {} |", form(arg).replace('|', "\\|"), variable(arg), help(arg)).unwrap();
    }
    out.push('\n');
}

fn verb(path: &str, command: &Command, out: &mut String) {
    let is_global = |arg: &&Arg| arg.is_global_set();
    let subcommands: Vec<_> =
        command.get_subcommands().filter(|it| it.get_name() != "help" && !it.is_hide_set()).collect();
    if subcommands.is_empty() {
        writeln!(out, "## {path}\n").unwrap();
        let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
        writeln!(out, "{}.\n", cell(&about.unwrap_or_default()).trim_end_matches('.')).unwrap();
        if let Some(examples) = command.get_before_help().map(ToString::to_string) {
            let lines = examples.lines().skip(1).map(|line| format!("$ {}\n", line.trim()));
            writeln!(out, "```console\n{}```\n", lines.collect::<String>()).unwrap();
        }
        let args: Vec<_> =
            command.get_arguments().filter(|arg| is_shown(arg)).filter(|arg| !is_global(arg)).collect();
        if !args.is_empty() {
            table(&args, out);
        }
    }
    for subcommand in subcommands {
        verb(&format!("{path} {}", subcommand.get_name()), subcommand, out);
    }
}

fn cli() -> String {
    let command = command();
    let mut out = String::from(
        "# Command line\n\nEvery verb of `jeton`, with its flags. This page is made from the parser: `make reference` writes it.\n\
         `jeton VERB --help` shows the same.\n\n## Exit codes and errors\n\n```\n",
    );
    out.push_str(jeton::args::EXIT_CODES);
    out.push_str(
        "\n```\n\nOf `jeton revoke`, 6 also says that a leaked API key lives on, or that a file could not be read to its end. \
         Tokens of other issuers are\nno part of what was asked: beside what was revoked, the line `2 foreign` counts \
         them and the code is 0; alone they are 3.\n\nAn error is one sentence on standard error that says what is wrong and one that says what to do, then the server's reason. \
         Under `--output json` it is\none line, the last of standard error:\n\n```json\n\
         {\"error\": {\"code\": \"INVALID_ARGUMENT\", \"reason\": \"TTL_EXCEEDS_MAXIMUM\", \"message\": \"…\", \"metadata\": {\"maxTtlSeconds\": \"3600\"}, \"exitCode\": 2}}\n\
         ```\n\n`code` is one of gRPC. `reason` is the server's, or `USAGE`, `UNREACHABLE`, `INTERRUPTED`, `LOCAL_FAILURE`. `retryDelay` is there if\n\
         the server says when to try again.\n\n## Flags of every verb\n\n\
         They may stand anywhere on the line.\n\n",
    );
    let globals: Vec<_> =
        command.get_arguments().filter(|arg| is_shown(arg)).filter(|arg| arg.is_global_set()).collect();
    table(&globals, &mut out);
    for subcommand in command.get_subcommands().filter(|it| it.get_name() != "help" && !it.is_hide_set()) {
        verb(&format!("jeton {}", subcommand.get_name()), subcommand, &mut out);
    }
    out.trim_end().to_owned() + "\n"
}

fn configuration() -> String {
    let command = command();
    let serve = command.find_subcommand("serve").unwrap();
    let mut out = String::from(
        "# Configuration of a server\n\nEvery setting of `jeton serve`. A flag goes before its variable, and that before the file \
         that `--config` names.\nThis page is made from the parser: `make reference` writes it.\n\n\
         | flag | variable | key in the file | meaning |\n|---|---|---|---|\n",
    );
    for arg in serve.get_arguments().filter(|arg| is_shown(arg)).filter(|arg| !arg.is_global_set()) {
        let long = arg.get_long().unwrap();
        let key = if long == "config" { String::new() } else { format!("`{}`", long.replace('-', "_")) };
        writeln!(out, "| {} | {} | {key} | {} |", form(arg), variable(arg), help(arg)).unwrap();
    }
    out.trim_end().to_owned() + "\n"
}

#[expect(clippy::disallowed_methods, reason = "who writes the pages says so by a variable")]
fn holds(page: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(page);
    if std::env::var_os(WRITE).is_some() {
        fs::write(&path, text).unwrap();
    }
    let held = fs::read_to_string(&path).unwrap_or_default();
    assert!(held == text, "docs/{page} is not what the parser says: run `make reference`");
}

#[test]
fn the_reference_of_the_command_line_is_what_the_parser_says() {
    let text = cli();
    assert!(text.contains("## jeton revoke\n") && text.contains("`--endpoint <URL>`"), "{text}");
    holds("reference/cli.md", &text);
}

#[test]
fn the_reference_of_the_configuration_is_what_the_parser_says() {
    let text = configuration();
    assert!(text.contains("| `JETON_DATABASE_URL` | `database_url` |"), "{text}");
    holds("configuration.md", &text);
}
