//! What a person gave to be revoked: arguments, files, standard input, or an answer to the prompt.

use std::{
    fs::File,
    io::{self, ErrorKind, IsTerminal as _, Read},
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret as _;
use zeroize::Zeroizing;

use crate::{
    invocation::Cli,
    scan::{self, Found, IDS_MAX, Target},
    term::{exit::Failure, output, paste, token_input},
    verbs::{revoke::args::RevokeArgs, revoke::found, revoke::nothing},
};
use jeton_proto::v1::revocation_target::Kind;
use jeton_token::{new_uuid_v7, pasted, uuid_unix_ms};

/// A text that is not longer is sent as it is if nothing was found in it: the server says what it is.
const TEXT_BYTES_MAX: usize = 16 * 1024;
const PROMPT: &str =
    "Paste what leaked (it is not shown), then Enter. What you type ends with an empty line: ";

/// What is to be revoked.
pub enum Gathered {
    /// One thing.
    One(Kind),
    /// More than one, or none of them a target.
    Many(Box<Batch>),
}

/// Many things.
pub struct Batch {
    /// What was found.
    pub found: Found,
    /// The instant at which the search began, from which the id of the revocation is made.
    pub started_ms: i64,
    /// Where the text came from.
    pub origin: Origin,
    /// What could not be read to its end.
    pub cut: Vec<String>,
}

/// Where text came from, for the command that does it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Files; `-` is standard input.
    Files(Vec<PathBuf>),
    /// Arguments, or the prompt.
    Given,
}

/// Reads it all.
pub async fn gather(cli: &Cli<'_>, args: &RevokeArgs) -> Result<Gathered, Failure> {
    let now_ms = (cli.env.now)().as_millisecond();
    // What is resumed sees the same ids as recent as it did before.
    let started_ms = args.resume.map_or(now_ms, uuid_unix_ms);
    if let Some(files) = files(args)? {
        return from_files(cli, files, started_ms).await;
    }
    match args.what.as_slice() {
        [] => from_terminal_or_pipe(cli, started_ms).await,
        [dash] if dash == "-" => from_terminal_or_pipe(cli, started_ms).await,
        texts => from_arguments(cli, texts, started_ms),
    }
}

/// The files that were named, if any.
fn files(args: &RevokeArgs) -> Result<Option<Vec<PathBuf>>, Failure> {
    if !args.from.is_empty() {
        return Ok(Some(args.from.clone()));
    }
    if let Some(file) = &args.token_file {
        return Ok(Some(vec![file.clone()]));
    }
    match args.what.as_slice() {
        [bulk] if bulk == "bulk" => Err(Failure::Usage(
            "`revoke bulk` needs a file, or `-` for standard input. Give one, as in `jeton revoke bulk app.log`."
                .into(),
        )),
        [bulk, files @ ..] if bulk == "bulk" => Ok(Some(files.iter().map(PathBuf::from).collect())),
        _ => Ok(None),
    }
}

fn from_arguments(cli: &Cli<'_>, texts: &[String], started_ms: i64) -> Result<Gathered, Failure> {
    if let Some(refused) = nothing::word_for_flag(texts) {
        return Err(refused);
    }
    let has_token_text = texts.iter().any(|text| token_input::is_token_text(text));
    if has_token_text {
        // Only this verb accepts it: an emergency comes first, and the token dies anyway.
        output::talk("warning: token text on the command line is read by others. Pipe it in next time.");
    }
    let mut found = Found::new(started_ms);
    let mut prose = String::new();
    for text in texts {
        // An id that is named by itself counts whatever its age.
        match pasted::uuid_in_any_form(text) {
            Some(id) => found.add_id(id),
            None => prose.extend([text.as_str(), " "]),
        }
    }
    scan::scan_text(prose.as_bytes(), &mut found);
    let is_nothing = found.targets() == 0 && found.api_keys().len() == 0;
    if is_nothing && !has_token_text {
        let counts = found::Counts::of(&found, &[]);
        for line in found::advice(&counts) {
            output::talk(&line);
        }
        return Err(nothing::to_revoke(texts, &cli.env.current_dir));
    }
    if let ([text], true) = (texts, is_nothing) {
        // The server says what is wrong with it.
        let token = token_input::expose(&token_input::from_argument(text)?);
        return Ok(Gathered::One(Kind::Token(token)));
    }
    let text = texts.join(" ");
    Ok(one_or_many(found, Some(text.as_bytes()), started_ms, Origin::Given, Vec::new()))
}

async fn from_terminal_or_pipe(cli: &Cli<'_>, started_ms: i64) -> Result<Gathered, Failure> {
    if !io::stdin().is_terminal() {
        return from_files(cli, vec![PathBuf::from("-")], started_ms).await;
    }
    if cli.globals.no_input {
        return Err(nothing_given("no token was given"));
    }
    let text = paste::ask(PROMPT).await?;
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(nothing_given("no token was given: the input is empty"));
    }
    let mut found = Found::new(started_ms);
    scan::scan_text(&text, &mut found);
    Ok(one_or_many(found, Some(&text), started_ms, Origin::Given, Vec::new()))
}

