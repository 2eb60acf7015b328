//! What was given on the command line: every flag and operand that takes a value, verb by verb.

use std::ffi::OsStr;

use clap::{
    Arg, ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// A flag or operand that was given.
pub(super) struct Given<'a> {
    /// The verb and its noun, such as `policy` and `explain`; empty for a flag of all verbs that stands before them.
    pub path: &'a [&'a str],
    /// The flag or operand.
    pub arg: &'a Arg,
    /// Its values.
    pub values: Vec<&'a OsStr>,
    command: &'a Command,
}

impl Given<'_> {
    /// The refusal of a value, which is shown as this text.
    pub fn refused(&self, kind: ErrorKind, shown: &str) -> clap::Error {
        let mut error = clap::Error::new(kind).with_cmd(self.command);
        error.insert(ContextKind::InvalidArg, ContextValue::String(self.arg.to_string()));
        error.insert(ContextKind::InvalidValue, ContextValue::String(shown.to_owned()));
        error
    }
}

/// Calls `check` with all that was given, until it refuses one.
pub(super) fn check_each(
    command: &Command,
    matches: &ArgMatches,
    check: &impl Fn(&Given<'_>) -> Result<(), clap::Error>,
) -> Result<(), clap::Error> {
    check_below(&mut Vec::new(), command, matches, check)
}

fn check_below<'a>(
    path: &mut Vec<&'a str>,
    command: &Command,
    matches: &'a ArgMatches,
    check: &impl Fn(&Given<'_>) -> Result<(), clap::Error>,
) -> Result<(), clap::Error> {
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let is_given = matches.try_contains_id(id).is_ok()
            && matches.value_source(id) == Some(ValueSource::CommandLine)
            && arg.get_action().takes_values();
        if is_given {
            let values = matches.try_get_raw(id).ok().flatten().into_iter().flatten().collect();
            check(&Given { path, arg, values, command })?;
        }
    }
    let Some((name, matches)) = matches.subcommand() else { return Ok(()) };
    let Some(command) = command.find_subcommand(name) else { return Ok(()) };
    path.push(name);
    check_below(path, command, matches, check)
}
