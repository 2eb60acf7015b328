//! Runs a command with `DATABASE_URL` set to a database of its own, with the repository's migrations applied in order:
//! `with-postgres MIGRATIONS COMMAND…`. The database goes when the command ends.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    io::{Write as _, stderr},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};
use jeton_postgres::{Binaries, ScratchCluster};

fn main() -> ExitCode {
    match run() {
        // As a shell says it.
        Ok(status) => {
            let code = status.code().or_else(|| status.signal().map(|signal| signal.saturating_add(128)));
            code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
        }
        Err(error) => {
            // A failure of this cannot be reported anywhere.
            let _gone = writeln!(stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the one setting of a program for the repository's scripts")]
fn run() -> anyhow::Result<ExitStatus> {
    let mut arguments = env::args_os().skip(1);
    let (Some(migrations), Some(program)) = (arguments.next(), arguments.next()) else {
        bail!("usage: with-postgres MIGRATIONS COMMAND…");
    };
    let given = env::var_os("JETON_POSTGRES_BIN").map(PathBuf::from);
    let binaries = Binaries::find(given.as_deref())?;
    let cluster = ScratchCluster::start(given.as_deref())?;
    let psql = |database: &str, more: &[OsString]| {
        let mut command = Command::new(binaries.program("psql"));
        command.args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1", "--dbname"]);
        command.arg(cluster.url(database)).args(more);
        command
    };
    succeed(psql("postgres", &["--command".into(), "create database jeton".into()]), "the database")?;
    for migration in migrations_in(Path::new(&migrations))? {
        let text = fs::read_to_string(&migration)?;
        // As sqlx reads it.
        let single = (!text.starts_with("-- no-transaction")).then(|| "--single-transaction".into());
        let more: Vec<OsString> = single.into_iter().chain(["--file".into(), "-".into()]).collect();
        let mut command = psql("jeton", &more);
        command.stdin(File::open(&migration)?).stdout(Stdio::null());
        succeed(command, &migration.display().to_string())?;
    }
    let mut command = Command::new(&program);
    command.args(arguments).env("DATABASE_URL", cluster.url("jeton"));
    command.status().with_context(|| format!("cannot run {}", program.display()))
}

/// The migrations in their order.
fn migrations_in(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
    files.sort();
    Ok(files)
}

fn succeed(mut command: Command, what: &str) -> anyhow::Result<()> {
    let status = command.status().context("cannot run psql")?;
    if !status.success() {
        bail!("{what} failed");
    }
    Ok(())
}
