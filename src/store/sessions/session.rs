//! `session`: one row per refreshable session, however often it is refreshed.

use std::time::Duration;

use jiff::Timestamp;
use jiff_sqlx::{Timestamp as SqlTimestamp, ToSqlx};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::{
    state::{Reason, SessionFacts},
    store::{Store, StoreError, log::number::revision},
};
use jeton_token::{Revision, Thumbprint, UnixSeconds};

/// The most rows that one transaction of the sweep locks.
const SWEEP_ROWS_MAX: i64 = 500;
/// The time to count sessions, of which a client may have a million: shortly before jeton gives up a statement.
const COUNT_WITHIN: Duration = Duration::from_secs(8);

/// A session to open.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// A UUIDv7 of its opening.
    pub id: Uuid,
    /// Its subject.
    pub subject: String,
    /// Its client.
    pub client_id: String,
    /// The audiences of its tokens.
    pub audiences: Vec<String>,
    /// The scopes of its tokens.
    pub scopes: Vec<String>,
    /// Custom claims of its tokens.
    pub claims: Map<String, Value>,
    /// The thumbprint of the certificate that its tokens are bound to.
    pub certificate_thumbprint: Option<Thumbprint>,
    /// The short id of the trusted issuer by whose assertion it was opened; empty: by none.
    pub identity_provider: String,
    /// SHA-256 of the session's secret.
    pub secret_hash: [u8; 32],
    /// The MAC key of its refresh tokens, for its whole life.
    pub mac_key_id: [u8; 4],
    /// The revision at its opening.
    pub revision: Revision,
    /// The time of its opening.
    pub create_time: UnixSeconds,
    /// It ends then if it is not used before.
    pub idle_expire_time: UnixSeconds,
    /// It ends then in any case.
    pub expire_time: UnixSeconds,
}

/// A session, as of one statement.
#[derive(Clone, Debug)]
pub struct SessionRow {
    /// Its id.
    pub id: Uuid,
    /// Its subject.
    pub subject: String,
    /// Its client.
    pub client_id: String,
    /// The audiences of its tokens.
    pub audiences: Vec<String>,
    /// The scopes of its tokens.
    pub scopes: Vec<String>,
    /// Custom claims of its tokens.
    pub claims: Map<String, Value>,
    /// The thumbprint of the certificate that its tokens are bound to.
    pub certificate_thumbprint: Option<Thumbprint>,
    /// The short id of the trusted issuer by whose assertion it was opened; empty: by none.
    pub identity_provider: String,
    /// SHA-256 of the session's secret.
    pub secret_hash: [u8; 32],
    /// The revision at its opening.
    pub revision: Revision,
    /// The time of its opening.
    pub create_time: UnixSeconds,
    /// The number of refreshes so far: the generation of the current refresh token.
    pub generation: i64,
    /// The time of the latest refresh, or of the opening.
    pub refresh_time: Timestamp,
    /// It ends then if it is not used before.
    pub idle_expire_time: UnixSeconds,
    /// It ends then in any case.
    pub expire_time: UnixSeconds,
    /// Set when revoked.
    pub revoke_time: Option<Timestamp>,
    /// The reason of its revocation.
    pub revoke_reason: Reason,
    /// The database's time at the statement.
    pub now: UnixSeconds,
    /// Microseconds, by the database's clock, since the latest of its rotation, the start of Postgres and the start of
    /// the epoch: so an outage does not count against anybody.
    pub since_rotation_us: i64,
}

impl SessionRow {
    /// The facts that marks are compared with.
    #[must_use]
    pub fn facts(&self) -> SessionFacts<'_> {
        SessionFacts {
            id: self.id,
            subject: &self.subject,
            client_id: &self.client_id,
            identity_provider: &self.identity_provider,
            audiences: &self.audiences,
            revision: self.revision,
        }
    }

    /// Returns whether it can still be refreshed, as far as the row knows.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.revoke_time.is_none() && self.now < self.idle_expire_time && self.now < self.expire_time
    }
}

