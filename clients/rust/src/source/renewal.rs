//! The state of a token source, without tasks and calls: when it renews, and what callers get.

use std::time::Duration;

use crate::{
    JetonError, Secret,
    policy::jitter,
    source::{
        events::{Event, EventKind},
        token::{Lifetime, Token},
    },
    token::IssuedToken,
};

const ATTEMPT_TIME: Duration = Duration::from_secs(10);
const ATTEMPT_TIME_MIN: Duration = Duration::from_secs(1);
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// So long without a failure, and the count of failures begins anew.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);
/// Renewals that refusals by peers may cause: so many at once, and one more for each so long.
const REFUSALS_AT_ONCE: f64 = 5.0;
const REFUSAL_EVERY: Duration = Duration::from_secs(10);

/// One renewal that is under way.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    /// Spent by it; `None`: it is an Issue.
    pub(crate) refresh_token: Option<Secret>,
    pub(crate) timeout: Duration,
    pub(crate) sent: Duration,
}

/// What a caller gets.
#[derive(Debug)]
pub(crate) enum Looked {
    Token(Token),
    Failed(JetonError),
    /// A renewal comes.
    Wait,
}

/// The state. Its owner holds a lock, and passes the time.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they do not depend on one another")]
pub(crate) struct Renewal {
    pub(crate) held: Option<Lifetime>,
    pub(crate) refresh_token: Option<Secret>,
    /// Attempts that have ended.
    pub(crate) completed: u64,
    pub(crate) closed: bool,
    pub(crate) ended: Option<JetonError>,
    is_in_flight: bool,
    is_wanted: bool,
    is_warned: bool,
    latest: Option<JetonError>,
    failures: u32,
    failed_at: Option<Duration>,
    not_before: Duration,
    refusals: f64,
    refusals_at: Duration,
    /// The token that was refused last, with the attempts that had ended then.
    refused: Option<(Token, u64)>,
}

impl Renewal {
    pub(crate) fn new(refresh_token: Option<Secret>, now: Duration) -> Self {
        Self {
            held: None,
            refresh_token,
            completed: 0,
            closed: false,
            ended: None,
            is_in_flight: false,
            is_wanted: false,
            is_warned: false,
            latest: None,
            failures: 0,
            failed_at: None,
            not_before: Duration::ZERO,
            refusals: REFUSALS_AT_ONCE,
            refusals_at: now,
            refused: None,
        }
    }

    pub(crate) fn live(&self, now: Duration) -> Option<&Token> {
        self.held.as_ref().filter(|held| now < held.dead_at).map(|held| &held.token)
    }

    /// For a caller that began to wait after `seen` attempts.
    pub(crate) fn look(&mut self, seen: u64, now: Duration) -> Looked {
        if self.closed {
            return Looked::Failed(JetonError::closed("token source"));
        }
        if let Some(token) = self.live(now) {
            return Looked::Token(token.clone());
        }
        if let Some(error) = &self.ended {
            return Looked::Failed(error.clone());
        }
        if let Some(error) = self.latest.as_ref().filter(|error| error.is_lasting()) {
            let is_pause = !self.is_in_flight && now < self.not_before;
            if is_pause || self.completed > seen {
                return Looked::Failed(error.clone());
            }
        }
        self.is_wanted = true;
        Looked::Wait
    }

    /// The error of the latest attempt since the token in hand died.
    pub(crate) fn since_death(&self) -> Option<JetonError> {
        let died = self.held.as_ref().map_or(Duration::ZERO, |held| held.dead_at);
        self.latest.clone().filter(|_| self.failed_at.is_some_and(|at| at >= died))
    }

    /// Notes that a peer refused a token. Returns whether a renewal comes.
    pub(crate) fn refuse(&mut self, token: &Token, now: Duration) -> bool {
        if self.closed || self.ended.is_some() {
            return false;
        }
        let is_known = |(refused, at): &(Token, u64)| refused.is(token) && *at == self.completed;
        if self.is_in_flight || self.refused.as_ref().is_some_and(is_known) {
            return true;
        }
        let more = now.saturating_sub(self.refusals_at).div_duration_f64(REFUSAL_EVERY);
        self.refusals = (self.refusals + more).min(REFUSALS_AT_ONCE);
        self.refusals_at = now;
        if self.refusals < 1.0 {
            return false;
        }
        self.refusals -= 1.0;
        self.refused = Some((token.clone(), self.completed));
        self.is_wanted = true;
        if let Some(held) = &mut self.held {
            held.renew_at = now;
        }
        true
    }

    fn due_at(&self) -> Option<Duration> {
        if self.closed || self.ended.is_some() || self.is_in_flight {
            return None;
        }
        match &self.held {
            Some(held) => Some(held.renew_at.max(self.not_before)),
            None => self.is_wanted.then_some(self.not_before),
        }
    }

