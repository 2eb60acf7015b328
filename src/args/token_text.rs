//! Credentials on the command line: others can read them there, and no name looks like one.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use jeton_token::{API_KEY_PREFIX, holds_credential, looks_like_refresh_token};

use crate::args::given::Given;

/// Operands and flags that say by themselves what to do with a credential that they are given: what `revoke` ends and
/// `explain` looks up, the token of other verbs, notes, in which it is left out, and the name of a forged client. So does
/// `--api-key-file`, with every verb.
const TAKE_ANY_TEXT: [(&str, &str); 12] = [
    ("revoke", "what"),
    ("revoke", "note"),
    ("explain", "id"),
    ("validate", "source"),
    ("inspect", "source"),
    ("refresh", "source"),
    ("lock subject", "note"),
    ("lock client", "note"),
    ("unlock subject", "note"),
    ("unlock client", "note"),
    ("session revoke", "note"),
    ("client delete", "client_id"),
];

/// Refuses a credential as any other value, without repeating it.
pub(super) fn refuse(given: &Given<'_>) -> Result<(), clap::Error> {
    let verb = given.path.join(" ");
    let takes_any_text = given.arg.get_id() == "api_key_file"
        || TAKE_ANY_TEXT.iter().any(|(of, id)| *of == verb && given.arg.get_id() == *id);
    let texts = || given.values.iter().filter_map(|value| value.to_str());
    if takes_any_text || !texts().any(is_credential) {
        return Ok(());
    }
    let mut error = given.refused(ErrorKind::ValueValidation, "[secret]");
    let suggested = "others can read a token or an API key on the command line, so it counts as leaked: `jeton revoke` ends it. \
                     Pipe a token in where a verb takes one, or give --token-file or --api-key-file";
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![suggested.into()]));
    Err(error)
}

/// The text of an access token or a refresh token, or of an API key, also of a part that was cut off.
fn is_credential(text: &str) -> bool {
    holds_credential(text)
        || looks_like_refresh_token(text)
        || text.starts_with(API_KEY_PREFIX)
        || (text.starts_with("eyJ") && text.contains('.'))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::args::{command, given::check_each};

    const KEY: &str = "jtk_AAAAAAAAAAAAAAAAAAAAAA_secret";
    const TOKEN: &str = "eyJhbGciOiJFUzI1NiJ9.eyJqdGkiOiIxIn0.c2lnbmF0dXJl";

    #[test]
    fn e25_a_credential_is_no_value_but_where_it_is_ended_or_explained() {
        let refused = |words: &[&str]| {
            let mut command = command(|_| true);
            command.build();
            let matches = command.clone().try_get_matches_from(words).unwrap();
            check_each(&command, &matches, &refuse).map_err(|error| error.to_string())
        };
        for words in [
            ["jeton", "lock", "subject", TOKEN].as_slice(),
            &["jeton", "lock", "subject", "jtk_x"],
            &["jeton", "lock", "subject", &format!("token {TOKEN}")],
            &["jeton", "revoke", "--subject", "jtr_secret"],
            &["jeton", "revoke", "--token-file", TOKEN],
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
            assert!(!said.contains("eyJ") && !said.contains("_secret"), "{words:?}: {said}");
        }
        for words in [
            ["jeton", "revoke", TOKEN].as_slice(),
            &["jeton", "revoke", KEY, "--note", TOKEN],
            &["jeton", "whoami", "--api-key-file", KEY],
            &["jeton", "explain", TOKEN],
            &["jeton", "validate", TOKEN],
            &["jeton", "inspect", TOKEN],
            &["jeton", "lock", "subject", "a.b.c"],
        ] {
            assert_eq!(refused(words), Ok(()), "{words:?}");
        }
    }
}