/// The sessions to list or to count. All set fields must match.
#[derive(Clone, Debug, Default)]
pub struct SessionFilter {
    /// Their subject.
    pub subject: Option<String>,
    /// Their client.
    pub client_id: Option<String>,
    /// The trusted issuer by whose assertion they were opened.
    pub identity_provider: Option<String>,
    /// The id of one session.
    pub id: Option<Uuid>,
    /// An audience of theirs.
    pub audience: Option<String>,
    /// Opened before this time.
    pub opened_before: Option<Timestamp>,
    /// Includes ended ones.
    pub ended: bool,
    /// Older than this session.
    pub before: Option<Uuid>,
}

impl Store {
    /// Opens a session, unless its subject already has `most` live ones for one of its audiences: then false.
    pub async fn insert_session(&self, session: &NewSession, most: Option<i64>) -> Result<bool, StoreError> {
        let thumbprint = session.certificate_thumbprint.map(|thumbprint| thumbprint.as_bytes().to_vec());
        let done = self.run(async |connection| Ok(sqlx::query!(
            "insert into session (id, subject, client_id, audiences, scopes, claims, certificate_thumbprint, secret_hash,
                                  mac_key_id, revision, create_time, refresh_time, idle_expire_time, expire_time, idp)
             select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12, $13, $15
              where $14::bigint is null or subject_has_room($2, $4, $14)",
            session.id,
            session.subject,
            session.client_id,
            &session.audiences,
            &session.scopes,
            serde_json::to_vec(&session.claims).map_err(|error| StoreError::corrupt("session", error.to_string()))?,
            thumbprint as _,
            session.secret_hash.as_slice(),
            session.mac_key_id.as_slice(),
            session.revision.as_i64(),
            Timestamp::from(session.create_time).to_sqlx() as _,
            Timestamp::from(session.idle_expire_time).to_sqlx() as _,
            Timestamp::from(session.expire_time).to_sqlx() as _,
            most,
            session.identity_provider
        ).execute(connection).await?)).await?;
        Ok(done.rows_affected() == 1)
    }

    /// Moves a session past a generation that its row has lost, which is the effect of a restore, not reuse. False: the
    /// row has moved meanwhile.
    pub async fn recover_session(&self, id: Uuid, lost_to: i64) -> Result<bool, StoreError> {
        let done = self
            .run(async |connection| {
                Ok(sqlx::query!(
                    "update session set generation = $2, refresh_time = statement_timestamp()
              where id = $1 and generation < $2 and revoke_time is null",
                    id,
                    lost_to
                )
                .execute(connection)
                .await?)
            })
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// One session.
    pub async fn session(&self, id: Uuid) -> Result<Option<SessionRow>, StoreError> {
        let filter = SessionFilter { id: Some(id), ended: true, ..SessionFilter::default() };
        Ok(self.sessions(&filter, 1).await?.pop())
    }

    /// At most `limit` sessions, newest first.
    pub async fn sessions(&self, filter: &SessionFilter, limit: i64) -> Result<Vec<SessionRow>, StoreError> {
        let rows = self.run(async |connection| Ok(sqlx::query_as!(
            Row,
            r#"select id, subject, client_id, audiences, scopes, claims, certificate_thumbprint, idp,
                      secret_hash, revision, create_time as "create_time: SqlTimestamp", generation,
                      refresh_time as "refresh_time: SqlTimestamp", idle_expire_time as "idle_expire_time: SqlTimestamp",
                      expire_time as "expire_time: SqlTimestamp", revoke_time as "revoke_time: SqlTimestamp",
                      revoke_reason, statement_timestamp() as "now!: SqlTimestamp",
                      (extract(epoch from statement_timestamp() - greatest(refresh_time, pg_postmaster_start_time(),
                          (select epoch_time from log_head))) * 1000000)::bigint as "since_rotation_us!"
                 from session
                where ($1::uuid is null or id = $1) and ($2::text is null or subject = $2)
                  and ($3::text is null or client_id = $3) and ($4::text is null or audiences @> array[$4])
                  and ($5::timestamptz is null or create_time < $5)
                  and ($6 or (revoke_time is null and idle_expire_time > now() and expire_time > now()))
                  and ($7::uuid is null or id < $7) and ($9::text is null or idp = $9)
                order by id desc limit $8"#,
            filter.id,
            filter.subject.as_deref(),
            filter.client_id.as_deref(),
            filter.audience.as_deref(),
            filter.opened_before.map(ToSqlx::to_sqlx) as _,
            filter.ended,
            filter.before,
            limit,
            filter.identity_provider.as_deref()
        ).fetch_all(connection).await?)).await?;
        rows.into_iter().map(TryInto::try_into).collect()
    }

    /// Returns whether the session exists. `None`: unknown within that time.
    pub async fn has_session_within(
        &self,
        filter: &SessionFilter,
        within: Duration,
    ) -> Result<Option<bool>, StoreError> {
        self.read_within(within, async |connection| {
            sqlx::query_scalar!(
                r#"select exists (select from session
                where ($1::uuid is null or id = $1) and ($2::text is null or subject = $2)
                  and ($3::text is null or client_id = $3) and ($4::text is null or audiences @> array[$4])
                  and ($5::timestamptz is null or create_time < $5)
                  and ($6 or (revoke_time is null and idle_expire_time > now() and expire_time > now()))
                  and ($7::text is null or idp = $7)) as "is!""#,
                filter.id,
                filter.subject.as_deref(),
                filter.client_id.as_deref(),
                filter.audience.as_deref(),
                filter.opened_before.map(ToSqlx::to_sqlx) as _,
                filter.ended,
                filter.identity_provider.as_deref(),
            )
            .fetch_one(connection)
            .await
        })
        .await
    }

    /// The subjects of the live ones among the latest sessions; at most so many sessions are read. `None`: not within
    /// that time.
    pub async fn recent_subjects(
        &self,
        most: i64,
        within: Duration,
    ) -> Result<Option<Vec<String>>, StoreError> {
        self.read_within(within, async |connection| {
            sqlx::query_scalar!(
                "select distinct subject from (
                         select subject, revoke_time is null and idle_expire_time > now() and expire_time > now() as live
                           from session order by id desc limit $1) latest
                      where live",
                most
            )
            .fetch_all(connection)
            .await
        })
        .await
    }

    /// The number of sessions. `None`: they could not be counted within the time limit of a statement.
    pub async fn count_sessions(&self, filter: &SessionFilter) -> Result<Option<i64>, StoreError> {
        self.read_within(COUNT_WITHIN, async |connection| {
            sqlx::query_scalar!(
                r#"select count(*) as "count!" from session
                where ($1::uuid is null or id = $1) and ($2::text is null or subject = $2)
                  and ($3::text is null or client_id = $3) and ($4::text is null or audiences @> array[$4])
                  and ($5::timestamptz is null or create_time < $5)
                  and ($6 or (revoke_time is null and idle_expire_time > now() and expire_time > now()))
                  and ($7::text is null or idp = $7)"#,
                filter.id,
                filter.subject.as_deref(),
                filter.client_id.as_deref(),
                filter.audience.as_deref(),
                filter.opened_before.map(ToSqlx::to_sqlx) as _,
                filter.ended,
                filter.identity_provider.as_deref(),
            )
            .fetch_one(connection)
            .await
        })
        .await
    }

    /// Writes into a session's row that it was revoked, unless that is there already.
    pub async fn end_session(&self, id: Uuid, reason: Reason) -> Result<(), StoreError> {
        self.run(async |connection| {
            Ok(sqlx::query!(
                "update session set revoke_time = statement_timestamp(), revoke_reason = $2
              where id = $1 and revoke_time is null",
                id,
                reason.number()
            )
            .execute(connection)
            .await?)
        })
        .await?;
        Ok(())
    }

    /// Writes into the rows of sessions that the log revokes that they were revoked: one batch, locked in id order.
    /// `patient`: waits for locked rows, so that a sweep that finds nothing proves that nothing was left. Returns the
    /// number of rows.
    pub async fn sweep_sessions(&self, patient: bool) -> Result<u64, StoreError> {
        // Two texts of one statement: SKIP LOCKED cannot be a parameter.
        let done = if patient {
            self.run(async |connection| {
                Ok(sqlx::query!(
                    "with hit as (
                     select s.id, h.reason from session s join revoked_sessions($1) h on h.id = s.id
                      where s.revoke_time is null order by s.id for update of s)
                 update session s set revoke_time = statement_timestamp(), revoke_reason = hit.reason
                   from hit where s.id = hit.id",
                    SWEEP_ROWS_MAX
                )
                .execute(connection)
                .await?)
            })
            .await?
        } else {
            self.run(async |connection| {
                Ok(sqlx::query!(
                    "with hit as (
                     select s.id, h.reason from session s join revoked_sessions($1) h on h.id = s.id
                      where s.revoke_time is null order by s.id for update of s skip locked)
                 update session s set revoke_time = statement_timestamp(), revoke_reason = hit.reason
                   from hit where s.id = hit.id",
                    SWEEP_ROWS_MAX
                )
                .execute(connection)
                .await?)
            })
            .await?
        };
        Ok(done.rows_affected())
    }
}