    /// When something is to be done.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let is_live = !self.closed && self.ended.is_none();
        let warn_at = self.held.as_ref().filter(|_| is_live && !self.is_warned).map(|held| held.warn_at);
        self.due_at().into_iter().chain(warn_at).min()
    }

    /// The warning, when its time has come.
    pub(crate) fn warn(&mut self, now: Duration) -> Option<Event> {
        let is_live = !self.closed && self.ended.is_none();
        let held = self.held.as_ref().filter(|held| is_live && !self.is_warned && now >= held.warn_at)?;
        self.is_warned = true;
        Some(event(EventKind::WillExpire, Some(&held.token), self.latest.clone()))
    }

    /// The attempt that is due; `succeeded` or `failed` follows.
    pub(crate) fn begin(&mut self, now: Duration) -> Option<Attempt> {
        self.due_at().filter(|due| now >= *due)?;
        self.is_in_flight = true;
        let left = self.held.as_ref().map(|held| held.dead_at.saturating_sub(now));
        let timeout = match left.filter(|left| !left.is_zero()) {
            Some(left) => left.clamp(ATTEMPT_TIME_MIN, ATTEMPT_TIME),
            None => ATTEMPT_TIME,
        };
        Some(Attempt { refresh_token: self.refresh_token.clone(), timeout, sent: now })
    }

    pub(crate) fn succeeded(&mut self, attempt: &Attempt, issued: &IssuedToken) -> Event {
        self.is_in_flight = false;
        self.is_wanted = false;
        self.is_warned = false;
        self.latest = None;
        self.completed = self.completed.saturating_add(1);
        if let Some(successor) = &issued.refresh_token {
            self.refresh_token = Some(successor.clone());
        }
        let held = self.held.insert(Lifetime::new(issued, attempt.sent));
        event(EventKind::Refreshed, Some(&held.token), None)
    }

    pub(crate) fn failed(&mut self, attempt: &Attempt, error: JetonError, now: Duration) -> Option<Event> {
        self.is_in_flight = false;
        self.completed = self.completed.saturating_add(1);
        self.latest = Some(error.clone());
        if attempt.refresh_token.is_some() && error.ends_session() {
            return Some(self.end(error));
        }
        if self.failed_at.is_some_and(|at| now.saturating_sub(at) > HEALTHY_AFTER) {
            self.failures = 0;
        }
        let factor = 2_u32.saturating_pow(self.failures);
        self.failures = self.failures.saturating_add(1);
        self.failed_at = Some(now);
        let limit = PAUSE_FIRST.saturating_mul(factor).min(PAUSE_MAX);
        let pause = jitter(limit).saturating_add(error.retry_after().unwrap_or_default());
        self.not_before = now.saturating_add(pause);
        None
    }

    fn end(&mut self, error: JetonError) -> Event {
        let mut told =
            event(EventKind::SessionEnded, self.held.as_ref().map(|held| &held.token), Some(error.clone()));
        if told.session_id.is_empty() {
            told.session_id = error.metadata().get("sessionId").cloned().unwrap_or_default();
        }
        if error.kills_token() {
            self.held = None;
        }
        self.refresh_token = None;
        self.ended = Some(error);
        told
    }
}

