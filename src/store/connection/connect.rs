//! Opens connections with the settings that the promise depends on, made by statements and read back. Poolers drop
//! settings that a client requests when it connects; roles and databases have defaults of their own.

use std::{fmt::Write, sync::Arc, time::Duration};

use sqlx::{Connection, PgConnection, Row, postgres::PgConnectOptions, raw_sql};
use tokio::time::{sleep, timeout};

use crate::store::{
    StoreError,
    connection::{address::Address, outage::Outage},
};
use jeton_token::random_bytes;

/// The pause between two tries to connect.
const CONNECT_PAUSE: Duration = Duration::from_millis(50);

/// The settings of every connection. A setting that this version of Postgres does not have is left out.
const SETTINGS: [(&str, &str); 11] = [
    // An acknowledged revocation is on disk, and on the synchronous standbys, whatever the default.
    ("synchronous_commit", "on"),
    // jeton limits each statement itself, and then closes its connection. Postgres must not cancel a statement: a
    // commit that waits for a standby would return as done.
    ("statement_timeout", "0"),
    // Except while it waits for a lock: when jeton has given it up, it must not keep its place in the queue.
    ("lock_timeout", "9s"),
    ("transaction_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    // Tasks keep their connections.
    ("idle_session_timeout", "0"),
    // The functions lock, then read: each statement sees everything that was committed before it.
    ("default_transaction_isolation", "read committed"),
    ("default_transaction_deferrable", "off"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("client_encoding", "UTF8"),
];
/// The value beyond `on` that a deployment with standbys may set, and keep.
const STRONGER: &str = "remote_apply";
/// Set to an id of the connection: a connection with another id is shared with somebody else.
const MARK: &str = "jeton.connection";
/// Settings that are only read.
const GIVEN: [&str; 6] = [
    MARK,
    "server_version_num",
    "server_encoding",
    "transaction_read_only",
    "fsync",
    "session_replication_role",
];
/// `server_version_num` of 15.0.
const OLDEST_VERSION: u32 = 150_000;

/// A setting and its value.
pub(in crate::store) type Setting = (&'static str, &'static str);

/// The means to open a connection.
#[derive(Clone)]
pub(in crate::store) struct Connector {
    options: PgConnectOptions,
    /// Host and database, for people.
    at: Arc<str>,
    /// The settings that the URL requests.
    given: Arc<[(String, String)]>,
    /// Further settings.
    settings: &'static [Setting],
    /// The time for which a connection is waited for.
    pub(in crate::store) patience: Duration,
    /// Refuses a database that does not write through to its disk.
    pub(in crate::store) needs_fsync: bool,
    /// Logs that the database has gone.
    pub(in crate::store) outage: Arc<Outage>,
    /// The `application_name` in Postgres.
    pub(in crate::store) name: &'static str,
}

impl Connector {
    pub(in crate::store) fn new(address: Address, name: &'static str, patience: Duration) -> Self {
        // Poolers do not know float digits, and refuse unknown settings.
        let options = address.options.extra_float_digits(None).application_name(name);
        Self {
            options,
            outage: Arc::new(Outage::new(Arc::clone(&address.at))),
            at: address.at,
            given: address.settings.into(),
            settings: &[],
            patience,
            needs_fsync: false,
            name,
        }
    }

    /// The same with another name and more settings.
    pub(in crate::store) fn of(&self, name: &'static str, settings: &'static [Setting]) -> Self {
        let options = self.options.clone().application_name(name);
        Self { options, settings, name, ..self.clone() }
    }

    /// The options of the listening connection, the only one that runs no statements.
    pub(in crate::store) fn options(&self, name: &'static str) -> PgConnectOptions {
        self.options.clone().application_name(name)
    }

    /// The failure, with the database's address.
    pub(in crate::store) fn here(&self, error: StoreError) -> StoreError {
        error.at(&self.at)
    }

    /// Opens a connection, trying for as long as a call waits. Fails with the latest cause.
    pub(in crate::store) async fn open(&self) -> Result<PgConnection, StoreError> {
        let mut latest = None;
        let opening = async {
            loop {
                match self.open_once().await {
                    Err(error @ StoreError::Unreachable(_)) => {
                        latest = Some(error);
                        sleep(CONNECT_PAUSE).await;
                    }
                    done => return done,
                }
            }
        };
        let done = timeout(self.patience, opening).await;
        // No connection was made: the error names the address.
        done.unwrap_or_else(|_| {
            Err(latest.unwrap_or_else(|| self.here(StoreError::away("it did not answer in time"))))
        })
    }

    /// Opens one.
    pub(in crate::store) async fn open_once(&self) -> Result<PgConnection, StoreError> {
        self.try_open().await.map_err(|error| self.here(error))
    }

    async fn try_open(&self) -> Result<PgConnection, StoreError> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        let mark = u128::from_be_bytes(random_bytes()).to_string();
        // Two round trips on purpose: the settings must still hold in the next one.
        let rows = raw_sql(sqlx::AssertSqlSafe(self.setting(&mark))).fetch_all(&mut connection).await?;
        let found: Option<String> = rows.first().map(|row| row.try_get(0)).transpose()?;
        if found.is_some_and(|found| !found.is_empty()) {
            return Err(StoreError::unfit(
                "a pooler hands its connections on to others while they are in use or without a reset: it must pool \
                 sessions, and reset with DISCARD ALL",
            ));
        }
        let given = self.set_given(&mut connection).await?;
        let rows = raw_sql(sqlx::AssertSqlSafe(self.reading())).fetch_all(&mut connection).await?;
        let mut read = Vec::new();
        for row in &rows {
            let value: Option<String> = row.try_get(1)?;
            read.push((row.try_get::<String, _>(0)?, value));
        }
        self.check(&read, &mark)?;
        for (name, value) in given {
            if !read.contains(&(name.clone(), Some(value))) {
                return Err(StoreError::unfit(format!(
                    "its setting {name}, which the URL asks for, does not stay"
                )));
            }
        }
        Ok(connection)
    }

    /// Makes the settings that the URL requests. Returns them as Postgres writes them.
    async fn set_given(&self, connection: &mut PgConnection) -> Result<Vec<(String, String)>, StoreError> {
        let mut text = String::new();
        for (name, value) in self.given.iter() {
            let _infallible =
                write!(text, "select {0}, set_config({0}, {1}, false); ", literal(name), literal(value));
        }
        let rows = raw_sql(sqlx::AssertSqlSafe(text)).fetch_all(connection).await;
        let rows = rows.map_err(|error| {
            let error = StoreError::from(error);
            if error.is_unreachable() {
                return error;
            }
            // Postgres' message may contain the value.
            let names: Vec<_> = self.given.iter().map(|(name, _)| name.as_str()).collect();
            StoreError::unfit(format!(
                "it cannot set what options in the URL asks for ({})",
                names.join(", ")
            ))
        })?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
    }

    /// The settings of every connection, after its own, which take precedence.
    fn all(&self) -> impl Iterator<Item = &Setting> {
        let own = |name: &str| self.settings.iter().any(|(each, _)| *each == name);
        SETTINGS.iter().filter(move |(name, _)| !own(name)).chain(self.settings)
    }

    /// Reads the former owner's mark, then makes the settings. All of it is our own text.
    fn setting(&self, mark: &str) -> String {
        let mut text = format!("select coalesce(current_setting('{MARK}', true), ''); ");
        let _infallible = write!(text, "select set_config('{MARK}', '{mark}', false)");
        for (name, value) in self.all() {
            let _infallible = match *name {
                "synchronous_commit" => write!(
                    text,
                    ", set_config('{name}', case current_setting('{name}') when '{STRONGER}' then '{STRONGER}' else \
                     '{value}' end, false)"
                ),
                _ => write!(
                    text,
                    ", case when current_setting('{name}', true) is not null then set_config('{name}', '{value}', \
                     false) end"
                ),
            };
        }
        text
    }

    /// Reads the settings back, with those that cannot be set.
    fn reading(&self) -> String {
        let mut text = "select 'standby' as name, pg_is_in_recovery()::text as value".to_owned();
        let given = self.given.iter().map(|(name, _)| name.as_str());
        for name in GIVEN.into_iter().chain(self.all().map(|(name, _)| *name)).chain(given) {
            let _infallible =
                write!(text, " union all select {0}, current_setting({0}, true)", literal(name));
        }
        text
    }

    fn check(&self, read: &[(String, Option<String>)], mark: &str) -> Result<(), StoreError> {
        let value = |name: &str| {
            let found = read.iter().find(|(each, _)| each == name);
            found.and_then(|(_, value)| value.as_deref())
        };
        let is = |name: &str, wanted: &str| value(name) == Some(wanted);
        let unfit = |what: String| Err(StoreError::unfit(what));
        if value("server_version_num")
            .and_then(|text| text.parse().ok())
            .is_none_or(|it: u32| it < OLDEST_VERSION)
        {
            return unfit("it is older than PostgreSQL 15".to_owned());
        }
        if !is("server_encoding", "UTF8") {
            let encoding = value("server_encoding").unwrap_or_default();
            return unfit(format!("its encoding is {encoding}: make a database with encoding UTF8"));
        }
        if !is("standby", "false") {
            return unfit("it is a standby, which takes no writes: name the primary".to_owned());
        }
        if !is("transaction_read_only", "off") {
            return unfit(
                "it is read-only: default_transaction_read_only is on for the server, the database or the role"
                    .to_owned(),
            );
        }
        if self.needs_fsync && !is("fsync", "on") {
            return unfit(
                "its fsync is off, so what was acknowledged may be lost: turn it on, or say --allow-fsync-off for a test"
                    .to_owned(),
            );
        }
        if !is(MARK, mark) {
            return unfit(
                "a pooler changes connections between statements: it must pool sessions".to_owned(),
            );
        }
        if !is("session_replication_role", "origin") {
            return unfit("session_replication_role is not origin: its triggers would not run".to_owned());
        }
        for (name, wanted) in self.all() {
            let kept = |found: &str| found == *wanted || (*name == "synchronous_commit" && found == STRONGER);
            if value(name).is_some_and(|found| !kept(found)) {
                return unfit(format!("its setting {name} cannot be made {wanted}"));
            }
        }
        Ok(())
    }
}

/// A string of SQL, whatever backslashes mean to the server.
fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use crate::store::connection::connect::literal;

    #[test]
    fn a_literal_ends_where_it_should() {
        assert_eq!(literal("jeton"), "E'jeton'");
        assert_eq!(literal(r"a'b\"), r"E'a''b\\'");
    }
}
