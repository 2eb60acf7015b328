//! The source of a flag's value, for the person who has to change it.

use std::{collections::HashSet, fmt::Display, path::PathBuf};

use clap::{ArgMatches, parser::ValueSource};

use crate::args::value::environment_name;

/// The sources of values. Flags are named as their keys in the file: `drain_delay`.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Given on the command line.
    flags: HashSet<String>,
    /// Taken from the environment.
    variables: HashSet<String>,
    /// The file, if there is one, and its text.
    file: Option<(PathBuf, String)>,
}

impl Places {
    /// The sources of the values that a verb was given.
    pub(super) fn of(matches: &ArgMatches) -> Self {
        let mut places = Self::default();
        for id in matches.ids().map(clap::Id::as_str) {
            // A group of flags has no source of its own.
            match matches.try_contains_id(id).ok().and_then(|_| matches.value_source(id)) {
                Some(ValueSource::CommandLine) => places.flags.insert(id.to_owned()),
                Some(ValueSource::EnvVariable) => places.variables.insert(id.to_owned()),
                _ => false,
            };
        }
        places
    }

    /// Values without another source may be in this file.
    pub(super) fn with_file(mut self, path: PathBuf, text: String) -> Self {
        self.file = Some((path, text));
        self
    }

    /// `--drain-delay`, `JETON_DRAIN_DELAY`, or `drain_delay at line 3 of jeton.toml`; the flag if it has no source.
    pub(super) fn name(&self, id: &str) -> String {
        let flag = id.replace('_', "-");
        if !self.flags.contains(id) {
            if self.variables.contains(id)
                && let Some(name) = environment_name(Some("serve"), &flag)
            {
                return name;
            }
            if let Some((path, text)) = &self.file
                && let Some(line) = line_of(text, id)
            {
                return format!("{id} at line {line} of {}", path.display());
            }
        }
        format!("--{flag}")
    }

    /// The refusal of a flag's value, with its source.
    pub(super) fn refused(&self, id: &str, rule: impl Display) -> anyhow::Error {
        anyhow::anyhow!("{} is not valid: {rule}", self.name(id))
    }
}

/// The line of a key in a file of keys and values.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let is_of =
        |line: &str| line.split_once('=').is_some_and(|(name, _)| name.trim().trim_matches('"') == key);
    text.lines().position(is_of).map(|index| index.saturating_add(1))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use clap::CommandFactory;

    use super::*;
    use crate::args::CommandLine;

    #[test]
    fn e19_a_value_is_named_by_where_it_came_from() {
        let matches =
            CommandLine::command().try_get_matches_from(["jeton", "serve", "--issuer", "x"]).unwrap();
        let (_, serve) = matches.subcommand().unwrap();
        let text = "plaintext = true\n# log = 'x'\nlog = 'loud'\nissuer = 'y'\n".to_owned();
        let places = Places::of(serve).with_file(PathBuf::from("jeton.toml"), text);
        assert_eq!(places.name("issuer"), "--issuer", "the flag goes before the file");
        assert_eq!(places.name("log"), "log at line 3 of jeton.toml");
        assert_eq!(places.name("drain_delay"), "--drain-delay", "the default");
        let variables = HashSet::from(["log".to_owned()]);
        assert_eq!(Places { variables, ..places }.name("log"), "JETON_LOG");
    }
}
