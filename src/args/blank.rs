//! Empty values on the command line. An empty filter would mean every row, an empty etag no check: what a script left
//! empty was meant otherwise.

use std::ffi::OsStr;

use clap::{
    ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// Those whose empty value has a meaning of its own. A row that somebody else wrote to the database may have an empty id,
/// and is removed by it.
const MAY_BE_EMPTY: [&str; 4] = ["note", "log", "client_id", "api_key_id"];

/// Refuses an empty value of any flag or operand.
pub(super) fn refuse_empty(command: &Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let is_given = matches.try_contains_id(id).is_ok()
            && matches.value_source(id) == Some(ValueSource::CommandLine)
            && arg.get_action().takes_values();
        if !is_given || MAY_BE_EMPTY.contains(&id) {
            continue;
        }
        let is_empty = matches.try_get_raw(id).ok().flatten().is_some_and(|mut raw| raw.any(OsStr::is_empty));
        if is_empty {
            let mut error = clap::Error::new(ErrorKind::InvalidValue).with_cmd(command);
            error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
            error.insert(ContextKind::InvalidValue, ContextValue::String(String::new()));
            return Err(error);
        }
    }
    match matches.subcommand() {
        Some((name, matches)) => {
            command.find_subcommand(name).map_or(Ok(()), |command| refuse_empty(command, matches))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::args::command;

    #[test]
    fn e23_an_empty_value_is_refused_whatever_the_flag() {
        let refused = |words: &[&str]| {
            let mut command = command(|_| true);
            command.build();
            let matches = command.clone().try_get_matches_from(words).unwrap();
            refuse_empty(&command, &matches).map_err(|error| error.to_string())
        };
        for words in [
            ["jeton", "client", "delete", "x", "--etag", ""].as_slice(),
            &["jeton", "policy", "get", ""],
            &["jeton", "policy", "delete", "x", "--etag="],
            &["jeton", "audit", "list", "--subject", ""],
            &["jeton", "audit", "list", "--actor="],
            &["jeton", "session", "list", "--client", ""],
            &["jeton", "validate", "--audience", "a", "--audience", ""],
            &["jeton", "--context", "", "version"],
        ] {
            let said = refused(words).unwrap_err();
            assert!(said.contains("a value is required for"), "{words:?}: {said}");
        }
        for words in [
            ["jeton", "audit", "list", "--subject", "a"].as_slice(),
            &["jeton", "revoke", "--note", ""],
            &["jeton", "client", "delete", "--yes", "--", ""],
        ] {
            assert_eq!(refused(words), Ok(()), "{words:?}");
        }
    }
}
