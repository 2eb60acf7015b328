//! `audit_event`: append-only.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use uuid::Uuid;

use crate::{
    state::Reason,
    store::{OwnConnection, Store, StoreError, audit::chain::Act, log::number::revision},
};
use jeton_token::{Revision, UnixSeconds, least_uuid_v7, may_hold_credential};

/// Subject and audience of the prober's tokens: its client must be registered for them.
pub const CANARY: &str = "jeton-canary";

/// One statement of a few hundred rows.
const AUDIT_TIMEOUT: Duration = Duration::from_secs(3);

/// An act to be audited. The id makes a repeated write harmless.
#[derive(Clone, Debug, Default)]
pub struct NewAudit {
    /// A UUIDv7 that the replica makes.
    pub id: Uuid,
    /// The caller's `client_id`, or the name of a server verb.
    pub actor: String,
    /// The RPC, or an internal act.
    pub action: &'static str,
    /// Subject concerned.
    pub subject: Option<String>,
    /// Token concerned.
    pub jti: Option<Uuid>,
    /// Session concerned.
    pub session_id: Option<Uuid>,
    /// Client concerned.
    pub client_id: Option<String>,
    /// Key concerned.
    pub key_id: Option<String>,
    /// The audience that a wide revocation was narrowed to, or the audiences of an issued token.
    pub audience: Option<String>,
    /// A wide revocation hits everything issued before this second.
    pub cutoff: Option<UnixSeconds>,
    /// The outcome of a revocation; `None`: OK.
    pub outcome: Option<&'static str>,
    /// The operator's note.
    pub note: String,
    /// W3C trace id.
    pub trace_id: String,
}

impl NewAudit {
    /// An act of `actor`, without details yet.
    #[must_use]
    pub fn new(id: Uuid, actor: impl Into<String>, action: &'static str) -> Self {
        Self { id, actor: actor.into(), action, ..Self::default() }
    }
}

impl NewAudit {
    /// Logs a finished act, at this revision of the log. `left_out`: earlier lines that were not written.
    pub fn log(&self, revision: Option<Revision>, left_out: u64) {
        tracing::info!(
            jeton.actor = self.actor,
            jeton.action = self.action,
            jeton.outcome = self.outcome,
            jeton.subject = self.subject.as_deref().map(shown),
            jeton.jti = self.jti.map(display),
            jeton.session_id = self.session_id.map(display),
            jeton.client_id = self.client_id,
            jeton.key_id = self.key_id.as_deref().map(shown),
            jeton.audience = self.audience.as_deref().map(shown),
            jeton.note = Some(shown(&self.note)).filter(|note| !note.is_empty()),
            jeton.revision = revision.map(display),
            jeton.left_out = Some(left_out).filter(|left_out| *left_out > 0),
            "an act"
        );
    }
}

/// A caller's text for the log; a text that looks like a credential is not shown.
fn shown(text: &str) -> &str {
    if may_hold_credential(text) { "(hidden: it looks like a credential)" } else { text }
}

/// An audited act.
#[derive(Clone, Debug)]
pub struct AuditRow {
    /// Its id; the trail is ordered by it.
    pub id: Uuid,
    /// The revision that was known at the act.
    pub revision: Revision,
    /// Commit time.
    pub event_time: Timestamp,
    /// The caller.
    pub actor: String,
    /// The action.
    pub action: String,
    /// Subject concerned.
    pub subject: Option<String>,
    /// Token concerned.
    pub jti: Option<Uuid>,
    /// Session concerned.
    pub session_id: Option<Uuid>,
    /// Client concerned.
    pub client_id: Option<String>,
    /// Key concerned.
    pub key_id: Option<String>,
    /// The audience that a wide revocation was narrowed to, or the audiences of an issued token.
    pub audience: Option<String>,
    /// A wide revocation hit everything issued before this second.
    pub cutoff: Option<UnixSeconds>,
    /// `OK`, the outcome of a revocation, or the name of an `ErrorReason`.
    pub outcome: String,
    /// The reason of a revocation.
    pub reason: Reason,
    /// The operator's note.
    pub note: String,
    /// W3C trace id.
    pub trace_id: String,
}

