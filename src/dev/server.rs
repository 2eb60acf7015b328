//! The server that `jeton dev` runs: this program again, as a process of its own.

use std::fs;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::Signal;
use serde_json::{Map, Value};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::addresses::Listen;
use super::home::Home;
use super::{Signals, process, say};

/// Longer than a server drains, so that only one that hangs is killed.
const STOP_SECONDS: u32 = 15;
const STOP: Duration = Duration::from_secs(15);
/// A server reads its tables before it is ready, and a development database is small.
const READY_POLLS: u32 = 3_000;
const READY_POLL: Duration = Duration::from_millis(20);

/// What a server is told.
#[derive(Debug)]
pub(super) struct ServeOptions<'a> {
    pub(super) database_url: &'a str,
    pub(super) master_key_file: &'a Path,
    pub(super) listen: Listen,
    pub(super) ready_file: &'a Path,
}

/// What a server that is ready says of itself.
#[derive(Clone, Debug)]
pub(super) struct ReadyFile(pub(super) Map<String, Value>);

impl ReadyFile {
    fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&fs::read(path).ok()?).ok().map(Self)
    }

    fn pid(&self) -> Option<u32> {
        u32::try_from(self.0.get("pid")?.as_u64()?).ok()
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A running server. Dropped without [`Server::stop`] it is killed.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    ready_file: std::path::PathBuf,
}

impl Server {
    pub(super) fn spawn(options: &ServeOptions<'_>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg("--master-key-file")
            .arg(options.master_key_file)
            .args(["--issuer", &options.listen.issuer()])
            .args(["--listen", &options.listen.public.to_string()])
            .args(["--admin-listen", &options.listen.admin.to_string()])
            .args(["--ops-listen", &options.listen.ops.to_string()])
            .arg("--plaintext")
            .arg("--ready-file")
            .arg(options.ready_file)
            .args(["--parent-pid", &std::process::id().to_string()]);
        // Everybody sees a process' arguments, and this may hold a password.
        command.env("JETON_DATABASE_URL", options.database_url);
        // A group of its own: Ctrl-C in a terminal must reach us alone, who decide what ends first.
        command.process_group(0).stdin(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().context("cannot start the server")?;
        Ok(Self { child, ready_file: options.ready_file.to_owned() })
    }

    /// Waits until all its listeners answer.
    pub(super) async fn ready(&mut self) -> anyhow::Result<ReadyFile> {
        for _ in 0..READY_POLLS {
            if let Some(ready) = ReadyFile::read(&self.ready_file).filter(|it| it.pid() == self.child.id()) {
                return Ok(ready);
            }
            if let Some(status) = self.ended_within(READY_POLL).await? {
                bail!("the server did not start ({status})");
            }
        }
        bail!("the server was not ready after {} s", READY_POLL.saturating_mul(READY_POLLS).as_secs())
    }

    /// How it ended, if it did within this time.
    pub(super) async fn ended_within(&mut self, time: Duration) -> anyhow::Result<Option<ExitStatus>> {
        Ok(timeout(time, self.child.wait()).await.ok().transpose()?)
    }

    /// Lets it finish what it does; a second signal to us, or too long a wait, and it is killed.
    pub(super) async fn stop(mut self, signals: &mut Signals) -> anyhow::Result<()> {
        let Some(pid) = self.child.id() else { return Ok(()) }; // it has ended
        process::signal(pid, Signal::TERM);
        let ended = tokio::select! {
            ended = self.ended_within(STOP) => ended?,
            () = signals.next() => None,
        };
        if ended.is_none() {
            say("The server does not end: it is killed.");
            self.child.kill().await?;
        }
        Ok(())
    }
}

/// Ends the servers that a killed run left behind, and forgets them.
pub(super) fn end_leftovers(home: &Home) -> anyhow::Result<()> {
    let mentioned = [home.ready_file(), home.dev_json()];
    for ready in mentioned.iter().filter_map(|path| ReadyFile::read(path)) {
        let Some(pid) = ready.pid() else { continue };
        for signal in [Signal::TERM, Signal::KILL] {
            if process::is_server(pid, &home.ready_file()) {
                process::signal(pid, signal);
                process::wait_until(STOP_SECONDS, || !process::is_server(pid, &home.ready_file()));
            }
        }
        if process::is_server(pid, &home.ready_file()) {
            bail!("a server that was left behind (process {pid}) does not end");
        }
    }
    home.forget_server();
    Ok(())
}
