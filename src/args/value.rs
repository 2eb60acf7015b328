//! Values from flags, environment and file. A refusal names the source of the value, and shows a good one.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    net::SocketAddr,
};

use clap::{Arg, Command, CommandFactory, error::ContextKind, error::ContextValue};
use serde::{Deserialize, Deserializer, de::Error};

use crate::args::{CommandLine, help::shaped};

/// Variables that somebody might set to a secret, and those that are read in their place. An environment is inherited,
/// and shown by tools; a file is not.
const SECRETS: [(&str, &str); 5] = [
    ("JETON_API_KEY", "JETON_API_KEY_FILE"),
    ("JETON_MASTER_KEY", "JETON_MASTER_KEY_FILE"),
    ("JETON_PREVIOUS_MASTER_KEY", "JETON_PREVIOUS_MASTER_KEY_FILE"),
    ("JETON_NEW_MASTER_KEY", "JETON_NEW_MASTER_KEY_FILE"),
    ("JETON_PROBE_KEY", "JETON_PROBE_KEY_FILE"),
];

/// The command line. A variable that is empty counts as unset.
#[must_use]
pub fn command(is_empty: fn(&OsStr) -> bool) -> Command {
    shaped(without_empty(CommandLine::command(), is_empty))
}

fn without_empty(command: Command, is_empty: fn(&OsStr) -> bool) -> Command {
    command
        .mut_args(|arg| match arg.get_env() {
            Some(name) if is_empty(name) => arg.env(None::<&'static str>),
            _ => arg,
        })
        .mut_subcommands(|command| without_empty(command, is_empty))
}

/// The refusal of a secret in the environment, if there is one.
#[must_use]
pub fn secret_in_environment(is_set: fn(&OsStr) -> bool) -> Option<String> {
    let (name, instead) = SECRETS.into_iter().find(|(name, _)| is_set(OsStr::new(name)))?;
    Some(format!(
        "{name} is not read: an environment is seen by others. Write it to a file that only you can read, and give the \
         file's name in {instead}"
    ))
}

/// The variable that a refused value came from, unless it was given on the command line.
#[must_use]
pub fn variable_of(error: &clap::Error, given: &[String]) -> Option<String> {
    let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) else { return None };
    let flag = argument.split_whitespace().next()?.strip_prefix("--")?;
    let is_given =
        |word: &String| word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(flag));
    if given.iter().any(is_given) {
        return None;
    }
    let command = CommandLine::command();
    let verb = given.iter().find(|word| command.find_subcommand(word).is_some());
    environment_name(verb.map(String::as_str), flag)
}

/// The variable of a flag of this verb: another verb may have another flag of the same name.
pub(super) fn environment_name(verb: Option<&str>, flag: &str) -> Option<String> {
    fn of(command: &Command, flag: &str) -> Option<String> {
        let own = command.get_arguments().find(|arg| arg.get_long() == Some(flag)).and_then(Arg::get_env);
        own.map(|name| name.to_string_lossy().into_owned())
            .or_else(|| command.get_subcommands().find_map(|command| of(command, flag)))
    }
    let command = CommandLine::command();
    let own = verb.and_then(|verb| command.find_subcommand(verb)).and_then(|verb| of(verb, flag));
    own.or_else(|| of(&command, flag))
}

/// Every variable that a verb reads.
#[must_use]
pub fn variables() -> BTreeSet<String> {
    fn add(command: &Command, names: &mut BTreeSet<String>) {
        let own = command.get_arguments().filter_map(Arg::get_env);
        names.extend(own.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| add(command, names));
    }
    let mut names = BTreeSet::new();
    add(&CommandLine::command(), &mut names);
    names
}

/// Those of these names that look like variables of jeton, and that no verb reads: they may be mistyped.
#[must_use]
pub fn unknown_variables(names: impl Iterator<Item = OsString>) -> Vec<String> {
    // The line of `--output env`.
    const OWN: [&str; 1] = ["JETON_TOKEN"];
    // Kubernetes sets such variables for a service called jeton.
    let is_of_a_service = |name: &str| {
        name == "JETON_PORT" || name.starts_with("JETON_PORT_") || name.starts_with("JETON_SERVICE_")
    };
    let known = variables();
    let looks_like_one =
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with("JETON_"));
    let unknown = looks_like_one
        .filter(|name| !known.contains(name) && !OWN.contains(&name.as_str()) && !is_of_a_service(name));
    let mut unknown: Vec<_> = unknown.collect();
    unknown.sort_unstable();
    unknown
}

/// The address of a listener.
pub(super) fn address(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_| "an address is IP:PORT, as in 127.0.0.1:7070, 0.0.0.0:7070 or [::]:7070")
}

/// The same in the file.
pub(super) fn address_in_file<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    address(&text).map(Some).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use clap::Parser;

    use super::*;

    #[test]
    fn e19_an_address_that_is_none_is_shown_one() {
        for good in ["127.0.0.1:0", "[::1]:7070", "0.0.0.0:80"] {
            assert!(address(good).is_ok(), "{good}");
        }
        for bad in ["", ":7070", "7070", "localhost:7070", "127.0.0.1", "::1:7070"] {
            assert!(address(bad).unwrap_err().contains("127.0.0.1:7070"), "{bad}");
        }
    }

    #[test]
    fn e19_a_value_that_was_not_given_is_said_to_come_from_its_variable() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let error = CommandLine::try_parse_from(["jeton", "serve", "--listen", ":7070"]).unwrap_err();
        assert_eq!(variable_of(&error, &words("serve --listen :7070")), None);
        assert_eq!(variable_of(&error, &words("serve --listen=:7070")), None);
        assert_eq!(variable_of(&error, &words("serve")).as_deref(), Some("JETON_LISTEN"));
        // The certificate of a server, and that of a client.
        assert_eq!(environment_name(Some("serve"), "tls-cert").as_deref(), Some("JETON_TLS_CERT"));
        assert_eq!(environment_name(Some("issue"), "tls-cert").as_deref(), Some("JETON_CLIENT_CERT"));
    }

    #[test]
    fn e19_a_variable_that_nothing_reads_is_named() {
        let names = [
            "JETON_ISUER",
            "JETON_LISTEN",
            "JETON_TOKEN",
            "JETON_PORT",
            "JETON_PORT_7070_TCP",
            "JETON_SERVICE_HOST",
            "PATH",
            "JETON_DRAINDELAY",
        ];
        let unknown = unknown_variables(names.into_iter().map(OsString::from));
        assert_eq!(unknown, ["JETON_DRAINDELAY", "JETON_ISUER"]);
    }

    /// JETON_ and the flag; a client's certificate and key are not those of a server.
    #[test]
    fn e19_each_flag_and_its_variable_have_one_name() {
        fn check(command: &Command) {
            for arg in command.get_arguments() {
                let Some(name) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else {
                    continue;
                };
                let longs = arg.get_long().into_iter().chain(arg.get_visible_aliases().unwrap_or_default());
                let of = |long: &str| format!("JETON_{}", long.to_uppercase().replace('-', "_"));
                assert!(longs.into_iter().any(|long| of(long) == name), "{name} of {}", arg.get_id());
            }
            command.get_subcommands().for_each(check);
        }
        check(&CommandLine::command());
    }
}
