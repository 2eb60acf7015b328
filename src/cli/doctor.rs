//! `jeton doctor`: what is wrong, and what to do about it.

use jiff::SignedDuration;
use serde::Serialize;
use tokio::time::Instant;

use super::{
    Cli,
    connect::{self, Connection, Identity, Listener},
    exit::{Exit, Failure},
    json,
    output::{self, Tone},
    time,
};
use crate::proto::v1::{
    GetJwksRequest, GetServerInfoRequest, GetServerInfoResponse, ListAuditEventsRequest,
    admin_service_client::AdminServiceClient, discovery_service_client::DiscoveryServiceClient,
};

/// Past it a server neither mints nor judges.
const STORE_OFFSET_FAIL: SignedDuration = SignedDuration::from_secs(30);
/// Clocks that are kept do not drift so far.
const OFFSET_WARN: SignedDuration = SignedDuration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warn,
    Fail,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Grade,
    detail: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    advice: &'static str,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    checks: &'a [Check],
}

impl Check {
    fn ok(name: &'static str, detail: String) -> Self {
        Self { name, status: Grade::Ok, detail, advice: "" }
    }

    fn warn(name: &'static str, detail: String, advice: &'static str) -> Self {
        Self { name, status: Grade::Warn, detail, advice }
    }

    fn fail(name: &'static str, detail: String, advice: &'static str) -> Self {
        Self { name, status: Grade::Fail, detail, advice }
    }
}

/// Runs it. A check that fails does not keep the others from running.
pub async fn run(cli: &Cli<'_>) -> Result<Exit, Failure> {
    let as_json = cli.output.wants_json()?;
    let mut checks = Vec::new();
    match connect::open(cli, Listener::Public, Identity::Anonymous).await {
        // Nothing was looked at: the command line is wrong, not the server.
        Err(failure @ Failure::Usage(_)) => return Err(failure),
        Err(failure) => checks.push(unreachable(&failure)),
        Ok(connection) => {
            server(cli, &connection, &mut checks).await;
            checks.push(keys(&connection).await);
        }
    }
    checks.push(database(cli).await);
    if as_json {
        output::data(&json::of_own(&Report { checks: &checks })?)?;
    } else {
        print(cli, &checks)?;
    }
    let failed = checks.iter().any(|check| check.status == Grade::Fail);
    Ok(if failed { Exit::Negative } else { Exit::Done })
}

fn print(cli: &Cli<'_>, checks: &[Check]) -> Result<(), Failure> {
    for check in checks {
        let (word, tone) = match check.status {
            Grade::Ok => ("ok  ", Tone::Good),
            Grade::Warn => ("warn", Tone::Doubtful),
            Grade::Fail => ("fail", Tone::Bad),
        };
        let detail = output::escape(&check.detail);
        output::data(&format!("{}  {:<12} {detail}", cli.output.paint(word, tone), check.name))?;
        if !check.advice.is_empty() {
            output::data(&format!("      {:<12} {}", "", check.advice))?;
        }
    }
    Ok(())
}

/// One line out of a failure.
fn said(failure: &Failure) -> String {
    let lines = failure.lines().join("; ");
    lines.strip_prefix("error: ").map(str::to_owned).unwrap_or(lines)
}

fn unreachable(failure: &Failure) -> Check {
    Check::fail("server", said(failure), "Start the server, or correct --endpoint or the context.")
}

async fn server(cli: &Cli<'_>, connection: &Connection, checks: &mut Vec<Check>) {
    let mut client = DiscoveryServiceClient::new(connection.channel());
    let start = Instant::now();
    match connection.call(client.get_server_info(connection.request(GetServerInfoRequest {}))).await {
        Err(failure) => checks.push(unreachable(&failure)),
        Ok(info) => {
            let took = start.elapsed();
            let detail = format!(
                "{}, version {}, replica {}, revision {}, answered in {} ms",
                info.issuer,
                info.version,
                info.replica,
                info.revision,
                took.as_millis()
            );
            checks.push(Check::ok("server", detail));
            checks.push(local_clock(cli, &info, took));
            checks.push(store_clock(&info));
        }
    }
}

fn local_clock(cli: &Cli<'_>, info: &GetServerInfoResponse, took: std::time::Duration) -> Check {
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
    let detail = format!("database {} ms ahead", offset.as_millis());
    let advice =
        "Check time synchronisation on the server and the database. Past 30 s nothing is minted or judged.";
    if offset.abs() > STORE_OFFSET_FAIL {
        Check::fail(name, detail, advice)
    } else if offset.abs() > OFFSET_WARN {
        Check::warn(name, detail, advice)
    } else {
        Check::ok(name, detail)
    }
}

async fn keys(connection: &Connection) -> Check {
    let name = "keys";
    let mut client = DiscoveryServiceClient::new(connection.channel());
    let jwks = connection.call(client.get_jwks(connection.request(GetJwksRequest::default()))).await;
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

/// The audit trail is read from the database by every server, so reading it shows that the database answers.
async fn database(cli: &Cli<'_>) -> Check {
    let name = "database";
    let connection = match connect::open(cli, Listener::Admin, Identity::Required).await {
        Ok(connection) => connection,
        Err(failure @ Failure::Usage(_)) => {
            let advice = "Give --admin-endpoint and --api-key-file to have it checked.";
            return Check::warn(name, format!("not checked: {}", said(&failure)), advice);
        }
        Err(failure) => {
            return Check::fail(name, said(&failure), "Correct --admin-endpoint, or start the server.");
        }
    };
    let mut client = AdminServiceClient::new(connection.channel());
    let request = ListAuditEventsRequest { page_size: 1, ..ListAuditEventsRequest::default() };
    let start = Instant::now();
    match connection.call(client.list_audit_events(connection.request(request))).await {
        Ok(_) => Check::ok(name, format!("answered in {} ms", start.elapsed().as_millis())),
        Err(failure) => match failure.exit() {
            Exit::Denied => Check::warn(
                name,
                format!("not checked: {}", said(&failure)),
                "Use a client with PERMISSION_ADMIN_READ to have it checked.",
            ),
            Exit::Done
            | Exit::Error
            | Exit::Usage
            | Exit::Negative
            | Exit::Unavailable
            | Exit::Incomplete
            | Exit::Interrupted => Check::fail(
                name,
                said(&failure),
                "Check that PostgreSQL runs and that the server reaches it.",
            ),
        },
    }
}
