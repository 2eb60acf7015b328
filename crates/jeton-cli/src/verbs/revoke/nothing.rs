//! Arguments in which there is nothing to revoke: the refusal says what `revoke` takes, and what was meant, if that can
//! be told.

use std::path::Path;

use jeton_token::{Thumbprint, may_hold_credential, pasted};

use crate::term::{escape::escape, exit::Failure, ids, quoted::shell_word};

/// A longer text is not repeated: it fills the screen, or is a secret.
const REPEATED_CHARS_MAX: usize = 60;
/// What a person calls a target, and the flag that names one.
const FLAGS: [(&str, &str); 10] = [
    ("subject", "--subject"),
    ("user", "--subject"),
    ("sub", "--subject"),
    ("client", "--client"),
    ("key", "--key"),
    ("kid", "--key"),
    ("audience", "--audience"),
    ("aud", "--audience"),
    ("session", "--session"),
    ("sid", "--session"),
];

/// The refusal of arguments that name a target by a word in place of a flag: `revoke subject user:7`.
pub fn word_for_flag(texts: &[String]) -> Option<Failure> {
    let [noun, name] = texts else { return None };
    let flag = flag_of(noun)?;
    // An id of a session is found in any text.
    let is_said = flag == "--session" && pasted::uuid_in_any_form(name).is_some();
    if is_said || may_hold_credential(name) {
        return None;
    }
    let name = shell_word(name);
    let reason = if flag == "--session" { "" } else { " --reason leaked" };
    Some(Failure::Usage(format!(
        "a {noun} is named by a flag: nothing was revoked. Did you mean `jeton revoke {flag} {name}{reason}`?",
        noun = escape(noun)
    )))
}

/// The refusal of arguments in which nothing was found.
pub fn to_revoke(texts: &[String], directory: &Path) -> Failure {
    let text = texts.join(" ");
    let shown = if may_hold_credential(&text) || text.chars().count() > REPEATED_CHARS_MAX {
        "the text that was given".to_owned()
    } else {
        format!("`{}`", escape(&text))
    };
    Failure::Usage(format!(
        "{shown} is nothing that can be revoked{}: nothing was revoked. {}",
        texts.iter().map(|text| ids::hint(text)).find(|hint| !hint.is_empty()).unwrap_or_default(),
        meant(texts, directory)
    ))
}

/// What to give instead.
fn meant(texts: &[String], directory: &Path) -> String {
    if let Some(file) = texts.iter().find(|text| directory.join(text).is_file()) {
        return format!("To search the file: jeton revoke --from {}", shell_word(file));
    }
    if let [text] = texts {
        if let Some(flag) = flag_of(text) {
            return format!("Did you mean `{flag} NAME`?");
        }
        if text.parse::<Thumbprint>().is_ok() {
            return format!("It may be a key id: jeton revoke --key {} --reason leaked", shell_word(text));
        }
    }
    "Give a token, the UUID of a token or session, or text that contains them; or --subject, --client, --audience, \
     --key, or --from FILE."
        .to_owned()
}

fn flag_of(noun: &str) -> Option<&'static str> {
    let noun = noun.trim_end_matches(':').to_lowercase();
    let noun = noun.strip_suffix('s').unwrap_or(&noun);
    FLAGS.iter().find(|(word, _)| *word == noun).map(|(_, flag)| *flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn said(failure: Option<Failure>) -> String {
        failure.map(|failure| failure.lines().concat()).unwrap_or_default()
    }

    #[test]
    fn k21_a_word_in_place_of_a_flag_is_told_the_flag() {
        let told = said(word_for_flag(&words("subject user:7")));
        assert!(told.contains("`jeton revoke --subject user:7 --reason leaked`"), "{told}");
        assert!(said(word_for_flag(&words("Clients: checkout"))).contains("--client checkout"));
        for line in ["session 0192f0c8-0000-7000-8000-000000000001", "token x", "key jtk_x", "subject a b"] {
            assert_eq!(said(word_for_flag(&words(line))), "", "{line}");
        }
    }

    #[test]
    fn k21_nothing_to_revoke_is_told_what_can_be() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let told = |line: &str| said(Some(to_revoke(&words(line), here)));
        assert!(
            told("nonsense").contains("`nonsense` is nothing that can be revoked"),
            "{}",
            told("nonsense")
        );
        assert!(told("nonsense").contains("--subject"), "{}", told("nonsense"));
        assert!(told("bulck Cargo.toml").contains("--from Cargo.toml"));
        assert!(told("subject").contains("`--subject NAME`"));
        assert!(told("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ").contains("--key abc"));
        let version = told("9c5b94b1-35ad-49bb-b118-8e8fc24abf80");
        assert!(version.contains("of version 4"), "{version}");
        let (cut, long) = (told("eyJhbGciOiJ"), told(&"x".repeat(1_000)));
        assert!(!cut.contains("eyJ") && long.len() < 400, "{cut} {long}");
    }
}
