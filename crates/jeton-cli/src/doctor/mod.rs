//! `jeton doctor`: faults, and advice.

mod caller;
mod certificates;
mod check;
mod endpoints;
mod fleet;
mod keys;
mod ready;
mod rows;

pub use ready::DoctorArgs;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tokio::time::Instant;

use self::{
    check::{Check, Grade, away, of_offset, refused, said},
    ready::{Readiness, ready, stopped},
};
use crate::term::escape::escape;
use crate::{
    invocation::Cli,
    remote::connect::{self, Connection, Identity, Listener},
    term::{
        exit::{Exit, Failure},
        json,
        output::{self, Tone},
        time,
    },
    verbs::{key, replica},
};
use jeton_proto::v1::{GetJwksRequest, GetServerInfoRequest, GetServerInfoResponse, ListAuditEventsRequest};

/// Synchronized clocks do not drift so far.
const OFFSET_WARN: SignedDuration = SignedDuration::from_secs(2);
#[derive(Debug, Serialize)]
struct Report<'a> {
    checks: &'a [Check],
}

/// Runs all checks. A failed check does not stop the others, but one that was not answered in time does: nobody waits for
/// each of them.
pub async fn run(cli: &Cli<'_>, args: &DoctorArgs) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let mut visit = Visit { checks: Vec::new(), patience: connect::timeout(cli) };
    if let Err(Stop::Misused(failure)) = visit.all(cli, args).await {
        return Err(failure);
    }
    let checks = visit.checks;
    if as_json {
        output::data(&json::of_own(&Report { checks: &checks })?)?;
    } else {
        print(cli, &checks)?;
    }
    let failed = checks.iter().any(|check| check.status == Grade::Fail);
    Ok(if failed { Exit::Negative } else { Exit::Done })
}

/// The reason why no further check is made.
enum Stop {
    /// The command line is wrong, not the server.
    Misused(Failure),
    /// The server has not started, or does not answer.
    Unanswered,
}

/// The checks so far.
struct Visit {
    checks: Vec<Check>,
    /// The longest wait for an answer.
    patience: Duration,
}

impl Visit {
    async fn all(&mut self, cli: &Cli<'_>, args: &DoctorArgs) -> Result<(), Stop> {
        match ready(cli, args).await.map_err(Stop::Misused)? {
            Readiness::Starting(check) => {
                self.checks.push(check);
                return Err(Stop::Unanswered);
            }
            Readiness::Started(check) => self.checks.extend(check),
        }
        let store_now = self.public(cli).await?;
        self.admin(cli, store_now.unwrap_or_else(cli.env.now)).await
    }

    /// Makes checks; afterwards no others if an answer was waited for in vain.
    async fn waits<T>(&mut self, checks: impl AsyncFnOnce(&mut Vec<Check>) -> T) -> Result<T, Stop> {
        let began = Instant::now();
        let made = checks(&mut self.checks).await;
        if began.elapsed() < self.patience {
            return Ok(made);
        }
        self.checks.push(stopped(self.patience));
        Err(Stop::Unanswered)
    }

    /// The checks on the public listener. Returns the database's time, as far as the server knows it.
    async fn public(&mut self, cli: &Cli<'_>) -> Result<Option<Timestamp>, Stop> {
        let connecting = async |checks: &mut Vec<Check>| {
            let connected = connect::open(cli, Listener::Public, Identity::Anonymous).await;
            if let Err(failure) = &connected
                && !matches!(failure, Failure::Usage(_))
            {
                checks.push(unreachable(failure));
            }
            connected
        };
        let connection = match self.waits(connecting).await? {
            // Nothing was checked.
            Err(failure @ Failure::Usage(_)) => return Err(Stop::Misused(failure)),
            connected => connected.ok(),
        };
        self.waits(async |checks| checks.extend(endpoints::endpoints(cli).await)).await?;
        let mut store_now = None;
        if let Some(connection) = &connection {
            store_now = self.waits(async |checks| server(cli, connection, checks).await).await?;
        }
        let certificates = async |checks: &mut Vec<Check>| {
            checks.push(certificates::certificates(cli, (cli.env.now)()).await);
        };
        self.waits(certificates).await?;
        let Some(connection) = connection else { return Ok(None) };
        self.waits(async |checks| checks.push(published_keys(&connection).await)).await?;
        self.waits(async |checks| checks.push(fleet::epoch(&connection).await)).await?;
        self.waits(async |checks| checks.extend(fleet::prober(&connection).await)).await?;
        let now = (cli.env.now)();
        self.waits(async |checks| checks.push(caller::caller(cli, now).await)).await?;
        Ok(store_now)
    }

    /// The checks on the admin listener.
    async fn admin(&mut self, cli: &Cli<'_>, now: Timestamp) -> Result<(), Stop> {
        let connecting = async |checks: &mut Vec<Check>| {
            let connected = connect::open(cli, Listener::Admin, Identity::Required).await;
            if let Err(failure) = &connected {
                checks.extend(["database", "leases", "rows"].map(|name| no_admin(name, failure)));
            }
            connected.ok()
        };
        let Some(connection) = self.waits(connecting).await? else { return Ok(()) };
        self.waits(async |checks| checks.push(database(&connection).await)).await?;
        self.waits(async |checks| rotation(&connection, checks, now).await).await?;
        self.waits(async |checks| replicas(&connection, checks, now).await).await?;
        self.waits(async |checks| checks.push(caller::api_keys(&connection, now).await)).await?;
        self.waits(async |checks| checks.push(rows::rows(&connection).await)).await
    }
}

