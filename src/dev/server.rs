//! One server of `jeton dev`: this program again, as a separate process.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use jeton_io::files;
use jeton_postgres::process;
use rustix::process::Signal;
use serde_json::{Map, Value};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::{args::variables, dev::addresses::Listen};

/// A server reads its tables before it is ready; a development database is small.
const READY_POLLS: u32 = 3_000;
const READY_POLL: Duration = Duration::from_millis(20);

/// Often enough that `jeton doctor` soon has a result.
const PROBE_EVERY_S: u32 = 5;

/// The options of a server.
#[derive(Debug)]
pub(super) struct ServeOptions<'a> {
    pub(super) name: String,
    pub(super) database_url: &'a str,
    pub(super) master_key_file: &'a Path,
    /// The same for all servers: so each accepts the tokens of the others.
    pub(super) issuer: &'a str,
    pub(super) listen: Listen,
    pub(super) ready_file: PathBuf,
    /// The server probes the others if it is given.
    pub(super) probe_key_file: Option<&'a Path>,
}

impl ServeOptions<'_> {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("serve"), "--plaintext".into()];
        // The developer decides what the database may lose.
        arguments.push("--allow-fsync-off".into());
        let mut add = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
        add("--master-key-file", self.master_key_file.into());
        add("--issuer", self.issuer.into());
        add("--listen", self.listen.public.to_string().into());
        add("--admin-listen", self.listen.admin.to_string().into());
        add("--ops-listen", self.listen.ops.to_string().into());
        add("--replica-name", self.name.clone().into());
        add("--ready-file", self.ready_file.clone().into());
        // No balancer looks at it.
        add("--drain-delay", "0s".into());
        add("--parent-pid", std::process::id().to_string().into());
        if let Some(file) = self.probe_key_file {
            add("--probe-every", PROBE_EVERY_S.to_string().into());
            add("--probe-key-file", file.into());
        }
        arguments
    }
}

/// The content of a server's ready file.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadyFile(pub(super) Map<String, Value>);

impl ReadyFile {
    pub(super) fn read(path: &Path) -> Option<Self> {
        serde_json::from_slice(&files::read(path).ok()?).ok().map(Self)
    }

    /// The other servers in a `dev.json`.
    pub(super) fn servers(&self) -> impl Iterator<Item = Self> {
        let servers = self.0.get("servers").and_then(Value::as_array);
        servers.into_iter().flatten().filter_map(Value::as_object).cloned().map(Self)
    }

    pub(super) fn pid(&self) -> Option<u32> {
        u32::try_from(self.0.get("pid")?.as_u64()?).ok()
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }
}

/// A running server. It is killed if it is dropped before it has ended.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: String,
    /// The content of its ready file, once it is ready.
    pub(super) ready: ReadyFile,
    child: Child,
    ready_file: PathBuf,
}

impl Server {
    pub(super) fn spawn(options: &ServeOptions<'_>) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let mut command = Command::new(program);
        command.args(options.arguments());
        // The environment may be for another server. The log level is the developer's.
        for name in variables().into_iter().filter(|name| name != "JETON_LOG") {
            command.env_remove(name);
        }
        // Everybody can see a process' arguments, and this may contain a password.
        command.env("JETON_DATABASE_URL", options.database_url);
        // A group of its own: Ctrl-C in a terminal must reach only us, who decide the order of ending.
        command.process_group(0).stdin(Stdio::null()).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("cannot start {}", options.name))?;
        Ok(Self {
            name: options.name.clone(),
            ready: ReadyFile::default(),
            child,
            ready_file: options.ready_file.clone(),
        })
    }

    /// Waits until all its listeners answer.
    pub(super) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        for _ in 0..READY_POLLS {
            if let Some(ready) = ReadyFile::read(&self.ready_file).filter(|it| it.pid() == self.child.id()) {
                self.ready = ready;
                return Ok(());
            }
            if let Ok(ended) = timeout(READY_POLL, self.child.wait()).await {
                bail!("{} did not start ({})", self.name, ended?);
            }
        }
        let waited = READY_POLL.saturating_mul(READY_POLLS).as_secs();
        bail!("{} was not ready after {waited} s", self.name)
    }

    /// The way in which it ended, if it did. Removes the ready file that a killed server left.
    pub(super) fn has_ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        let ended = self.child.try_wait()?;
        if ended.is_some() {
            let _ = fs::remove_file(&self.ready_file);
        }
        Ok(ended)
    }

    /// Makes it finish its work, and end.
    pub(super) fn terminate(&self) {
        if let Some(pid) = self.child.id() {
            process::signal(pid, Signal::TERM);
        }
    }

    pub(super) async fn ended(&mut self) -> anyhow::Result<()> {
        self.child.wait().await?;
        Ok(())
    }

    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        Ok(self.child.start_kill()?)
    }
}
