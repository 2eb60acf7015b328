//! A row of the trail.

use jiff_sqlx::Timestamp as SqlTimestamp;
use uuid::Uuid;

use crate::store::audit::chain::Act;

/// The most milliseconds between the time in an act's id, which is its writer's, and that of its row, which is the
/// database's: if they differ by more, one was changed.
pub(in crate::store) const TIME_SPREAD_MS: i64 = 3_600_000;

/// A row of the trail, as it is stored.
pub(in crate::store) struct TrailRow {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) event_time: SqlTimestamp,
    pub(in crate::store) actor: String,
    pub(in crate::store) action: String,
    pub(in crate::store) subject: Option<String>,
    pub(in crate::store) jti: Option<Uuid>,
    pub(in crate::store) session_id: Option<Uuid>,
    pub(in crate::store) client_id: Option<String>,
    pub(in crate::store) outcome: String,
    pub(in crate::store) reason: i16,
    pub(in crate::store) note: String,
    pub(in crate::store) trace_id: String,
    pub(in crate::store) key_id: Option<String>,
    pub(in crate::store) audience: Option<String>,
    pub(in crate::store) cutoff_s: Option<i64>,
    pub(in crate::store) chain_id: Option<Uuid>,
    pub(in crate::store) chain_number: Option<i64>,
    pub(in crate::store) chain_tag: Option<Vec<u8>>,
}

impl TrailRow {
    /// The content under its tag.
    pub(in crate::store) fn act(&self) -> Act<'_> {
        Act {
            id: self.id,
            actor: &self.actor,
            action: &self.action,
            subject: self.subject.as_deref(),
            jti: self.jti,
            session_id: self.session_id,
            client_id: self.client_id.as_deref(),
            outcome: &self.outcome,
            reason: self.reason,
            note: &self.note,
            trace_id: &self.trace_id,
            key_id: self.key_id.as_deref(),
            audience: self.audience.as_deref(),
            cutoff_s: self.cutoff_s,
        }
    }
}
