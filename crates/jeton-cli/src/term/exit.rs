//! The end of a verb: exit codes that scripts rely on, and the error texts for people.

use std::{collections::BTreeMap, process::ExitCode, time::Duration};

use jiff::SignedDuration;
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt;

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
    Refused(Status),
    /// The server refused the form of a value of the command line.
    BadValue {
        /// Its answer, which names a field of the API.
        status: Status,
        /// The same about what was typed.
        text: String,
    },
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Refused(status)
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
            Self::Refused(status) => exit_of_status(status),
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
            Self::Refused(status) => lines_of_status(status, &message_of(status), &[]),
            Self::BadValue { status, text } => lines_of_status(status, text, &["field", "rule"]),
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
            code: name_of(code),
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
            Self::Refused(status) | Self::BadValue { status, .. } => {
                let message =
                    if let Self::BadValue { text, .. } = self { text.clone() } else { message_of(status) };
                let info = status.get_details_error_info();
                let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
                ErrorJson {
                    metadata: metadata.into_iter().collect(),
                    retry_delay: retry_delay(status).map(|delay| format!("{:.3}s", delay.as_secs_f64())),
                    ..own(status.code(), &reason, &message)
                }
            }
        };
        json_text::line(&serde_json::json!({ "error": error }))
    }
}

/// The name of a code as gRPC writes it: `INVALID_ARGUMENT`.
fn name_of(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn exit_of_status(status: &Status) -> Exit {
    match status.code() {
        Code::Ok => Exit::Done,
        // A value that was typed. The form of a field is told in words of the command line where it was typed; where it
        // was not, this program is wrong.
        Code::InvalidArgument if !matches!(&*reason_of(status), "" | "FIELD_INVALID" | "FIELD_REQUIRED") => {
            Exit::Usage
        }
        // It was asked first, and said no.
        Code::FailedPrecondition | Code::ResourceExhausted
            if matches!(&*reason_of(status), "AFFECTED_SESSIONS_EXCEEDED" | "HIGH_WATER_EXCEEDED") =>
        {
            Exit::Negative
        }
        // What is not there is an answer, and no failure of the server.
        Code::NotFound => Exit::Negative,
        Code::Unauthenticated | Code::PermissionDenied => Exit::Denied,
        // The peer gave up on the call: nothing was decided.
        Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled => Exit::Unavailable,
        // A retry does not free any quota.
        Code::ResourceExhausted if is_quota(status) => Exit::Error,
        // Over a rate, the server says when to retry. Without that, or if the delay is hours, the limit is lasting.
        Code::ResourceExhausted if retry_delay(status).is_some_and(|delay| delay <= RETRY_MAX) => {
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

fn message_of(status: &Status) -> String {
    match (status.message(), status.code()) {
        ("", Code::Unimplemented) => {
            "this server does not know the call; is it the right listener, and not older than this program?"
                .into()
        }
        ("", code) => format!("the server answered {code:?} and no more"),
        (message, _) => message.to_owned(),
    }
}

/// The lines for people: the message, then reason and metadata but those that the message has already.
fn lines_of_status(status: &Status, message: &str, said: &[&str]) -> Vec<String> {
    let mut lines = vec![format!("error: {}", escape(message))];
    if let Some(info) = status.get_details_error_info() {
        // A map iterates in any order; people and scripts need one order.
        let mut metadata: Vec<_> =
            info.metadata.iter().filter(|(key, _)| !said.contains(&key.as_str())).collect();
        metadata.sort();
        let pairs = metadata.into_iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
        let words: Vec<_> = std::iter::once(escape(&info.reason)).chain(pairs).collect();
        lines.push(format!("reason: {}", words.join(" ")));
    }
    match retry_delay(status) {
        Some(delay) if delay > RETRY_MAX => {
            let delay = SignedDuration::from_secs(i64::try_from(delay.as_secs()).unwrap_or(i64::MAX));
            lines.push(format!("retry after {}", time::show_signed(delay)));
        }
        Some(delay) => lines.push(format!("retry after {} ms", delay.as_millis())),
        None => {}
    }
    lines
}

fn is_quota(status: &Status) -> bool {
    reason_of(status) == "QUOTA_EXCEEDED"
}

/// The server's reason; empty if it gave none.
fn reason_of(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn retry_delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

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
            assert_eq!(Failure::from(Status::new(code, "x")).exit().code(), exit, "{code:?}");
        }
        assert_eq!(Failure::Usage(String::new()).exit().code(), 2);
        assert_eq!(Failure::Unreachable(String::new()).exit().code(), 5);
    }

    #[test]
    fn a_failure_is_one_line_of_json() {
        let metadata = HashMap::from([("audience".to_owned(), "a\u{1b}".to_owned())]);
        let details = ErrorDetails::with_error_info("TTL_EXCEEDS_MAXIMUM", "jeton.v1", metadata);
        let failure = Failure::from(Status::with_error_details(Code::InvalidArgument, "Too long.", details));
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
        let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(50)));
        let status = Status::with_error_details(Code::ResourceExhausted, "Slow down.", details);
        let failure = Failure::from(status);
        assert_eq!(failure.exit(), Exit::Unavailable);
        assert_eq!(failure.lines(), ["error: Slow down.", "retry after 50 ms"]);
    }

    #[test]
    fn a_quota_that_lasts_for_a_day_is_not() {
        let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(88_618)));
        let failure = Failure::from(Status::with_error_details(Code::ResourceExhausted, "Enough.", details));
        assert_eq!(failure.exit(), Exit::Error);
        assert_eq!(failure.lines(), ["error: Enough.", "retry after 24h 36m 58s"]);
    }

    #[test]
    fn a_quota_is_no_matter_of_trying_again() {
        let mut details = ErrorDetails::with_error_info("QUOTA_EXCEEDED", "jeton.v1", HashMap::new());
        details.set_retry_info(Some(Duration::from_secs(1)));
        let status = Status::with_error_details(Code::ResourceExhausted, "Enough.", details);
        assert_eq!(Failure::from(status).exit(), Exit::Error);
    }

    #[test]
    fn the_reason_and_its_metadata_stand_on_the_second_line() {
        let metadata = HashMap::from([
            ("requestedTtlSeconds".to_owned(), "90000".to_owned()),
            ("audience".to_owned(), "a\u{1b}[31m".to_owned()),
        ]);
        let details = ErrorDetails::with_error_info("TTL_EXCEEDS_MAXIMUM", "jeton.v1", metadata);
        let status = Status::with_error_details(Code::InvalidArgument, "Too long.", details);
        assert_eq!(
            Failure::from(status).lines(),
            [
                "error: Too long.",
                "reason: TTL_EXCEEDS_MAXIMUM audience=a\\u{1b}[31m requestedTtlSeconds=90000"
            ]
        );
    }
}
