//! Token text on the command line: others can read it there, and no name looks like it.

use clap::{
    ArgMatches, Command,
    error::{ContextKind, ContextValue, ErrorKind},
    parser::ValueSource,
};

/// `revoke` takes any text: an emergency comes first. `explain` says by itself how a token is given to it.
const TAKE_TOKENS: [&str; 2] = ["revoke", "explain"];

/// Refuses token text as a value of any other verb, without repeating it.
pub(super) fn refuse(command: &Command, matches: &ArgMatches) -> Result<(), clap::Error> {
    for arg in command.get_arguments() {
        let id = arg.get_id().as_str();
        let is_given = matches.try_contains_id(id).is_ok()
            && matches.value_source(id) == Some(ValueSource::CommandLine)
            && arg.get_action().takes_values();
        let raw = if is_given { matches.try_get_raw(id).ok().flatten() } else { None };
        let is_token = raw.is_some_and(|mut raw| raw.any(|text| text.to_str().is_some_and(is_token_text)));
        if is_token {
            let mut error = clap::Error::new(ErrorKind::ValueValidation).with_cmd(command);
            error.insert(ContextKind::InvalidArg, ContextValue::String(arg.to_string()));
            error.insert(ContextKind::InvalidValue, ContextValue::String("[secret]".to_owned()));
            let suggested = "others can read a token on the command line: pipe it in where a verb takes one, or give \
                             --token-file. `jeton revoke` ends one that leaked";
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![suggested.into()]));
            return Err(error);
        }
    }
    match matches.subcommand() {
        Some((name, _)) if TAKE_TOKENS.contains(&name) => Ok(()),
        Some((name, matches)) => {
            command.find_subcommand(name).map_or(Ok(()), |command| refuse(command, matches))
        }
        None => Ok(()),
    }
}

/// The text of an access token, also of a part of a JWT that was cut off, or of a refresh token.
fn is_token_text(text: &str) -> bool {
    text.starts_with("jtr_") || (text.starts_with("eyJ") && text.contains('.'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::args::command;

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl";

    #[test]
    fn e25_token_text_is_no_value_of_any_verb_but_those_that_end_or_explain_it() {
        let refused = |words: &[&str]| {
            let mut command = command(|_| true);
            command.build();
            let matches = command.clone().try_get_matches_from(words).unwrap();
            refuse(&command, &matches).map_err(|error| error.to_string())
        };
        for words in [
            ["jeton", "lock", "subject", TOKEN].as_slice(),
            &["jeton", "unlock", "client", TOKEN],
            &["jeton", "client", "get", TOKEN],
            &["jeton", "policy", "get", TOKEN],
            &["jeton", "session", "list", "--subject", TOKEN],
            &["jeton", "audit", "list", "--note", "jtr_secret"],
            &["jeton", "issue", "--subject", TOKEN, "--audience", "a"],
        ] {
            let said = refused(words).unwrap_err();
            assert!(said.contains("--token-file") && said.contains("jeton revoke"), "{words:?}: {said}");
            assert!(!said.contains("eyJ") && !said.contains("jtr_secret"), "{words:?}: {said}");
        }
        for words in [
            ["jeton", "revoke", TOKEN].as_slice(),
            &["jeton", "explain", TOKEN],
            &["jeton", "lock", "subject", "a.b.c"],
        ] {
            assert_eq!(refused(words), Ok(()), "{words:?}");
        }
    }
}
