//! JSON as text for a terminal: nothing in it steers that.

use crate::term::escape::is_hostile;

/// A value as one line.
pub fn line(value: &serde_json::Value) -> String {
    escape(&value.to_string())
}

/// Escapes characters that control a terminal, without changing the value: outside of strings there are none but the
/// line breaks of the indentation.
pub fn escape(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if is_hostile(character) && character != '\n' {
            let mut units = [0; 2];
            let units = character.encode_utf16(&mut units);
            escaped.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            escaped.push(character);
        }
    }
    escaped
}