/// A row of the table, as the macros make it.
pub(in crate::store) struct Row {
    pub(in crate::store) id: Uuid,
    pub(in crate::store) subject: String,
    pub(in crate::store) client_id: String,
    pub(in crate::store) audiences: Vec<String>,
    pub(in crate::store) scopes: Vec<String>,
    pub(in crate::store) claims: Vec<u8>,
    pub(in crate::store) certificate_thumbprint: Option<Vec<u8>>,
    pub(in crate::store) idp: String,
    pub(in crate::store) secret_hash: Vec<u8>,
    pub(in crate::store) revision: i64,
    pub(in crate::store) create_time: SqlTimestamp,
    pub(in crate::store) generation: i64,
    pub(in crate::store) refresh_time: SqlTimestamp,
    pub(in crate::store) idle_expire_time: SqlTimestamp,
    pub(in crate::store) expire_time: SqlTimestamp,
    pub(in crate::store) revoke_time: Option<SqlTimestamp>,
    pub(in crate::store) revoke_reason: i16,
    pub(in crate::store) now: SqlTimestamp,
    pub(in crate::store) since_rotation_us: i64,
}

impl TryFrom<Row> for SessionRow {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let corrupt = |what: &str| StoreError::corrupt("session", format!("{}: {what}", row.id));
        let seconds = |time: SqlTimestamp| UnixSeconds::from_timestamp(time.to_jiff());
        Ok(Self {
            claims: serde_json::from_slice(&row.claims).map_err(|_| corrupt("claims"))?,
            certificate_thumbprint: row
                .certificate_thumbprint
                .map(|bytes| {
                    <[u8; 32]>::try_from(bytes).map(Thumbprint::new).map_err(|_| corrupt("thumbprint"))
                })
                .transpose()?,
            identity_provider: row.idp,
            secret_hash: row.secret_hash.as_slice().try_into().map_err(|_| corrupt("secret_hash"))?,
            revision: revision("session", row.revision)?,
            create_time: seconds(row.create_time),
            idle_expire_time: seconds(row.idle_expire_time),
            expire_time: seconds(row.expire_time),
            refresh_time: row.refresh_time.to_jiff(),
            revoke_time: row.revoke_time.map(SqlTimestamp::to_jiff),
            revoke_reason: Reason::from_number(row.revoke_reason.into()).unwrap_or_default(),
            now: seconds(row.now),
            since_rotation_us: row.since_rotation_us,
            id: row.id,
            subject: row.subject,
            client_id: row.client_id,
            audiences: row.audiences,
            scopes: row.scopes,
            generation: row.generation,
        })
    }
}
