//! A prompt for whatever leaked, unseen. While it asks, the terminal marks what is pasted (bracketed paste), so that the
//! lines of a long paste do not reach the shell.

use std::{
    fs::File,
    io::{self, IsTerminal as _, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::io::Errno;
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr, ttyname,
};
use tokio::signal::unix::{SignalKind, signal};
use zeroize::Zeroizing;

use super::exit::Failure;

/// More is no paste of a person. It is read to its end, and refused.
const PASTE_BYTES_MAX: usize = 1024 * 1024;
/// Asks the terminal to mark what is pasted.
const MARK: &[u8] = b"\x1b[?2004h";
/// No more of that.
const UNMARK: &[u8] = b"\x1b[?2004l";
/// The marks.
const PASTE_BEGINS: &[u8] = b"\x1b[200~";
const PASTE_ENDS: &[u8] = b"\x1b[201~";

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const CTRL_U: u8 = 0x15;
const CTRL_BACKSLASH: u8 = 0x1c;
const BACKSPACE: [u8; 2] = [0x08, 0x7f];
const ESCAPE: u8 = 0x1b;
/// The exit code of a program that SIGTERM ended.
const TERMINATED: i32 = 143;

/// Asks at the terminal behind standard input, and returns what was typed and pasted. It ends with Enter behind a
/// paste, with an empty line, and with the end of the input.
pub async fn ask(question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let broken = |error: io::Error| Failure::Local(format!("cannot read from the terminal: {error}."));
    // Before the terminal is changed: from here on a signal waits until it is as it was.
    let mut interrupts = signal(SignalKind::interrupt()).map_err(broken)?;
    let mut terminations = signal(SignalKind::terminate()).map_err(broken)?;
    let screen = Screen::open(question).map_err(broken)?;
    let given_up = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&given_up);
    let mut reading = tokio::task::spawn_blocking(move || read(screen, &flag));
    let is_terminated = tokio::select! {
        read = &mut reading => {
            // From the first listener on, the signal does not end a program by itself.
            tokio::spawn(async move {
                terminations.recv().await;
                std::process::exit(TERMINATED);
            });
            return read.unwrap_or_else(|error| Err(broken(error.into())));
        }
        _ = interrupts.recv() => false,
        _ = terminations.recv() => true,
    };
    given_up.store(true, Ordering::Relaxed);
    // It ends at its next look, and the terminal is as it was.
    let _ended = reading.await;
    if is_terminated {
        std::process::exit(TERMINATED);
    }
    Err(Failure::Interrupted)
}

fn read(mut screen: Screen, given_up: &AtomicBool) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let broken = |error: io::Error| Failure::Local(format!("cannot read from the terminal: {error}."));
    let mut typed = Typed::default();
    while !given_up.load(Ordering::Relaxed) {
        // One by one: what a person has typed ahead of the next question is not ours.
        let mut byte = [0];
        let step = match rustix::io::read(&screen.input, &mut byte) {
            // Nothing was typed for a moment, or the terminal has gone.
            Ok(0) if tcgetattr(&screen.input).is_ok() => Step::More,
            Ok(0) | Err(Errno::IO) => Step::Done,
            Ok(_) => byte.iter().map(|byte| typed.add(*byte)).next().unwrap_or(Step::More),
            Err(Errno::INTR | Errno::AGAIN) => Step::More,
            Err(error) => return Err(broken(error.into())),
        };
        match step {
            Step::More => {}
            Step::Pasted => screen.say(&format!(" {} characters, Enter ends", typed.text.len())),
            Step::Interrupted => return Err(Failure::Interrupted),
            Step::Done => break,
        }
    }
    if typed.is_too_long {
        return Err(Failure::Usage(
            "more than 1 MiB was pasted. Save it to a file, and give that with --from.".into(),
        ));
    }
    Ok(std::mem::take(&mut typed.text))
}

/// The terminal without echo, which marks what is pasted. Dropped, it is as it was.
struct Screen {
    input: OwnedFd,
    before: Termios,
    output: Option<File>,
}

impl Screen {
    fn open(question: &str) -> io::Result<Self> {
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        let before = tcgetattr(&input)?;
        // The talk may go to a file: the question and the marks are for the terminal.
        let output = if io::stderr().is_terminal() {
            io::stderr().as_fd().try_clone_to_owned().map(File::from).ok()
        } else {
            let name = ttyname(&input, Vec::new()).ok().and_then(|name| name.into_string().ok());
            name.and_then(|name| File::options().write(true).open(name).ok())
        };
        let mut raw = before.clone();
        // A line of a terminal that edits lines has at most 4 095 bytes. Ctrl-C comes as a character.
        let cooked = LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        raw.local_modes.remove(cooked);
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        // Tenths of a second: so often it looks whether a signal has come.
        raw.special_codes[SpecialCodeIndex::VTIME] = 1;
        let mut screen = Self { input, before, output };
        tcsetattr(&screen.input, OptionalActions::Now, &raw)?;
        screen.write(MARK);
        screen.say(question);
        Ok(screen)
    }

