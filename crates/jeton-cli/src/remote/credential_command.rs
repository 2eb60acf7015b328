//! A program that prints the API key, as in `credential_command = ["vault", "read", …]` of a context. It is run without
//! a shell, and what it prints on standard output is never shown.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use jeton_token::pasted::without_blanks;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    select,
    sync::OnceCell,
    time::sleep,
};
use zeroize::Zeroizing;

use crate::term::exit::Failure;

/// The longest time that the program may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longer than any API key.
const OUTPUT_BYTES_MAX: usize = 4096;

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
    PRINTED.get_or_try_init(|| run(command, sleep(PATIENCE))).await.cloned()
}

/// Runs the program until it ends, or until it is too late: then it is ended.
async fn run(
    command: &CredentialCommand,
    too_late: impl Future<Output = ()>,
) -> Result<SecretString, Failure> {
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
    let printed = select! {
        printed = read(&mut child) => Some(printed),
        () = too_late => None,
    };
    let (text, status) = match printed {
        Some(Ok(printed)) => printed,
        Some(Err(error)) => return Err(failed(&format!("cannot be read: {error}"))),
        None => {
            // It may have ended by itself meanwhile.
            let _ended = child.kill().await;
            let within = PATIENCE.as_secs();
            return Err(failed(&format!(
                "did not end within {within} s, and was stopped. Run it by hand: it may be asking something"
            )));
        }
    };
    if text.expose_secret().len() > OUTPUT_BYTES_MAX {
        return Err(failed("printed more than an API key. Have it print the key alone"));
    }
    if !status.success() {
        return Err(failed(&format!("failed ({status}). Run it by hand to see why")));
    }
    let key = without_blanks(text.expose_secret());
    if key.is_empty() {
        return Err(failed("printed nothing on standard output, where the API key is expected"));
    }
    Ok(SecretString::from(key))
}

async fn read(child: &mut Child) -> std::io::Result<(SecretString, ExitStatus)> {
    let mut text = Zeroizing::new(Vec::new());
    if let Some(stdout) = child.stdout.take() {
        let most = u64::try_from(OUTPUT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
        stdout.take(most).read_to_end(&mut text).await?;
    }
    let status = child.wait().await?;
    let text = std::str::from_utf8(&text).map_err(|_| std::io::Error::other("it is no text"))?;
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::{fs, future::pending, path::Path};

    use super::*;

    fn script(directory: &Path, script: &str) -> CredentialCommand {
        let file = directory.join("contexts.toml");
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        CredentialCommand { words: ["sh", "-c", script].map(str::to_owned).to_vec(), file }
    }

    #[tokio::test]
    async fn e22_a_program_that_does_not_end_is_ended() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("pid");
        let text = format!("echo $$ >'{0}.new' && mv '{0}.new' '{0}' && exec sleep 100000", file.display());
        let runs = async {
            while !file.exists() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let said = run(&script(directory.path(), &text), runs).await.err().map(|it| it.lines().concat());
        let said = said.unwrap_or_default();
        assert!(said.contains("did not end within 10 s, and was stopped"), "{said}");
        let process = fs::read_to_string(file).unwrap();
        assert!(!Path::new("/proc").join(process.trim()).exists(), "process {process} lives on");
    }

    #[tokio::test]
    async fn e22_a_program_that_gives_no_key_is_told_of_in_one_sentence_without_what_it_printed() {
        let directory = tempfile::tempdir().unwrap();
        for (text, told) in [
            ("printf hunter2; exit 3", "failed (exit status: 3). Run it by hand to see why."),
            ("true", "printed nothing on standard output, where the API key is expected."),
            ("printf ' \n'", "printed nothing on standard output, where the API key is expected."),
            ("while echo hunter2; do :; done", "printed more than an API key. Have it print the key alone."),
            ("printf 'hunter2\\377'", "cannot be read: it is no text."),
        ] {
            let said = run(&script(directory.path(), text), pending()).await.err();
            let said = said.map(|failure| (failure.exit().code(), failure.lines())).unwrap_or_default();
            assert_eq!(said, (2, vec![format!("error: credential_command (sh) {told}")]), "{text}");
        }
    }
}
