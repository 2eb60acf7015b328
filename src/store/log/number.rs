//! Revisions as the tables have them: one number each.

use crate::store::StoreError;
use jeton_token::Revision;

/// The head that a function of the log returns; `None` if it wrote nothing.
pub(in crate::store) fn head_revision(number: Option<i64>) -> Result<Option<Revision>, StoreError> {
    number.map(|number| revision("log_head", number)).transpose()
}

pub(in crate::store) fn revision(table: &'static str, number: i64) -> Result<Revision, StoreError> {
    Revision::from_i64(number).ok_or_else(|| StoreError::corrupt(table, format!("revision {number}")))
}
