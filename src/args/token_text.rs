//! Token text on the command line: others can read it there, and no name looks like it.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use jeton_token::looks_like_refresh_token;

use crate::args::given::Given;

/// `revoke` takes any text: an emergency comes first. `explain` says by itself how a token is given to it.
const TAKE_TOKENS: [&str; 2] = ["revoke", "explain"];
/// The operand of verbs that read a token: they refuse its text, and say what to do with that token.
const TOKEN_OPERAND: &str = "source";

/// Refuses token text as a value of any other verb, without repeating it.
pub(super) fn refuse(given: &Given<'_>) -> Result<(), clap::Error> {
    let is_taken = given.path.first().is_some_and(|verb| TAKE_TOKENS.contains(verb));
    let refused = |text: &str| !is_taken && is_token_text(text);
    if given.arg.get_id() == TOKEN_OPERAND || !given.values.iter().any(|it| it.to_str().is_some_and(refused))
    {
        return Ok(());
    }
    let mut error = given.refused(ErrorKind::ValueValidation, "[secret]");
    let suggested = "others can read a token on the command line: pipe it in where a verb takes one, or give --token-file. \
                     `jeton revoke` ends one that leaked";
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![suggested.into()]));
    Err(error)
}

/// The text of an access token, also of a part of a JWT that was cut off, or of a refresh token.
fn is_token_text(text: &str) -> bool {
    looks_like_refresh_token(text) || (text.starts_with("eyJ") && text.contains('.'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::args::{command, given::check_each};

    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl";

    #[test]
    fn e25_token_text_is_no_value_of_any_verb_but_those_that_end_or_explain_it() {
        let refused = |words: &[&str]| {
            let mut command = command(|_| true);
            command.build();
            let matches = command.clone().try_get_matches_from(words).unwrap();
            check_each(&command, &matches, &refuse).map_err(|error| error.to_string())
        };
        for words in [
            ["jeton", "lock", "subject", TOKEN].as_slice(),
            &["jeton", "unlock", "client", TOKEN],
            &["jeton", "client", "get", TOKEN],
            &["jeton", "policy", "get", TOKEN],
            &["jeton", "policy", "explain", TOKEN],
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
            &["jeton", "validate", TOKEN],
            &["jeton", "inspect", TOKEN],
            &["jeton", "lock", "subject", "a.b.c"],
        ] {
            assert_eq!(refused(words), Ok(()), "{words:?}");
        }
    }
}
