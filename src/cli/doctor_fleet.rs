//! What doctor says of several servers: their leases, and the prober that tries the promise out.

use jiff::Timestamp;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{
    connect::Connection,
    doctor::{Check, said},
    exit::Failure,
    replica,
    revoke_report::names,
    time,
};
use crate::{proto::v1::Replica, token::Revision};

/// What health calls the prober.
const PROBER: &str = "jeton.probe";
/// What health calls it that a server follows the epoch of the log.
const EPOCH: &str = "jeton.epoch";
/// Places of the log that pass while one looks; more is a replica that does not keep up.
const LAG_OK: i64 = 100;

/// Whether every listed replica holds a lease at `now`, by the database's clock, and keeps up.
pub fn leases(replicas: &[Replica], now: Timestamp) -> Check {
    let name = "leases";
    let Some(head) = replica::largest(replicas) else {
        return Check::warn(
            name,
            "no replica is listed".into(),
            "Look at the servers' logs: none is registered.",
        );
    };
    let is_over = |replica: &&Replica| {
        let expires = replica.lease_expire_time.as_ref().and_then(time::from_wire_timestamp);
        expires.is_none_or(|expires| expires < now)
    };
    let is_behind = |replica: &&Replica| replica::lag(replica, Some(head)).is_none_or(|lag| lag > LAG_OK);
    let over = of(replicas, is_over);
    if !over.is_empty() {
        let detail = format!("ran out at {} of {}: {}", over.len(), replicas.len(), names(&over));
        let advice = "Without one a replica answers nothing, and a Revoke waits for it once, at most 3.3 s. If it \
                      runs, look at its log and its way to the database.";
        return Check::warn(name, detail, advice);
    }
    let behind = of(replicas, is_behind);
    if !behind.is_empty() {
        let detail =
            format!("{} of {} far behind revision {head}: {}", behind.len(), replicas.len(), names(&behind));
        return Check::warn(name, detail, "Revocations wait for it. Look at its load and its log.");
    }
    Check::ok(name, held(replicas, head))
}

fn of(replicas: &[Replica], is_so: impl FnMut(&&Replica) -> bool) -> Vec<&str> {
    replicas.iter().filter(is_so).map(|replica| replica.replica.as_str()).collect()
}

fn held(replicas: &[Replica], head: Revision) -> String {
    let worst = replicas.iter().filter_map(|it| replica::lag(it, Some(head))).max().unwrap_or_default();
    let count = match replicas.len() {
        1 => "1 replica holds one".to_owned(),
        count => format!("{count} replicas hold one each"),
    };
    let lag = if worst == 0 { String::new() } else { format!(", the last {worst} behind") };
    format!("{count}, at revision {head}{lag}")
}

/// Asks health after one of its services. The error is a line of doctor's.
async fn health(connection: &Connection, name: &'static str, service: &str) -> Result<ServingStatus, Check> {
    let mut client = HealthClient::new(connection.channel());
    let request = HealthCheckRequest { service: service.to_owned() };
    match connection.call(client.check(connection.request(request))).await {
        Ok(answer) => Ok(answer.status()),
        Err(Failure::Refused(status)) if status.code() == Code::NotFound => Ok(ServingStatus::ServiceUnknown),
        Err(failure) => {
            Err(Check::warn(name, format!("not checked: {}", said(&failure)), "Look at the server's log."))
        }
    }
}

/// Whether the server follows the epoch of the log.
pub async fn epoch(connection: &Connection) -> Check {
    let name = "epoch";
    match health(connection, name, EPOCH).await {
        Err(check) => check,
        Ok(ServingStatus::Serving) => {
            Check::ok(name, "what this server holds is in the log's epoch".to_owned())
        }
        Ok(ServingStatus::NotServing) => Check::fail(
            name,
            "this server cannot carry over what it holds into the log's new epoch, and answers nothing"
                .to_owned(),
            "Do not restart it: what it alone holds would be lost. Its log says what is in its way.",
        ),
        Ok(ServingStatus::ServiceUnknown | ServingStatus::Unknown) => {
            Check::warn(name, "the server does not say".to_owned(), "Update the server.")
        }
    }
}

/// Asks health after the prober.
pub async fn prober(connection: &Connection) -> Check {
    let name = "prober";
    let status = match health(connection, name, PROBER).await {
        Ok(status) => status,
        Err(check) => return check,
    };
    match status {
        ServingStatus::Serving => {
            Check::ok(name, "a canary revoked on one replica was dead on the others that answered".into())
        }
        ServingStatus::NotServing => Check::fail(
            name,
            "a revoked canary was alive on another replica, or the probe came to nothing".into(),
            "Look at the server's log. If it names a replica where the canary was ACTIVE, take that one out of service.",
        ),
        ServingStatus::ServiceUnknown => Check::ok(name, "off on this server".into()),
        ServingStatus::Unknown => Check::ok(name, "has not judged yet".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(name: &str, revision: &str, expires: i64) -> Replica {
        Replica {
            replica: name.into(),
            revision: revision.into(),
            lease_expire_time: Some(prost_types::Timestamp { seconds: expires, nanos: 0 }),
            ..Replica::default()
        }
    }

    fn said_of(replicas: &[Replica]) -> (bool, String) {
        let check = leases(replicas, Timestamp::constant(1_000, 0));
        (check.is_ok(), check.detail().to_owned())
    }

    #[test]
    fn leases_are_well_when_all_hold_one_and_keep_up() {
        let said = said_of(&[replica("a", "1.7", 1_002)]);
        assert_eq!(said, (true, "1 replica holds one, at revision 1.7".into()));
        let said = said_of(&[replica("a", "1.5", 1_002), replica("b", "1.7", 1_003)]);
        assert_eq!(said, (true, "2 replicas hold one each, at revision 1.7, the last 2 behind".into()));
    }

    #[test]
    fn one_without_a_lease_or_far_behind_is_named() {
        assert!(!said_of(&[]).0);
        let said = said_of(&[replica("a", "1.7", 999), replica("b", "1.7", 1_003)]);
        assert_eq!(said, (false, "ran out at 1 of 2: a".into()));
        for behind in ["1.700", "0.900", ""] {
            let said = said_of(&[replica("a", behind, 1_003), replica("b", "1.801", 1_003)]);
            assert_eq!(said, (false, "1 of 2 far behind revision 1.801: a".into()));
        }
    }
}
