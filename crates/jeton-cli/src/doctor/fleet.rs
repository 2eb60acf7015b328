//! Doctor's checks of several servers: their leases, and the prober that tests the promise.

use jeton_client::Health;
use jiff::Timestamp;

use crate::{
    doctor::check::{Check, STORE_OFFSET_WARN, away, of_offset, said},
    remote::{connect::Connection, methods::HealthRequest},
    term::{exit::Failure, time},
    verbs::{propagation::names, replica},
};
use jeton_proto::v1::Replica;
use jeton_token::Revision;

/// The names of the promise and of the prober in the health service.
const PROMISE: &str = "jeton.promise";
const PROBER: &str = "jeton.probe";
/// The name in the health service for following the epoch of the log.
const EPOCH: &str = "jeton.epoch";
/// The revisions that may be committed while the list is read; a replica further behind does not keep up.
const LAG_OK: i64 = 100;

/// Checks that every listed replica holds a lease at `now`, by the database's clock, and keeps up.
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

/// Checks that the server follows the epoch of the log.
pub async fn epoch(connection: &Connection) -> Check {
    let name = "epoch";
    match connection.call(HealthRequest(EPOCH)).await {
        Err(failure) => not_checked(name, &failure),
        Ok(Health::Serving) => Check::ok(name, "the state of this server is in the log's epoch".to_owned()),
        Ok(Health::NotServing) => Check::fail(
            name,
            "this server cannot carry over its state into the log's new epoch, and answers nothing"
                .to_owned(),
            "Do not restart it: revocations that it alone holds would be lost. Its log names the cause.",
        ),
        Ok(Health::NoSuchService | Health::Unknown) => {
            Check::warn(name, "the server does not say".to_owned(), "Update the server.")
        }
    }
}

/// Checks that each replica's clock is near the database's. An older replica does not report it.
pub fn clocks(replicas: &[Replica]) -> Check {
    let offset = |it: &Replica| it.store_clock_offset.as_ref().map(time::from_wire_duration);
    let offsets: Vec<_> = replicas.iter().filter_map(|it| Some((it, offset(it)?))).collect();
    let worst = offsets.iter().map(|(_, offset)| offset.abs()).max().unwrap_or_default();
    let far: Vec<_> = offsets
        .iter()
        .filter(|(_, offset)| offset.abs() >= STORE_OFFSET_WARN)
        .map(|(it, offset)| format!("{} {}", it.replica, away(*offset)))
        .collect();
    let detail = match far.as_slice() {
        [] => format!("all within {} ms of the database's", worst.as_millis()),
        far => format!("{} the database's", far.join(", ")),
    };
    of_offset("clocks", worst, detail)
}

/// Checks that the replicas have the same settings.
pub fn settings(replicas: &[Replica]) -> Check {
    let name = "settings";
    let differ = |what: fn(&Replica) -> String| {
        let mut values: Vec<_> = replicas.iter().map(what).filter(|value| !value.is_empty()).collect();
        values.sort_unstable();
        values.dedup();
        (values.len() > 1).then_some(values)
    };
    if let Some(issuers) = differ(|it| it.issuer.clone()) {
        let detail = format!("the replicas have {} issuers: {}", issuers.len(), issuers.join(", "));
        let advice = "A token of one is refused by the other. Give all replicas one --issuer.";
        return Check::fail(name, detail, advice);
    }
    let periods = |it: &Replica| {
        let all = [&it.rotate_keys_every, &it.publish_keys_ahead].map(|it| time::show_duration(it.as_ref()));
        all.join(" and ")
    };
    let found = [
        ("master keys", differ(|it| it.master_key_fingerprint.clone())),
        ("periods of rotation", differ(periods)),
        ("versions", differ(|it| it.version.clone())),
    ];
    let found: Vec<_> = found
        .into_iter()
        .filter_map(|(what, values)| Some(format!("{what} differ: {}", values?.join(", "))))
        .collect();
    if found.is_empty() {
        return Check::ok(name, "all replicas have one issuer, master key, rotation and version".into());
    }
    Check::warn(name, found.join("; "), "Give all replicas the same, but for the time of an update.")
}

/// Checks that as many replicas are there as there were recently.
pub fn count(replicas: &[Replica], most: i32) -> Check {
    let (name, count) = ("replicas", replicas.len());
    match usize::try_from(most) {
        Ok(most) if count < most => Check::warn(
            name,
            format!("{count} of {most}: so many there were within the last day"),
            "Look at the logs of those that are gone, unless you have taken them out of service.",
        ),
        _ => Check::ok(name, count.to_string()),
    }
}