fn event(kind: EventKind, token: Option<&Token>, error: Option<JetonError>) -> Event {
    Event {
        kind,
        jti: token.map(|token| token.jti().to_owned()).unwrap_or_default(),
        session_id: token.map(|token| token.session_id().to_owned()).unwrap_or_default(),
        error,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use jiff::Timestamp;

    use super::*;
    use crate::{Code, ErrorKind};

    const SECOND: Duration = Duration::from_secs(1);

    fn issued(number: i32, lifetime_s: i64, refresh_s: Option<i64>) -> IssuedToken {
        let at = |seconds: i64| Timestamp::from_second(seconds.saturating_add(1_000)).ok();
        IssuedToken {
            jti: format!("jti-{number}"),
            issue_time: at(0),
            expire_time: at(lifetime_s),
            refresh_time: refresh_s.and_then(at),
            ..Default::default()
        }
    }

    fn away() -> JetonError {
        JetonError::new(ErrorKind::StoreUnavailable {}, Code::Unavailable, "Away.")
    }

    fn begun(renewal: &mut Renewal, now: Duration) -> Attempt {
        renewal.begin(now).unwrap()
    }

    #[test]
    fn times_are_differences_of_the_answer_by_the_own_clock() {
        let times = |lifetime_s, refresh_s| {
            let made = Lifetime::new(&issued(1, lifetime_s, refresh_s), 100 * SECOND);
            (made.renew_at.as_millis(), made.dead_at.as_millis())
        };
        assert_eq!(times(60, Some(48)), (148_000, 159_000));
        assert_eq!(times(60, None), (148_000, 159_000), "80 % of the lifetime");
        assert_eq!(times(60, Some(60)).0, 148_000, "not before its end");
        assert_eq!(times(60, Some(-1)).0, 148_000);
        assert_eq!(times(2, Some(1)), (100_800, 101_500), "a quarter of a short lifetime");
        for lifetime_s in 1..=20 {
            let made = Lifetime::new(&issued(1, lifetime_s, Some(lifetime_s - 1)), 100 * SECOND);
            assert!(100 * SECOND < made.renew_at, "{lifetime_s} s");
            assert!(made.renew_at < made.warn_at, "{lifetime_s} s");
        }
    }

    #[test]
    fn one_attempt_at_a_time_and_callers_get_its_outcome() {
        let mut renewal = Renewal::new(None, SECOND);
        assert!(renewal.begin(SECOND).is_none(), "nobody asked");
        assert!(matches!(renewal.look(0, SECOND), Looked::Wait));
        let attempt = begun(&mut renewal, SECOND);
        assert!(renewal.begin(SECOND).is_none());
        renewal.succeeded(&attempt, &issued(1, 60, Some(48)));
        assert!(matches!(renewal.look(0, SECOND), Looked::Token(token) if token.jti() == "jti-1"));
        assert!(renewal.begin(48 * SECOND).is_none());
        assert_eq!(renewal.wake_at(), Some(49 * SECOND));
        assert_eq!(
            begun(&mut renewal, 59 * SECOND).timeout,
            SECOND,
            "until it is dead, but no less than 1 s"
        );
    }

    #[test]
    fn failures_wait_longer_and_longer_and_are_shown_after_death() {
        let mut renewal = Renewal::new(None, SECOND);
        renewal.look(0, SECOND);
        let attempt = begun(&mut renewal, SECOND);
        renewal.succeeded(&attempt, &issued(1, 60, Some(1)));
        let mut now = 2 * SECOND;
        for number in 0..12_u32 {
            let attempt = begun(&mut renewal, now);
            assert!(renewal.failed(&attempt, away(), now).is_none());
            let limit = Duration::from_millis(100 * 2_u64.pow(number)).min(30 * SECOND);
            assert!(renewal.not_before <= now + limit, "{number}");
            now = now.max(renewal.not_before);
        }
        assert!(renewal.since_death().is_none() || now >= 60 * SECOND);
        let warned = renewal.warn(100 * SECOND).unwrap();
        assert_eq!((warned.kind, warned.error.is_some()), (EventKind::WillExpire, true));
        assert!(renewal.warn(100 * SECOND).is_none(), "once");
        let now = now.max(100 * SECOND);
        let attempt = begun(&mut renewal, now);
        renewal.failed(&attempt, away(), now);
        assert_eq!(renewal.since_death().unwrap().kind().name(), "StoreUnavailable");
        assert!(matches!(renewal.look(renewal.completed, now), Looked::Wait), "it may come back");
    }

    #[test]
    fn a_lasting_error_is_given_at_once_during_the_pause() {
        let mut renewal = Renewal::new(None, SECOND);
        renewal.look(0, SECOND);
        let attempt = begun(&mut renewal, SECOND);
        let error = JetonError::new(ErrorKind::UnknownReason, Code::PermissionDenied, "No.");
        renewal.failed(&attempt, error, SECOND);
        renewal.not_before = 2 * SECOND;
        assert!(matches!(renewal.look(0, SECOND), Looked::Failed(_)));
        assert!(matches!(renewal.look(1, SECOND), Looked::Failed(_)), "during the pause");
        assert!(matches!(renewal.look(1, 3 * SECOND), Looked::Wait), "and then there is an attempt");
    }

    #[test]
    fn the_end_of_a_session_is_told_once_and_nothing_is_asked_any_more() {
        for (kind, kills) in [
            (ErrorKind::SessionRevoked { session_id: None, revocation_reason: None }, true),
            (ErrorKind::RefreshTokenInvalid {}, false),
        ] {
            let mut renewal = Renewal::new(Some("token".into()), SECOND);
            renewal.look(0, SECOND);
            let attempt = begun(&mut renewal, SECOND);
            renewal.succeeded(&attempt, &issued(1, 60, Some(1)));
            let attempt = begun(&mut renewal, 2 * SECOND);
            let error = JetonError::new(kind, Code::Unauthenticated, "Over.");
            let told = renewal.failed(&attempt, error, 2 * SECOND).unwrap();
            assert_eq!((told.kind, told.jti.as_str()), (EventKind::SessionEnded, "jti-1"));
            assert_eq!(renewal.live(2 * SECOND).is_none(), kills);
            assert!(matches!(renewal.look(0, 100 * SECOND), Looked::Failed(_)));
            assert!(renewal.wake_at().is_none() && renewal.begin(100 * SECOND).is_none());
            assert!(!renewal.refuse(&Token::new(&issued(1, 60, None)), 3 * SECOND));
        }
    }

    #[test]
    fn refusals_by_peers_cause_few_renewals() {
        let mut renewal = Renewal::new(None, SECOND);
        renewal.look(0, SECOND);
        let mut renewed = 0;
        for number in 0..100 {
            if let Some(attempt) = renewal.begin(SECOND) {
                renewal.succeeded(&attempt, &issued(number, 60, Some(48)));
                renewed += 1;
            }
            let token = renewal.live(SECOND).unwrap().clone();
            let comes = renewal.refuse(&token, SECOND);
            assert_eq!(comes, renewal.refuse(&token, SECOND), "the same refusal counts once");
        }
        assert_eq!(renewed, 6, "the first, and 5 in a burst");
        let token = renewal.live(SECOND).unwrap().clone();
        assert!(renewal.refuse(&token, 11 * SECOND), "one more after 10 s");
    }
}
