//! A target of a revocation that was looked up: what it is, whose, and its state before the revocation.

use uuid::Uuid;

use crate::store::{AppendTarget, Held, Hit, SessionFilter, SessionRow};
use jeton_token::{UnixSeconds, uuid_time};

/// The state of a target before the revocation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::authority) enum Standing {
    /// It is in force, as far as this replica knows.
    Live,
    /// An earlier revocation covers it.
    Revoked,
    /// It has expired by itself.
    Expired,
}

/// A target, resolved.
#[derive(Debug)]
pub(in crate::authority) struct Resolved {
    pub(in crate::authority) target: AppendTarget,
    pub(in crate::authority) standing: Standing,
    pub(in crate::authority) expire_time: UnixSeconds,
    /// For the audit.
    pub(in crate::authority) subject: Option<String>,
    pub(in crate::authority) jti: Option<Uuid>,
    pub(in crate::authority) session_id: Option<Uuid>,
    pub(in crate::authority) client_id: Option<String>,
    /// Live sessions that it hits; `None` if there can be none.
    pub(in crate::authority) sessions: Option<SessionFilter>,
    /// The earlier revocations that may have hit it.
    pub(in crate::authority) hit: Hit,
    /// The earlier revocation in its row.
    pub(in crate::authority) written: Option<Held>,
}

impl Resolved {
    pub(in crate::authority) fn new(
        target: AppendTarget,
        standing: Standing,
        expire_time: UnixSeconds,
    ) -> Self {
        Self {
            target,
            standing,
            expire_time,
            subject: None,
            jti: None,
            session_id: None,
            client_id: None,
            sessions: None,
            hit: Hit::default(),
            written: None,
        }
    }

    /// The session of a row, with the revocations that may have hit it.
    pub(in crate::authority) fn of_session(
        id: Uuid,
        row: SessionRow,
        standing: Standing,
        expire_time: UnixSeconds,
    ) -> Self {
        let written = row.revoke_time.map(|revoke_time| Held { revoke_time, reason: row.revoke_reason });
        Self {
            hit: hit_of_session(&row),
            written,
            subject: Some(row.subject),
            client_id: Some(row.client_id),
            session_id: Some(id),
            sessions: Some(SessionFilter { id: Some(id), ..SessionFilter::default() }),
            ..Self::new(AppendTarget::Session(id), standing, expire_time)
        }
    }
}

/// The revocations that may have hit the session of a row.
pub(in crate::authority) fn hit_of_session(row: &SessionRow) -> Hit {
    Hit {
        session_id: Some(row.id),
        subject: Some(row.subject.clone()),
        client_id: Some(row.client_id.clone()),
        identity_provider: Some(row.identity_provider.clone()).filter(|idp| !idp.is_empty()),
        audiences: row.audiences.clone(),
        revision: row.revision,
        issue_time: uuid_time(row.id),
        ..Hit::default()
    }
}
