//! The end of a verb: exit codes that scripts rely on, and the error texts for people.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use jeton_client::{Code, JetonError};
use jiff::SignedDuration;
use serde::Serialize;

use crate::term::{escape::escape, json_text, time};

/// The longest retry delay that counts as a retry; a longer one is a lasting limit.
const RETRY_MAX: Duration = Duration::from_mins(1);

/// The exit codes. Scripts branch on them: they are never renumbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, also if nothing was left to do.
    Done,
    /// The server or this program failed.
    Error,
    /// The command line was wrong.
    Usage,
    /// The answer is no: a token that is not ACTIVE or not ours, a failed check.
    Negative,
    /// Not authenticated, or not allowed.
    Denied,
    /// Unavailable or out of time. Safe to retry.
    Unavailable,
    /// Partly done.
    Partly,
    /// Revoked, but not everywhere within the wait.
    Incomplete,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number that the shell sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Error => 1,
            Self::Usage => 2,
            Self::Negative => 3,
            Self::Denied => 4,
            Self::Unavailable => 5,
            Self::Partly => 6,
            Self::Incomplete => 7,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The reason why a verb did not finish. Each text is one sentence on what is wrong and one on what to do.
#[derive(Debug)]
pub enum Failure {
    /// The command line, or a file that it names, is wrong.
    Usage(String),
    /// Something on this machine failed.
    Local(String),
    /// Ctrl-C at a prompt, before anything was sent.
    Interrupted,
    /// No connection was made.
    Unreachable(String),
    /// The server refused, or did not answer.
    Refused(Refusal),
    /// The server refused the form of a value of the command line.
    BadValue {
        /// Its answer, which names a field of the API.
        refusal: Refusal,
        /// The same about what was typed.
        text: String,
    },
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What a server answered in place of what was asked for; or, without a reason, that it did not answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The code of gRPC.
    pub code: Code,
    /// The server's words.
    pub message: String,
    /// The reason; empty if there is none.
    pub reason: String,
    /// What belongs to the reason.
    pub metadata: BTreeMap<String, String>,
    /// When to try again.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// One without a reason.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            reason: String::new(),
            metadata: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// Returns whether it holds no more than a code and words: what jeton itself answers holds more.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.reason.is_empty() && self.retry_after.is_none()
    }
}

impl From<&JetonError> for Refusal {
    fn from(error: &JetonError) -> Self {
        Self {
            code: error.code(),
            // The server's own words, where the library has others.
            message: error.cause().unwrap_or_else(|| error.message()).to_owned(),
            reason: error.reason().to_owned(),
            metadata: error.metadata().clone().into_iter().collect(),
            retry_after: error.retry_after(),
        }
    }
}

impl Failure {
    /// The exit code of this failure.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) | Self::BadValue { .. } => Exit::Usage,
            Self::Local(_) => Exit::Error,
            Self::Interrupted => Exit::Interrupted,
            Self::Unreachable(_) => Exit::Unavailable,
            Self::Refused(refusal) => exit_of(refusal),
        }
    }

    /// The text for people: `error: …`, then the reason and its metadata on a line of their own.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        match self {
            Self::Usage(text) | Self::Local(text) | Self::Unreachable(text) => {
                vec![format!("error: {text}")]
            }
            Self::Interrupted => vec!["interrupted. Nothing was sent.".to_owned()],
            Self::Refused(refusal) => lines_of(refusal, &message_of(refusal), &[]),
            Self::BadValue { refusal, text } => lines_of(refusal, text, &["field", "rule"]),
        }
    }
}

/// A failure as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorJson {
    /// A code of gRPC.
    code: String,
    /// The server's reason, or one of this program's own.
    reason: String,
    message: String,
    metadata: BTreeMap<String, String>,
    exit_code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_delay: Option<String>,
}

impl Failure {
    /// The same as one line of JSON: `{"error":{"code":…,"reason":…,"message":…,"metadata":{…},"exitCode":…}}`.
    #[must_use]
    pub fn json(&self) -> String {
        let own = |code: Code, reason: &str, text: &str| ErrorJson {
            code: code.name().to_owned(),
            reason: reason.to_owned(),
            message: text.to_owned(),
            metadata: BTreeMap::new(),
            exit_code: self.exit().code(),
            retry_delay: None,
        };
        let error = match self {
            Self::Usage(text) => own(Code::InvalidArgument, "USAGE", text),
            Self::Local(text) => own(Code::Unknown, "LOCAL_FAILURE", text),
            Self::Interrupted => own(Code::Cancelled, "INTERRUPTED", "interrupted. Nothing was sent."),
            Self::Unreachable(text) => own(Code::Unavailable, "UNREACHABLE", text),
            Self::Refused(refusal) | Self::BadValue { refusal, .. } => {
                let message =
                    if let Self::BadValue { text, .. } = self { text.clone() } else { message_of(refusal) };
                ErrorJson {
                    metadata: refusal.metadata.clone(),
                    retry_delay: refusal.retry_after.map(|delay| format!("{:.3}s", delay.as_secs_f64())),
                    ..own(refusal.code, &refusal.reason, &message)
                }
            }
        };
        json_text::line(&serde_json::json!({ "error": error }))
    }
}