/// Exact matches; a row must match all that are set.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Subject.
    pub subject: Option<String>,
    /// Token.
    pub jti: Option<Uuid>,
    /// Session.
    pub session_id: Option<Uuid>,
    /// Caller.
    pub actor: Option<String>,
    /// Client concerned.
    pub client_id: Option<String>,
    /// Key concerned.
    pub key_id: Option<String>,
    /// The action.
    pub action: Option<String>,
    /// A part of the note.
    pub note: Option<String>,
    /// Without the prober's tokens and revocations.
    pub without_canaries: bool,
    /// Inclusive.
    pub start_time: Option<Timestamp>,
    /// Exclusive.
    pub end_time: Option<Timestamp>,
    /// Older than this row.
    pub before: Option<Uuid>,
    /// This row.
    pub id: Option<Uuid>,
}

/// The most seconds between an act's id, which has the replica's time, and its row, which has the database's.
const ID_SPREAD_S: i64 = 3_600;

/// The least id of an instant so many seconds after a time: it limits the partitions that are searched.
fn id_of(time: Timestamp, after_s: i64) -> Uuid {
    let millis = time.as_millisecond().saturating_add(after_s.saturating_mul(1000));
    least_uuid_v7(millis)
}

/// An act that is not in the log.
#[derive(Clone, Debug)]
pub struct AuditedAct {
    /// The act.
    pub audit: NewAudit,
    /// The revision that was known to it.
    pub known: Revision,
    /// `OK`, or the name of an `ErrorReason`.
    pub outcome: String,
}

/// Acts, column by column.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    revisions: Vec<i64>,
    actors: Vec<&'a str>,
    actions: Vec<&'a str>,
    subjects: Vec<Option<&'a str>>,
    jtis: Vec<Option<Uuid>>,
    session_ids: Vec<Option<Uuid>>,
    client_ids: Vec<Option<&'a str>>,
    outcomes: Vec<&'a str>,
    notes: Vec<&'a str>,
    trace_ids: Vec<&'a str>,
    key_ids: Vec<Option<&'a str>>,
    audiences: Vec<Option<&'a str>>,
    cutoffs_s: Vec<Option<i64>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, act: &'a AuditedAct) {
        let AuditedAct { audit, known, outcome } = act;
        self.ids.push(audit.id);
        self.revisions.push(known.as_i64());
        self.actors.push(&audit.actor);
        self.actions.push(audit.action);
        self.subjects.push(audit.subject.as_deref());
        self.jtis.push(audit.jti);
        self.session_ids.push(audit.session_id);
        self.client_ids.push(audit.client_id.as_deref());
        self.outcomes.push(outcome);
        self.notes.push(&audit.note);
        self.trace_ids.push(&audit.trace_id);
        self.key_ids.push(audit.key_id.as_deref());
        self.audiences.push(audit.audience.as_deref());
        self.cutoffs_s.push(audit.cutoff.map(UnixSeconds::get));
    }
}

impl OwnConnection {
    /// Audits acts that are not in the log: one round trip, all of them or none.
    #[expect(clippy::as_conversions, reason = "how sqlx is told an argument's type")]
    pub async fn audit(&mut self, acts: &[AuditedAct]) -> Result<(), StoreError> {
        let mut c = Columns::default();
        for act in acts {
            c.push(act);
        }
        let rows: Vec<_> = acts.iter().map(|act| Act::of(&act.audit, &act.outcome, 0)).collect();
        let links = self.chain()?.link(&rows);
        let done = self.run(AUDIT_TIMEOUT, async |connection| {
            sqlx::query!(
                "insert into audit_event (id, revision, event_time, actor, action, subject, jti, session_id, client_id,
                                          outcome, note, trace_id, key_id, audience, cutoff_s, chain_id, chain_number,
                                          chain_tag)
                 select id, revision, clock_timestamp(), actor, action, subject, jti, session_id, client_id, outcome, note,
                        trace_id, key_id, audience, cutoff_s, $12, $13 + ordinal - 1, tag
                   from unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::uuid[],
                               $8::text[], $9::text[], $10::text[], $11::text[], $14::bytea[], $15::text[], $16::text[],
                               $17::bigint[]) with ordinality
                     i(id, revision, actor, action, subject, jti, session_id, client_id, outcome, note, trace_id, tag,
                       key_id, audience, cutoff_s, ordinal)
                 on conflict do nothing",
                &c.ids,
                &c.revisions,
                &c.actors as &[&str],
                &c.actions as &[&str],
                &c.subjects as &[Option<&str>],
                &c.jtis as &[Option<Uuid>],
                &c.session_ids as &[Option<Uuid>],
                &c.client_ids as &[Option<&str>],
                &c.outcomes as &[&str],
                &c.notes as &[&str],
                &c.trace_ids as &[&str],
                links.chain,
                links.first,
                &links.tags,
                &c.key_ids as &[Option<&str>],
                &c.audiences as &[Option<&str>],
                &c.cutoffs_s as &[Option<i64>]
            )
            .execute(connection)
            .await?;
            Ok(())
        })
        .await;
        self.chain()?.settle(&done, |()| true);
        done
    }
}

