//! The only place that writes: data to stdout, messages to stderr. Any text from a server or a token may come from an
//! attacker; it is escaped here, or by the caller with [`escape`].

use std::{
    fs::{File, Permissions},
    io::{self, ErrorKind, IsTerminal, Write},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::ValueEnum;
use prost::{Message, Name};

use crate::term::{
    exit::{Exit, Failure},
    json,
    secrets::without_secrets,
    tables,
};

/// `--output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// The protojson of the response.
    Json,
    /// The access token alone (issue, refresh).
    Token,
    /// `authorization: Bearer …` (issue, refresh).
    Header,
    /// `JETON_TOKEN=…` (issue, refresh).
    Env,
}

/// `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// A judgement that colour emphasizes; the words say it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// It is well.
    Good,
    /// It needs attention.
    Doubtful,
    /// It failed.
    Bad,
}

/// The destination and the form of data.
#[derive(Debug)]
pub struct Output {
    format: Option<Format>,
    color: bool,
    terminal: bool,
}

impl Output {
    /// The output that follows from the flags and the terminal.
    #[must_use]
    pub fn new(format: Option<Format>, color: Color, no_color: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let color = match color {
            Color::Auto => terminal && !no_color,
            Color::Always => true,
            Color::Never => false,
        };
        Self { format, color, terminal }
    }

    /// Returns whether stdout is a terminal: then token text is kept from it.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The requested form, if any.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Returns whether to answer in JSON, for verbs that support only table and JSON.
    pub fn wants_json(&self) -> Result<bool, Failure> {
        match self.format {
            None | Some(Format::Table) => Ok(false),
            Some(Format::Json) => Ok(true),
            Some(Format::Token | Format::Header | Format::Env) => Err(Failure::Usage(
                "this verb hands out no token. Use `--output table` or `--output json`.".into(),
            )),
        }
    }

    /// A response as protojson. On a terminal, secrets are masked unless `show`.
    pub fn json<M: Message + Name>(&self, message: &M, show: bool) -> Result<(), Failure> {
        data(&self.json_text(message, show)?)
    }

    fn json_text<M: Message + Name>(&self, message: &M, show: bool) -> Result<String, Failure> {
        let secrets = if self.terminal && !show { json::Secrets::Masked } else { json::Secrets::Shown };
        json::of(message, secrets)
    }

    /// The same for a response that holds a secret: see [`secret`].
    pub fn secret_json<M: Message + Name>(&self, message: &M, show: bool) -> Result<(), Failure> {
        secret(&self.json_text(message, show)?)
    }

    /// `text` in the colour of `tone`, if colours are used.
    #[must_use]
    pub fn paint(&self, text: &str, tone: Tone) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Doubtful => 33,
            Tone::Bad => 31,
        };
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// Prints name and value on a line each. A value without text is left out.
pub fn facts(facts: &[(&str, String)]) -> Result<(), Failure> {
    data(&tables::facts(facts, columns_of_stdout()))
}

/// Prints rows under a header. Nothing is cut. In a pipe every row is a line with every column, fit for grep; on a
/// terminal that is too narrow each row is a block of lines.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    data(&tables::rows(header, rows, columns_of_stdout()))
}

/// The width of the terminal that data goes to; `None` if it goes elsewhere.
fn columns_of_stdout() -> Option<usize> {
    let stdout = io::stdout();
    stdout.is_terminal().then(|| columns(&stdout))
}

fn columns(terminal: impl AsFd) -> usize {
    let columns = rustix::termios::tcgetwinsize(terminal).ok().map(|size| usize::from(size.ws_col));
    columns.filter(|columns| *columns > 0).unwrap_or(COLUMNS)
}

/// Prints a piece of data and a newline to stdout. It must be escaped already.
pub fn data(text: &str) -> Result<(), Failure> {
    match write(text) {
        // `jeton audit list | head`: the reader has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| unwritable(&error)),
    }
}

fn write(text: &str) -> io::Result<()> {
    erase();
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n")).and_then(|()| stdout.flush())
}

fn unwritable(error: &io::Error) -> Failure {
    Failure::Local(format!("cannot write to standard output: {error}."))
}

/// Prints a piece of secret data. If it goes to a file, only its owner can read that from then on. A secret that nobody
/// reads is lost, so a closed pipe is a failure.
pub fn secret(text: &str) -> Result<(), Failure> {
    keep_from_others();
    write(text).map_err(|error| unwritable(&error))
}

/// Removes the rights of others from the file behind standard output, if it is one: a shell makes files that all can
/// read.
pub fn keep_from_others() {
    let Ok(file) = io::stdout().as_fd().try_clone_to_owned().map(File::from) else { return };
    let Ok(facts) = file.metadata() else { return };
    let mode = facts.permissions().mode();
    if facts.is_file()
        && mode & 0o077 != 0
        && file.set_permissions(Permissions::from_mode(mode & 0o700)).is_err()
    {
        talk(
            "warning: others can read the file that this secret is written to. Take their rights: chmod 600 FILE",
        );
    }
}

/// Prints one line for a person to stderr. A failure of that cannot be reported anywhere.
pub fn talk(text: &str) {
    erase();
    let mut stderr = io::stderr().lock();
    let _gone = writeln!(stderr, "{text}");
}

/// Prints a question to stderr; the answer follows on the same line.
pub fn ask(text: &str) {
    erase();
    let mut stderr = io::stderr().lock();
    let _gone = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

/// A line on stderr is still changing. The next output erases it.
static DRAWN: AtomicBool = AtomicBool::new(false);
/// Moves to the left edge, and clears the line.
const CLEAR: &str = "\r\u{1b}[2K";
/// The width of a terminal that reports none.
const COLUMNS: usize = 80;

/// Draws a line for a person on a terminal, in place of the one drawn before.
pub fn draw(text: &str) {
    let stderr = io::stderr();
    // A line that wraps could not be erased.
    let line: String = text.chars().take(columns(&stderr).saturating_sub(1)).collect();
    DRAWN.store(true, Ordering::Relaxed);
    let mut stderr = stderr.lock();
    let _gone = write!(stderr, "{CLEAR}{line}").and_then(|()| stderr.flush());
}

/// Erases the drawn line.
pub fn erase() {
    if DRAWN.swap(false, Ordering::Relaxed) {
        let mut stderr = io::stderr().lock();
        let _gone = write!(stderr, "{CLEAR}").and_then(|()| stderr.flush());
    }
}

/// Prints a failure, and returns the exit code.
pub fn fail(failure: &Failure, as_json: bool) -> Exit {
    let lines = if as_json { vec![failure.json()] } else { failure.lines() };
    for line in lines {
        talk(&without_secrets(&line));
    }
    failure.exit()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::term::escape::escape;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        assert_eq!(escape("svc:billing é 漢"), "svc:billing é 漢");
        assert_eq!(escape("a\u{1b}]0;x\u{7}\n\u{9b}b"), "a\\u{1b}]0;x\\u{7}\\n\\u{9b}b");
        assert_eq!(escape("a\u{202e}b\u{200b}"), "a\\u{202e}b\\u{200b}");
    }

    #[test]
    fn only_credentials_have_the_token_forms() {
        let output = |format| Output { format, color: false, terminal: false };
        assert!(matches!(output(None).wants_json(), Ok(false)));
        assert!(matches!(output(Some(Format::Json)).wants_json(), Ok(true)));
        assert!(matches!(output(Some(Format::Env)).wants_json(), Err(Failure::Usage(_))));
    }
}
