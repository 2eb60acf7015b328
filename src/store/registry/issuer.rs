//! `trusted_issuer`: read by replicas, and written through the log.

use std::collections::HashSet;

use jiff::Timestamp;
use jiff_sqlx::Timestamp as SqlTimestamp;
use sqlx::{Connection as _, PgConnection};

use crate::{
    mint::RowFields,
    state::{IssuerRegistration, Issuers, TrustedIssuer},
    store::{
        Forged, NewAudit, OwnConnection, SeenBefore, Store, StoreError,
        connection::own::TABLE_TIMEOUT,
        log::number::revision,
        registry::seal::{Sealed, Seen, Table},
    },
};
use jeton_token::{Revision, uuid_unix_ms};

/// The most trusted issuers: each costs a fetch now and then.
pub const ISSUERS_MAX: i64 = 100;

/// A trusted issuer as it is stored.
#[derive(Clone, Debug)]
pub struct IssuerRow {
    /// Its short id.
    pub issuer_id: String,
    /// As it was registered.
    pub registration: IssuerRegistration,
    /// Its assertions are refused.
    pub disabled: bool,
    /// The revision of its latest change.
    pub revision: Revision,
    /// The time when it was registered.
    pub create_time: Timestamp,
    /// Of its latest change.
    pub version: i64,
    /// The reason why it counts as absent, or will when servers start.
    pub refused: Option<Forged>,
}

impl IssuerRow {
    /// Returns whether it counts as absent.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.is_some_and(Forged::is_absent)
    }
}

/// The result of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuerWrite {
    /// Written at this revision.
    Written(Revision),
    /// The row has changed, or is gone.
    Stale,
    /// There is an issuer with this short id.
    IdTaken,
    /// Another one has this `iss`.
    IssuerTaken,
    /// There are the most that are allowed.
    TooMany,
}

impl IssuerWrite {
    fn of(outcome: &str, number: Option<i64>) -> Result<Self, StoreError> {
        match (outcome, number) {
            ("WRITTEN", Some(number)) => Ok(Self::Written(revision("trusted_issuer", number)?)),
            ("STALE", _) => Ok(Self::Stale),
            ("ID_TAKEN", _) => Ok(Self::IdTaken),
            ("ISSUER_TAKEN", _) => Ok(Self::IssuerTaken),
            ("TOO_MANY", _) => Ok(Self::TooMany),
            (other, _) => Err(StoreError::corrupt("trusted_issuer", format!("outcome {other}"))),
        }
    }
}

impl Store {
    /// One trusted issuer.
    pub async fn issuer(&self, issuer_id: &str) -> Result<Option<IssuerRow>, StoreError> {
        Ok(self.stored_issuers(Some(issuer_id), None, 1).await?.pop())
    }

    /// Trusted issuers by short id, from after `after` or the first one on, at most `limit`.
    pub async fn issuers_after(&self, after: Option<&str>, limit: i64) -> Result<Vec<IssuerRow>, StoreError> {
        self.stored_issuers(None, after, limit).await
    }