fn nothing_given(what: &str) -> Failure {
    Failure::Usage(format!("{what}. Pipe it in, or use --from FILE."))
}

async fn from_files(cli: &Cli<'_>, files: Vec<PathBuf>, started_ms: i64) -> Result<Gathered, Failure> {
    let can_draw = io::stderr().is_terminal() && !cli.globals.no_input;
    let search = move || {
        let mut found = Found::new(started_ms);
        let (mut cut, mut only) = (Vec::new(), None);
        for file in &files {
            let is_stdin = file.as_os_str() == "-";
            let name = if is_stdin { "standard input".to_owned() } else { file.display().to_string() };
            let source: Box<dyn Read + Send> =
                if is_stdin { Box::new(io::stdin()) } else { Box::new(open(file, &name)?) };
            let mut draw = |found: &Found| {
                if can_draw {
                    output::draw(&format!("{} MiB searched, {} found", found.bytes >> 20, found.targets()));
                }
            };
            let searched = scan::plain(source).and_then(|source| scan::scan(source, &mut found, &mut draw));
            match searched {
                Ok(text) => only = text.filter(|_| files.len() == 1),
                Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                    return Err(Failure::Usage(format!(
                        "{name} holds more than 16 GiB: nothing was revoked. Split it, or filter it first."
                    )));
                }
                Err(error) if error.kind() == ErrorKind::IsADirectory => {
                    return Err(Failure::Usage(format!("{name} is a directory. Give files.")));
                }
                Err(error) => cut.push(format!("{name} cannot be read to its end: {error}")),
            }
            if found.is_full {
                return Err(Failure::Usage(format!(
                    "there are more than {IDS_MAX} different ids: nothing was revoked. Split {name}."
                )));
            }
        }
        Ok((found, cut, only, files))
    };
    let (found, cut, text, files) = token_input::blocking(search).await?;
    if found.bytes == 0 && cut.is_empty() || text.as_deref().is_some_and(|text| is_blank(text)) {
        return Err(nothing_given("no token was given: the input is empty"));
    }
    Ok(one_or_many(found, text.as_deref().map(Vec::as_slice), started_ms, Origin::Files(files), cut))
}

fn open(file: &Path, name: &str) -> Result<File, Failure> {
    let opened = token_input::open(file)?;
    if file.as_os_str() != "/dev/null" && scan::is_endless(&opened) {
        return Err(Failure::Usage(format!("{name} is a device, which never ends. Give a file.")));
    }
    Ok(opened)
}

fn is_blank(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_whitespace)
}

/// One target goes the way of one. A short text in which nothing was found is judged by the server.
fn one_or_many(
    found: Found,
    text: Option<&[u8]>,
    started_ms: i64,
    origin: Origin,
    cut: Vec<String>,
) -> Gathered {
    let text =
        text.filter(|text| text.len() <= TEXT_BYTES_MAX).and_then(|text| std::str::from_utf8(text).ok());
    let keys = found.api_keys().len();
    if let (0, 0, Some(text), []) = (found.targets(), keys, text, cut.as_slice()) {
        if found.other_uuids > 0 || found.broken > 0 {
            output::talk(&found::line(&found::Counts::of(&found, &[]), &[]));
        }
        let text = Zeroizing::new(text.strip_suffix('\n').unwrap_or(text).to_owned());
        return Gathered::One(Kind::Token(text.strip_suffix('\r').unwrap_or(&text).to_owned()));
    }
    if found.targets() != 1 || keys > 0 || !cut.is_empty() {
        return Gathered::Many(Box::new(Batch { found, started_ms, origin, cut }));
    }
    let line = found::line(&found::Counts::of(&found, &[]), &[]);
    let targets = found.into_targets();
    let kind = match targets.get(0) {
        Some(Target::Token(token)) => Kind::Token(token.text.expose_secret().to_owned()),
        Some(Target::Refresh(text, _)) => Kind::Token(text.expose_secret().to_owned()),
        Some(Target::Session(id)) => Kind::SessionId(id.to_string()),
        Some(Target::Id(id)) => Kind::Id(id.to_string()),
        None => Kind::Token(String::new()),
    };
    let is_clean = match (&kind, text.map(pasted::bare)) {
        (Kind::Token(token), Some(bare)) => token == bare,
        (Kind::Id(_), Some(bare)) => pasted::uuid_in_any_form(bare).is_some(),
        _ => false,
    };
    if !is_clean {
        output::talk(&line);
    }
    Gathered::One(kind)
}

/// The id of a bulk revocation of these targets: its time is that of the search, its end tells the targets.
pub fn bulk_id(started_ms: i64, fingerprint: u64) -> uuid::Uuid {
    let end = (1_u128 << FINGERPRINT_BITS).saturating_sub(1);
    let id = new_uuid_v7(started_ms).as_u128();
    uuid::Uuid::from_u128((id & !end) | (u128::from(fingerprint) & end))
}

/// The last 62 bits of an id, which tell the targets.
pub fn fingerprint_of(id: uuid::Uuid) -> u64 {
    let (_, low) = id.as_u64_pair();
    low & (1_u64 << FINGERPRINT_BITS).wrapping_sub(1)
}

const FINGERPRINT_BITS: u32 = 62;