/// Asks the health service whether the promise holds, as far as the prober sees, and whether the prober sees all.
pub async fn prober(connection: &Connection) -> [Check; 2] {
    // At once: a server that does not answer is waited for once.
    let (promise, probe) =
        tokio::join!(connection.call(HealthRequest(PROMISE)), connection.call(HealthRequest(PROBER)));
    let promise = match promise {
        Ok(Health::Serving) => Check::ok(
            "promise",
            "a canary revoked on one replica was dead on the others that answered".into(),
        ),
        Ok(Health::NotServing) => Check::fail(
            "promise",
            "a revoked canary was alive on another replica".into(),
            "Immediate revocation does not hold. The server's log names the replica: take that one out of service.",
        ),
        Ok(Health::NoSuchService | Health::Unknown) => {
            Check::ok("promise", "not probed on this server".into())
        }
        Err(failure) => not_checked("promise", &failure),
    };
    let probe = match probe {
        Ok(Health::Serving) => Check::ok("prober", "every replica answered the latest probe".into()),
        Ok(Health::NotServing) => Check::fail(
            "prober",
            "the latest probe was not answered by all replicas, which says nothing of the promise".into(),
            "Look at the server's log: it names the replicas that did not answer.",
        ),
        Ok(Health::NoSuchService) => Check::ok("prober", "off on this server".into()),
        Ok(Health::Unknown) => Check::ok("prober", "has not judged yet".into()),
        Err(failure) => not_checked("prober", &failure),
    };
    [promise, probe]
}

fn not_checked(name: &'static str, failure: &Failure) -> Check {
    Check::warn(name, format!("not checked: {}", said(failure)), "Look at the server's log.")
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

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
        (check.is_ok(), check.detail.clone())
    }

    #[test]
    fn leases_are_well_when_all_hold_one_and_keep_up() {
        let said = said_of(&[replica("a", "1.7", 1_002)]);
        assert_eq!(said, (true, "1 replica holds one, at revision 1.7".into()));
        let said = said_of(&[replica("a", "1.5", 1_002), replica("b", "1.7", 1_003)]);
        assert_eq!(said, (true, "2 replicas hold one each, at revision 1.7, the last 2 behind".into()));
    }

    #[test]
    fn e14_what_the_replicas_should_have_in_common_is_compared() {
        let with = |change: fn(&mut Replica)| {
            let own = Replica { issuer: "https://a".into(), version: "1".into(), ..replica("a", "1.7", 1) };
            let mut other = own.clone();
            change(&mut other);
            let check = settings(&[own, other]);
            (check.is_ok(), check.detail.clone())
        };
        assert!(with(|_| {}).0);
        let said = with(|it| it.issuer.push('/'));
        assert_eq!(said, (false, "the replicas have 2 issuers: https://a, https://a/".into()));
        assert_eq!(with(|it| it.version = "2".into()), (false, "versions differ: 1, 2".into()));
        let said =
            with(|it| it.rotate_keys_every = Some(prost_types::Duration { seconds: 86_400, nanos: 0 }));
        assert!(!said.0 && said.1.starts_with("periods of rotation differ: "), "{said:?}");
        // An older version reports less.
        assert!(with(|it| it.issuer.clear()).0);
    }

    #[test]
    fn i15_each_replica_whose_clock_is_a_second_off_is_named() {
        let off = |name: &str, ms: i64| {
            let offset = SignedDuration::from_millis(ms);
            let wire = prost_types::Duration { seconds: offset.as_secs(), nanos: offset.subsec_nanos() };
            Replica { store_clock_offset: Some(wire), ..replica(name, "1.7", 1) }
        };
        let said = |replicas: &[Replica]| {
            let check = clocks(replicas);
            (check.is_ok(), check.detail.clone())
        };
        let near = [off("a", 999), off("b", -20), replica("old", "1.7", 1)];
        assert_eq!(said(&near), (true, "all within 999 ms of the database's".into()));
        let far = [off("a", 1_000), off("b", -20), off("c", -31_500)];
        assert_eq!(said(&far), (false, "a 1000 ms behind, c 31500 ms ahead of the database's".into()));
    }

    #[test]
    fn e14_a_replica_that_is_gone_is_missed() {
        let two = [replica("a", "1.7", 1), replica("b", "1.7", 1)];
        for (most, ok, said) in
            [(0, true, "2"), (2, true, "2"), (3, false, "2 of 3: so many there were within the last day")]
        {
            let check = count(&two, most);
            assert_eq!((check.is_ok(), check.detail.as_str()), (ok, said));
        }
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
