//! `append_revocations`: one replica's batches for the log.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use uuid::Uuid;

use crate::{
    state::{LockKind, MarkKind, Reason},
    store::{NewAudit, OwnConnection, StoreError, audit::chain::Act, log::number::revision},
};
use jeton_token::{Revision, UnixSeconds};

/// An append that takes longer has lost its connection: it is sent again on another.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);

/// `append_revocations` knows a lock of a mark's kind by the number of the mark and this.
const LOCK_KIND: i16 = 4;
/// The same for the end of a lock.
const UNLOCK_KIND: i16 = 6;

/// The target of one item of a batch.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum AppendTarget {
    /// Nothing new: the head moves and the act is audited.
    Nothing,
    /// A token, by `jti`.
    Token(Uuid),
    /// A session, by `sid`.
    Session(Uuid),
    /// A wide target: its name, the audience that it is narrowed to (empty: all), and the cutoff in seconds since the
    /// epoch (0: everything so far).
    Wide {
        /// The kind of target.
        kind: MarkKind,
        /// The subject, the client or the `kid`.
        target: String,
        /// Empty: all.
        audience: String,
        /// 0: everything so far.
        cutoff: UnixSeconds,
    },
    /// A subject or client to lock until the item's end, or to unlock.
    Lock {
        /// The kind of target.
        kind: LockKind,
        /// The subject or the client.
        target: String,
        /// The note of the lock; `None`: it is unlocked.
        note: Option<String>,
    },
}

impl AppendTarget {
    /// The target in a row of `revocation`, which has an id, or of `mark`.
    pub(in crate::store) fn of_row(
        kind: i16,
        id: Option<Uuid>,
        target: String,
        audience: String,
        cutoff_s: i64,
    ) -> Result<Self, StoreError> {
        Ok(match (kind, id) {
            (1, Some(id)) => Self::Token(id),
            (2, Some(id)) => Self::Session(id),
            (kind, _) => {
                let unknown = || StoreError::corrupt("mark", format!("kind {kind}"));
                let kind = MarkKind::from_number(kind).ok_or_else(unknown)?;
                Self::Wide { kind, target, audience, cutoff: UnixSeconds::new(cutoff_s) }
            }
        })
    }

    /// The id of the token or session.
    #[must_use]
    pub fn id(&self) -> Option<Uuid> {
        match self {
            Self::Token(id) | Self::Session(id) => Some(*id),
            Self::Nothing | Self::Wide { .. } | Self::Lock { .. } => None,
        }
    }
}

/// One item of a batch. Appending it twice changes nothing: it acts only together with its audit row.
#[derive(Clone, Debug)]
pub struct NewRevocation {
    /// The target.
    pub target: AppendTarget,
    /// The reason.
    pub reason: Reason,
    /// It may be forgotten from then on.
    pub expire_time: UnixSeconds,
    /// Its audit row.
    pub audit: NewAudit,
}

/// The log position of a committed batch.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// The head after the batch.
    pub revision: Revision,
    /// Commit time by the database's clock.
    pub commit_time: Timestamp,
    /// The database process that sent the notification.
    pub backend: u32,
}

