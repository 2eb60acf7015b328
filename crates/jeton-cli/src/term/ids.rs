//! The forms of ids on the command line. A UUID may be in any spelling; what is no id is refused before anything is sent.

use jeton_token::{Thumbprint, pasted};
use uuid::Uuid;

/// Hexadecimal digits of a UUID.
const UUID_DIGITS: usize = 32;

/// Parses the id of a session.
pub fn session(text: &str) -> Result<String, String> {
    uuid(text, "the id of a session")
}

/// Parses the id of a token.
pub fn jti(text: &str) -> Result<String, String> {
    uuid(text, "the jti of a token")
}

/// Parses the id of a signing key. One in sixty-four begins with a hyphen, like a flag.
pub fn key(text: &str) -> Result<String, &'static str> {
    match text.parse::<Thumbprint>() {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("not a key id, which is 43 characters of base64url: `jeton key list` has them"),
    }
}

fn uuid(text: &str, what: &str) -> Result<String, String> {
    match pasted::uuid_in_any_form(text) {
        Some(id) => Ok(id.to_string()),
        None => Err(format!("not {what}, which is a UUID of version 7{}", hint(text))),
    }
}

/// What is wrong with a text that was meant to be an id; empty if it is not even nearly one. Nothing of the text is in
/// it.
pub fn hint(text: &str) -> String {
    let bare = pasted::bare(text);
    if let Ok(id) = Uuid::try_parse(bare) {
        return format!(": this one is of version {}", id.get_version_num());
    }
    let digits = bare.bytes().filter(u8::is_ascii_hexdigit).count();
    let is_other = |c: &char| !c.is_ascii_hexdigit() && !"-{}".contains(*c);
    let others = bare.chars().filter(is_other).count();
    let is_near = digits.abs_diff(UUID_DIGITS) <= 8 && others <= 4;
    if !is_near {
        return String::new();
    }
    match bare.chars().find(is_other) {
        Some(wrong) => {
            format!(": {} is no hexadecimal digit", crate::term::escape::escape(&wrong.to_string()))
        }
        None => format!(": this one has {digits} hexadecimal digits of {UUID_DIGITS}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0192f0c8-0000-7000-8000-000000000001";

    #[test]
    fn e25_an_id_may_be_spelled_in_any_way_and_what_is_none_is_told_why() {
        for good in [
            ID,
            "0192F0C8-0000-7000-8000-000000000001",
            "{0192f0c8-0000-7000-8000-000000000001}",
            "0192f0c8000070008000000000000001",
        ] {
            assert_eq!(session(good).as_deref(), Ok(ID), "{good}");
        }
        let said = |text| jti(text).err().unwrap_or_default();
        assert!(said("nonsense").ends_with("version 7"), "{}", said("nonsense"));
        assert!(said("9c5b94b1-35ad-49bb-b118-8e8fc24abf80").ends_with("of version 4"));
        assert!(said("0192f0c8-0000-7000-8000-00000000001").ends_with("has 31 hexadecimal digits of 32"));
        assert!(said("0192f0c8-0000-7000-8000-00000000000l").ends_with("l is no hexadecimal digit"));
        assert!(key("-x").is_err() && key("nonsense").is_err());
        assert!(key("-bcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ").is_ok());
    }
}
