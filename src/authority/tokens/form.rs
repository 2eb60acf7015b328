//! The form of lists that several requests have.

use crate::authority::Invalid;
use jeton_token::{limits, text};

/// Checks the form of `aud` values.
pub(in crate::authority) fn check_audiences(audiences: &[String]) -> Result<(), Invalid> {
    if audiences.len() > limits::AUDIENCES_MAX {
        return Err(Invalid::field("audiences", format!("at most {}", limits::AUDIENCES_MAX)));
    }
    check_each("audiences", audiences, text::check_audience)
}

/// Checks the form of scope tokens.
pub(in crate::authority) fn check_scopes(scopes: &[String]) -> Result<(), Invalid> {
    check_scopes_of("scopes", scopes)
}

/// Checks the form of scope tokens in this field.
pub(in crate::authority) fn check_scopes_of(field: &str, scopes: &[String]) -> Result<(), Invalid> {
    if scopes.len() > limits::SCOPES_MAX {
        return Err(Invalid::field(field, format!("at most {}", limits::SCOPES_MAX)));
    }
    check_each(field, scopes, text::check_scope)
}

/// Checks the form of each element of a list, and that none occurs twice.
pub(in crate::authority) fn check_each<R: Into<String>>(
    field: &str,
    list: &[String],
    check: impl Fn(&str) -> Result<(), R>,
) -> Result<(), Invalid> {
    for (index, element) in list.iter().enumerate() {
        check(element).map_err(|rule| Invalid::field(format!("{field}[{index}]"), rule))?;
        if list.iter().take(index).any(|earlier| earlier == element) {
            return Err(Invalid::field(format!("{field}[{index}]"), "each at most once"));
        }
    }
    Ok(())
}
