//! Failures of the database, named by what the caller can do.

use std::{fmt, io, sync::Arc};

use sqlx::{
    migrate::MigrateError,
    postgres::{PgDatabaseError, PgSeverity},
};

use jeton_io::Untrusted;

/// The SQLSTATE of `log_advance` if the database is not the one that the log was written in.
const FOREIGN_LOG: &str = "JT001";
/// The SQLSTATE of a statement that ran into `statement_timeout`.
const QUERY_CANCELED: &str = "57014";

/// A failure of the database.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Out of reach, restarting or out of connections. It is unknown whether a write took effect.
    #[error("the database{0}")]
    Unreachable(Away),
    /// It answers, but must not be used, because it cannot keep the promise. Nothing was written.
    #[error("the database{0}")]
    Unfit(Unfit),
    /// It did not answer in time. It is unknown whether a write took effect.
    #[error("the database is out of reach: it did not answer in time")]
    Late,
    /// This process is shutting down.
    #[error("this process is ending")]
    Closed,
    /// Another database, other tables or another timeline than those that the log was written in.
    #[error("the database is not the one that the log was written in: it was restored, copied or promoted")]
    ForeignLog,
    /// The log is, or may be, in another epoch than the awaited change.
    #[error(
        "the database was replaced, or went away, after this was written: it may be lost. Look whether it is there, and repeat it"
    )]
    MayBeLost,
    /// The schema lacks a migration of this version.
    #[error("the database lacks migration {version}: run `jeton migrate up`")]
    OlderSchema {
        /// The first missing one.
        version: i64,
    },
    /// The schema has a migration that this version does not know.
    #[error(
        "the database has migration {version}, which this version of jeton does not know: use a newer jeton"
    )]
    NewerSchema {
        /// The first unknown one.
        version: i64,
    },
    /// A migration was applied with another text.
    #[error("migration {version} in the database is not the one of this version of jeton")]
    ForeignSchema {
        /// Its number.
        version: i64,
    },
    /// A URL that cannot be read.
    #[error("the database URL cannot be used: {0}")]
    Url(String),
    /// A statement failed, or returned an impossible row: a defect of jeton.
    #[error("a statement failed: {0}")]
    Statement(sqlx::Error),
    /// Rows that grant something cannot be checked without the master key: a defect of jeton.
    #[error("the rows of clients and keys need the master key")]
    NoMasterKey,
    /// A row has content that no version of jeton writes.
    #[error("table {table} holds what cannot be: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The fault.
        what: String,
    },
}

/// The address of a database that is out of reach, and the cause.
#[derive(Clone, Debug, Default)]
pub struct Away {
    at: Arc<str>,
    cause: String,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.at.is_empty() { "" } else { " " };
        write!(f, "{space}{} is out of reach: {}", self.at, self.cause)
    }
}

/// The address of a database that must not be used, and the reason.
#[derive(Clone, Debug, Default)]
pub struct Unfit {
    at: Arc<str>,
    what: String,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.at.is_empty() { "" } else { " " };
        write!(f, "{space}{} cannot be used: {}", self.at, self.what)
    }
}