    fn say(&mut self, text: &str) {
        self.write(text.as_bytes());
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(output) = &mut self.output {
            let _gone = output.write_all(bytes).and_then(|()| output.flush());
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.write(UNMARK);
        self.write(b"\n");
        let _gone = tcsetattr(&self.input, OptionalActions::Now, &self.before);
    }
}

/// What has been typed and pasted so far.
#[derive(Default)]
struct Typed {
    text: Zeroizing<Vec<u8>>,
    /// An escape sequence that has begun.
    sequence: Vec<u8>,
    in_paste: bool,
    /// A paste has ended on this line.
    pasted: bool,
    is_too_long: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    More,
    Pasted,
    Done,
    Interrupted,
}

impl Typed {
    fn add(&mut self, byte: u8) -> Step {
        if byte == ESCAPE {
            self.give_back();
            self.sequence.push(byte);
            return Step::More;
        }
        if !self.sequence.is_empty() {
            self.sequence.push(byte);
            return self.escape();
        }
        if self.in_paste {
            self.push(byte);
            return Step::More;
        }
        match byte {
            CTRL_C | CTRL_BACKSLASH => Step::Interrupted,
            CTRL_D => Step::Done,
            CTRL_U => {
                self.text.clear();
                Step::More
            }
            b'\n' | b'\r' => {
                let is_empty_line = self.text.last().is_none_or(|last| *last == b'\n');
                if self.pasted || is_empty_line {
                    return Step::Done;
                }
                self.push(b'\n');
                Step::More
            }
            _ if BACKSPACE.contains(&byte) => {
                self.text.pop();
                Step::More
            }
            _ => {
                self.push(byte);
                Step::More
            }
        }
    }

    /// The sequence has grown.
    fn escape(&mut self) -> Step {
        if self.sequence == PASTE_BEGINS && !self.in_paste {
            self.sequence.clear();
            self.in_paste = true;
        } else if self.sequence == PASTE_ENDS && self.in_paste {
            self.sequence.clear();
            (self.in_paste, self.pasted) = (false, true);
            return Step::Pasted;
        } else if self.in_paste {
            // Colours that were copied with the text.
            if !PASTE_ENDS.starts_with(&self.sequence) {
                self.give_back();
            }
        } else if self.sequence.last().is_some_and(|last| (0x40..=0x7e).contains(last) && *last != b'[') {
            // A key such as an arrow.
            self.sequence.clear();
        }
        Step::More
    }

    /// What looked like a mark is text.
    fn give_back(&mut self) {
        for byte in std::mem::take(&mut self.sequence) {
            if self.in_paste {
                self.push(byte);
            }
        }
    }

    fn push(&mut self, byte: u8) {
        if self.text.len() < PASTE_BYTES_MAX {
            self.text.push(byte);
        } else {
            self.is_too_long = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(input: &[u8]) -> (String, Option<Step>, usize) {
        let mut typed = Typed::default();
        for (at, byte) in input.iter().enumerate() {
            let step = typed.add(*byte);
            if matches!(step, Step::Done | Step::Interrupted) {
                return (String::from_utf8_lossy(&typed.text).into_owned(), Some(step), at.saturating_add(1));
            }
        }
        (String::from_utf8_lossy(&typed.text).into_owned(), None, input.len())
    }

    #[test]
    fn a_paste_of_many_lines_ends_with_enter_behind_it() {
        let (text, step, read) = typed(b"\x1b[200~one\ntwo\n\nthree\x1b[201~\nrm -rf /\n");
        assert_eq!((text.as_str(), step), ("one\ntwo\n\nthree", Some(Step::Done)));
        assert_eq!(read, 6 + 14 + 6 + 1, "what is typed behind it is not read");
        let (text, ..) = typed(b"\x1b[200~a\x1b[31mred\x1b[0m\x1b[201~\n");
        assert_eq!(text, "a\x1b[31mred\x1b[0m");
        assert_eq!(typed(b"\x1b[200~one\n\n\n"), ("one\n\n\n".into(), None, 12), "it has not ended");
    }

    #[test]
    fn what_is_typed_ends_with_an_empty_line() {
        assert_eq!(typed(b"one\ntwo\n\nmore"), ("one\ntwo\n".into(), Some(Step::Done), 9));
        assert_eq!(typed(b"\n"), (String::new(), Some(Step::Done), 1));
        assert_eq!(typed(b"onx\x7fe\x1b[A\n\n").0, "one\n");
        assert_eq!(typed(b"wrong\x15right\x04").0, "right");
        assert_eq!(typed(b"one\x03").1, Some(Step::Interrupted));
    }

    #[test]
    fn more_than_a_paste_is_read_and_refused() {
        let mut typed = Typed::default();
        for _ in 0..=PASTE_BYTES_MAX {
            typed.add(b'x');
        }
        assert!(typed.is_too_long && typed.text.len() == PASTE_BYTES_MAX);
    }
}
