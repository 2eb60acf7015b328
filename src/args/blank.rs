//! Empty values on the command line. An empty filter would mean every row, an empty etag no check: what a script left
//! empty was meant otherwise.

use std::ffi::OsStr;

use clap::error::ErrorKind;

use crate::args::given::Given;

/// Those whose empty value has a meaning of its own. A row that somebody else wrote to the database may have an empty id,
/// and is removed by it.
const MAY_BE_EMPTY: [&str; 4] = ["note", "log", "client_id", "api_key_id"];

/// Refuses an empty value of any flag or operand.
pub(super) fn refuse_empty(given: &Given<'_>) -> Result<(), clap::Error> {
    let may_be_empty = MAY_BE_EMPTY.contains(&given.arg.get_id().as_str());
    if !may_be_empty && given.values.iter().any(|value| OsStr::is_empty(value)) {
        return Err(given.refused(ErrorKind::InvalidValue, ""));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::args::{command, given::check_each};

    #[test]
    fn e23_an_empty_value_is_refused_whatever_the_flag() {
        let refused = |words: &[&str]| {
            let mut command = command(|_| true);
            command.build();
            let matches = command.clone().try_get_matches_from(words).unwrap();
            check_each(&command, &matches, &refuse_empty).map_err(|error| error.to_string())
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
