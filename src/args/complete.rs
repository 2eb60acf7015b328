//! What may follow on a command line: for the completion of shells, which ask by `jeton complete-values -- WORDS`.

use clap::{Arg, Command, ValueEnum};
use jeton_cli::KnownNames;

/// The shells that complete.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Shell {
    /// GNU bash.
    Bash,
    /// zsh.
    Zsh,
    /// fish.
    Fish,
}

impl Shell {
    /// The script that the shell reads.
    #[must_use]
    pub const fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("shells/jeton.bash"),
            Self::Zsh => include_str!("shells/jeton.zsh"),
            Self::Fish => include_str!("shells/jeton.fish"),
        }
    }
}

/// What may stand in the place of the last word.
#[derive(Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Stands before each candidate in the word: `--context=`.
    pub prefix: String,
    /// What was typed of it.
    pub typed: String,
    /// Values that are known, each with a few words on it.
    pub values: Vec<(String, String)>,
    /// Names that a server or a file knows.
    pub names: Option<KnownNames>,
    /// The flags of all verbs in the words so far: they say which server is asked.
    pub globals: Vec<String>,
}

/// Says what may follow these words, which come after the name of the program; the last one is being typed.
#[must_use]
pub fn wanted(mut command: Command, words: &[String]) -> Wanted {
    command.build();
    let (typed, before) = words.split_last().map_or(("", words), |(typed, before)| (typed.as_str(), before));
    let mut line = Line {
        at: &command,
        path: String::new(),
        operands: Vec::new(),
        flag: None,
        only_operands: false,
        globals: Vec::new(),
    };
    for word in before {
        line.take(word);
    }
    line.wanted(typed)
}

/// A command line up to a word.
struct Line<'a> {
    at: &'a Command,
    path: String,
    operands: Vec<String>,
    /// A flag whose value comes next.
    flag: Option<&'a Arg>,
    only_operands: bool,
    globals: Vec<String>,
}

impl Line<'_> {
    fn take(&mut self, word: &str) {
        if let Some(arg) = self.flag.take() {
            self.remember(arg, word);
        } else if self.only_operands {
            self.operands.push(word.to_owned());
        } else if word == "--" {
            self.only_operands = true;
        } else if let Some(flag) = word.strip_prefix("--") {
            let (name, value) =
                flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
            let Some(arg) = flag_of(self.at, name) else { return };
            match value {
                Some(value) => self.remember(arg, value),
                None if arg.get_action().takes_values() => self.flag = Some(arg),
                None => {}
            }
        } else if let Some(verb) = self.at.find_subcommand(word).filter(|_| self.operands.is_empty()) {
            self.at = verb;
            let path = format!("{} {}", self.path, verb.get_name());
            path.trim().clone_into(&mut self.path);
        } else if !word.starts_with('-') {
            self.operands.push(word.to_owned());
        }
    }

    fn remember(&mut self, arg: &Arg, value: &str) {
        if arg.is_global_set()
            && let Some(name) = arg.get_long()
        {
            self.globals.push(format!("--{name}={value}"));
        }
    }

    fn wanted(self, typed: &str) -> Wanted {
        let of =
            |prefix: String, typed: &str, (values, names): (Vec<(String, String)>, Option<KnownNames>)| {
                let values = values.into_iter().filter(|(value, _)| value.starts_with(typed)).collect();
                Wanted { prefix, typed: typed.to_owned(), values, names, globals: self.globals.clone() }
            };
        if let Some(arg) = self.flag {
            return of(String::new(), typed, self.values_of(arg));
        }
        if !self.only_operands
            && let Some(flag) = typed.strip_prefix("--")
        {
            if let Some((name, value)) = flag.split_once('=') {
                let values = flag_of(self.at, name).map(|arg| self.values_of(arg)).unwrap_or_default();
                return of(format!("--{name}="), value, values);
            }
            return of(String::new(), typed, (flags(self.at), None));
        }
        if !self.only_operands && typed.starts_with('-') {
            return of(String::new(), typed, (flags(self.at), None));
        }
        let operand = self.at.get_positionals().nth(self.operands.len());
        let (mut values, names) = operand.map(|arg| self.values_of(arg)).unwrap_or_default();
        if self.operands.is_empty() && !self.only_operands {
            values.extend(verbs(self.at));
        }
        of(String::new(), typed, (values, names))
    }

    fn values_of(&self, arg: &Arg) -> (Vec<(String, String)>, Option<KnownNames>) {
        let values =
            arg.get_possible_values().into_iter().filter(|value| !value.is_hide_set()).map(|value| {
                let about = value.get_help().map(ToString::to_string).unwrap_or_default();
                (value.get_name().to_owned(), first_line(&about))
            });
        (values.collect(), self.names_of(arg))
    }

    /// The names that this argument of this verb is one of.
    fn names_of(&self, arg: &Arg) -> Option<KnownNames> {
        let is_registered = self.path != "client create" && self.path != "client bootstrap";
        match (arg.get_id().as_str(), self.path.as_str()) {
            ("context", _) | ("name", "context use" | "context remove" | "context add") => {
                Some(KnownNames::Contexts)
            }
            ("client_id" | "client" | "actor", _) if is_registered => Some(KnownNames::Clients),
            ("name", "lock client") => Some(KnownNames::Clients),
            ("name", "unlock client") => Some(KnownNames::LockedClients),
            ("name", "unlock subject") => Some(KnownNames::LockedSubjects),
            ("api_key_id", _) => {
                Some(KnownNames::ApiKeys(self.operands.first().cloned().unwrap_or_default()))
            }
            ("key", _) => Some(KnownNames::SigningKeys),
            _ => None,
        }
    }
}