fn exit_of(refusal: &Refusal) -> Exit {
    match refusal.code {
        Code::Ok => Exit::Done,
        // A value that was typed. The form of a field is told in words of the command line where it was typed; where it
        // was not, this program is wrong.
        Code::InvalidArgument if !matches!(&*refusal.reason, "" | "FIELD_INVALID" | "FIELD_REQUIRED") => {
            Exit::Usage
        }
        // It was asked first, and said no.
        Code::FailedPrecondition | Code::ResourceExhausted
            if matches!(&*refusal.reason, "AFFECTED_SESSIONS_EXCEEDED" | "HIGH_WATER_EXCEEDED") =>
        {
            Exit::Negative
        }
        // What is not there is an answer, and no failure of the server.
        Code::NotFound => Exit::Negative,
        Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        // The peer gave up on the call: nothing was decided.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Exit::Unavailable,
        // A retry does not free any quota.
        Code::ResourceExhausted if refusal.reason == "QUOTA_EXCEEDED" => Exit::Error,
        // Over a rate, the server says when to retry. Without that, or if the delay is hours, the limit is lasting.
        Code::ResourceExhausted if refusal.retry_after.is_some_and(|delay| delay <= RETRY_MAX) => {
            Exit::Unavailable
        }
        Code::ResourceExhausted
        | Code::Unknown
        | Code::InvalidArgument
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Internal
        | Code::DataLoss => Exit::Error,
    }
}

fn message_of(refusal: &Refusal) -> String {
    match (&*refusal.message, refusal.code) {
        ("", Code::Unimplemented) => {
            "this server does not know the call; is it the right listener, and not older than this program?"
                .into()
        }
        ("", code) => format!("the server answered {code:?} and no more"),
        (message, _) => message.to_owned(),
    }
}

/// The lines for people: the message, then reason and metadata but those that the message has already.
fn lines_of(refusal: &Refusal, message: &str, said: &[&str]) -> Vec<String> {
    let mut lines = vec![format!("error: {}", escape(message))];
    if !refusal.reason.is_empty() {
        let metadata = refusal.metadata.iter().filter(|(key, _)| !said.contains(&key.as_str()));
        let pairs = metadata.map(|(key, value)| format!("{}={}", escape(key), escape(value)));
        let words: Vec<_> = std::iter::once(escape(&refusal.reason)).chain(pairs).collect();
        lines.push(format!("reason: {}", words.join(" ")));
    }
    match refusal.retry_after {
        Some(delay) if delay > RETRY_MAX => {
            let delay = SignedDuration::from_secs(i64::try_from(delay.as_secs()).unwrap_or(i64::MAX));
            lines.push(format!("retry after {}", time::show_signed(delay)));
        }
        Some(delay) => lines.push(format!("retry after {} ms", delay.as_millis())),
        None => {}
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, message: &str, reason: &str, metadata: &[(&str, &str)]) -> Refusal {
        let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Refusal { reason: reason.to_owned(), metadata, ..Refusal::new(code, message) }
    }

    fn exhausted(reason: &str, message: &str, retry_after: Duration) -> Failure {
        let refusal = refused(Code::ResourceExhausted, message, reason, &[]);
        Refusal { retry_after: Some(retry_after), ..refusal }.into()
    }

    #[test]
    fn codes_are_those_of_the_contract() {
        let cases = [
            (Code::Unauthenticated, 4),
            (Code::PermissionDenied, 4),
            (Code::Unavailable, 5),
            (Code::DeadlineExceeded, 5),
            (Code::InvalidArgument, 1),
            (Code::NotFound, 3),
            (Code::Internal, 1),
            (Code::ResourceExhausted, 1),
        ];
        for (code, exit) in cases {
            assert_eq!(Failure::from(Refusal::new(code, "x")).exit().code(), exit, "{code:?}");
        }
        assert_eq!(Failure::Usage(String::new()).exit().code(), 2);
        assert_eq!(Failure::Unreachable(String::new()).exit().code(), 5);
    }

    #[test]
    fn a_failure_is_one_line_of_json() {
        let metadata = [("audience", "a\u{1b}")];
        let refusal = refused(Code::InvalidArgument, "Too long.", "TTL_EXCEEDS_MAXIMUM", &metadata);
        let failure = Failure::from(refusal);
        assert_eq!(
            failure.json(),
            concat!(
                r#"{"error":{"code":"INVALID_ARGUMENT","exitCode":2,"message":"Too long.","metadata":{"audience":"a\u001b"},"#,
                r#""reason":"TTL_EXCEEDS_MAXIMUM"}}"#
            )
        );
        let usage = Failure::Usage("wrong.".into()).json();
        assert!(usage.contains(r#""reason":"USAGE""#) && usage.contains(r#""exitCode":2"#), "{usage}");
    }

    #[test]
    fn a_rate_that_passes_is_safe_to_retry() {
        let failure = exhausted("", "Slow down.", Duration::from_millis(50));
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert_eq!(failure.lines(), ["error: Slow down.", "retry after 50 ms"]);
    }

    #[test]
    fn a_quota_that_lasts_for_a_day_is_not() {
        let failure = exhausted("", "Enough.", Duration::from_secs(88_618));
        assert_eq!(failure.exit(), Exit::Error);
        assert_eq!(failure.lines(), ["error: Enough.", "retry after 24h 36m 58s"]);
    }

    #[test]
    fn a_quota_is_no_matter_of_trying_again() {
        let failure = exhausted("QUOTA_EXCEEDED", "Enough.", Duration::from_secs(1));
        assert_eq!(failure.exit(), Exit::Error);
    }

    #[test]
    fn the_reason_and_its_metadata_stand_on_the_second_line() {
        let metadata = [("requestedTtlSeconds", "90000"), ("audience", "a\u{1b}[31m")];
        let refusal = refused(Code::InvalidArgument, "Too long.", "TTL_EXCEEDS_MAXIMUM", &metadata);
        assert_eq!(
            Failure::from(refusal).lines(),
            [
                "error: Too long.",
                "reason: TTL_EXCEEDS_MAXIMUM audience=a\\u{1b}[31m requestedTtlSeconds=90000"
            ]
        );
    }
}
