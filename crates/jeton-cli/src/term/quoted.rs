//! Texts of others as words of a shell and as texts of SQL, to be copied from the output of a command. Nothing in them
//! steers a terminal.

use std::fmt::Write as _;

use super::escape::is_hostile;

/// The text as one word of a shell. A character that a terminal must not get is written as the octal numbers of its bytes
/// in `$'…'`, which bash, zsh and ksh read.
pub fn shell_word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@%+,=".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    if !text.chars().any(is_hostile) {
        return format!("'{}'", text.replace('\'', r"'\''"));
    }
    let mut word = String::from("$'");
    for character in text.chars() {
        if is_hostile(character) {
            for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                // Writing to a string cannot fail. Of three digits, so that a digit that follows is none of them.
                let _infallible = write!(word, "\\{byte:03o}");
            }
        } else {
            if matches!(character, '\'' | '\\') {
                word.push('\\');
            }
            word.push(character);
        }
    }
    word.push('\'');
    word
}

/// The text as a text of Postgres' SQL.
pub fn sql_text(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if !text.chars().any(|character| is_hostile(character) || character == '\\') {
        return format!("'{quoted}'");
    }
    let mut sql = String::from("E'");
    for character in quoted.chars() {
        if is_hostile(character) {
            // Writing to a string cannot fail.
            let _infallible = write!(sql, "\\U{:08x}", u32::from(character));
        } else {
            if character == '\\' {
                sql.push('\\');
            }
            sql.push(character);
        }
    }
    sql.push('\'');
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_one_word_and_one_text() {
        for (text, word, sql) in [
            ("orders-issuer", "orders-issuer", "'orders-issuer'"),
            ("", "''", "''"),
            ("ev*il", "'ev*il'", "'ev*il'"),
            ("a'; drop", r"'a'\''; drop'", "'a''; drop'"),
            (r"a\b", r"'a\b'", r"E'a\\b'"),
            ("a'\n1\\\u{202e}", r"$'a\'\0121\\\342\200\256'", r"E'a''\U0000000a1\\\U0000202e'"),
        ] {
            assert_eq!((shell_word(text).as_str(), sql_text(text).as_str()), (word, sql));
        }
    }
}
