//! What signing keys and MAC keys share: the times of their lives, and the audit of a step.

use jiff::Timestamp;

use crate::store::NewAudit;
use jeton_token::Revision;

/// Tries of an activation whose predecessor changes meanwhile.
pub(in crate::store) const ACTIVATE_TRIES: u32 = 5;

/// The times in the life of a key, by the database's clock.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimes {
    /// Creation.
    pub create_time: Timestamp,
    /// The time when it is, or was, due to sign.
    pub activate_time: Timestamp,
    /// The time since when it signs. `None`: it is pending.
    pub signing_time: Option<Timestamp>,
    /// The time since when it only verifies.
    pub retire_time: Option<Timestamp>,
    /// The time from which it is gone.
    pub expire_time: Option<Timestamp>,
    /// The revision of its publication.
    pub published: Revision,
}

/// An act on this key.
pub(in crate::store) fn about(audit: &NewAudit, key_id: &str, note: String) -> NewAudit {
    NewAudit { key_id: Some(key_id.to_owned()), note, ..audit.clone() }
}

/// The audit note of an activation.
pub(in crate::store) fn noted(key: &str, replaced: Option<&str>) -> String {
    replaced.map_or_else(|| key.to_owned(), |replaced| format!("{key} replaces {replaced}"))
}
