//! Judges a long call again and again.

use std::time::Duration;

use crate::{
    Refused, Verdict,
    guard::{Guard, Presented},
};

const ASK_AGAIN: Duration = Duration::from_secs(1);
/// The patience of a guard that has no interval.
const PATIENCE: Duration = Duration::from_secs(30);
/// A server with some leeway is not asked in a loop.
const EXPIRY_MIN: Duration = Duration::from_millis(100);

/// When a call is judged again, by the clock of the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    recheck: Option<Duration>,
    /// `None`: never.
    at: Option<Duration>,
    /// Without a verdict the call ends then.
    given_up_at: Option<Duration>,
}

impl Plan {
    pub(super) fn new(recheck: Option<Duration>, verdict: &Verdict, now: Duration) -> Self {
        let mut plan = Self { recheck, at: None, given_up_at: None };
        plan.judged(verdict, now);
        plan
    }

    /// A verdict came.
    fn judged(&mut self, verdict: &Verdict, now: Duration) {
        self.given_up_at = None;
        // Of the server's clock only a difference is used.
        let left = verdict.expire_time.zip(verdict.server_time).map(|(expires, judged)| {
            Duration::try_from(expires.duration_since(judged)).unwrap_or_default().max(EXPIRY_MIN)
        });
        self.at = self.recheck.into_iter().chain(left).min().map(|time| now.saturating_add(time));
    }

    /// No verdict came. Returns whether the call ends.
    fn missed(&mut self, now: Duration) -> bool {
        let patience = self.recheck.unwrap_or(PATIENCE);
        let end = *self.given_up_at.get_or_insert(now.saturating_add(patience));
        self.at = Some(now.saturating_add(patience.min(ASK_AGAIN)).min(end.max(now)));
        now >= end
    }
}

impl Guard {
    pub(super) fn plan(&self, verdict: &Verdict) -> Plan {
        let options = &self.0.options;
        Plan::new(options.recheck, verdict, options.client.shared.clock.now())
    }

    /// Waits until a call must end, and returns its end.
    pub(super) async fn watch(self, mut plan: Plan, presented: Presented, scopes: Vec<String>) -> Refused {
        let clock = self.0.options.client.shared.clock.clone();
        loop {
            match plan.at {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
            match self.judge_presented(&presented, &scopes).await {
                Ok(verdict) => plan.judged(&verdict, clock.now()),
                Err(refused) => {
                    if !refused.is_no_verdict() || plan.missed(clock.now()) {
                        return refused;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::proto as pb;

    const SECOND: Duration = Duration::from_secs(1);

    fn verdict(left_s: i64) -> Verdict {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        Verdict {
            expire_time: at(left_s.saturating_add(1000)),
            server_time: at(1000),
            ..pb::Verdict::default().into()
        }
    }

    #[test]
    fn a_call_is_judged_at_its_interval_or_when_its_token_expires() {
        let at = |recheck, left_s| Plan::new(recheck, &verdict(left_s), 5 * SECOND).at;
        assert_eq!(at(Some(30 * SECOND), 3600), Some(35 * SECOND));
        assert_eq!(at(Some(30 * SECOND), 4), Some(9 * SECOND));
        assert_eq!(at(None, 4), Some(9 * SECOND));
        assert_eq!(at(None, -4), Some(5 * SECOND + EXPIRY_MIN));
    }

    #[test]
    fn without_a_verdict_it_ends_after_one_more_interval() {
        let mut plan = Plan::new(Some(3 * SECOND), &verdict(3600), SECOND);
        assert!(!plan.missed(4 * SECOND));
        assert_eq!(plan.at, Some(5 * SECOND));
        assert!(!plan.missed(6 * SECOND));
        assert_eq!(plan.at, Some(7 * SECOND));
        assert!(plan.missed(7 * SECOND));
        plan.judged(&verdict(3600), 7 * SECOND);
        assert!(!plan.missed(10 * SECOND), "it begins anew");
    }
}
