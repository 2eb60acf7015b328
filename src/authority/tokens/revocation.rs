//! What Revoke is asked, and what it answers.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use crate::{
    authority::{Findings, Invalid, RevokeTarget},
    replica::{Propagation, Reach},
    state::{Lock, Reason},
    store::{AppendTarget, SessionRow},
};
use jeton_token::{Revision, holds_credential};

/// The most characters of a note.
const NOTE_CHARS_MAX: usize = 500;

/// A request of Revoke.
#[derive(Clone, Debug)]
pub struct RevokeRequest {
    /// The target.
    pub target: RevokeTarget,
    /// The reason. Required for a wide target.
    pub reason: Reason,
    /// Incident number or note.
    pub note: String,
    /// Only returns what would happen.
    pub validate_only: bool,
    /// Refuses the call if more live sessions than this would be hit.
    pub max_affected_sessions: Option<i64>,
    /// How far the revocation must have travelled before the answer.
    pub reach: Reach,
    /// The longest wait for that.
    pub wait: Option<Duration>,
    /// Locks the subject or client as well, for so many seconds.
    pub lock_ttl_s: Option<i64>,
    /// The caller has more than a few calls in flight: others do not wait for it.
    pub asks_for_much: bool,
}

impl RevokeRequest {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        check_note(&self.note)?;
        check_reason(self.reason)?;
        if self.max_affected_sessions.is_some_and(|max| max < 0) {
            return Err(Invalid::field("max_affected_sessions", "not negative"));
        }
        let wide = matches!(self.target, RevokeTarget::Wide { .. });
        if wide && self.reason == Reason::Unspecified && !self.validate_only {
            return Err(Invalid::required("reason"));
        }
        Ok(())
    }
}

/// Refuses a note that cannot be kept.
pub(in crate::authority) fn check_note(note: &str) -> Result<(), Invalid> {
    if holds_credential(note) {
        return Err(Invalid::field("note", "no token and no API key: notes are stored and shown"));
    }
    if note.chars().count() > NOTE_CHARS_MAX {
        return Err(Invalid::field("note", "at most 500 characters"));
    }
    if note.contains('\0') {
        return Err(Invalid::field("note", "no NUL"));
    }
    Ok(())
}

/// Refuses a reason that only the server sets.
pub(super) fn check_reason(reason: Reason) -> Result<(), Invalid> {
    if reason == Reason::RefreshReuse {
        return Err(Invalid::field("reason", "not REFRESH_REUSE: the server alone sets it"));
    }
    Ok(())
}

/// The outcome of a revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RevokeOutcome {
    /// It took effect now.
    Revoked,
    /// An earlier one covered it.
    AlreadyRevoked,
    /// It had expired by itself.
    AlreadyExpired,
    /// Not a token of ours; nothing was recorded.
    Foreign,
    /// It would take effect.
    WouldRevoke,
}

impl RevokeOutcome {
    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Revoked => "REVOKED",
            Self::AlreadyRevoked => "ALREADY_REVOKED",
            Self::AlreadyExpired => "ALREADY_EXPIRED",
            Self::Foreign => "FOREIGN",
            Self::WouldRevoke => "WOULD_REVOKE",
        }
    }
}

/// The answer of Revoke.
#[derive(Debug)]
pub struct Revoked {
    /// The outcome.
    pub outcome: RevokeOutcome,
    /// Live sessions that were hit, if the request asked for the number.
    pub affected_sessions: i64,
    /// Some of them.
    pub sample: Vec<SessionRow>,
    /// Commit time, by the database's clock, of the revocation that holds.
    pub revoke_time: Option<Timestamp>,
    /// The reason of that revocation.
    pub reason: Reason,
    /// The revision from which on a verdict reflects it.
    pub revision: Revision,
    /// The replicas that have applied it.
    pub propagation: Option<Propagation>,
    /// The whole target as it was understood; `Nothing` for a foreign text.
    pub target: AppendTarget,
    /// Other findings about the target.
    pub findings: Findings,
    /// The lock that was made as well, as it holds now.
    pub lock: Option<Arc<Lock>>,
    /// The lock that held before.
    pub earlier_lock: Option<Arc<Lock>>,
    /// The caller may know who made those, and their notes.
    pub locks_in_full: bool,
}

impl Revoked {
    pub(super) fn nothing(outcome: RevokeOutcome, revision: Revision) -> Self {
        Self {
            outcome,
            affected_sessions: 0,
            sample: Vec::new(),
            revoke_time: None,
            reason: Reason::Unspecified,
            revision,
            propagation: None,
            target: AppendTarget::Nothing,
            findings: Findings::default(),
            lock: None,
            earlier_lock: None,
            locks_in_full: false,
        }
    }
}
