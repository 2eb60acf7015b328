//! Refused calls and credentials, counted by who it was and why, and told once a minute: a line of the log and an audit
//! row each. What strangers can make of it is bounded.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::Auditor;
use crate::{
    clock::Clock,
    state::Roots,
    store::{AuditedAct, NewAudit},
    token::new_uuid_v7,
};

/// Between two times that they are told.
const EVERY: Duration = Duration::from_mins(1);
/// Different refusals of one minute: more are told together.
const DIFFERENT_MAX: usize = 200;
/// A process that ends waits so long for the database to take the last ones.
const LAST: Duration = Duration::from_secs(1);
/// Who did it, where more did than are told apart.
const OTHERS: &str = "(others)";

/// A kind of refusal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Refusal {
    /// The client; of a credential that is not good, the address.
    who: String,
    reason: &'static str,
    /// What was asked for.
    what: &'static str,
}

/// Counts refusals.
#[derive(Clone, Default, Debug)]
pub struct Refusals(Arc<Mutex<HashMap<Refusal, u64>>>);

impl Refusals {
    /// One more. `reason` is an `ErrorReason`; `what` is what was asked for.
    pub fn count(&self, who: &str, reason: &'static str, what: &'static str) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut refusal = Refusal { who: who.to_owned(), reason, what };
        if counts.len() >= DIFFERENT_MAX && !counts.contains_key(&refusal) {
            OTHERS.clone_into(&mut refusal.who);
        }
        let count = counts.entry(refusal).or_default();
        *count = count.saturating_add(1);
    }

    fn take(&self) -> HashMap<Refusal, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells them once a minute until told to stop, and what is left then.
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
        for (Refusal { who, reason, what }, count) in self.take() {
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
        // They go together; where the database is away, the log has them.
        let failed = futures_util::future::join_all(told).await;
        let failed = failed.iter().filter(|done| !matches!(done, Ok(Ok(())))).count();
        if failed > 0 {
            tracing::warn!(jeton.rows = failed, "refusals could not be written to the audit trail");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e18_what_strangers_can_make_of_it_is_bounded() {
        let refusals = Refusals::default();
        for address in 0..10_000 {
            refusals.count(&address.to_string(), "CALLER_UNAUTHENTICATED", "a credential");
            refusals.count("known", "CALLER_FORBIDDEN", "PERMISSION_ISSUE");
        }
        let counts = refusals.take();
        assert!(counts.len() <= DIFFERENT_MAX.saturating_add(1), "{}", counts.len());
        assert_eq!(counts.values().sum::<u64>(), 20_000, "none is lost");
        let known = counts.iter().find(|(refusal, _)| refusal.who == "known");
        assert_eq!(known.map(|(_, count)| *count), Some(10_000));
        assert!(refusals.take().is_empty());
    }
}
