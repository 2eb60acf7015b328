//! The sources of token text: standard input, a file, a prompt without echo. Never a flag or the environment: others
//! can read the process list and the shell's history.

use std::{
    fs::File,
    io::{self, ErrorKind, IsTerminal, Read},
    os::unix::fs::FileTypeExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use secrecy::{ExposeSecret, SecretString};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use crate::{
    invocation::Cli,
    term::{escape::escape, exit::Failure, output},
};
use jeton_io::files;
use jeton_token::{API_KEY_PREFIX, pasted::without_blanks};

/// Twice what the server reads of a token: a text that is too long is for the server to judge, a disk image is not.
const MAX_INPUT_BYTES: u64 = 16 * 1024;

/// The operand of every verb that takes a token.
#[derive(Debug, clap::Args)]
pub struct TokenArgs {
    /// `-`: read the token from standard input. Without it, a pipe is read and a person is asked
    #[arg(value_name = "-")]
    source: Option<String>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE", conflicts_with = "source")]
    token_file: Option<PathBuf>,
}

impl TokenArgs {
    /// The token text. `what` names it to a person, as in `Token`.
    pub async fn read(&self, cli: &Cli<'_>, what: &str) -> Result<SecretString, Failure> {
        match (self.source.as_deref(), &self.token_file) {
            (None, Some(path)) => from_file(path),
            (Some("-") | None, None) => from_stdin(cli, what).await,
            (Some(text), _) if is_token_text(text) => Err(Failure::Usage(
                "token text does not belong on the command line, where others can read it. Pipe it in, or use \
                 --token-file; and revoke that token."
                    .into(),
            )),
            (Some(_), _) => Err(Failure::Usage(
                "the operand can only be `-`, for standard input. Pipe the token in, or use --token-file.".into(),
            )),
        }
    }
}

/// Returns whether this is token text rather than an id: three segments, a refresh token, or a header's value.
#[must_use]
pub fn is_token_text(text: &str) -> bool {
    let text = without_scheme(text.trim());
    text.starts_with("jtr_") || text.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// Refuses the text of an API key in place of the name of its file, without repeating it.
pub fn check_key_file_name(path: &Path) -> Result<(), Failure> {
    let is_key = path.to_str().is_some_and(|text| without_scheme(text.trim()).starts_with(API_KEY_PREFIX));
    if !is_key || path.exists() {
        return Ok(());
    }
    Err(Failure::Usage(
        "an API key does not belong on the command line, where others can read it. Write it to a file, give \
         --api-key-file the file's name, and replace that key."
            .into(),
    ))
}

/// Warns if others can read a file that holds a secret.
pub fn warn_if_open(path: &Path, what: &str) {
    if let Some(warning) = files::open_to_others(path, what) {
        output::talk(&format!("warning: {warning}"));
    }
}

/// An API key, from the file that a flag or a context names.
pub fn api_key_from_file(path: &Path) -> Result<SecretString, Failure> {
    check_key_file_name(path)?;
    let shown = path.display();
    let file = open(path)?;
    warn_if_open(path, "API key");
    let text = text_of(file, &shown.to_string())?;
    without_ends(without_blanks(&text))
        .ok_or_else(|| Failure::Usage(format!("{shown} is empty, but must hold an API key. Write it there.")))
}

/// Token text from the command line.
pub fn from_argument(text: &str) -> Result<SecretString, Failure> {
    clean(text)
}

/// Token text from a file.
pub fn from_file(path: &Path) -> Result<SecretString, Failure> {
    limited(open(path)?, &path.display().to_string())
}

/// Opens a file that was named. Of a pipe nothing can be read until somebody writes to it, which is said.
pub fn open(path: &Path) -> Result<File, Failure> {
    if path.metadata().is_ok_and(|it| it.file_type().is_fifo()) {
        output::talk(&format!(
            "{} is a pipe: waiting until something is written to it.",
            escape(&path.display().to_string())
        ));
    }
    File::open(path).map_err(|error| Failure::Usage(format!("cannot read {}: {error}.", path.display())))
}

/// Returns whether a person can be asked.
pub fn can_ask(cli: &Cli<'_>) -> bool {
    io::stdin().is_terminal() && !cli.globals.no_input
}

/// Token text from standard input: all of a pipe, or a line that a person types unseen.
pub async fn from_stdin(cli: &Cli<'_>, what: &str) -> Result<SecretString, Failure> {
    if !io::stdin().is_terminal() {
        return blocking(|| limited(io::stdin().lock(), "standard input")).await;
    }
    if cli.globals.no_input {
        return Err(Failure::Usage("no token was given. Pipe it in, or use --token-file.".into()));
    }
    let prompt = format!("{what} (not shown): ");
    // The prompt raises SIGINT while the terminal is still without echo. With a listener the signal does not kill, and
    // the prompt restores the terminal.
    let _listening = signal(SignalKind::interrupt());
    blocking(move || match rpassword::prompt_password(prompt).map(Zeroizing::new) {
        Ok(typed) => clean(&typed),
        Err(error) if error.kind() == ErrorKind::Interrupted => Err(Failure::Interrupted),
        Err(error) => Err(Failure::Local(format!("cannot read from the terminal: {error}."))),
    })
    .await
}

/// A person is being asked whether to go on.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Returns whether the program waits for a person who has not said yes.
#[must_use]
pub fn is_asking() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Asks a question, and returns the line that a person types, visibly.
pub async fn answer(question: &str) -> Result<String, Failure> {
    ASKED.store(true, Ordering::Relaxed);
    output::ask(question);
    let answered = typed_line().await;
    ASKED.store(false, Ordering::Relaxed);
    answered
}

async fn typed_line() -> Result<String, Failure> {
    blocking(|| {
        let mut line = String::new();
        // Nobody types more; a stream without a line break is not read to its end.
        let read = io::BufRead::read_line(&mut io::stdin().lock().take(MAX_INPUT_BYTES), &mut line);
        read.map_err(|error| Failure::Local(format!("cannot read from the terminal: {error}.")))?;
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    })
    .await
}

/// Reading waits for a person or a pipe: it must not block the task that listens for Ctrl-C.
pub async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(read)
        .await
        .unwrap_or_else(|error| Err(Failure::Local(format!("cannot read the input: {error}."))))
}

fn limited(source: impl Read, name: &str) -> Result<SecretString, Failure> {
    clean(&text_of(source, name)?)
}

fn text_of(source: impl Read, name: &str) -> Result<Zeroizing<String>, Failure> {
    // One byte more than allowed tells a text that just fits from one that was cut. The whole buffer is allocated at
    // once: a growing buffer leaves copies of the secret behind.
    let mut text = Zeroizing::new(Vec::with_capacity(MAX_ROOM));
    source
        .take(MAX_INPUT_BYTES.saturating_add(1))
        .read_to_end(&mut text)
        .map_err(|error| Failure::Usage(format!("cannot read {name}: {error}.")))?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX_INPUT_BYTES {
        return Err(Failure::Usage(format!(
            "{name} holds more than {MAX_INPUT_BYTES} bytes, which no token does. Give the token alone."
        )));
    }
    let text = std::str::from_utf8(&text)
        .map_err(|_| Failure::Usage(format!("{name} holds no text. Give the token alone.")))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// `MAX_INPUT_BYTES` and the one byte more, with room for `read_to_end` to see the end.
const MAX_ROOM: usize = 16 * 1024 + 64;

fn clean(text: &str) -> Result<SecretString, Failure> {
    without_ends(text).ok_or_else(|| {
        Failure::Usage("no token was given: the input is empty. Pipe it in, or use --token-file.".into())
    })
}

/// Removes one trailing newline, which the shell adds, and a leading `Bearer `. Everything else is the token, good or
/// bad.
fn without_ends(text: &str) -> Option<SecretString> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = without_scheme(text.strip_suffix('\r').unwrap_or(text));
    (!text.is_empty()).then(|| SecretString::from(text))
}

fn without_scheme(text: &str) -> &str {
    match text.split_at_checked("Bearer ".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("Bearer ") => rest,
        _ => text,
    }
}

/// The text, for the request that carries it.
#[must_use]
pub fn expose(token: &SecretString) -> String {
    token.expose_secret().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Option<String> {
        limited(bytes, "test").ok().map(|token| expose(&token))
    }

    #[test]
    fn one_newline_and_the_scheme_are_not_the_tokens() {
        assert_eq!(read(b"a.b.c\n").as_deref(), Some("a.b.c"));
        assert_eq!(read(b"a.b.c\r\n").as_deref(), Some("a.b.c"));
        assert_eq!(read(b"Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(read(b"bearer a.b.c\n").as_deref(), Some("a.b.c"));
        assert_eq!(read(b"a.b.c\n\n").as_deref(), Some("a.b.c\n"));
        assert_eq!(read(b" a.b.c").as_deref(), Some(" a.b.c"));
    }

    #[test]
    fn nothing_too_much_and_no_text_are_refused() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"\n"), None);
        assert_eq!(read(b"\xff\xfe"), None);
        assert_eq!(read(&vec![b'a'; 16 * 1024]).map(|text| text.len()), Some(16 * 1024));
        assert_eq!(read(&vec![b'a'; 16_385]), None);
    }

    #[test]
    fn token_text_is_told_from_an_identifier() {
        assert!(is_token_text("eyJh.eyJz.c2ln"));
        assert!(is_token_text("Bearer eyJh.eyJz.c2ln"));
        assert!(is_token_text("jtr_AbC"));
        assert!(!is_token_text("01890a5d-ac96-774b-bcce-b302099a8057"));
        assert!(!is_token_text("-"));
    }
}
