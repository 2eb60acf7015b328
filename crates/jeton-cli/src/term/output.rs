//! The only place that writes: data to stdout, messages to stderr. Any text from a server or a token may come from an
//! attacker; it is escaped here, or by the caller with [`escape`].

use std::{
    fs::{File, Permissions},
    io::{self, ErrorKind, IsTerminal, Write},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use prost::{Message, Name};

use crate::term::{
    escape::escape,
    exit::{Exit, Failure},
    json,
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
        let secrets = if self.terminal && !show { json::Secrets::Masked } else { json::Secrets::Shown };
        data(&json::of(message, secrets)?)
    }

    /// The same for a response that holds a secret: see [`secret`].
    pub fn secret_json<M: Message + Name>(&self, message: &M, show: bool) -> Result<(), Failure> {
        keep_from_others();
        self.json(message, show)
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
    let mut table = Table::new();
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([(*name).to_owned(), escape(value)]);
    }
    data(&plain(table))
}

/// Prints rows under a header. Columns are padded, never cut: lines stay fit for grep.
pub fn table(header: &[&str], rows: Vec<Vec<String>>) -> Result<(), Failure> {
    let mut table = Table::new();
    table.set_header(header.iter().map(|name| (*name).to_owned()));
    for row in rows {
        let cell = |value: String| if value.is_empty() { "-".to_owned() } else { escape(&value) };
        table.add_row(row.into_iter().map(cell));
    }
    data(&plain(table))
}

fn plain(mut table: Table) -> String {
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Prints a piece of data and a newline to stdout. It must be escaped already.
pub fn data(text: &str) -> Result<(), Failure> {
    erase();
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.write_all(b"\n"));
    match written.and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        // `jeton audit list | head`: the reader has enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::Local(format!("cannot write to standard output: {error}."))),
    }
}

/// Prints a piece of secret data. If it goes to a file, only its owner can read that from then on.
pub fn secret(text: &str) -> Result<(), Failure> {
    keep_from_others();
    data(text)
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
    let columns = rustix::termios::tcgetwinsize(&stderr).ok().map(|size| usize::from(size.ws_col));
    let columns = columns.filter(|columns| *columns > 0).unwrap_or(COLUMNS);
    // A line that wraps could not be erased.
    let line: String = text.chars().take(columns.saturating_sub(1)).collect();
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
pub fn fail(failure: &Failure) -> Exit {
    for line in failure.lines() {
        talk(&line);
    }
    failure.exit()
}

#[cfg(test)]
mod tests {
    use super::*;

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