impl StoreError {
    /// Returns whether a later retry may succeed.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unfit(_) | Self::Late | Self::Closed)
    }

    /// A copy for another waiter of the batch; only the first keeps the cause.
    #[must_use]
    pub fn again(&self) -> Self {
        match self {
            Self::Closed => Self::Closed,
            Self::Late => Self::Late,
            Self::ForeignLog => Self::ForeignLog,
            Self::MayBeLost => Self::MayBeLost,
            Self::Unreachable(away) => Self::Unreachable(away.clone()),
            Self::Unfit(unfit) => Self::Unfit(unfit.clone()),
            Self::OlderSchema { .. }
            | Self::NewerSchema { .. }
            | Self::ForeignSchema { .. }
            | Self::Url(_)
            | Self::Statement(_)
            | Self::NoMasterKey
            | Self::Corrupt { .. } => Self::Statement(sqlx::Error::Protocol(self.to_string())),
        }
    }

    /// A database that cannot be reached.
    pub(super) fn away(cause: impl Into<String>) -> Self {
        Self::Unreachable(Away { at: Arc::default(), cause: cause.into() })
    }

    /// A database that must not be used.
    pub(super) fn unfit(what: impl Into<String>) -> Self {
        Self::Unfit(Unfit { at: Arc::default(), what: what.into() })
    }

    /// Adds the address of the database.
    pub(super) fn at(self, at: &Arc<str>) -> Self {
        match self {
            Self::Unreachable(away) => Self::Unreachable(Away { at: Arc::clone(at), ..away }),
            Self::Unfit(unfit) => Self::Unfit(Unfit { at: Arc::clone(at), ..unfit }),
            other @ (Self::Closed
            | Self::Late
            | Self::ForeignLog
            | Self::MayBeLost
            | Self::OlderSchema { .. }
            | Self::NewerSchema { .. }
            | Self::ForeignSchema { .. }
            | Self::Url(_)
            | Self::Statement(_)
            | Self::NoMasterKey
            | Self::Corrupt { .. }) => other,
        }
    }

    /// An impossible row.
    pub(super) fn corrupt(table: &'static str, what: impl Into<String>) -> Self {
        Self::Corrupt { table, what: what.into() }
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "an error of a library's that we do not know is a defect of ours"
)]
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        match &error {
            sqlx::Error::Database(_) if code.as_deref() == Some(FOREIGN_LOG) => Self::ForeignLog,
            sqlx::Error::Database(_) if code.as_deref().is_some_and(is_passing) || ends_session(&error) => {
                Self::away(cause(&error))
            }
            // For the files that the URL names; their paths are not shown.
            sqlx::Error::Configuration(_) => Self::Url("a file that it names cannot be read".to_owned()),
            // A fault of TLS does not pass by itself.
            sqlx::Error::Tls(said) => Self::unfit(no_tls(&said.to_string())),
            sqlx::Error::Io(said) if Untrusted::read(&said.to_string()).is_some() => {
                Self::unfit(no_tls(&said.to_string()))
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::away(cause(&error)),
            _ => Self::Statement(error),
        }
    }
}

/// The reason why a database is out of reach, in words.
#[expect(clippy::wildcard_enum_match_arm, reason = "what is not told apart speaks for itself")]
fn cause(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "it closed the connection".to_owned()
        }
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::Protocol(said) => said.clone(),
        sqlx::Error::Database(error) => {
            format!("{} ({})", error.message(), error.code().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

/// The reason why TLS with a database failed, in words.
fn no_tls(said: &str) -> String {
    if said.contains("does not support TLS") {
        return "it offers no TLS: turn ssl on there, or say sslmode=disable where the network is trusted"
            .to_owned();
    }
    match Untrusted::read(said) {
        Some(untrusted) => {
            format!("{untrusted}: {}", untrusted.advice("sslrootcert=FILE in the URL", "sslcert and sslkey"))
        }
        None => {
            format!("its TLS is not accepted ({said}): name its authority by sslrootcert=FILE in the URL")
        }
    }
}

/// Returns whether Postgres refused or ended the session, for any reason (a database that accepts no connections, or is
/// being restored; a changed password): then no statement has failed.
fn ends_session(error: &sqlx::Error) -> bool {
    let postgres = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    postgres.is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// Returns whether Postgres gave up a statement because it took too long.
pub(super) fn is_cancelled(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.as_deref() == Some(QUERY_CANCELED)
}

/// SQLSTATEs of a database that is away, starting, stopping, read-only after a switch, or full.
fn is_passing(code: &str) -> bool {
    const CLASSES: [&str; 4] = ["08", "53", "57", "58"];
    // Read-only transaction; deadlock and serialization; invalid authorization while a server is set up.
    const CODES: [&str; 6] = ["25006", "40P01", "40001", "55P03", "28000", "28P01"];
    CODES.contains(&code) || CLASSES.iter().any(|class| code.starts_with(class))
}

#[expect(clippy::wildcard_enum_match_arm, reason = "as above")]
impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            MigrateError::VersionMissing(version) => Self::NewerSchema { version },
            MigrateError::VersionMismatch(version) => Self::ForeignSchema { version },
            other => Self::Statement(sqlx::Error::Migrate(Box::new(other))),
        }
    }
}
