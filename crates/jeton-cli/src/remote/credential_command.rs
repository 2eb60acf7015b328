//! A program that prints the API key, as in `credential_command = ["vault", "read", …]` of a context. It is run without
//! a shell, and what it prints on standard output is never shown.

use std::{os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio, time::Duration};

use jeton_token::pasted::without_blanks;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    sync::OnceCell,
    time::timeout,
};
use zeroize::Zeroizing;

use crate::term::exit::Failure;

/// The longest time that the program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any API key.
const OUTPUT_BYTES_MAX: u64 = 4096;

/// A program with its arguments, and the file that names it.
#[derive(Clone, Debug)]
pub struct CredentialCommand {
    /// The program, then its arguments.
    pub words: Vec<String>,
    /// The file of contexts.
    pub file: PathBuf,
}

/// What the program prints on standard output. It is run once, however many connections are made.
pub async fn output(command: &CredentialCommand) -> Result<SecretString, Failure> {
    static PRINTED: OnceCell<SecretString> = OnceCell::const_new();
    // One context, and so one program, is used by one run of jeton.
    PRINTED.get_or_try_init(|| run(command)).await.cloned()
}

async fn run(command: &CredentialCommand) -> Result<SecretString, Failure> {
    check_owner(command)?;
    let Some((program, arguments)) = command.words.split_first() else {
        return Err(Failure::Usage("credential_command is empty. Name a program.".into()));
    };
    let failed = |how: &str| Failure::Usage(format!("credential_command ({program}) {how}."));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(&format!("cannot be run: {error}")))?;
    let printed = timeout(PATIENCE, read(&mut child)).await;
    let (text, status) = match printed {
        Ok(Ok(printed)) => printed,
        Ok(Err(error)) => return Err(failed(&format!("cannot be read: {error}"))),
        Err(_) => {
            let within = PATIENCE.as_secs();
            return Err(failed(&format!(
                "did not end within {within} s. Run it by hand: it may be asking something"
            )));
        }
    };
    if !status.success() {
        return Err(failed(&format!("failed ({status}). Run it by hand to see why")));
    }
    let key = without_blanks(text.expose_secret());
    if key.is_empty() {
        return Err(failed("printed nothing on standard output, where the API key is expected"));
    }
    Ok(SecretString::from(key))
}

async fn read(child: &mut Child) -> std::io::Result<(SecretString, std::process::ExitStatus)> {
    let mut text = Zeroizing::new(Vec::new());
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut text).await?;
    }
    let status = child.wait().await?;
    let text = std::str::from_utf8(&text).map_err(std::io::Error::other)?;
    Ok((SecretString::from(text), status))
}

/// This file names a program to run, so no other user may write it.
fn check_owner(command: &CredentialCommand) -> Result<(), Failure> {
    let shown = command.file.display();
    let facts =
        command.file.metadata().map_err(|error| Failure::Usage(format!("cannot read {shown}: {error}.")))?;
    if facts.permissions().mode() & 0o077 != 0 {
        return Err(Failure::Usage(format!(
            "{shown} names a program to run, and others have rights on it. Take them away: chmod 600 {shown}"
        )));
    }
    Ok(())
}