/// A batch, column by column.
#[derive(Default)]
struct Columns<'a> {
    audit_ids: Vec<Uuid>,
    kinds: Vec<i16>,
    ids: Vec<Option<Uuid>>,
    targets: Vec<Option<&'a str>>,
    audiences: Vec<Option<&'a str>>,
    cutoffs_s: Vec<i64>,
    reasons: Vec<i16>,
    expires_s: Vec<i64>,
    actors: Vec<&'a str>,
    actions: Vec<&'a str>,
    subjects: Vec<Option<&'a str>>,
    jtis: Vec<Option<Uuid>>,
    session_ids: Vec<Option<Uuid>>,
    client_ids: Vec<Option<&'a str>>,
    notes: Vec<&'a str>,
    trace_ids: Vec<&'a str>,
    outcomes: Vec<&'static str>,
    key_ids: Vec<Option<&'a str>>,
    audit_audiences: Vec<Option<&'a str>>,
    audit_cutoffs_s: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, item: &'a NewRevocation) {
        let (kind, id, wide) = match &item.target {
            AppendTarget::Nothing => (0, None, None),
            AppendTarget::Token(id) => (1, Some(*id), None),
            AppendTarget::Session(id) => (2, Some(*id), None),
            AppendTarget::Wide { kind, target, audience, cutoff } => {
                (kind.number(), None, Some((target.as_str(), audience.as_str(), *cutoff)))
            }
            AppendTarget::Lock { kind, target, note } => {
                let of = if note.is_some() { LOCK_KIND } else { UNLOCK_KIND };
                let note = note.as_deref().unwrap_or_default();
                (kind.number().saturating_add(of), None, Some((target.as_str(), note, UnixSeconds::new(0))))
            }
        };
        self.audit_ids.push(item.audit.id);
        self.kinds.push(kind);
        self.ids.push(id);
        self.targets.push(wide.map(|(target, _, _)| target));
        self.audiences.push(wide.map(|(_, audience, _)| audience));
        self.cutoffs_s.push(wide.map_or(0, |(_, _, cutoff)| cutoff.get()));
        self.reasons.push(item.reason.number());
        self.expires_s.push(item.expire_time.get());
        self.actors.push(&item.audit.actor);
        self.actions.push(item.audit.action);
        self.subjects.push(item.audit.subject.as_deref());
        self.jtis.push(item.audit.jti);
        self.session_ids.push(item.audit.session_id);
        self.client_ids.push(item.audit.client_id.as_deref());
        self.notes.push(&item.audit.note);
        self.trace_ids.push(&item.audit.trace_id);
        self.outcomes.push(item.audit.outcome.unwrap_or("OK"));
        self.key_ids.push(item.audit.key_id.as_deref());
        self.audit_audiences.push(item.audit.audience.as_deref());
        self.audit_cutoffs_s.push(item.audit.cutoff.map(UnixSeconds::get));
    }
}

impl OwnConnection {
    /// Appends a batch: one round trip, one transaction, one notification. If the connection is lost, the batch may
    /// have been committed: append it again.
    #[expect(clippy::as_conversions, reason = "how sqlx is told an argument's type")]
    pub async fn append(&mut self, items: &[NewRevocation]) -> Result<Appended, StoreError> {
        let mut c = Columns::default();
        for item in items {
            c.push(item);
        }
        let acts: Vec<_> = items
            .iter()
            .map(|item| Act::of(&item.audit, item.audit.outcome.unwrap_or("OK"), item.reason.number()))
            .collect();
        let links = self.chain()?.link(&acts);
        let done = self.run(APPEND_TIMEOUT, async |connection| {
            let appended = sqlx::query!(
            r#"select head as "head!", commit_time as "commit_time!: SqlTimestamp", pg_backend_pid() as "backend!"
                 from append_revocations($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
                                         $19, $20, $21, $22, $23)"#,
            &c.audit_ids,
            &c.kinds,
            &c.ids as &[Option<Uuid>],
            &c.targets as &[Option<&str>],
            &c.audiences as &[Option<&str>],
            &c.cutoffs_s,
            &c.reasons,
            &c.expires_s,
            &c.actors as &[&str],
            &c.actions as &[&str],
            &c.subjects as &[Option<&str>],
            &c.jtis as &[Option<Uuid>],
            &c.session_ids as &[Option<Uuid>],
            &c.client_ids as &[Option<&str>],
            &c.notes as &[&str],
            &c.trace_ids as &[&str],
            &c.outcomes as &[&str],
            &c.key_ids as &[Option<&str>],
            &c.audit_audiences as &[Option<&str>],
            &c.audit_cutoffs_s as &[Option<i64>],
            links.chain,
            links.first,
            &links.tags
        );
            let row = appended.fetch_one(connection).await?;
            Ok(Appended {
                revision: revision("log_head", row.head)?,
                commit_time: row.commit_time.to_jiff(),
                backend: u32::try_from(row.backend).unwrap_or_default(),
            })
        })
        .await;
        self.chain()?.settle(&done, |_| true);
        done
    }
}
