//! Calls and answers by one monotonic clock, and their judge: after a revocation was answered as complete, no call that
//! started later may be answered ACTIVE for its target.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
    time::Instant,
};

use jeton::proto::v1::TokenStatus;

/// An access token that was issued.
#[derive(Debug)]
pub struct Token {
    pub text: String,
    pub jti: String,
    pub subject: String,
    /// Empty: not of a session.
    pub session_id: String,
    /// When the answer that holds it had arrived.
    pub issued: Instant,
}

/// The target of a revocation.
#[derive(Clone, Debug)]
pub enum Target {
    /// By its text.
    Token(Arc<Token>),
    Session(String),
    /// Everything issued to it so far.
    Subject(String),
}

#[derive(Clone, Debug)]
pub enum Act {
    Revoke(Target),
    Validate(Arc<Token>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// OK; whether it said that the revocation is complete.
    Revoked {
        complete: bool,
    },
    Verdict(TokenStatus),
    /// The code, and the reason where there is one.
    Refused(tonic::Code, String),
}

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    pub start: Instant,
    pub end: Instant,
    pub replica: String,
    pub act: Act,
    pub answer: Answer,
}

/// A token that was answered ACTIVE by a call that started after a complete revocation of it had been answered.
#[derive(Debug)]
pub struct Stale {
    pub revoke: Call,
    pub validate: Call,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revoke, validate } = self;
        let late = validate.start.duration_since(revoke.end);
        write!(
            f,
            "{} answered ACTIVE to a call that started {late:?} after {} had answered a revocation that took {:?}",
            validate.replica,
            revoke.replica,
            revoke.end.duration_since(revoke.start)
        )
    }
}

/// Every call of a test.
#[derive(Default)]
pub struct History {
    calls: Mutex<Vec<Call>>,
}

/// The complete revocations of a history, by target.
#[derive(Default)]
struct Revocations<'a> {
    /// By jti or session: the first that was answered.
    narrow: HashMap<&'a str, &'a Call>,
    /// By subject: all, in any order.
    wide: HashMap<&'a str, Vec<&'a Call>>,
}

impl<'a> Revocations<'a> {
    fn of(calls: &'a [Call]) -> Self {
        let mut found = Self::default();
        for call in calls.iter().filter(|call| call.answer == (Answer::Revoked { complete: true })) {
            let narrow = match &call.act {
                Act::Validate(_) => continue,
                Act::Revoke(Target::Subject(subject)) => {
                    found.wide.entry(subject).or_default().push(call);
                    continue;
                }
                Act::Revoke(Target::Token(token)) => &token.jti,
                Act::Revoke(Target::Session(session_id)) => session_id,
            };
            let first = found.narrow.entry(narrow).or_insert(call);
            if call.end < first.end {
                *first = call;
            }
        }
        found
    }

    /// A revocation that hits the token and was answered before `start`.
    fn before(&self, token: &Token, start: Instant) -> Option<&'a Call> {
        let narrow =
            [&token.jti, &token.session_id].into_iter().filter_map(|id| self.narrow.get(id.as_str()));
        let wide = self.wide.get(token.subject.as_str()).into_iter().flatten();
        // A mark hits tokens from before the call; tokens issued during the call, perhaps.
        let wide = wide.filter(|revoke| token.issued < revoke.start);
        narrow.chain(wide).find(|revoke| revoke.end < start).copied()
    }
}

impl History {
    pub fn record(&self, call: Call) {
        self.calls.lock().unwrap().push(call);
    }

    /// Every stale answer.
    pub fn judge(&self) -> Vec<Stale> {
        let calls = self.calls.lock().unwrap();
        let revocations = Revocations::of(&calls);
        let stale = |call: &Call| match &call.act {
            Act::Validate(token) if call.answer == Answer::Verdict(TokenStatus::Active) => revocations
                .before(token, call.start)
                .map(|revoke| Stale { revoke: revoke.clone(), validate: call.clone() }),
            Act::Validate(_) | Act::Revoke(_) => None,
        };
        calls.iter().filter_map(stale).collect()
    }

    /// Holds it to the promise.
    pub fn assert_no_stale_answer(&self) {
        let stale = self.judge();
        let shown: Vec<_> = stale.iter().take(5).map(ToString::to_string).collect();
        assert!(
            stale.is_empty(),
            "{} stale answers:\n{}\nof {}",
            stale.len(),
            shown.join("\n"),
            self.tally()
        );
    }

