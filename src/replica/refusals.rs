//! Refused calls and credentials, counted by client or address and by reason, and reported once a minute: a line of the
//! log and an audit row each. The number of rows that unauthenticated peers can cause is bounded.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    listen::holder,
    replica::Auditor,
    state::Roots,
    store::{AuditedAct, NewAudit},
};
use jeton_state::clock::Clock;
use jeton_token::new_uuid_v7;

/// The interval of the reports.
const EVERY: Duration = Duration::from_mins(1);
/// The most different refusals of clients in one minute, and as many of unauthenticated peers: further ones are
/// reported together. Peers use up none of the clients' number, so a client that probes its limits is always reported
/// by name.
const DIFFERENT_MAX: usize = 200;
/// The time in which an ending process writes the last reports.
const LAST: Duration = Duration::from_secs(1);
/// Stands for all others when there are too many.
const OTHERS: &str = "(others)";

/// A kind of refusal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct RefusalKind {
    /// The client; for a bad credential, the address.
    who: String,
    reason: &'static str,
    /// The thing that was requested.
    what: &'static str,
}

/// Counts refusals.
#[derive(Clone, Default, Debug)]
pub struct Refusals(Arc<Mutex<Counts>>);

#[derive(Default, Debug)]
struct Counts {
    clients: HashMap<RefusalKind, u64>,
    strangers: HashMap<RefusalKind, u64>,
}

impl Refusals {
    /// Counts a refusal to a client. `reason` is an `ErrorReason`; `what` is the thing that was requested.
    pub fn count(&self, client_id: &str, reason: &'static str, what: &'static str) {
        add(&mut self.lock().clients, client_id.to_owned(), reason, what);
    }

    /// Counts a refusal to an unauthenticated peer at this address.
    pub fn count_stranger(&self, address: IpAddr, reason: &'static str, what: &'static str) {
        add(&mut self.lock().strangers, holder(address).to_string(), reason, what);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> HashMap<RefusalKind, u64> {
        let Counts { mut clients, strangers } = std::mem::take(&mut *self.lock());
        for (refusal, count) in strangers {
            // The same only if both stand for others.
            let all = clients.entry(refusal).or_default();
            *all = all.saturating_add(count);
        }
        clients
    }

    /// Reports once a minute until `stop`, and then what is left.
    pub async fn run(self, auditor: Auditor, roots: Arc<Roots>, clock: Arc<Clock>, stop: CancellationToken) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => self.tell(&auditor, &roots, &clock).await,
            }
        }
        let _late = timeout(LAST, self.tell(&auditor, &roots, &clock)).await;
    }

    async fn tell(&self, auditor: &Auditor, roots: &Roots, clock: &Clock) {
        let known = roots.current().applied();
        let mut told = Vec::new();
        for (RefusalKind { who, reason, what }, count) in self.take() {
            tracing::warn!(
                jeton.caller = who,
                jeton.reason = reason,
                jeton.asked_for = what,
                jeton.count = count,
                "refused within a minute"
            );
            let audit = NewAudit {
                note: format!("{count} times within a minute: {what}"),
                ..NewAudit::new(new_uuid_v7(clock.now_ms()), who, "Refused")
            };
            let (auditor, act) = (auditor.clone(), AuditedAct { audit, known, outcome: reason.to_owned() });
            told.push(async move { auditor.audit(act).await });
        }
        // Written together; if the database is away, the log has them.
        let failed = futures_util::future::join_all(told).await;
        let failed = failed.iter().filter(|done| !matches!(done, Ok(Ok(())))).count();
        if failed > 0 {
            tracing::warn!(jeton.rows = failed, "refusals could not be written to the audit trail");
        }
    }
}

fn add(counts: &mut HashMap<RefusalKind, u64>, who: String, reason: &'static str, what: &'static str) {
    let mut refusal = RefusalKind { who, reason, what };
    if counts.len() >= DIFFERENT_MAX && !counts.contains_key(&refusal) {
        OTHERS.clone_into(&mut refusal.who);
    }
    let count = counts.entry(refusal).or_default();
    *count = count.saturating_add(1);
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn e18_what_strangers_can_make_of_it_is_bounded() {
        let refusals = Refusals::default();
        for address in 0..10_000 {
            let address = Ipv4Addr::from_bits(address).into();
            refusals.count_stranger(address, "CALLER_UNAUTHENTICATED", "a credential");
            refusals.count("known", "CALLER_FORBIDDEN", "PERMISSION_ISSUE");
        }
        // After all that, a client is still reported by name, and a holder of many addresses once.
        refusals.count("late", "CALLER_FORBIDDEN", "PERMISSION_ISSUE");
        let counts = refusals.take();
        assert!(counts.len() <= DIFFERENT_MAX.saturating_add(3), "{}", counts.len());
        assert_eq!(counts.values().sum::<u64>(), 20_001, "none is lost");
        let of = |who: &str| counts.iter().find(|(refusal, _)| refusal.who == who).map(|(_, count)| *count);
        assert_eq!((of("known"), of("late")), (Some(10_000), Some(1)));
        assert!(refusals.take().is_empty());
        for address in 0..1_000 {
            let address = Ipv6Addr::from_bits((0x2001_0db8 << 96) | address).into();
            refusals.count_stranger(address, "CALLER_UNAUTHENTICATED", "a credential");
        }
        assert_eq!(refusals.take().len(), 1);
    }
}