    async fn stored_issuers(
        &self,
        issuer_id: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<IssuerRow>, StoreError> {
        let seal = self.seal()?;
        let seen = seal.seen();
        let rows = self.run(async |connection| read(connection, issuer_id, after, limit).await).await?;
        let judged = |row: Stored| {
            let refused = seal.weigh(&seen, Table::TrustedIssuer, &row.sealed());
            row.into_row(refused)
        };
        rows.into_iter().map(judged).collect()
    }

    /// The ids of trusted issuers that count as absent here.
    async fn absent_issuers(&self) -> Result<Vec<String>, StoreError> {
        let seal = self.seal()?;
        let seen = seal.seen();
        let rows = self.run(async |connection| read(connection, None, None, i64::MAX).await).await?;
        let absent =
            rows.iter().filter(|row| seal.judge(&seen, Table::TrustedIssuer, &row.sealed()).is_some());
        Ok(absent.map(|row| row.issuer_id.clone()).collect())
    }

    /// The trusted issuers whose rows are not good by themselves, by short id.
    pub async fn refused_issuers(&self) -> Result<Vec<String>, StoreError> {
        let seal = self.seal()?;
        let rows = self.run(async |connection| read(connection, None, None, i64::MAX).await).await?;
        let seen = Seen::default();
        let refused =
            rows.iter().filter(|row| seal.judge(&seen, Table::TrustedIssuer, &row.sealed()).is_some());
        Ok(refused.map(|row| row.issuer_id.clone()).collect())
    }

    /// Registers a trusted issuer through the log. Its creation time is that of the write.
    pub async fn create_issuer(
        &self,
        new: &IssuerRow,
        audit: &NewAudit,
    ) -> Result<(IssuerWrite, Option<Timestamp>), StoreError> {
        let (text, version, row_mac) = self.issuer_as_written(new, audit)?;
        let refused = self.absent_issuers().await?;
        let row = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query!(
                        r#"select outcome as "outcome!", new_revision,
                                  new_create_time as "new_create_time?: SqlTimestamp"
                             from create_issuer($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
                        new.issuer_id,
                        new.registration.issuer,
                        text,
                        new.disabled,
                        version,
                        row_mac,
                        ISSUERS_MAX,
                        &refused,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                |row| row.new_revision.is_some(),
            )
            .await?;
        Ok((IssuerWrite::of(&row.outcome, row.new_revision)?, row.new_create_time.map(SqlTimestamp::to_jiff)))
    }

    /// Writes a trusted issuer through the log, if it is still at `expected`.
    pub async fn update_issuer(
        &self,
        new: &IssuerRow,
        expected: Revision,
        audit: &NewAudit,
    ) -> Result<IssuerWrite, StoreError> {
        let (text, version, row_mac) = self.issuer_as_written(new, audit)?;
        let refused = self.absent_issuers().await?;
        let row = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query!(
                        r#"select outcome as "outcome!", new_revision
                             from update_issuer($1, $2, $3, $4, $5, $6, $7, $8, $9)"#,
                        expected.as_i64(),
                        new.issuer_id,
                        new.registration.issuer,
                        text,
                        new.disabled,
                        version,
                        row_mac,
                        &refused,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                |row| row.new_revision.is_some(),
            )
            .await?;
        IssuerWrite::of(&row.outcome, row.new_revision)
    }

    /// Removes a trusted issuer through the log, if it is still at `expected`.
    pub async fn delete_issuer(
        &self,
        issuer_id: &str,
        expected: Revision,
        audit: &NewAudit,
    ) -> Result<IssuerWrite, StoreError> {
        let row = self
            .act(
                audit,
                async |connection, act| {
                    Ok(sqlx::query!(
                        r#"select outcome as "outcome!", new_revision from delete_issuer($1, $2, $3)"#,
                        expected.as_i64(),
                        issuer_id,
                        act
                    )
                    .fetch_one(connection)
                    .await?)
                },
                |row| row.new_revision.is_some(),
            )
            .await?;
        IssuerWrite::of(&row.outcome, row.new_revision)
    }

    /// Gives each trusted issuer with a MAC under another master key a MAC under the current one. Returns the number of
    /// rows.
    pub async fn reseal_issuers(&self) -> Result<u64, StoreError> {
        let seal = self.seal()?;
        let mut pooled = self.pool.acquire().await?;
        pooled.wait_for_locks().await?;
        reseal(pooled.connection(), |fields, mac| seal.remade(fields, mac)).await
    }

    /// Vouches for every trusted issuer as it is: each gets a MAC under the current master key. Returns the number of
    /// rows.
    pub async fn adopt_issuers(&self) -> Result<u64, StoreError> {
        let seal = self.seal()?;
        let mut pooled = self.pool.acquire().await?;
        pooled.wait_for_locks().await?;
        reseal(pooled.connection(), |fields, _| Some(seal.mac(fields))).await
    }

    /// The registration as text, the next version, and the MAC.
    fn issuer_as_written(
        &self,
        new: &IssuerRow,
        audit: &NewAudit,
    ) -> Result<(String, i64, Vec<u8>), StoreError> {
        let seal = self.seal()?;
        let text = serde_json::to_string(&new.registration)
            .map_err(|error| StoreError::corrupt("trusted_issuer", error.to_string()))?;
        let latest = new.version.max(seal.version(Table::TrustedIssuer, &new.issuer_id));
        let version = uuid_unix_ms(audit.id).max(latest.saturating_add(1));
        let row_mac = seal.mac(&fields(&new.issuer_id, &new.registration.issuer, &text, version));
        Ok((text, version, row_mac))
    }
}

impl OwnConnection {
    /// Every trusted issuer whose row is good. Remembers what it has seen: use one connection only.
    pub async fn issuers(&mut self) -> Result<Issuers, StoreError> {
        let seal = self.seal()?;
        let rows =
            self.run(TABLE_TIMEOUT, async |connection| read(connection, None, None, i64::MAX).await).await?;
        let sealed: Vec<_> = rows.iter().map(Stored::sealed).collect();
        let judged = seal.judge_all(Table::TrustedIssuer, &sealed);
        let good = rows.into_iter().zip(judged).filter(|(_, refused)| refused.is_none());
        let issuers = good.map(|(row, _)| row.into_issuer()).collect::<Result<Vec<_>, StoreError>>()?;
        Ok(issuers.into_iter().flatten().collect())
    }

    /// The same, and the ids of those that had been seen before, in this state or a later one.
    pub async fn issuers_and_seen(
        &mut self,
        before: &SeenBefore,
    ) -> Result<(Issuers, HashSet<String>), StoreError> {
        let rows =
            self.run(TABLE_TIMEOUT, async |connection| read(connection, None, None, i64::MAX).await).await?;
        let seen = rows.iter().filter(|row| before.has(Table::TrustedIssuer, &row.issuer_id, row.version));
        let seen = seen.map(|row| row.issuer_id.clone()).collect();
        Ok((self.issuers().await?, seen))
    }

    /// Disables a trusted issuer through the log, as of a revision, which must be another one than its own: so only one of
    /// several replicas writes it. False: another replica was first.
    pub async fn restrict_issuer(
        &mut self,
        issuer: &TrustedIssuer,
        as_of: Revision,
        audit: &NewAudit,
    ) -> Result<bool, StoreError> {
        let seal = self.seal()?;
        let text = serde_json::to_string(&*issuer.registration)
            .map_err(|error| StoreError::corrupt("trusted_issuer", error.to_string()))?;
        // As if written now: earlier states grant nothing any more.
        let latest = seal.version(Table::TrustedIssuer, &issuer.issuer_id);
        let version = uuid_unix_ms(audit.id).max(latest.saturating_add(1));
        let row_mac = seal.mac(&fields(&issuer.issuer_id, &issuer.issuer, &text, version));
        let audit = NewAudit { note: format!("issuer {}", issuer.issuer_id), ..audit.clone() };
        self.act(
            TABLE_TIMEOUT,
            &audit,
            async |connection, act| {
                let head = sqlx::query_scalar!(
                    "select restrict_issuer($1, $2, $3, $4, $5, $6)",
                    issuer.revision.as_i64(),
                    as_of.as_i64(),
                    issuer.issuer_id,
                    version,
                    row_mac,
                    act
                )
                .fetch_one(connection)
                .await?;
                Ok(head.is_some())
            },
            |written| *written,
        )
        .await
    }
}

/// The fields under the MAC. The registration as the text that is stored, so that every byte of it is vouched for.
fn fields(issuer_id: &str, issuer: &str, registration: &str, version: i64) -> RowFields {
    RowFields::of("trusted_issuer").text(issuer_id).number(version).text(issuer).text(registration)
}

struct Stored {
    issuer_id: String,
    issuer: String,
    revision: i64,
    registration: String,
    disabled: bool,
    create_time: SqlTimestamp,
    version: i64,
    row_mac: Vec<u8>,
}

impl Stored {
    fn sealed(&self) -> Sealed<'_> {
        Sealed {
            id: &self.issuer_id,
            fields: fields(&self.issuer_id, &self.issuer, &self.registration, self.version),
            mac: &self.row_mac,
            version: self.version,
            taken: i64::from(self.disabled),
        }
    }

    /// A row that jeton did not write may hold anything: it is shown without what cannot be read.
    fn into_row(self, refused: Option<Forged>) -> Result<IssuerRow, StoreError> {
        let registration = serde_json::from_str(&self.registration)
            .unwrap_or_else(|_| IssuerRegistration { issuer: self.issuer, ..IssuerRegistration::default() });
        Ok(IssuerRow {
            issuer_id: self.issuer_id,
            registration,
            disabled: self.disabled,
            revision: revision("trusted_issuer", self.revision)?,
            create_time: self.create_time.to_jiff(),
            version: self.version,
            refused,
        })
    }

    /// A good row that this version cannot follow, because a later one wrote it, is no issuer here.
    fn into_issuer(self) -> Result<Option<TrustedIssuer>, StoreError> {
        let revision = revision("trusted_issuer", self.revision)?;
        let Ok(registration) = serde_json::from_str(&self.registration) else {
            tracing::warn!(
                jeton.issuer_id = self.issuer_id,
                "a trusted issuer cannot be read: it is left out"
            );
            return Ok(None);
        };
        let issuer_id = self.issuer_id.clone();
        let issuer = TrustedIssuer::new(self.issuer_id, revision, registration, self.disabled);
        if let Err((field, rule)) = &issuer {
            tracing::warn!(
                jeton.issuer_id = issuer_id,
                jeton.field = field,
                jeton.rule = rule,
                "a trusted issuer cannot be followed: it is left out"
            );
        }
        Ok(issuer.ok())
    }
}

async fn read(
    connection: &mut PgConnection,
    issuer_id: Option<&str>,
    after: Option<&str>,
    limit: i64,
) -> Result<Vec<Stored>, StoreError> {
    Ok(sqlx::query_as!(
        Stored,
        r#"select issuer_id, issuer, revision, registration, disabled, create_time as "create_time: SqlTimestamp",
                  version, row_mac
             from trusted_issuer
            where ($1::text is null or issuer_id = $1) and ($2::text is null or issuer_id collate "C" > $2)
            order by issuer_id collate "C" limit $3"#,
        issuer_id,
        after,
        limit
    )
    .fetch_all(connection)
    .await?)
}

async fn reseal(
    connection: &mut PgConnection,
    remake: impl Fn(&RowFields, &[u8]) -> Option<Vec<u8>>,
) -> Result<u64, StoreError> {
    let mut transaction = connection.begin().await?;
    // Nobody else may write them meanwhile.
    sqlx::query!("lock table trusted_issuer in share row exclusive mode").execute(&mut *transaction).await?;
    let rows = read(&mut transaction, None, None, i64::MAX).await?;
    let resealed = |row: &Stored| {
        let sealed = row.sealed();
        Some((row.issuer_id.clone(), remake(&sealed.fields, sealed.mac)?))
    };
    let (ids, macs): (Vec<String>, Vec<Vec<u8>>) = rows.iter().filter_map(resealed).unzip();
    let written = sqlx::query!(
        "update trusted_issuer t set row_mac = i.mac from unnest($1::text[], $2::bytea[]) i(id, mac)
          where t.issuer_id = i.id",
        &ids,
        &macs
    );
    let written = written.execute(&mut *transaction).await?.rows_affected();
    transaction.commit().await?;
    Ok(written)
}