fn print(cli: &Cli<'_>, checks: &[Check]) -> Result<(), Failure> {
    for check in checks {
        let (word, tone) = match check.status {
            Grade::Ok => ("ok  ", Tone::Good),
            Grade::Warn => ("warn", Tone::Doubtful),
            Grade::Fail => ("fail", Tone::Bad),
        };
        let detail = escape(&check.detail);
        output::data(&format!("{}  {:<12} {detail}", cli.output.paint(word, tone), check.name))?;
        if !check.advice.is_empty() {
            output::data(&format!("      {:<12} {}", "", check.advice))?;
        }
        for command in &check.commands {
            output::data(&format!("      {:<12}   {command}", ""))?;
        }
    }
    Ok(())
}

fn unreachable(failure: &Failure) -> Check {
    Check::fail("server", said(failure), "Start the server, or correct --endpoint or the context.")
}

/// Checks the server. Returns the database's time, as far as the server knows it.
async fn server(cli: &Cli<'_>, connection: &Connection, checks: &mut Vec<Check>) -> Option<Timestamp> {
    let start = Instant::now();
    match connection.call(GetServerInfoRequest {}).await {
        Err(failure) => {
            checks.push(unreachable(&failure));
            None
        }
        Ok(info) => {
            let took = start.elapsed();
            let (url, ms) = (connection.url(), took.as_millis());
            let detail =
                format!("{url} answered in {ms} ms: version {}, replica {}", info.version, info.replica);
            checks.push(Check::ok("server", detail));
            checks.push(Check::ok("issuer", format!("{}, revision {}", info.issuer, info.revision)));
            checks.push(local_clock(cli, &info, took));
            checks.push(store_clock(&info));
            let server = info.server_time.as_ref().and_then(time::from_wire_timestamp)?;
            let offset = info.store_clock_offset.as_ref().map(time::from_wire_duration).unwrap_or_default();
            server.checked_add(offset).ok()
        }
    }
}

fn local_clock(cli: &Cli<'_>, info: &GetServerInfoResponse, took: Duration) -> Check {
    let name = "local clock";
    let Some(server) = info.server_time.as_ref().and_then(time::from_wire_timestamp) else {
        return Check::warn(name, "the server does not say its time".into(), "Update the server.");
    };
    // The server read its clock about half a round trip ago.
    let half = SignedDuration::try_from(took).ok().and_then(|took| took.checked_div(2)).unwrap_or_default();
    let here = (cli.env.now)();
    let offset = here.duration_since(server).saturating_sub(half);
    let detail = format!("{} ms from the server's", offset.as_millis());
    if offset.abs() > OFFSET_WARN {
        return Check::warn(
            name,
            detail,
            "Tokens are judged by the server's clock. Check time synchronisation here.",
        );
    }
    Check::ok(name, detail)
}

fn store_clock(info: &GetServerInfoResponse) -> Check {
    let name = "server clock";
    let Some(wire) = &info.store_clock_offset else {
        return Check::warn(
            name,
            "the server does not know how far the database's clock is".into(),
            "Look at the database: the server has not read its clock.",
        );
    };
    let offset = time::from_wire_duration(wire);
    of_offset(name, offset.abs(), format!("{} the database's", away(offset)))
}

async fn published_keys(connection: &Connection) -> Check {
    let name = "keys";
    let jwks = connection.call(GetJwksRequest::default()).await;
    let json = match jwks {
        Ok(jwks) => jwks.jwks_json,
        Err(failure) => return Check::fail(name, said(&failure), "Look at the server's log."),
    };
    let set: Option<serde_json::Value> = serde_json::from_str(&json).ok();
    match set.as_ref().and_then(|set| set.get("keys")).and_then(|keys| keys.as_array()).map(Vec::len) {
        None => Check::fail(name, "the key set is no JWKS".into(), "Look at the server's log."),
        Some(0) => Check::fail(
            name,
            "no key is published".into(),
            "Nothing can be minted: look at the server's log.",
        ),
        Some(count) => Check::ok(name, format!("{count} published")),
    }
}

/// Adds to the published keys which of them sign, and whether they are rotated. A caller that may not list keys sees
/// only what is public.
async fn rotation(connection: &Connection, checks: &mut [Check], now: Timestamp) {
    let published = checks.iter_mut().find(|check| check.name == "keys" && check.status == Grade::Ok);
    if let (Some(check), Ok(all)) = (published, key::list(connection).await) {
        *check = keys::keys(&all.keys, now);
    }
}

fn no_admin(name: &'static str, failure: &Failure) -> Check {
    match failure {
        Failure::Usage(_) => Check::warn(
            name,
            format!("not checked: {}", said(failure)),
            "Give --admin-endpoint and --api-key-file to have it checked.",
        ),
        Failure::Local(_)
        | Failure::Interrupted
        | Failure::Unreachable(_)
        | Failure::Refused(_)
        | Failure::BadValue { .. } => {
            Check::fail(name, said(failure), "Correct --admin-endpoint, or start the server.")
        }
    }
}

/// Every server reads the audit trail from the database, so reading it shows that the database answers.
async fn database(connection: &Connection) -> Check {
    let name = "database";
    let request = ListAuditEventsRequest { page_size: 1, ..ListAuditEventsRequest::default() };
    let start = Instant::now();
    match connection.call(request).await {
        Ok(_) => Check::ok(name, format!("answered in {} ms", start.elapsed().as_millis())),
        Err(failure) => refused(name, &failure),
    }
}

async fn replicas(connection: &Connection, checks: &mut Vec<Check>, store_now: Timestamp) {
    match replica::list(connection).await {
        Ok(all) => checks.extend([
            fleet::count(&all.replicas, all.most_replicas_of_last_day),
            fleet::leases(&all.replicas, store_now),
            fleet::clocks(&all.replicas),
            fleet::settings(&all.replicas),
        ]),
        Err(failure) => checks.push(refused("leases", &failure)),
    }
}
