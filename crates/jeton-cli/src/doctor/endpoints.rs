//! Where several endpoints are given: each must answer, or fewer servers stand by than somebody thinks.

use super::check::Check;
use crate::{
    invocation::Cli,
    remote::{
        connect::{self, Identity, Listener},
        failover::{self, Access},
    },
};

/// Checks each endpoint of the listeners that have several; `None` if none has.
pub async fn endpoints(cli: &Cli<'_>) -> Option<Check> {
    let (name, mut count, mut faults) = ("endpoints", 0_usize, Vec::new());
    for listener in [Listener::Public, Listener::Admin] {
        let Ok(destination) = connect::destination(cli, listener, Identity::Anonymous) else { continue };
        let urls = destination.urls();
        if urls.len() < 2 {
            continue;
        }
        count = count.saturating_add(urls.len());
        let access = Access { key: None, tls: destination.tls().clone() };
        for url in urls {
            match failover::answering(url, &access, connect::timeout(cli)).await {
                Ok(Ok(_)) => {}
                Ok(Err(fault)) => faults.push(fault),
                Err(failure) => faults.push(failure.lines().concat()),
            }
        }
    }
    if count == 0 {
        return None;
    }
    Some(if faults.is_empty() {
        Check::ok(name, format!("all {count} answer"))
    } else {
        let detail = format!("{} of {count} do not answer: {}", faults.len(), faults.join("; "));
        Check::fail(name, detail, "Start those servers, or take them out of the endpoints or the context.")
    })
}
