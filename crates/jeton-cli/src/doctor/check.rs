//! One line of the report, and the words that several checks share.

use jeton_client::Code;
use jiff::SignedDuration;
use serde::Serialize;

use crate::term::exit::{Exit, Failure};

/// With a greater offset a server neither mints nor judges.
const STORE_OFFSET_FAIL: SignedDuration = SignedDuration::from_secs(30);
/// From this offset on, other servers may refuse tokens as minted in the future.
pub const STORE_OFFSET_WARN: SignedDuration = SignedDuration::from_secs(1);

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It succeeded.
    Ok,
    /// It needs attention.
    Warn,
    /// It failed.
    Fail,
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// Its result.
    pub status: Grade,
    /// The finding, in words.
    pub detail: String,
    /// The action to take; empty if none is needed.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub advice: &'static str,
    /// Commands to follow the advice with, to be copied into a shell. They hold nothing that steers a terminal.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

impl Check {
    /// A check that succeeded.
    pub fn ok(name: &'static str, detail: String) -> Self {
        Self { name, status: Grade::Ok, detail, advice: "", commands: Vec::new() }
    }

    /// A check that needs attention.
    pub fn warn(name: &'static str, detail: String, advice: &'static str) -> Self {
        Self { name, status: Grade::Warn, detail, advice, commands: Vec::new() }
    }

    /// The same with commands.
    pub fn with_commands(self, commands: Vec<String>) -> Self {
        Self { commands, ..self }
    }

    #[cfg(test)]
    pub fn is_ok(&self) -> bool {
        self.status == Grade::Ok
    }

    /// A check that failed.
    pub fn fail(name: &'static str, detail: String, advice: &'static str) -> Self {
        Self { name, status: Grade::Fail, detail, advice, commands: Vec::new() }
    }
}

/// A failure on one line.
pub fn said(failure: &Failure) -> String {
    let lines = failure.lines().join("; ");
    lines.strip_prefix("error: ").map(str::to_owned).unwrap_or(lines)
}

/// The distance of a server's clock from the database's, which is `offset` ahead.
pub fn away(offset: SignedDuration) -> String {
    let way = if offset.is_negative() { "ahead of" } else { "behind" };
    format!("{} ms {way}", offset.abs().as_millis())
}

/// The check of one or several clocks, of which the worst is `worst` away from the database's.
pub fn of_offset(name: &'static str, worst: SignedDuration, detail: String) -> Check {
    let advice =
        "Check time synchronisation on the server and the database. Past 30 s nothing is minted or judged.";
    if worst > STORE_OFFSET_FAIL {
        Check::fail(name, detail, advice)
    } else if worst >= STORE_OFFSET_WARN {
        Check::warn(name, detail, advice)
    } else {
        Check::ok(name, detail)
    }
}

/// The check that the admin listener refused or did not answer, although it is reachable.
pub fn refused(name: &'static str, failure: &Failure) -> Check {
    if matches!(failure, Failure::Refused(refusal) if refusal.code == Code::Unimplemented) {
        return Check::warn(name, format!("not checked: {}", said(failure)), "Update the server.");
    }
    match failure.exit() {
        Exit::Denied => Check::warn(
            name,
            format!("not checked: {}", said(failure)),
            "Use a client with PERMISSION_ADMIN_READ to have it checked.",
        ),
        Exit::Done
        | Exit::Error
        | Exit::Usage
        | Exit::Negative
        | Exit::Unavailable
        | Exit::Partly
        | Exit::Incomplete
        | Exit::Interrupted => {
            Check::fail(name, said(failure), "Check that PostgreSQL runs and that the server reaches it.")
        }
    }
}