fn flag_of<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| {
        arg.get_long() == Some(name) || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    })
}

fn flags(command: &Command) -> Vec<(String, String)> {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let named = shown.filter_map(|arg| {
        let about = arg.get_help().map(ToString::to_string).unwrap_or_default();
        Some((format!("--{}", arg.get_long()?), first_line(&about)))
    });
    named.collect()
}

fn verbs(command: &Command) -> impl Iterator<Item = (String, String)> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).map(|verb| {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        (verb.get_name().to_owned(), first_line(&about))
    })
}

/// Words on a candidate: a tab would end them.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::command;

    fn of(line: &str) -> Wanted {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        wanted(command(|_| true), &words)
    }

    fn values(line: &str) -> Vec<String> {
        of(line).values.into_iter().map(|(value, _)| value).collect()
    }

    #[test]
    fn verbs_flags_and_values_follow() {
        assert_eq!(values("iss"), ["issue", "issuer"]);
        assert_eq!(values("client add"), ["add-key"]);
        assert!(
            values("").contains(&"revoke".to_owned()) && !values("").contains(&"complete-values".to_owned())
        );
        assert_eq!(values("issue --sub"), ["--subject"]);
        assert!(values("policy get x --").contains(&"--context".to_owned()), "flags of all verbs, too");
        assert_eq!(values("policy get --output j"), ["json"]);
        assert_eq!(of("policy get --output=j").prefix, "--output=");
        assert_eq!(values("policy get --output=j"), ["json"]);
        assert_eq!(values("key import --state "), ["active", "retired"]);
        assert_eq!(values("completion z"), ["zsh"]);
        assert!(values("issue --subject ").is_empty() && values("issue --no-such-flag x").is_empty());
    }

    #[test]
    fn names_that_a_server_knows_are_asked_for() {
        let names = |line: &str| of(line).names;
        assert_eq!(names("--context "), Some(KnownNames::Contexts));
        assert_eq!(names("context use p"), Some(KnownNames::Contexts));
        for line in [
            "client get ",
            "client delete che",
            "revoke --client ",
            "session list --client=",
            "audit list --actor a",
            "lock client ",
        ] {
            assert_eq!(names(line), Some(KnownNames::Clients), "{line}");
        }
        assert_eq!(names("client delete-key checkout "), Some(KnownNames::ApiKeys("checkout".into())));
        assert_eq!(names("revoke --key "), Some(KnownNames::SigningKeys));
        assert_eq!(names("unlock client c"), Some(KnownNames::LockedClients));
        assert_eq!(names("unlock subject "), Some(KnownNames::LockedSubjects));
        assert_eq!(names("lock subject "), None, "there may be millions");
        assert_eq!(names("client create "), None, "it is a new one");
        assert_eq!(of("--context prod client get --no-input x").globals, ["--context=prod"]);
    }
}