impl Store {
    /// The act that wrote the entry of this revision, which was committed at this time; `id`: the token or session of the
    /// entry.
    pub async fn audit_event_of(
        &self,
        revision: Revision,
        time: Timestamp,
        id: Option<Uuid>,
    ) -> Result<Option<AuditRow>, StoreError> {
        // Acts that are not in the log have the revision that was known to them: those come later.
        let own = self
            .run(async |connection| {
                Ok(sqlx::query_scalar!(
                    "select id from audit_event
                      where revision = $1 and id >= $2 and id < $3 and action <> all('{Issue,Refused}')
                      order by id limit 1",
                    revision.as_i64(),
                    id_of(time, -ID_SPREAD_S),
                    id_of(time, ID_SPREAD_S)
                )
                .fetch_optional(connection)
                .await?)
            })
            .await?;
        // One row tells of all that a chunk of a bulk revocation hit.
        let act = match (own, id) {
            (None, Some(id)) => self.bulk_audit_of(id).await?,
            (own, _) => own,
        };
        let Some(act) = act else { return Ok(None) };
        Ok(self.audit_events(&AuditFilter { id: Some(act), ..AuditFilter::default() }, 1).await?.pop())
    }

    /// At most `limit` acts, newest first.
    pub async fn audit_events(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRow>, StoreError> {
        // One audit row tells of all that a chunk of a bulk revocation hit.
        let bulk = match filter.jti.or(filter.session_id) {
            Some(id) => self.bulk_audit_of(id).await?,
            None => None,
        };
        let rows = self.run(async |connection| Ok(sqlx::query!(
            r#"select id, revision, event_time as "event_time: SqlTimestamp", actor, action, subject, jti, session_id,
                      client_id, outcome, reason, note, trace_id, key_id, audience, cutoff_s
                 from audit_event
                where ($1::text is null or subject = $1) and ($2::uuid is null or jti = $2 or id = $17)
                  and ($3::uuid is null or session_id = $3 or id = $17) and ($4::text is null or actor = $4)
                  and ($5::timestamptz is null or event_time >= $5) and ($6::timestamptz is null or event_time < $6)
                  and ($7::uuid is null or id < $7)
                  and ($9::uuid is null or id >= $9) and ($10::uuid is null or id < $10)
                  and ($11::text is null or client_id = $11) and ($12::text is null or key_id = $12)
                  and ($13::text is null or action = $13) and ($14::text is null or strpos(note, $14) > 0)
                  and ($18::uuid is null or id = $18)
                  and not ($15::boolean and action in ('Revoke', 'Issue') and jti is not null and subject is not distinct from $16)
                order by id desc limit $8"#,
            filter.subject.as_deref(),
            filter.jti,
            filter.session_id,
            filter.actor.as_deref(),
            filter.start_time.map(ToSqlx::to_sqlx) as _,
            filter.end_time.map(ToSqlx::to_sqlx) as _,
            filter.before,
            limit,
            filter.start_time.map(|time| id_of(time, -ID_SPREAD_S)),
            filter.end_time.map(|time| id_of(time, ID_SPREAD_S)),
            filter.client_id.as_deref(),
            filter.key_id.as_deref(),
            filter.action.as_deref(),
            filter.note.as_deref(),
            filter.without_canaries,
            CANARY,
            bulk,
            filter.id
        ).fetch_all(connection).await?)).await?;
        rows.into_iter()
            .map(|row| {
                Ok(AuditRow {
                    id: row.id,
                    revision: revision("audit_event", row.revision)?,
                    event_time: row.event_time.to_jiff(),
                    actor: row.actor,
                    action: row.action,
                    subject: row.subject,
                    jti: row.jti,
                    session_id: row.session_id,
                    client_id: row.client_id,
                    key_id: row.key_id,
                    audience: row.audience,
                    cutoff: row.cutoff_s.map(UnixSeconds::new),
                    outcome: row.outcome,
                    reason: Reason::from_number(row.reason.into()).unwrap_or_default(),
                    note: row.note,
                    trace_id: row.trace_id,
                })
            })
            .collect()
    }
}