    /// The number of such calls.
    pub fn count(&self, like: impl Fn(&Call) -> bool) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| like(call)).count()
    }

    /// The number of calls with this answer.
    pub fn answered(&self, answer: &Answer) -> usize {
        self.count(|call| call.answer == *answer)
    }

    /// The number of verdicts with this status.
    pub fn verdicts(&self, status: TokenStatus) -> usize {
        self.answered(&Answer::Verdict(status))
    }

    /// The number of calls that a replica refused because its state is stale.
    pub fn refused_as_stale(&self, replica: &str) -> usize {
        self.count(|call| {
            call.replica == replica
                && matches!(&call.answer, Answer::Refused(_, reason) if reason == "REVOCATION_STATE_STALE")
        })
    }

    /// The number of each answer by each replica, for a failing test's message.
    pub fn tally(&self) -> String {
        let mut counts = std::collections::BTreeMap::new();
        for call in self.calls.lock().unwrap().iter() {
            *counts.entry(format!("{} {:?}", call.replica, call.answer)).or_insert(0) += 1;
        }
        format!("{counts:?}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A history told by hand: times are milliseconds from `zero`.
    struct Told {
        zero: Instant,
        history: History,
        token: Arc<Token>,
    }

    impl Told {
        /// About a token of a session that was issued at 100.
        fn about_a_token() -> Self {
            let zero = Instant::now();
            let token = Arc::new(Token {
                text: "eyJ".to_owned(),
                jti: "jti".to_owned(),
                subject: "user:7".to_owned(),
                session_id: "sid".to_owned(),
                issued: zero + Duration::from_millis(100),
            });
            Self { zero, history: History::default(), token }
        }

        fn call(&self, (start, end): (u64, u64), act: Act, answer: Answer) {
            let at = |ms| self.zero + Duration::from_millis(ms);
            let replica = "r0".to_owned();
            self.history.record(Call { start: at(start), end: at(end), replica, act, answer });
        }

        fn revoked(&self, times: (u64, u64), target: Target) {
            self.call(times, Act::Revoke(target), Answer::Revoked { complete: true });
        }

        fn active(&self, times: (u64, u64)) {
            let act = Act::Validate(Arc::clone(&self.token));
            self.call(times, act, Answer::Verdict(TokenStatus::Active));
        }

        fn token(&self) -> Target {
            Target::Token(Arc::clone(&self.token))
        }

        fn stale(&self) -> usize {
            self.history.judge().len()
        }
    }

    #[test]
    fn a_call_that_started_after_the_answer_and_was_answered_active_is_stale() {
        for target in [Target::Session("sid".to_owned()), Target::Subject("user:7".to_owned())] {
            let told = Told::about_a_token();
            told.revoked((200, 300), target);
            told.active((301, 310));
            assert_eq!(told.stale(), 1);
        }
        let told = Told::about_a_token();
        // Told in any order.
        told.active((301, 310));
        told.revoked((250, 400), told.token());
        told.revoked((200, 300), told.token());
        told.revoked((200, 350), told.token());
        assert_eq!(told.stale(), 1);
        let message = std::panic::catch_unwind(|| told.history.assert_no_stale_answer()).unwrap_err();
        let message = message.downcast_ref::<String>().unwrap();
        assert!(message.contains("1 stale answers") && message.contains("1ms after r0"), "{message}");
    }

    #[test]
    fn a_call_that_overlaps_the_revocation_may_be_answered_either_way() {
        let told = Told::about_a_token();
        told.revoked((200, 300), told.token());
        told.active((150, 160));
        told.active((250, 260));
        told.active((299, 500));
        told.active((300, 500));
        assert_eq!(told.stale(), 0);
    }

    #[test]
    fn what_was_not_answered_as_complete_promises_nothing_until_a_retry_is() {
        let told = Told::about_a_token();
        let revoke = || Act::Revoke(told.token());
        told.call((200, 300), revoke(), Answer::Revoked { complete: false });
        told.call((200, 300), revoke(), Answer::Refused(tonic::Code::DeadlineExceeded, String::new()));
        told.active((400, 410));
        assert_eq!(told.stale(), 0);
        told.revoked((420, 500), told.token());
        told.active((490, 510));
        assert_eq!(told.stale(), 0);
        told.active((501, 510));
        assert_eq!(told.stale(), 1);
    }

    #[test]
    fn what_a_revocation_does_not_hit_may_live() {
        let told = Told::about_a_token();
        told.revoked((200, 300), Target::Session("another".to_owned()));
        told.revoked((200, 300), Target::Subject("user:8".to_owned()));
        // Before the token was there.
        told.revoked((20, 50), Target::Subject("user:7".to_owned()));
        told.revoked((90, 150), Target::Subject("user:7".to_owned()));
        told.active((400, 410));
        assert_eq!(told.stale(), 0);
    }

    #[test]
    fn other_answers_than_active_are_never_stale() {
        let told = Told::about_a_token();
        told.revoked((200, 300), told.token());
        let act = || Act::Validate(Arc::clone(&told.token));
        told.call((400, 410), act(), Answer::Verdict(TokenStatus::Revoked));
        let stale = Answer::Refused(tonic::Code::Unavailable, "REVOCATION_STATE_STALE".to_owned());
        told.call((400, 410), act(), stale);
        assert_eq!(told.stale(), 0);
        assert_eq!(told.history.verdicts(TokenStatus::Revoked), 1);
        assert_eq!(told.history.refused_as_stale("r0"), 1);
        assert_eq!(told.history.refused_as_stale("r1"), 0);
        assert!(told.history.tally().contains("r0 Verdict(Revoked)\": 1"), "{}", told.history.tally());
    }
}
